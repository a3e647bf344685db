//! The task type of `squares.rs` on the plugin traits themselves: bytes instead of types, and checkpoints of its own.
//!
//! Write a plugin like this where the typed layer does not fit: for compact encodings of large bodies, generators that keep more
//! than a position, collectors that await.
//!
//! ```console
//! cargo run --example traits
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dtf::Dtf;
use dtf::model::queue::Outcome;
use dtf::model::{Counts, InvalidInput, TaskParam, TaskSpec, TaskTypeId};
use dtf::plugin::{
    CollectorSupport, ExecuteContext, ExecuteError, Generated, NewSubtask, ResultOf, SubtaskResult,
    TaskCollector, TaskExecutor, TaskGenerator, TaskPlugin, TaskPluginRegistration, TaskResult,
};

pub(crate) const SQUARES: TaskTypeId = TaskTypeId(100);

/// The kind of task. Its parameter is the limit.
struct Squares;

impl TaskPlugin for Squares {
    fn check(&self, param: &TaskParam) -> Result<(), InvalidInput> {
        match param.type_param.as_u64() {
            Some(limit) if limit <= 2_000_000 => Ok(()),
            _ => Err(InvalidInput::TypeParam("squares takes a limit, 0 to 2000000".to_owned())),
        }
    }

    fn generator(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskGenerator>> {
        Ok(Box::new(Numbers { next: 0, limit: spec.param.type_param.as_u64().unwrap_or(0) }))
    }

    fn executor(&self, _spec: &TaskSpec) -> anyhow::Result<Arc<dyn TaskExecutor>> {
        Ok(Arc::new(Square))
    }

    fn collector(&self, _spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskCollector>> {
        Ok(Box::new(Sum(0)))
    }
}

fn to_bytes(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_le_bytes())
}

fn from_bytes(bytes: &Bytes) -> anyhow::Result<u64> {
    Ok(u64::from_le_bytes(bytes[..].try_into()?))
}

/// Splits the task: one subtask a number.
struct Numbers {
    next: u64,
    limit: u64,
}

#[async_trait]
impl TaskGenerator for Numbers {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        self.next = saved.as_ref().map(from_bytes).transpose()?.unwrap_or(0);
        Ok(())
    }

    async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated> {
        let end = self.limit.min(self.next + most as u64);
        let subtasks = (self.next..end).map(|number| NewSubtask::new(to_bytes(number))).collect();
        self.next = end;
        Ok(Generated { subtasks, finished: end == self.limit })
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(Some(to_bytes(self.next)))
    }
}

/// Executes a subtask, in whatever process.
struct Square;

#[async_trait]
impl TaskExecutor for Square {
    async fn execute(&self, body: &Bytes, _context: &ExecuteContext) -> Result<SubtaskResult, ExecuteError> {
        let number = from_bytes(body)?;
        Ok(SubtaskResult::new(to_bytes(number * number)))
    }
}

/// Is told the results. What it has so far is saved with every commit, so that a successor goes on from there.
struct Sum(u64);

#[async_trait]
impl TaskCollector for Sum {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        self.0 = saved.as_ref().map(from_bytes).transpose()?.unwrap_or(0);
        Ok(())
    }

    async fn after_execution(
        &mut self,
        result: &ResultOf,
        _support: &mut CollectorSupport,
    ) -> anyhow::Result<()> {
        if let Outcome::Succeeded(square) = &result.outcome {
            self.0 += from_bytes(&square.body)?;
        }
        Ok(())
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(Some(to_bytes(self.0)))
    }

    async fn after_task_completed(&mut self, counts: &Counts) -> anyhow::Result<TaskResult> {
        let reason = format!("the sum of {} squares", counts.succeeded);
        Ok(TaskResult { code: 0, reason, data: self.0.into() })
    }
}

/// The type as it is registered.
pub(crate) fn registration() -> TaskPluginRegistration {
    TaskPluginRegistration {
        task_type: SQUARES,
        name: "squares".to_owned(),
        description: "adds up squares".to_owned(),
        plugin: Arc::new(Squares),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let dtf = Dtf::embedded().jobs(2).register(registration()).start().await?;
    let param = TaskParam { type_param: 100_000.into(), ..TaskParam::default() };
    let row = dtf.client().create_task(SQUARES, param).await?.wait().await?;
    println!("{}: {:?}", row.status, row.result);
    dtf.stop().await;
    Ok(())
}
