//! The task type that the benchmarks run: distinct bodies, a chosen time each, and books of what was done.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use async_trait::async_trait;
use dtf::model::plugin::{
    CollectorSupport, ExecuteContext, ExecuteError, Generated, NewSubtask, ResultOf, SubtaskResult,
    TaskCollector, TaskConf, TaskExecutor, TaskGenerator, TaskPlugin, TaskPluginRegistration, TaskResult,
};
use dtf::model::queue::Outcome;
use dtf::model::{Counts, Invalid, TaskId, TaskParam, TaskSpec, TaskType};
use serde::{Deserialize, Serialize};

use crate::crew::{Step, now_ns, tell};

/// How many subtasks of a task may wait for dispatch, unless a benchmark says otherwise: the framework's default.
pub(crate) const BACKLOG: u64 = 10_000;
/// The number of the type.
pub(crate) const LOAD: TaskType = TaskType(90);

/// Subtasks executed by this process, whatever became of them.
static EXECUTED: AtomicU64 = AtomicU64::new(0);
/// How long subtasks of each resource group have run in this process.
static SLOT_TIME: Mutex<BTreeMap<String, SlotTime>> = Mutex::new(BTreeMap::new());

/// How long subtasks have run, those included that still do.
#[derive(Clone, Copy, Default)]
struct SlotTime {
    total: Duration,
    running: u32,
    since: Option<Instant>,
}

impl SlotTime {
    /// Reckons up to now, from when on so many more run, or fewer.
    fn change(&mut self, by: i32) -> Duration {
        let now = Instant::now();
        let before = self.since.replace(now).unwrap_or(now);
        self.total += (now - before) * self.running;
        self.running = self.running.saturating_add_signed(by);
        self.total
    }
}

/// When the first subtask of each task started in this process.
static STARTED: Mutex<BTreeMap<TaskId, u64>> = Mutex::new(BTreeMap::new());

/// When the first subtask of a task started in this process, by the machine's clock.
pub(crate) fn started_ns(task: TaskId) -> Option<u64> {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner).get(&task).copied()
}

/// When all results of each small task had been collected in this process.
static COLLECTED: Mutex<BTreeMap<TaskId, u64>> = Mutex::new(BTreeMap::new());

/// When all results of a task had been collected in this process, by the machine's clock.
pub(crate) fn collected_ns(task: TaskId) -> Option<u64> {
    COLLECTED.lock().unwrap_or_else(PoisonError::into_inner).get(&task).copied()
}

/// Forgets when tasks started and were collected: another cluster numbers its own from the start.
pub(crate) fn forget_times() {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner).clear();
    COLLECTED.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// How many subtasks this process has executed.
pub(crate) fn executed() -> u64 {
    EXECUTED.load(Ordering::Relaxed)
}

/// How long subtasks of each resource group have run in this process.
pub(crate) fn slot_time() -> BTreeMap<String, Duration> {
    let mut times = SLOT_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    times.iter_mut().map(|(group, time)| (group.clone(), time.change(0))).collect()
}

/// A subtask that runs. It ends when this is dropped, cut off or not.
struct Runs<'a>(&'a str);

impl<'a> Runs<'a> {
    fn begin(group: &'a str) -> Self {
        change_slot_time(group, 1);
        Self(group)
    }
}

impl Drop for Runs<'_> {
    fn drop(&mut self) {
        change_slot_time(self.0, -1);
    }
}

fn change_slot_time(group: &str, by: i32) {
    let mut times = SLOT_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(time) = times.get_mut(group) {
        time.change(by);
    } else {
        times.entry(group.to_owned()).or_default().change(by);
    }
}

/// What a task of this type does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LoadParam {
    /// How many subtasks.
    pub(crate) count: u64,
    /// How large the body of each is; at least 8.
    pub(crate) body_bytes: usize,
    /// How long each runs, in microseconds, in turn; not at all where there is none.
    pub(crate) micros: Vec<u64>,
    /// Whether each result names its input, so that the collector can tell that it has seen each once.
    pub(crate) books: bool,
}

impl Default for LoadParam {
    fn default() -> Self {
        Self { count: 0, body_bytes: 64, micros: Vec::new(), books: false }
    }
}

impl LoadParam {
    pub(crate) fn task(&self) -> TaskParam {
        let type_param = serde_json::to_value(self).unwrap_or_default();
        TaskParam { type_param, ..TaskParam::default() }
    }
}

/// What the collector of a task with books says of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Books {
    pub(crate) results: u64,
    sum: u64,
    mixed: u64,
}

impl Books {
    fn add(&mut self, number: u64) {
        self.results += 1;
        self.sum = self.sum.wrapping_add(number);
        // Two sums that an input seen twice in place of another one does not leave both as they were.
        self.mixed = self.mixed.wrapping_add(number.wrapping_mul(number) ^ number.rotate_left(32));
    }

    /// Those of each input from 0 to below `count`, seen once.
    pub(crate) fn of(count: u64) -> Self {
        let mut books = Self::default();
        (0..count).for_each(|number| books.add(number));
        books
    }
}

