//! The guarantees that a plugin of the original framework could rely on: the calls of its parts, their order and arguments,
//! and the values that are shown of a task.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{KIND, Stage, count};
use async_trait::async_trait;
use bytes::Bytes;
use dtf::model::param::Creator;
use dtf::model::plugin::{
    CollectorSupport, Dispatch, ExecuteContext, ExecuteError, Generated, IterationMode, NewSubtask, ResultOf,
    SubtaskResult, TaskCollector, TaskConf, TaskExecutor, TaskGenerator, TaskPlugin, TaskPluginRegistration,
    TaskResult, TaskScheduler,
};
use dtf::model::queue::Outcome;
use dtf::model::{Counts, InvalidInput, Priority, SubtaskId, TaskParam, TaskSpec, TaskStatus};
use dtf::{Dtf, TaskHandle};

/// The number of subtasks that a call of the generator gives.
const BATCH: u64 = 4;
/// The number that is put back once by the scheduler's callback.
const PUT_BACK: u64 = 1;
/// The number whose first result is not its last.
const OPEN: u64 = 2;
/// The number whose result makes the collector add another one.
const ADDS: u64 = 3;
const ADDED: u64 = 1000;
const AGAIN: u64 = 2000;

/// A plugin that notes every call, and how long each execution takes.
#[derive(Clone)]
struct Recorder {
    calls: Arc<Mutex<Vec<String>>>,
    takes: Duration,
}

impl Recorder {
    fn new(takes: Duration) -> Self {
        Self { calls: Arc::default(), takes }
    }

    fn note(&self, call: impl Into<String>) {
        self.calls.lock().unwrap().push(call.into());
    }

    /// The calls that begin with this, in their order.
    fn calls(&self, beginning: &str) -> Vec<String> {
        self.calls.lock().unwrap().iter().filter(|call| call.starts_with(beginning)).cloned().collect()
    }

    async fn start(&self, stage: &Stage, instance: &str) -> Dtf {
        let registration = TaskPluginRegistration {
            task_type: KIND,
            name: "recorder".to_owned(),
            description: "notes what is called".to_owned(),
            plugin: Arc::new(self.clone()),
        };
        let dtf = stage.process_of(instance, vec![registration]);
        dtf.start_all().await.unwrap();
        dtf
    }
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

fn bytes(number: u64) -> Bytes {
    number.to_le_bytes().to_vec().into()
}

struct Generator(Recorder, u64, u64);

#[async_trait]
impl TaskGenerator for Generator {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        self.1 = saved.as_deref().map_or(0, number);
        self.0.note(format!("generator begin {:?}", saved.as_deref().map(number)));
        Ok(())
    }

    async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated> {
        let end = self.2.min(self.1 + BATCH.min(most as u64));
        let subtasks = (self.1..end).map(|number| NewSubtask::new(bytes(number))).collect();
        self.1 = end;
        self.0.note("generator next");
        Ok(Generated { subtasks, finished: end == self.2 })
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        self.0.note(format!("generator saves {}", self.1));
        Ok(Some(bytes(self.1)))
    }

    fn query_progress(&self) -> Option<f32> {
        Some(self.1 as f32 / self.2 as f32)
    }

    async fn cancel(&mut self) -> anyhow::Result<()> {
        self.0.note("generator cancel");
        Ok(())
    }

    async fn end(&mut self) -> anyhow::Result<()> {
        self.0.note("generator end");
        Ok(())
    }
}

#[async_trait]
impl TaskExecutor for Recorder {
    async fn execute(&self, body: &Bytes, context: &ExecuteContext) -> Result<SubtaskResult, ExecuteError> {
        tokio::select! {
            () = tokio::time::sleep(self.takes) => {}
            () = context.cancelled.cancelled() => {
                self.note("executor cancelled");
                return Err(anyhow::anyhow!("cancelled").into());
            }
        }
        Ok(SubtaskResult { code: 5, msg: "five".to_owned(), body: body.clone() })
    }
}

