//! The traits that a plugin author implements: splitting, executing and collecting a type of task.
//!
//! A [`TaskPlugin`] makes the parts of a task where they are needed: its generator in the process that generates it,
//! its executor in every process that executes it, and so on. None of them knows where the others run.
//!
//! Calls into plugins are at least once. Their *effects on the books* (what is emitted, counted, collected) happen
//! once: the framework commits them under fencing. A call gets an idempotency key where its effects leave the framework.

mod collector;
mod conf;
mod executor;
mod generator;
pub(crate) mod members;
mod registry;
mod scheduler;

pub use collector::{CollectorSupport, ResultOf, TaskCollector, TaskResult};
pub use conf::{
    Backoff, IterationMode, MAX_EXECUTOR_LOSSES, MAX_PARCEL_WORK, MAX_SUBTASK_TIMEOUT, OnFailure,
    OnLostSession, TaskConf,
};
pub use executor::{ExecuteContext, ExecuteError, SubtaskResult, TaskExecutor};
pub use generator::{Generated, MAX_BODY_BYTES, NewSubtask, TaskGenerator};
pub use members::of_defined;
pub use registry::{PluginRegistry, TaskPluginRegistration};
pub use scheduler::{Dispatch, TaskScheduler};

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use crate::defined_type::DefinedType;
use crate::error::InvalidInput;
use crate::param::{TaskParam, TaskSpec};

/// The members of a type that a process can execute now, sorted, and their changes.
pub type Members = watch::Receiver<Arc<[Arc<str>]>>;

