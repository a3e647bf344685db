//! The execution of one subtask: its plugin's code, with all that can come of it, and what ends it early.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use dtf_model::plugin::{ExecuteContext, ExecuteError, SubtaskResult, TaskExecutor};
use dtf_model::queue::{Outcome, Parcel, Report};
use dtf_model::{Control, SubtaskId};
use dtf_runtime::panic_text;
use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::outcome::{failed, failure, succeeded};
use crate::task_cache::CachedTask;

/// The orders to end a parcel early.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    /// Start nothing more.
    pub(crate) soon: CancellationToken,
    /// Drop what runs.
    pub(crate) now: CancellationToken,
}

/// The way in which each subtask of a parcel is executed.
pub(crate) struct SubtaskExecution {
    pub(crate) work: Arc<CachedTask>,
    pub(crate) stop: Stop,
}

impl SubtaskExecution {
    /// The context of a parcel's subtask, with a token of its own.
    pub(crate) fn context(&self, parcel: &Parcel, index: usize) -> ExecuteContext {
        let (task, run) = (self.work.spec.id, self.work.spec.run);
        let seq = parcel.id.first.plus(index as u64);
        let id = SubtaskId { task, run, epoch: parcel.id.epoch, seq };
        let cancelled = self.work.cancelled.child_token();
        ExecuteContext { id, key: parcel.key, attempt: parcel.attempt, cancelled }
    }

    /// Executes it, unless the task is not to go on; calls `waits` if it has to be waited for.
    pub(crate) async fn run(
        &self,
        body: &Bytes,
        context: &ExecuteContext,
        waits: impl FnOnce() + Send,
    ) -> Report {
        match self.work.control() {
            Control::Cancel | Control::Abort => return Report::Ended(Outcome::Cancelled),
            Control::Pause => return Report::Returned,
            Control::Run if self.stop.soon.is_cancelled() => return Report::Returned,
            Control::Run => {}
        }
        let executor = match &self.work.executor {
            Ok(executor) => executor.as_ref(),
            Err(error) => return failed(error, body),
        };
        match self.execute(executor, body, context, waits).await {
            Executed::Returned(Ok(result)) => succeeded(result, body),
            Executed::Returned(Err(_)) if context.cancelled.is_cancelled() => {
                Report::Ended(Outcome::Cancelled)
            }
            Executed::Returned(Err(ExecuteError::Elsewhere(error))) => {
                debug!(task_id = %context.id.task, %error, "not executed here");
                Report::Returned
            }
            Executed::Returned(Err(error)) => failure(&self.work.conf, &error, body, context),
            Executed::Panicked(text) => failed(&format!("the plugin panicked: {text}"), body),
            Executed::TimedOut => Report::Ended(Outcome::TimedOut { body: body.clone() }),
            Executed::Cancelled => Report::Ended(Outcome::Cancelled),
            Executed::Dropped => Report::Returned,
        }
    }

    async fn execute(
        &self,
        executor: &dyn TaskExecutor,
        body: &Bytes,
        context: &ExecuteContext,
        waits: impl FnOnce() + Send,
    ) -> Executed {
        // Making the future is the plugin's code as well.
        let call = async { executor.execute(body, context).await };
        let mut call = Box::pin(AssertUnwindSafe(call).catch_unwind());
        // Work that never waits needs no timers.
        let executed = match futures::poll!(call.as_mut()) {
            std::task::Poll::Ready(caught) => returned(caught),
            std::task::Poll::Pending => {
                waits();
                self.wait_for(call.as_mut(), context).await
            }
        };
        // So is dropping it, where it was broken off.
        match std::panic::catch_unwind(AssertUnwindSafe(|| drop(call))) {
            Ok(()) => executed,
            Err(panic) => Executed::Panicked(panic_text(panic.as_ref())),
        }
    }

    async fn wait_for<F>(&self, call: Pin<&mut F>, context: &ExecuteContext) -> Executed
    where
        F: Future<Output = Caught>,
    {
        let grace_over = async {
            context.cancelled.cancelled().await;
            tokio::time::sleep(self.work.conf.cancel_grace).await;
        };
        tokio::select! {
            biased;
            caught = call => returned(caught),
            () = self.stop.now.cancelled() => Executed::Dropped,
            () = tokio::time::sleep(self.work.conf.subtask_timeout) => {
                context.cancelled.cancel();
                Executed::TimedOut
            }
            () = grace_over => Executed::Cancelled,
        }
    }
}

/// The end of a subtask's execution.
enum Executed {
    Returned(Result<SubtaskResult, ExecuteError>),
    Panicked(String),
    TimedOut,
    Cancelled,
    Dropped,
}

type Caught = Result<Result<SubtaskResult, ExecuteError>, Box<dyn std::any::Any + Send>>;

fn returned(caught: Caught) -> Executed {
    match caught {
        Ok(returned) => Executed::Returned(returned),
        Err(panic) => Executed::Panicked(panic_text(panic.as_ref())),
    }
}