#[async_trait]
impl TaskScheduler for Recorder {
    async fn before_dispatch(&self, _id: SubtaskId, body: &Bytes) -> anyhow::Result<Dispatch> {
        let call = format!("before {}", number(body));
        let again = !self.calls(&call).is_empty();
        self.note(call);
        Ok(match number(body) == PUT_BACK && !again {
            true => Dispatch::After(Duration::from_secs(1)),
            false => Dispatch::Now,
        })
    }

    async fn after_dispatch(&self, _id: SubtaskId) -> anyhow::Result<()> {
        self.note("after");
        Ok(())
    }
}

struct Collector(Recorder);

#[async_trait]
impl TaskCollector for Collector {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        self.0.note(format!("collector begin {:?}", saved.is_some()));
        Ok(())
    }

    async fn after_execution(
        &mut self,
        result: &ResultOf,
        support: &mut CollectorSupport,
    ) -> anyhow::Result<()> {
        let Outcome::Succeeded(SubtaskResult { code, msg, body }) = &result.outcome else { return Ok(()) };
        let number = number(body);
        self.0.note(format!("collected {number} {code} {msg}"));
        match number {
            OPEN => support.keep_open(NewSubtask::new(bytes(AGAIN)), Duration::ZERO),
            ADDS => support.add_subtask(NewSubtask::new(bytes(ADDED))),
            _ => {}
        }
        Ok(())
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(Some(Bytes::from_static(b"saved")))
    }

    async fn after_task_completed(&mut self, counts: &Counts) -> anyhow::Result<TaskResult> {
        self.0.note("collector completed");
        Ok(TaskResult { code: 3, reason: "done".to_owned(), data: counts.succeeded.into() })
    }

    async fn cancel(&mut self) -> anyhow::Result<()> {
        self.0.note("collector cancel");
        Ok(())
    }
}

impl TaskPlugin for Recorder {
    fn conf(&self) -> TaskConf {
        TaskConf { iteration: IterationMode::Yes, backlog: 100, ..TaskConf::default() }
    }

    fn check(&self, _param: &TaskParam) -> Result<(), InvalidInput> {
        Ok(())
    }