/// A kind of task.
///
/// The parts in this example are those of the examples of their traits.
///
/// ```
/// # use async_trait::async_trait;
/// # use bytes::Bytes;
/// # use dtf_model::plugin::*;
/// # use dtf_model::{Counts, InvalidInput, TaskParam, TaskSpec, TaskTypeId};
/// # use std::sync::Arc;
/// # struct Numbers { next: u64, limit: u64 }
/// # #[async_trait]
/// # impl TaskGenerator for Numbers {
/// #     async fn begin(&mut self, _: Option<Bytes>) -> anyhow::Result<()> { Ok(()) }
/// #     async fn next_subtasks(&mut self, _: usize) -> anyhow::Result<Generated> { Ok(Generated::default()) }
/// #     fn save_status(&self) -> anyhow::Result<Option<Bytes>> { Ok(None) }
/// # }
/// # struct Square;
/// # #[async_trait]
/// # impl TaskExecutor for Square {
/// #     async fn execute(&self, _: &Bytes, _: &ExecuteContext) -> Result<SubtaskResult, ExecuteError> {
/// #         Ok(SubtaskResult::default())
/// #     }
/// # }
/// # struct Sum(u64);
/// # #[async_trait]
/// # impl TaskCollector for Sum {
/// #     async fn begin(&mut self, _: Option<Bytes>) -> anyhow::Result<()> { Ok(()) }
/// #     async fn after_execution(&mut self, _: &ResultOf, _: &mut CollectorSupport) -> anyhow::Result<()> { Ok(()) }
/// #     async fn after_task_completed(&mut self, _: &Counts) -> anyhow::Result<TaskResult> { Ok(TaskResult::default()) }
/// # }
/// /// Adds up squares.
/// struct Squares;
///
/// fn limit(param: &TaskParam) -> Result<u64, InvalidInput> {
///     let limit = param.type_param.as_u64();
///     limit.ok_or_else(|| InvalidInput::TypeParam("squares takes a limit, such as 100".to_owned()))
/// }
///
/// impl TaskPlugin for Squares {
///     fn check(&self, param: &TaskParam) -> Result<(), InvalidInput> {
///         limit(param).map(drop)
///     }
///
///     fn generator(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskGenerator>> {
///         Ok(Box::new(Numbers { next: 0, limit: limit(&spec.param)? }))
///     }
///
///     fn executor(&self, _spec: &TaskSpec) -> anyhow::Result<Arc<dyn TaskExecutor>> {
///         Ok(Arc::new(Square))
///     }
///
///     fn collector(&self, _spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskCollector>> {
///         Ok(Box::new(Sum(0)))
///     }
/// }
///
/// let mut registry = PluginRegistry::default();
/// let registration = TaskPluginRegistration {
///     task_type: TaskTypeId(100),
///     name: "squares".to_owned(),
///     description: "adds up squares".to_owned(),
///     plugin: Arc::new(Squares),
/// };
/// registry.register(registration.clone()).expect("the name and the number are free");
/// assert!(registry.register(registration).is_err(), "every name and number has one plugin");
/// ```
pub trait TaskPlugin: Send + Sync + 'static {
    /// Returns the configuration of tasks of this type.
    fn conf(&self) -> TaskConf {
        TaskConf::default()
    }

    /// Returns the name of the member of this type that a task with these parameters is of, where the type has members: each is a type of
    /// its own to schedulers and executors, called `type:member`. Default: the type has none.
    fn member(&self, _param: &TaskParam) -> Option<String> {
        None
    }

    /// Returns the members of this type that this process can execute now, sorted, and their changes; none where the type has no
    /// members. A type that has them, and says so here, is the only such one of its process.
    fn members(&self) -> Option<Members> {
        None
    }

    /// Returns the member that executes the subtasks of such a task: executors that offer it are given them. Default: the task's own
    /// [member](Self::member).
    fn executing_member(&self, param: &TaskParam) -> Option<String> {
        self.member(param)
    }

    /// Checks the definition of a type that is made of this one. Default: none can be made.
    ///
    /// # Errors
    /// What is wrong with it and what is allowed, in one line.
    fn check_definition(&self, definition: &DefinedType) -> Result<(), InvalidInput> {
        Err(InvalidInput::TypeParam(format!(
            "no type {:?} can be made of this one; it has no template",
            definition.name
        )))
    }

    /// Returns the parameters, as this type has them, of a task of a type that is made of this one, where it is created with `given`.
    ///
    /// # Errors
    /// What is wrong with them and what is allowed, in one line.
    fn fill_in(
        &self,
        definition: &DefinedType,
        _given: &serde_json::Value,
    ) -> Result<serde_json::Value, InvalidInput> {
        self.check_definition(definition).map(|()| serde_json::Value::Null)
    }

    /// Returns the parameters that a task was created with, where its type was made of this one. Default: those that it has.
    fn given<'a>(&self, param: &'a TaskParam) -> &'a serde_json::Value {
        &param.type_param
    }

    /// Returns the JSON schema of the parameters of this type. Default: they may be anything that [`check`](Self::check) allows.
    fn schema(&self) -> Option<serde_json::Value> {
        None
    }

    /// Returns true if a task with these parameters is [fed](crate::items) its items. Default: none is.
    fn takes_items(&self, _param: &TaskParam) -> bool {
        false
    }

    /// Checks `param` before a task is created, its `type_param` above all.
    ///
    /// # Errors
    /// What is wrong with it and what is allowed, in one line.
    fn check(&self, param: &TaskParam) -> Result<(), InvalidInput>;

    /// The part that splits the task.
    ///
    /// # Errors
    /// Whatever makes it impossible; the task ends as exceptional with this reason.
    fn generator(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskGenerator>>;

    /// The subtask that runs a failed one again, in a task made for that. Its body is all that is kept of it; a plugin whose
    /// subtasks have [keys](crate::key) gives it the one that belongs to the body.
    ///
    /// # Errors
    /// Whatever makes it impossible; the task ends as exceptional with this reason.
    fn again(&self, _spec: &TaskSpec, body: Bytes) -> anyhow::Result<NewSubtask> {
        Ok(NewSubtask::new(body))
    }

    /// The part that executes its subtasks.
    ///
    /// # Errors
    /// Whatever makes it impossible; the subtask at hand fails with this reason.
    fn executor(&self, spec: &TaskSpec) -> anyhow::Result<Arc<dyn TaskExecutor>>;

    /// The part that decides when a subtask may be dispatched; none where every subtask always may.
    fn scheduler(&self, _spec: &TaskSpec) -> Option<Arc<dyn TaskScheduler>> {
        None
    }

    /// The part that is told the results.
    ///
    /// # Errors
    /// Whatever makes it impossible; the task ends as exceptional with this reason.
    fn collector(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskCollector>>;
}
