//! A task in the hands of its creator: waiting for it, watching it, what came of it.

use std::time::Duration;

use dtf_model::failure::{Failure, FailureKey};
use dtf_model::plugin::TaskResult;
use dtf_model::table::TaskRow;
use dtf_model::wake::Listener;
use dtf_model::{Counts, TaskId, TaskStatus};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde::Serialize;

use crate::client::{Client, TaskStatusView};
use crate::client_error::ClientError;
use crate::progress::Meter;

/// The period of looks at a task, for those who wait for it without a hint.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The shortest time between two looks of a watch.
const SHORTEST: Duration = Duration::from_millis(10);

/// A task, for its creator, and for whoever [knows its id](Client::task). It can be cloned, and outlives nothing: the task goes
/// on without it.
#[derive(Clone)]
pub struct TaskHandle {
    id: TaskId,
    client: Client,
}

/// The outcome of a task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskOutcome {
    /// Completed, cancelled or exceptional.
    pub status: TaskStatus,
    /// Why it ended as it did, where there is something to say.
    pub reason: String,
    /// The numbers of its subtasks, by their ends.
    pub counts: Counts,
    /// The collector's result: code, reason and data; `None` unless it completed.
    pub result: Option<TaskResult>,
}

impl From<TaskRow> for TaskOutcome {
    fn from(row: TaskRow) -> Self {
        let TaskRow { status, reason, counts, result, .. } = row;
        Self { status, reason, counts, result }
    }
}

impl TaskHandle {
    pub(crate) fn new(id: TaskId, client: Client) -> Self {
        Self { id, client }
    }

    /// Its id.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Returns the state of the task.
    ///
    /// # Errors
    /// The task does not exist, or a store failed.
    pub async fn status(&self) -> Result<TaskStatusView, ClientError> {
        self.client.task_status(self.id).await
    }

    /// Stops generating and dispatching; what runs may finish.
    ///
    /// # Errors
    /// As [`Client::pause_task`].
    pub async fn pause(&self) -> Result<(), ClientError> {
        self.client.pause_task(self.id).await
    }

    /// Goes on, at its checkpoint.
    ///
    /// # Errors
    /// As [`Client::resume_task`].
    pub async fn resume(&self) -> Result<(), ClientError> {
        self.client.resume_task(self.id).await
    }

    /// Ends it before it is done.
    ///
    /// # Errors
    /// It has ended, or the store failed.
    pub async fn cancel(&self) -> Result<(), ClientError> {
        self.client.cancel_task(self.id).await
    }

    /// Waits until it has ended, through failures of the store that pass.
    ///
    /// ```
    /// # use dtf::{embedded::{self, Database, Embedded}, model::TaskParam, tasks::{NOOP, noop::{Noop, NoopParam}}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let dtf = dtf::Dtf::builder(embedded::ports(Database::Memory).await?)
    /// #     .config(Embedded { jobs: 2 }.config()).register_task_type(Noop::registration())?.build()?;
    /// # dtf.start_all().await?;
    /// let param = TaskParam { type_param: NoopParam::new(100).to_json(), ..TaskParam::default() };
    /// let task = dtf.client().create_task(NOOP, param).await?;
    /// let row = task.wait().await?;
    /// assert!(row.status.is_terminal() && row.finished_at.is_some());
    /// # dtf.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The task does not exist, or the store refuses.
    pub async fn wait(&self) -> Result<TaskRow, ClientError> {
        let mut listener = self.client.listen(self.id);
        loop {
            match self.client.row(self.id).await {
                Ok(row) if row.status.is_terminal() => return Ok(row),
                Ok(_) => {}
                Err(error) if error.is_retryable() => {
                    tracing::warn!(task_id = %self.id, %error, "still waiting");
                }
                Err(error) => return Err(error),
            }
            heard(listener.as_mut(), LOOK_AGAIN).await;
        }
    }

