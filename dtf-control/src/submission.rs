//! Running typed tasks: creating one with its options, and its result as a value of the author's own type.

use std::any::type_name;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

use dtf_model::plugin::TaskResult;
use dtf_model::{Counts, Creator, InvalidInput, Limits, Priority, TaskId, TaskParam, TaskStatus};
use dtf_typed::{TaskRef, TaskType};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::client::Client;
use crate::client_error::ClientError;
use crate::handle::TaskHandle;
use crate::results::ResultStream;

/// The reason why a task that was run has no result, or not a whole one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The task could not be created, or not be waited for.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The task completed, and subtasks of it failed. [`RunningTask::output`] has the result of the others.
    #[error("{failed} of {created} subtasks of task {task} failed; the first: {first}")]
    SubtasksFailed {
        /// The task.
        task: TaskId,
        /// The number of subtasks that failed or timed out.
        failed: u64,
        /// The number of all of its subtasks.
        created: u64,
        /// The error of the first one that is kept.
        first: String,
    },
    /// One subtask failed; the others go on. An item of a [`ResultStream`].
    #[error("subtask {id} failed: {error}")]
    SubtaskFailed {
        /// The subtask.
        id: dtf_model::SubtaskId,
        /// The reason.
        error: String,
    },
    /// The task ended before it was complete.
    #[error("task {task} is {status}: {reason}")]
    Ended {
        /// The task.
        task: TaskId,
        /// Cancelled or exceptional.
        status: TaskStatus,
        /// The reason.
        reason: String,
    },
    /// The result, or the output of a subtask, is of another type than the one asked for.
    #[error("{what} of task {task} is no {asked}: {source}")]
    OtherType {
        /// The task.
        task: TaskId,
        /// The value: the result, or an output.
        what: &'static str,
        /// The type that was asked for.
        asked: &'static str,
        /// The reason.
        source: serde_json::Error,
    },
}

impl RunError {
    /// Returns true if the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Client(error) if error.is_retryable())
    }
}

/// A task that is about to be created: its options, then [`submit`](Self::submit), [`run`](Self::run) or
/// [`stream`](Self::stream).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// use std::time::Duration;
/// use dtf::prelude::*;
///
/// let squares = TaskType::named("squares")
///     .input(|limit: u64| 0..limit)
///     .execute(|n: u64, _ctx| async move { Ok(n * n) })
///     .fold(0u64, |sum, square: u64| sum + square)
///     .build();
/// let dtf = Dtf::embedded().register(&squares).start().await?;
/// let task = dtf
///     .new_task(&squares, 100)
///     .name("nightly sum")
///     .priority(Priority::HIGH)
///     .timeout(Duration::from_secs(60))
///     .max_running(8)
///     .submit()
///     .await?;
/// println!("task {} is {}", task.id(), task.status().await?.row.status);
/// let output = task.output().await?;
/// assert_eq!((output.value, output.counts.succeeded), (Some(328_350), 100));
/// # dtf.stop().await;
/// # Ok(())
/// # }
/// ```
#[must_use = "a task is created by `submit`, `run` or `stream`"]
pub struct Submission<T, R> {
    client: Client,
    task_type: T,
    name: String,
    type_param: Result<serde_json::Value, InvalidInput>,
    param: TaskParam,
    request: Uuid,
    result: PhantomData<fn() -> R>,
}

impl<T, R> Submission<T, R> {
    /// Sets the name, for people.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.param.name = name.into();
        self
    }

    /// Sets the description, for people.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.param.description = description.into();
        self
    }

    /// Sets the creator.
    pub fn creator(mut self, creator: Creator) -> Self {
        self.param.creator = creator;
        self
    }

    /// Sets the resource group that the task is charged to. Default: `default`.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.param.group = group.into();
        self
    }

    /// Sets the priority within the group. Default: medium.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.param.priority = priority;
        self
    }

    /// Sets the longest time that the task may run, pauses left out. Default 30 minutes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.param.timeout = timeout;
        self
    }

    /// Sets the earliest time of its start, in milliseconds since the Unix epoch. Default: at once.
    pub fn start_at(mut self, unix_millis: u64) -> Self {
        self.param.start_at = Some(unix_millis);
        self
    }

    /// Limits the number of its subtasks that run at the same time. Default: no limit but that of its type.
    pub fn max_running(mut self, running: u32) -> Self {
        self.param.limits = Limits { running: Some(running), ..self.param.limits };
        self
    }

    /// Limits the number of its subtasks that are started a second. Default: no limit but that of its type.
    pub fn max_per_second(mut self, rate: u32) -> Self {
        self.param.limits = Limits { rate: Some(rate), ..self.param.limits };
        self
    }

    /// Names this creation: submitting again under the same name finds the task that was created before. Default: a fresh
    /// name.
    pub fn once(mut self, request: Uuid) -> Self {
        self.request = request;
        self
    }
}

