//! The manager and the queues that it makes.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dtf_memory::{MemoryQueues, MemoryTable, MemoryWakeUp};
use dtf_model::hook::{Answer, Courier, Hook, TaskEnd};
use dtf_model::intercept::{Call, Intercepted, Interceptor};
use dtf_model::queue::{QueueReader, QueueStore, TaskControl};
use dtf_model::table::{Finish, TaskTable};
use dtf_model::{Counts, RunEpoch, StoreError, TaskId, TaskStatus};
use dtf_scheduler::manager::{Manager, ManagerConfig, ManagerPorts};
use lrmf_core::clock::RuntimeClock;
use lrmf_core::runner::{Held, RunTask};
use lrmf_core::{Task, Token};
use tokio_util::sync::CancellationToken;

use crate::support::{context, task};

/// A manager that stalls before it opens a run's queues, for as long as others need to end the task and to delete what there is
/// of it.
struct Stalls {
    task: TaskId,
    table: Arc<MemoryTable>,
    queues: Arc<MemoryQueues>,
    has_opened: AtomicBool,
}

/// Of no task here anybody is told.
struct Nobody;

#[async_trait]
impl Courier for Nobody {
    async fn deliver(&self, hook: &Hook, _: &TaskEnd) -> Answer {
        panic!("no task has hooks, and {hook:?} is asked")
    }
}

impl Interceptor for Stalls {
    async fn around<T: Any + Send>(
        &self,
        call: Call<'_>,
        next: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if call.method != "open" {
            return next.await;
        }
        let finish = Finish {
            run: RunEpoch(1),
            status: TaskStatus::Cancelled,
            counts: Counts::default(),
            reason: String::new(),
            result: None,
            now: 1,
        };
        assert!(self.table.finish(self.task, &finish).await?);
        self.queues.purge(self.task, RunEpoch(1)).await?;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let opened = next.await;
        self.has_opened.store(true, Ordering::Relaxed);
        opened
    }
}

#[tokio::test(start_paused = true)]
async fn queues_that_were_opened_after_the_end_of_their_task_are_deleted() {
    let clock = Arc::new(RuntimeClock::new());
    let queues = Arc::new(MemoryQueues::new(clock.clone()));
    let table = Arc::new(MemoryTable::new());
    let task = task(&table, 1).await;
    let stalls = Arc::new(Stalls {
        task,
        table: table.clone(),
        queues: queues.clone(),
        has_opened: AtomicBool::new(false),
    });
    let intercepted = Intercepted::new(queues.clone() as Arc<dyn QueueStore>, stalls.clone());
    let ports = ManagerPorts { table, queues: intercepted, courier: Arc::new(Nobody) };
    let config = ManagerConfig { retention: Duration::from_secs(1_000_000), ..ManagerConfig::default() };
    let manager = Manager::new(config, ports, context(clock, Arc::new(MemoryWakeUp::default())));
    let stop = CancellationToken::new();
    let held = Held::new(Task::new("00000", ""), Token(1), stop.clone());
    let running = tokio::spawn(async move { manager.run(held).await });
    let begin = tokio::time::Instant::now();
    while !stalls.has_opened.load(Ordering::Relaxed) || queues.state(task).await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(begin.elapsed() < Duration::from_secs(3600), "the queues are there for ever");
    }
    stop.cancel();
    running.await.unwrap().unwrap();
}