    /// Watches it: how it is now, then again and again, `every` so often (at least 10 ms) and as soon as it has ended. The last
    /// item is how it ended; then the stream ends. Rate and ETA of the items are those of the [last
    /// moments](crate::progress::WINDOW). Failures of the stores that pass are passed over in silence. Dropping the stream ends
    /// the watch and nothing else.
    ///
    /// ```
    /// # use dtf::{embedded::{self, Database, Embedded}, model::TaskParam, tasks::{NOOP, noop::{Noop, NoopParam}}};
    /// # use std::time::Duration;
    /// use futures::TryStreamExt;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let dtf = dtf::Dtf::builder(embedded::ports(Database::Memory).await?)
    /// #     .config(Embedded { jobs: 2 }.config()).register_task_type(Noop::registration())?.build()?;
    /// # dtf.start_all().await?;
    /// # let param = TaskParam { type_param: NoopParam::new(100).to_json(), ..TaskParam::default() };
    /// let task = dtf.client().create_task(NOOP, param).await?;
    /// let mut watch = task.watch(Duration::from_millis(100));
    /// let mut last = None;
    /// while let Some(seen) = watch.try_next().await? {
    ///     println!("{} of {}, {:?}", seen.progress().counted(), seen.progress().created, seen.pace);
    ///     last = Some(seen);
    /// }
    /// assert!(last.is_some_and(|last| last.row.status.is_terminal()));
    /// # dtf.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// An item says that the task does not exist, or that a store refuses, and is the last.
    pub fn watch(&self, every: Duration) -> BoxStream<'static, Result<TaskStatusView, ClientError>> {
        let listener = self.client.listen(self.id);
        let (task, every) = (self.clone(), every.max(SHORTEST));
        let watch = Watch { task, every, listener, meter: Meter::default(), has_looked: false };
        stream::try_unfold(Some(watch), async |watch| {
            let Some(mut watch) = watch else { return Ok(None) };
            let seen = watch.next().await?;
            let goes_on = !seen.row.status.is_terminal();
            Ok(Some((seen, goes_on.then_some(watch))))
        })
        .boxed()
    }

    /// Waits until it has ended, and says what came of it. The results of its subtasks went to its collector, which made of them
    /// what is in [`TaskOutcome::result`]; of those that failed for good, [`failures`](Self::failures) has errors and bodies.
    ///
    /// ```
    /// # use dtf::{embedded::{self, Database, Embedded}, model::TaskParam, tasks::{NOOP, noop::{Noop, NoopParam}}};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> anyhow::Result<()> {
    /// # let dtf = dtf::Dtf::builder(embedded::ports(Database::Memory).await?)
    /// #     .config(Embedded { jobs: 2 }.config()).register_task_type(Noop::registration())?.build()?;
    /// # dtf.start_all().await?;
    /// # let param = TaskParam { type_param: NoopParam::new(100).to_json(), ..TaskParam::default() };
    /// let outcome = dtf.client().create_task(NOOP, param).await?.result().await?;
    /// assert_eq!(outcome.counts.succeeded, 100);
    /// let result = outcome.result.expect("it completed");
    /// println!("code {}, {}: {}", result.code, result.reason, result.data);
    /// # dtf.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub async fn result(&self) -> Result<TaskOutcome, ClientError> {
        self.wait().await.map(TaskOutcome::from)
    }

    /// Its subtasks that failed for good, as [`Client::failures`] has them.
    ///
    /// # Errors
    /// As [`Client::failures`].
    pub async fn failures(&self, after: Option<FailureKey>, most: u32) -> Result<Vec<Failure>, ClientError> {
        self.client.failures(self.id, after, most).await
    }
}

/// Waits for a hint, or for the time to pass.
async fn heard(listener: &mut dyn Listener, most: Duration) {
    tokio::select! {
        _ = listener.next() => {}
        () = tokio::time::sleep(most) => {}
    }
}

/// A watch of a task.
struct Watch {
    task: TaskHandle,
    every: Duration,
    listener: Box<dyn Listener>,
    meter: Meter,
    has_looked: bool,
}

impl Watch {
    async fn next(&mut self) -> Result<TaskStatusView, ClientError> {
        loop {
            if std::mem::replace(&mut self.has_looked, true) {
                heard(self.listener.as_mut(), self.every).await;
            }
            match self.task.status().await {
                Ok(mut seen) => {
                    seen.pace = self.meter.note(self.task.client.now(), &seen.row, &seen.progress());
                    return Ok(seen);
                }
                Err(error) if error.is_retryable() => {
                    tracing::warn!(task_id = %self.task.id, %error, "still watching");
                }
                Err(error) => return Err(error),
            }
        }
    }
}
