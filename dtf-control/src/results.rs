//! The outputs of a task as a stream.

use std::any::type_name;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use dtf_model::TaskStatus;
use dtf_model::table::TaskRow;
use dtf_typed::{LiveResult, LiveResults};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, Stream, StreamExt};
use serde::de::DeserializeOwned;

use crate::client_error::ClientError;
use crate::handle::TaskHandle;
use crate::submission::RunError;

/// The outputs of a task's items, as they come; made by [`Submission::stream`](crate::Submission::stream).
///
/// An item that failed for good is a [`RunError::SubtaskFailed`], after which the stream goes on. It ends when the task has
/// completed; where the task ends otherwise, the last item is the reason.
pub struct ResultStream<O> {
    task: TaskHandle,
    outputs: BoxStream<'static, Result<O, RunError>>,
}

impl<O> ResultStream<O> {
    /// The number of outputs that may wait for the reader.
    pub(crate) const WAITING: usize = 1024;

    /// Returns the handle of the task.
    pub fn task(&self) -> &TaskHandle {
        &self.task
    }
}

impl<O: DeserializeOwned + 'static> ResultStream<O> {
    pub(crate) fn new(task: TaskHandle, results: LiveResults) -> Self {
        let waiting = task.clone();
        let ending = async move { waiting.wait().await }.boxed();
        let reading = Reading { results, ending: Some(ending), last: None, output: PhantomData };
        let next = |mut reading: Reading<O>| async { reading.next().await.map(|item| (item, reading)) };
        Self { task, outputs: stream::unfold(reading, next).boxed() }
    }
}

impl<O> Stream for ResultStream<O> {
    type Item = Result<O, RunError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.outputs.poll_next_unpin(context)
    }
}

struct Reading<O> {
    results: LiveResults,
    /// Waits for the end of the task; `None` behind it. Everything that was collected is in `results` then.
    ending: Option<BoxFuture<'static, Result<TaskRow, ClientError>>>,
    /// The last item, where the task did not complete.
    last: Option<RunError>,
    output: PhantomData<fn() -> O>,
}

impl<O: DeserializeOwned> Reading<O> {
    async fn next(&mut self) -> Option<Result<O, RunError>> {
        if let Some(ending) = &mut self.ending {
            tokio::select! {
                biased;
                Some(result) = self.results.next() => return Some(Self::decoded(result)),
                ended = ending => {
                    self.ending = None;
                    self.last = error_of(ended);
                }
            }
        }
        match self.results.try_next() {
            Some(result) => Some(Self::decoded(result)),
            None => self.last.take().map(Err),
        }
    }

    fn decoded(LiveResult { id, output }: LiveResult) -> Result<O, RunError> {
        let output = output.map_err(|error| RunError::SubtaskFailed { id, error })?;
        serde_json::from_slice(&output).map_err(|source| RunError::OtherType {
            task: id.task,
            what: "an output",
            asked: type_name::<O>(),
            source,
        })
    }
}

fn error_of(ended: Result<TaskRow, ClientError>) -> Option<RunError> {
    match ended {
        Ok(row) if row.status == TaskStatus::Completed => None,
        Ok(TaskRow { id: task, status, reason, .. }) => Some(RunError::Ended { task, status, reason }),
        Err(error) => Some(error.into()),
    }
}