impl<T, R> Submission<T, R> {
    pub(crate) fn new<P: Serialize>(client: Client, task_type: T, param: &P) -> Self
    where
        T: TaskRef<P, R>,
    {
        let name = task_type.type_name().to_owned();
        let type_param = serde_json::to_value(param).map_err(|error| {
            InvalidInput::TypeParam(format!("the parameter cannot be written as JSON: {error}"))
        });
        let (param, request) = (TaskParam::default(), Uuid::new_v4());
        Self { client, task_type, name, type_param, param, request, result: PhantomData }
    }

    async fn create(
        client: Client,
        name: &str,
        param: TaskParam,
        request: Uuid,
    ) -> Result<TaskHandle, ClientError> {
        let (task_type, param) = client.prepare(name, param).await?;
        client.create_task_once(request, task_type, param).await
    }
}

impl<T, R: DeserializeOwned> Submission<T, R> {
    /// Creates the task. Once this has returned, the task will come to an end, whatever is killed.
    ///
    /// # Errors
    /// The type or the group is unknown, a parameter is not allowed (and nothing was created), or a store failed.
    pub async fn submit(self) -> Result<RunningTask<R>, ClientError> {
        let param = TaskParam { type_param: self.type_param?, ..self.param };
        let handle = Self::create(self.client, &self.name, param, self.request).await?;
        Ok(RunningTask { handle, result: PhantomData })
    }

    /// Creates the task, waits for its end and returns its result.
    ///
    /// # Errors
    /// Those of [`submit`](Self::submit); the task did not complete, or subtasks of it failed.
    pub async fn run(self) -> Result<R, RunError> {
        let task = self.submit().await?;
        let output = task.output().await?;
        let failed = output.counts.failed + output.counts.timed_out;
        if failed > 0 {
            let first = task.failures(None, 1).await?.pop();
            let first = first.map_or_else(|| "it is not kept".to_owned(), |first| first.error);
            let (task, created) = (task.id(), output.counts.created);
            return Err(RunError::SubtasksFailed { task, failed, created, first });
        }
        output.value.ok_or(RunError::Ended { task: task.id(), status: output.status, reason: output.reason })
    }
}

impl<P, I, O: DeserializeOwned + 'static, R: DeserializeOwned> Submission<&TaskType<P, I, O, R>, R> {
    /// Creates the task and returns the outputs of its items as they come.
    ///
    /// Each output is given once, in no particular order. The task waits for its reader; it ends as exceptional where nothing
    /// is read for some twenty minutes. Dropping the stream discards the outputs that are still to come, and the task goes
    /// on.
    ///
    /// # Errors
    /// Those of [`submit`](Self::submit). Outputs can be read only in a process that has all roles to itself, such as
    /// `Dtf::embedded()`, and of a type that was registered with it.
    pub async fn stream(self) -> Result<ResultStream<O>, ClientError> {
        self.client.check_streams(&self.task_type.registration())?;
        let param = TaskParam { type_param: self.type_param?, ..self.param };
        let opening = self.task_type.live().open().await;
        let handle = Self::create(self.client, &self.name, param, self.request).await?;
        let results = opening.attach(handle.id(), ResultStream::<O>::WAITING);
        Ok(ResultStream::new(handle, results))
    }
}

/// A typed task in the hands of its creator: a [`TaskHandle`] that knows the type of its result.
#[derive(Clone)]
pub struct RunningTask<R> {
    handle: TaskHandle,
    result: PhantomData<fn() -> R>,
}

/// The end of a typed task.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TaskOutput<R> {
    /// Completed, cancelled or exceptional.
    pub status: TaskStatus,
    /// The reason why it ended as it did; empty for a completed task.
    pub reason: String,
    /// The numbers of its subtasks, by their ends.
    pub counts: Counts,
    /// The result; `None` unless it completed.
    pub value: Option<R>,
}

impl<R> Deref for RunningTask<R> {
    type Target = TaskHandle;

    fn deref(&self) -> &TaskHandle {
        &self.handle
    }
}

impl<R: DeserializeOwned> RunningTask<R> {
    /// Waits for the end of the task. Failed subtasks are in the counts, and the result is that of the others.
    ///
    /// # Errors
    /// The task does not exist, the store refuses, or the result is no `R`.
    pub async fn output(&self) -> Result<TaskOutput<R>, RunError> {
        let ended = self.handle.result().await?;
        let decode = |TaskResult { data, .. }| {
            serde_json::from_value(data).map_err(|source| RunError::OtherType {
                task: self.handle.id(),
                what: "the result",
                asked: type_name::<R>(),
                source,
            })
        };
        let value = ended.result.map(decode).transpose()?;
        Ok(TaskOutput { status: ended.status, reason: ended.reason, counts: ended.counts, value })
    }
}

impl Client {
    /// Begins to create a task of this type, with this parameter. See [`Submission`].
    pub fn new_task<P: Serialize, R, T: TaskRef<P, R>>(&self, task_type: T, param: P) -> Submission<T, R> {
        Submission::new(self.clone(), task_type, &param)
    }
}