/// The task type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// How many subtasks of a task may wait for dispatch.
    pub(crate) backlog: u64,
}

impl Load {
    pub(crate) fn registration(self) -> TaskPluginRegistration {
        TaskPluginRegistration {
            task_type: LOAD,
            name: "load".to_owned(),
            description: "distinct bodies that take a chosen time each".to_owned(),
            plugin: Arc::new(self),
        }
    }
}

fn read(param: &TaskParam) -> anyhow::Result<LoadParam> {
    serde_json::from_value(param.type_param.clone()).context("the parameters of the load")
}

impl TaskPlugin for Load {
    fn conf(&self) -> TaskConf {
        TaskConf { backlog: self.backlog, subtask_timeout: Duration::from_secs(1200), ..TaskConf::default() }
    }

    fn check(&self, _param: &TaskParam) -> Result<(), Invalid> {
        Ok(())
    }

    fn generator(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskGenerator>> {
        Ok(Box::new(Generator { param: read(&spec.param)?, next: 0 }))
    }

    fn executor(&self, spec: &TaskSpec) -> anyhow::Result<Arc<dyn TaskExecutor>> {
        Ok(Arc::new(Executor { param: read(&spec.param)?, group: spec.param.group.clone() }))
    }

    fn collector(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskCollector>> {
        Ok(Box::new(Collector { task: spec.id, books: Books::default() }))
    }
}

struct Generator {
    param: LoadParam,
    next: u64,
}

#[async_trait]
impl TaskGenerator for Generator {
    async fn begin(&mut self, saved: Option<bytes::Bytes>) -> anyhow::Result<()> {
        self.next = saved.map_or(Ok(0), |saved| number_in(&saved))?;
        Ok(())
    }

    async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated> {
        let size = self.param.body_bytes;
        let count = (self.param.count - self.next).min(most as u64);
        let mut bodies = bytes::BytesMut::zeroed(count as usize * size);
        for (body, number) in bodies.chunks_exact_mut(size).zip(self.next..) {
            body[..8].copy_from_slice(&number.to_be_bytes());
        }
        let bodies = bodies.freeze();
        let slice = |at: usize| NewSubtask::new(bodies.slice(at * size..(at + 1) * size));
        let subtasks = (0..count as usize).map(slice).collect();
        self.next += count;
        Ok(Generated { subtasks, finished: self.next == self.param.count })
    }

    fn save_status(&self) -> anyhow::Result<Option<bytes::Bytes>> {
        Ok(Some(bytes::Bytes::copy_from_slice(&self.next.to_be_bytes())))
    }
}

struct Executor {
    param: LoadParam,
    group: String,
}

#[async_trait]
impl TaskExecutor for Executor {
    async fn execute(
        &self,
        body: &bytes::Bytes,
        context: &ExecuteContext,
    ) -> Result<SubtaskResult, ExecuteError> {
        let number = number_in(body)?;
        EXECUTED.fetch_add(1, Ordering::Relaxed);
        if !self.param.micros.is_empty() {
            let micros = self.param.micros[number as usize % self.param.micros.len()];
            let runs = Runs::begin(&self.group);
            tell(Step::Starts, context.id.task, number);
            STARTED
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(context.id.task)
                .or_insert_with(now_ns);
            let work = tokio::time::sleep(Duration::from_micros(micros));
            let done = context.cancelled.run_until_cancelled(work).await;
            tell(Step::Ends, context.id.task, number);
            drop(runs);
            done.context("cancelled").map_err(ExecuteError::Final)?;
        }
        match self.param.books {
            true => Ok(SubtaskResult::new(body.slice(..8))),
            false => Ok(SubtaskResult::default()),
        }
    }
}

fn number_in(body: &[u8]) -> anyhow::Result<u64> {
    let head = body.first_chunk().context("it is shorter than the 8 bytes of a number")?;
    Ok(u64::from_be_bytes(*head))
}

struct Collector {
    task: TaskId,
    books: Books,
}

#[async_trait]
impl TaskCollector for Collector {
    async fn begin(&mut self, saved: Option<bytes::Bytes>) -> anyhow::Result<()> {
        self.books = saved.map_or(Ok(Books::default()), |saved| serde_json::from_slice(&saved))?;
        Ok(())
    }

    async fn after_execution(
        &mut self,
        result: &ResultOf,
        _support: &mut CollectorSupport,
    ) -> anyhow::Result<()> {
        match &result.outcome {
            Outcome::Succeeded(result) if !result.body.is_empty() => self.books.add(number_in(&result.body)?),
            _ => self.books.results += 1,
        }
        Ok(())
    }

    fn save_status(&self) -> anyhow::Result<Option<bytes::Bytes>> {
        Ok(Some(serde_json::to_vec(&self.books)?.into()))
    }

    async fn after_task_completed(&mut self, _counts: &Counts) -> anyhow::Result<TaskResult> {
        COLLECTED.lock().unwrap_or_else(PoisonError::into_inner).insert(self.task, now_ns());
        Ok(TaskResult { data: serde_json::to_value(self.books)?, ..TaskResult::default() })
    }
}
