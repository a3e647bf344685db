//! The task type that the benchmarks run: distinct bodies that take a chosen time each.

mod books;
mod observed;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use dtf::model::plugin::{
    CollectorSupport, ExecuteContext, ExecuteError, ResultOf, SubtaskResult, TaskCollector, TaskConf,
    TaskExecutor, TaskGenerator, TaskPlugin, TaskPluginRegistration, TaskResult,
};
use dtf::model::queue::Outcome;
use dtf::model::{Counts, InvalidInput, TaskId, TaskParam, TaskSpec, TaskTypeId};
use dtf::tasks::noop::{Noop, NoopParam};
use serde::{Deserialize, Serialize};

use crate::events::{EventKind, report};

pub(crate) use books::Books;
pub(crate) use observed::{
    collected_ns, collected_tasks, executed, forget_times, running, slot_time, started_ns,
};

/// The number of subtasks of a task that may wait for dispatch, unless a benchmark sets it: the framework's default.
pub(crate) const BACKLOG: u64 = 10_000;
/// The number of the type.
pub(crate) const LOAD: TaskTypeId = TaskTypeId(90);
/// The plugin's name.
pub(crate) const LOAD_NAME: &str = "load";

/// The parameters of a task of this type.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LoadParam {
    /// The number of subtasks.
    pub(crate) count: u64,
    /// The size of each body; at least 8.
    pub(crate) body_bytes: usize,
    /// The run times of subtasks in microseconds, in turn; with none, they do nothing.
    pub(crate) micros: Vec<u64>,
    /// Makes each result name its input, so that the collector can keep [`Books`].
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

    fn of(spec: &TaskSpec) -> anyhow::Result<Self> {
        serde_json::from_value(spec.param.type_param.clone()).context("the parameters of the load")
    }
}

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// The number of subtasks of a task that may wait for dispatch.
    backlog: u64,
}

impl Load {
    pub(crate) fn new(backlog: u64) -> Self {
        Self { backlog }
    }

    pub(crate) fn registration(self) -> TaskPluginRegistration {
        TaskPluginRegistration {
            task_type: LOAD,
            name: LOAD_NAME.to_owned(),
            description: "distinct bodies that take a chosen time each".to_owned(),
            plugin: Arc::new(self),
        }
    }
}

impl TaskPlugin for Load {
    fn conf(&self) -> TaskConf {
        TaskConf { backlog: self.backlog, subtask_timeout: Duration::from_secs(1200), ..TaskConf::default() }
    }

    fn check(&self, _param: &TaskParam) -> Result<(), InvalidInput> {
        Ok(())
    }

    /// Generates the numbered bodies of the task type `noop`.
    fn generator(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskGenerator>> {
        let LoadParam { count, body_bytes, .. } = LoadParam::of(spec)?;
        let type_param = NoopParam { body_bytes, ..NoopParam::new(count) }.to_json();
        let param = TaskParam { type_param, ..(*spec.param).clone() };
        Noop.generator(&TaskSpec { param: Arc::new(param), ..spec.clone() })
    }

    fn executor(&self, spec: &TaskSpec) -> anyhow::Result<Arc<dyn TaskExecutor>> {
        Ok(Arc::new(Executor { param: LoadParam::of(spec)?, group: spec.param.group.clone() }))
    }

    fn collector(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskCollector>> {
        Ok(Box::new(Collector { task: spec.id, books: Books::default() }))
    }
}

struct Executor {
    param: LoadParam,
    group: String,
}

#[async_trait]
impl TaskExecutor for Executor {
    async fn execute(&self, body: &Bytes, context: &ExecuteContext) -> Result<SubtaskResult, ExecuteError> {
        let number = number_in(body)?;
        observed::count_execution();
        if !self.param.micros.is_empty() {
            let micros = self.param.micros[number as usize % self.param.micros.len()];
            let running = observed::Running::start(context.id.task, &self.group);
            report(EventKind::Started, context.id.task, number);
            let work = tokio::time::sleep(Duration::from_micros(micros));
            let done = context.cancelled.run_until_cancelled(work).await;
            report(EventKind::Ended, context.id.task, number);
            drop(running);
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
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
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

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(Some(serde_json::to_vec(&self.books)?.into()))
    }

    async fn after_task_completed(&mut self, _counts: &Counts) -> anyhow::Result<TaskResult> {
        observed::count_collected(self.task);
        Ok(TaskResult { data: serde_json::to_value(self.books)?, ..TaskResult::default() })
    }
}
