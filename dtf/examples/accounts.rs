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

use dtf::prelude::*;
use serde::{Deserialize, Serialize};

/// The number of accounts.
pub(crate) const ACCOUNTS: u64 = 10;
/// The number of entries on each: one in, one out, one in, one out…
pub(crate) const ENTRIES: u64 = 50;

/// One entry on an account.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    account: u64,
    /// Its position among the entries of the account.
    number: u64,
    /// The amount that comes in; below zero for one that goes out.
    amount: i64,
}

/// The entry at this position: 100 goes in on every account, then 100 goes out on every account, and so on.
fn entry(at: u64) -> Entry {
    let (account, number) = (at % ACCOUNTS, at / ACCOUNTS);
    let amount = if number.is_multiple_of(2) { 100 } else { -100 };
    Entry { account, number, amount }
}

/// The bank's books: the balance of each account, and the last entry in it.
///
/// They stand for a database. A subtask that is executed at least once may be executed twice, so an entry has a number, and one
/// that is in the books already changes nothing.
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

/// The task type, over these books. Its result is the number of entries that were refused.
pub(crate) fn transfers(bank: Arc<Bank>) -> TaskType<(), Entry, i64, u64> {
    TaskType::named("transfers")
        .description("books transfers, each account's in order")
        .input(|(): ()| (0..ACCOUNTS * ENTRIES).map(entry))
        .ordered_by(|entry| format!("account {}", entry.account))
        .execute_blocking(move |entry: Entry, _ctx| bank.book(&entry).map_err(final_error))
        .collect(0, |refused, ended, _| {
            *refused += u64::from(!matches!(ended, Ended::Succeeded(_)));
            Ok(())
        })
        .build()
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let transfers = transfers(Arc::default());
    let dtf = Dtf::embedded().jobs(4).register(&transfers).start().await?;
    let refused = dtf.run(&transfers, ()).await?;
    println!("{} entries, {refused} refused", ACCOUNTS * ENTRIES);
    dtf.stop().await;
    Ok(())
}