    fn generator(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskGenerator>> {
        Ok(Box::new(Generator(self.clone(), 0, spec.param.type_param.as_u64().unwrap_or(0))))
    }

    fn executor(&self, _spec: &TaskSpec) -> anyhow::Result<Arc<dyn TaskExecutor>> {
        Ok(Arc::new(self.clone()))
    }

    fn scheduler(&self, _spec: &TaskSpec) -> Option<Arc<dyn TaskScheduler>> {
        Some(Arc::new(self.clone()))
    }

    fn collector(&self, _spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskCollector>> {
        Ok(Box::new(Collector(self.clone())))
    }
}

#[tokio::test(start_paused = true)]
async fn every_part_is_called_when_it_should_be() {
    let stage = Stage::new();
    let plugin = Recorder::new(Duration::from_millis(10));
    let dtf = plugin.start(&stage, "a").await;
    let outcome = dtf.client().create_task(KIND, count(10)).await.unwrap().result().await.unwrap();
    let result = TaskResult { code: 3, reason: "done".to_owned(), data: 11.into() };
    assert_eq!((outcome.status, outcome.result), (TaskStatus::Completed, Some(result)));
    assert_eq!((outcome.counts.created, outcome.counts.succeeded), (11, 11), "one was added, one was open");
    let generator = ["begin None", "next", "saves 4", "next", "saves 8", "next", "saves 10", "end"];
    assert_eq!(plugin.calls("generator"), generator.map(|call| format!("generator {call}")));
    assert_eq!(
        plugin
            .calls(&format!("before {PUT_BACK}"))
            .iter()
            .filter(|call| **call == format!("before {PUT_BACK}"))
            .count(),
        2
    );
    // Ten, the one that was added, and the second execution of the open one.
    assert_eq!(plugin.calls("after").len(), 12);
    let mut collected = plugin.calls("collected");
    collected.sort();
    let mut expected: Vec<_> =
        (0..10).chain([ADDED, AGAIN]).map(|number| format!("collected {number} 5 five")).collect();
    expected.sort();
    assert_eq!(collected, expected);
    assert_eq!(plugin.calls("collector"), ["collector begin false", "collector completed"]);
    assert!(plugin.calls("executor").is_empty());
    dtf.stop().await;
}

async fn until_done(task: &TaskHandle, succeeded: u64) {
    while task.status().await.unwrap().progress().succeeded < succeeded {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_part_of_a_cancelled_task_is_told_so() {
    let stage = Stage::new();
    let plugin = Recorder::new(Duration::from_secs(10));
    let dtf = plugin.start(&stage, "a").await;
    let param = TaskParam { timeout: Duration::from_secs(1_000_000), ..count(100_000) };
    let task = dtf.client().create_task(KIND, param).await.unwrap();
    until_done(&task, 8).await;
    let progress = task.status().await.unwrap().progress();
    assert!(
        !progress.generated && progress.generator.is_some_and(|share| share > 0.0 && share < 1.0),
        "{progress:?}"
    );
    task.cancel().await.unwrap();
    assert_eq!(task.result().await.unwrap().status, TaskStatus::Cancelled);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(plugin.calls("generator cancel").len(), 1);
    assert_eq!(plugin.calls("collector cancel").len(), 1);
    assert!(!plugin.calls("executor cancelled").is_empty());
    assert!(plugin.calls("generator end").is_empty() && plugin.calls("collector completed").is_empty());
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_next_process_begins_with_what_was_saved() {
    let stage = Stage::new();
    let plugin = Recorder::new(Duration::from_secs(10));
    let dtf = plugin.start(&stage, "a").await;
    let param = TaskParam { timeout: Duration::from_secs(1_000_000), ..count(5_000) };
    let task = dtf.client().create_task(KIND, param).await.unwrap();
    until_done(&task, 8).await;
    dtf.kill().await;
    let later = Recorder::new(Duration::ZERO);
    let dtf = later.start(&stage, "b").await;
    let row = dtf.client().task(task.id()).wait().await.unwrap();
    assert_eq!((row.status, row.counts.created, row.counts.succeeded), (TaskStatus::Completed, 5_001, 5_001));
    let begun = later.calls("generator begin Some");
    assert_eq!(begun.len(), 1, "{:?}", later.calls("generator"));
    assert_eq!(later.calls("collector begin"), ["collector begin true"]);
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_is_shown_as_it_was_asked_for() {
    let stage = Stage::new();
    let plugin = Recorder::new(Duration::from_secs(10));
    let dtf = plugin.start(&stage, "a").await;
    let creator = Creator { uid: 77, name: "ada".to_owned() };
    let param = TaskParam {
        name: "nightly".to_owned(),
        description: "all of it".to_owned(),
        creator: creator.clone(),
        priority: Priority(7_500),
        ..count(8)
    };
    assert_eq!(param.timeout, Duration::from_secs(30 * 60), "the default");
    let task = dtf.client().create_task(KIND, param).await.unwrap();
    until_done(&task, 1).await;
    let status = task.status().await.unwrap();
    let (row, progress) = (&status.row, status.progress());
    assert_eq!(
        (row.status, row.param.name.as_str(), row.param.group.as_str()),
        (TaskStatus::Running, "nightly", "default")
    );
    assert_eq!((row.param.priority, &row.param.creator), (Priority(7_500), &creator));
    assert!(row.started_at.is_some_and(|at| at >= row.created_at) && row.finished_at.is_none());
    assert!(progress.generated && progress.created >= 8);
    task.wait().await.unwrap();
    dtf.stop().await;
}
