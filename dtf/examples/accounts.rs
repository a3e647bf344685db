//! Transfers between accounts: those of one account one after the other, in their order, those of different ones at the same time.
//!
//! Each subtask is one entry on an account, and its *key* is the account, ordered: all entries of an account go to one executor,
//! one at a time and in the order in which they were generated, whatever fails, is tried again, or is killed. Here an executor
//! refuses to withdraw more than there is, which depends on the order.
//!
//! ```console
//! cargo run --example accounts
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use dtf::embedded::{self, Database, Embedded};
use dtf::model::plugin::{
    CollectorSupport, ExecuteContext, ExecuteError, Generated, NewSubtask, ResultOf, SubtaskResult,
    TaskCollector, TaskExecutor, TaskGenerator, TaskPlugin, TaskPluginRegistration, TaskResult,
};
use dtf::model::queue::Outcome;
use dtf::model::{Counts, InvalidInput, ShardKey, TaskParam, TaskSpec, TaskTypeId};
use dtf::{Dtf, TaskHandle};
use serde::{Deserialize, Serialize};

pub(crate) const TRANSFERS: TaskTypeId = TaskTypeId(102);
/// How many accounts there are.
pub(crate) const ACCOUNTS: u64 = 10;
/// How many entries each has: one in, one out, one in, one out…
pub(crate) const ENTRIES: u64 = 50;

/// One entry on an account.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    account: u64,
    /// Which of the account's entries.
    number: u64,
    /// What comes in; what goes out is below zero.
    amount: i64,
}

/// The bank's books: the balance of each account, and the last entry in it.
///
/// They stand for a database. What is executed at least once may be executed twice, so an entry says which it is, and one that is
/// in the books already changes nothing.
#[derive(Debug, Default)]
pub(crate) struct Bank(Mutex<BTreeMap<u64, (i64, u64)>>);

impl Bank {
    fn book(&self, entry: &Entry) -> anyhow::Result<i64> {
        let mut books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (balance, next) = books.entry(entry.account).or_default();
        if entry.number < *next {
            return Ok(*balance);
        }
        anyhow::ensure!(entry.number == *next, "entry {} came before entry {next}", entry.number);
        anyhow::ensure!(*balance + entry.amount >= 0, "account {} would be overdrawn", entry.account);
        *balance += entry.amount;
        *next += 1;
        Ok(*balance)
    }
}

struct Transfers {
    bank: Arc<Bank>,
}

impl TaskPlugin for Transfers {
    fn check(&self, param: &TaskParam) -> Result<(), InvalidInput> {
        match param.type_param.is_null() {
            true => Ok(()),
            false => Err(InvalidInput::TypeParam("transfers takes no parameter".to_owned())),
        }
    }

    fn generator(&self, _spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskGenerator>> {
        Ok(Box::new(Entries { next: 0 }))
    }

    fn executor(&self, _spec: &TaskSpec) -> anyhow::Result<Arc<dyn TaskExecutor>> {
        Ok(Arc::new(Booking { bank: self.bank.clone() }))
    }

    fn collector(&self, _spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskCollector>> {
        Ok(Box::new(Report { refused: 0 }))
    }
}

/// Goes through the accounts again and again: 100 goes in everywhere, then 100 goes out everywhere.
struct Entries {
    next: u64,
}

#[async_trait]
impl TaskGenerator for Entries {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        self.next = saved.map(|saved| serde_json::from_slice(&saved)).transpose()?.unwrap_or(0);
        Ok(())
    }

    async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated> {
        let end = (ACCOUNTS * ENTRIES).min(self.next + most as u64);
        let subtask = |at: u64| {
            let (account, number) = (at % ACCOUNTS, at / ACCOUNTS);
            let amount = if number % 2 == 0 { 100 } else { -100 };
            let body = serde_json::to_vec(&Entry { account, number, amount })?;
            anyhow::Ok(NewSubtask::new(body).with_key(ShardKey::new(format!("account {account}")).ordered()))
        };
        let subtasks = (self.next..end).map(subtask).collect::<anyhow::Result<_>>()?;
        self.next = end;
        Ok(Generated { subtasks, finished: end == ACCOUNTS * ENTRIES })
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(Some(serde_json::to_vec(&self.next)?.into()))
    }
}

/// Books an entry.
struct Booking {
    bank: Arc<Bank>,
}

#[async_trait]
impl TaskExecutor for Booking {
    async fn execute(&self, body: &Bytes, _context: &ExecuteContext) -> Result<SubtaskResult, ExecuteError> {
        let entry: Entry = serde_json::from_slice(body).map_err(anyhow::Error::from)?;
        let balance = self.bank.book(&entry).map_err(ExecuteError::final_error)?;
        Ok(SubtaskResult::new(balance.to_string()))
    }
}

/// Counts what was refused.
struct Report {
    refused: u64,
}

#[async_trait]
impl TaskCollector for Report {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        self.refused = saved.map(|saved| serde_json::from_slice(&saved)).transpose()?.unwrap_or(0);
        Ok(())
    }

    async fn after_execution(
        &mut self,
        result: &ResultOf,
        _support: &mut CollectorSupport,
    ) -> anyhow::Result<()> {
        self.refused += u64::from(!matches!(result.outcome, Outcome::Succeeded(_)));
        Ok(())
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(Some(serde_json::to_vec(&self.refused)?.into()))
    }

    async fn after_task_completed(&mut self, counts: &Counts) -> anyhow::Result<TaskResult> {
        let reason = format!("{} entries, {} refused", counts.created, self.refused);
        Ok(TaskResult { code: 0, reason, data: self.refused.into() })
    }
}

/// The kind of task, over these books.
pub(crate) fn registration(bank: Arc<Bank>) -> TaskPluginRegistration {
    TaskPluginRegistration {
        task_type: TRANSFERS,
        name: "transfers".to_owned(),
        description: "books transfers, each account's in order".to_owned(),
        plugin: Arc::new(Transfers { bank }),
    }
}

/// Makes a task of it.
pub(crate) async fn create_task(dtf: &Dtf) -> anyhow::Result<TaskHandle> {
    Ok(dtf.client().create_task(TRANSFERS, TaskParam::default()).await?)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let dtf = Dtf::builder(embedded::ports(Database::Memory).await?)
        .config(Embedded { jobs: 4 }.config())
        .register_task_type(registration(Arc::default()))?
        .build()?;
    dtf.start_all().await?;
    let row = create_task(&dtf).await?.wait().await?;
    println!("{}: {:?}", row.status, row.result);
    dtf.stop().await;
    Ok(())
}
