//! The sample of the original framework's README, step by step. It runs on every backend.
//!
//! ```console
//! cargo run --example sample                                   # everything in this process, no server
//! cargo run --features full --example sample -- migrate        # on servers: this is the `dtf` command with one type more
//! cargo run --features full --example sample -- serve --role all
//! cargo run --features full --example sample -- task submit sample --param '{"count": 1000}' --watch
//! ```
//! On servers the settings come from `dtf.toml`, the environment and flags, as those of `dtf` do.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dtf::embedded::{self, Database, Embedded};
use dtf::model::plugin::{
    CollectorSupport, Dispatch, ExecuteContext, ExecuteError, Generated, IterationMode, NewSubtask, ResultOf,
    SubtaskResult, TaskCollector, TaskConf, TaskExecutor, TaskGenerator, TaskPlugin, TaskPluginRegistration,
    TaskResult, TaskScheduler,
};
use dtf::model::queue::Outcome;
use dtf::model::{Counts, InvalidInput, Priority, SubtaskId, TaskParam, TaskSpec, TaskTypeId};
use dtf::{Dtf, TaskHandle};
use serde::{Deserialize, Serialize};

/// What a task of this type is told: `type_param`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SampleParam {
    /// How many greetings.
    count: u32,
}

impl SampleParam {
    fn read(param: &TaskParam) -> Result<Self, InvalidInput> {
        let read = serde_json::from_value(param.type_param.clone());
        read.map_err(|error| InvalidInput::TypeParam(format!("sample takes {{\"count\": N}}: {error}")))
    }
}

// 1. Implement the generator, the executor, and the callbacks of the scheduler and the collector.

/// Splits the task: a subtask a number.
struct SampleGenerator {
    next: u32,
    count: u32,
}

#[async_trait]
impl TaskGenerator for SampleGenerator {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        self.next = saved.map_or(Ok(0), |saved| serde_json::from_slice(&saved))?;
        Ok(())
    }

    async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated> {
        let end = self.count.min(self.next.saturating_add(u32::try_from(most).unwrap_or(u32::MAX)));
        let subtasks = (self.next..end).map(|number| NewSubtask::new(number.to_string())).collect();
        self.next = end;
        Ok(Generated { subtasks, finished: end == self.count })
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(Some(serde_json::to_vec(&self.next)?.into()))
    }

    fn query_progress(&self) -> Option<f32> {
        Some(self.next as f32 / self.count.max(1) as f32)
    }
}

/// Executes a subtask, in whatever process.
struct SampleExecutor;

#[async_trait]
impl TaskExecutor for SampleExecutor {
    async fn execute(&self, body: &Bytes, context: &ExecuteContext) -> Result<SubtaskResult, ExecuteError> {
        let number = std::str::from_utf8(body)?;
        if context.cancelled.is_cancelled() {
            return Err(ExecuteError::Final(anyhow::anyhow!("cancelled")));
        }
        Ok(SubtaskResult { msg: "ok".to_owned(), ..SubtaskResult::new(format!("hello {number}")) })
    }
}

/// Is asked before a subtask is dispatched, and told afterwards.
struct SampleSchedulerCallback;

#[async_trait]
impl TaskScheduler for SampleSchedulerCallback {
    async fn before_dispatch(&self, _id: SubtaskId, _body: &Bytes) -> anyhow::Result<Dispatch> {
        Ok(Dispatch::Now)
    }
}

/// Is told the results. What it has is saved with every commit, so that a successor goes on from there.
#[derive(Default)]
struct SampleCollectorCallback {
    greetings: u64,
}

#[async_trait]
impl TaskCollector for SampleCollectorCallback {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        self.greetings = saved.map_or(Ok(0), |saved| serde_json::from_slice(&saved))?;
        Ok(())
    }

    async fn after_execution(
        &mut self,
        result: &ResultOf,
        _support: &mut CollectorSupport,
    ) -> anyhow::Result<()> {
        if let Outcome::Succeeded(result) = &result.outcome {
            anyhow::ensure!(result.body.starts_with(b"hello "), "a greeting begins otherwise");
            self.greetings += 1;
        }
        Ok(())
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(Some(serde_json::to_vec(&self.greetings)?.into()))
    }

    async fn after_task_completed(&mut self, _counts: &Counts) -> anyhow::Result<TaskResult> {
        let reason = format!("{} greetings", self.greetings);
        Ok(TaskResult { code: 0, reason, data: self.greetings.into() })
    }
}

// 2. Implement a task plugin.

/// Makes the parts of a task where they are needed.
struct SamplePlugin;

impl TaskPlugin for SamplePlugin {
    fn conf(&self) -> TaskConf {
        TaskConf {
            iteration: IterationMode::No,
            task_type_timeout: Duration::from_secs(3600),
            ..TaskConf::default()
        }
    }

    fn check(&self, param: &TaskParam) -> Result<(), InvalidInput> {
        SampleParam::read(param).map(drop)
    }

    fn generator(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskGenerator>> {
        let SampleParam { count } = SampleParam::read(&spec.param)?;
        Ok(Box::new(SampleGenerator { next: 0, count }))
    }

    fn executor(&self, _spec: &TaskSpec) -> anyhow::Result<Arc<dyn TaskExecutor>> {
        Ok(Arc::new(SampleExecutor))
    }

    fn scheduler(&self, _spec: &TaskSpec) -> Option<Arc<dyn TaskScheduler>> {
        Some(Arc::new(SampleSchedulerCallback))
    }

    fn collector(&self, _spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskCollector>> {
        Ok(Box::new(SampleCollectorCallback::default()))
    }
}

// 3. Register the task type.

const SAMPLE_TASK_TYPE: TaskTypeId = TaskTypeId(101);

pub(crate) fn registration() -> TaskPluginRegistration {
    TaskPluginRegistration {
        task_type: SAMPLE_TASK_TYPE,
        name: "sample".to_owned(),
        description: "a sample task type".to_owned(),
        plugin: Arc::new(SamplePlugin),
    }
}

fn main() -> ExitCode {
    if std::env::args().len() > 1 {
        return dtf::cli::main(vec![registration()]);
    }
    match in_this_process() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sample: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn in_this_process() -> anyhow::Result<()> {
    // 4. Invoke the services: here all of them, in one process.
    let dtf = Dtf::builder(embedded::ports(Database::Memory).await?)
        .config(Embedded { jobs: 2 }.config())
        .register_task_type(registration())?
        .build()?;
    dtf.start_all().await?;

    // 5. Create a task.
    let task = create_task(&dtf).await?;
    let row = task.wait().await?;
    println!("{}: {:?}", row.status, row.result);

    // 6. Wait for the services to exit.
    tokio::join!(dtf.notify_stop(Duration::from_millis(10)), dtf.join());
    Ok(())
}

pub(crate) async fn create_task(dtf: &Dtf) -> anyhow::Result<TaskHandle> {
    let param = TaskParam {
        name: "greetings".to_owned(),
        priority: Priority::HIGH,
        type_param: serde_json::to_value(SampleParam { count: 1000 })?,
        ..TaskParam::default()
    };
    Ok(dtf.client().create_task(SAMPLE_TASK_TYPE, param).await?)
}
