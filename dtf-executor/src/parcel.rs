//! Running the subtasks of one parcel.

use std::future::Future;
use std::hash::{BuildHasher, Hash};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use dtf_model::plugin::{ExecuteContext, ExecuteError, SubtaskResult, TaskExecutor};
use dtf_model::queue::{Outcome, Parcel, ParcelReport, Report};
use dtf_model::roles::panic_text;
use dtf_model::{Control, SubtaskId};
use futures::FutureExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::work::Work;

/// The longest error text that is kept of a failed subtask, in bytes.
pub const MAX_ERROR_BYTES: usize = 4 * 1024;
/// The largest body of a result, in bytes. A subtask with a larger one has failed.
pub const MAX_RESULT_BYTES: usize = 4 * 1024 * 1024;

/// When a parcel is to end early.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    /// Start nothing more.
    pub(crate) soon: CancellationToken,
    /// Drop what runs.
    pub(crate) now: CancellationToken,
}

/// Executes the subtasks of a parcel, one after the other, and says what became of each.
pub(crate) async fn run(work: &Work, parcel: &Parcel, stop: &Stop) -> ParcelReport {
    let started = Instant::now();
    let id =
        SubtaskId { task: work.spec.id, run: work.spec.run, epoch: parcel.id.epoch, seq: parcel.id.first };
    let cancelled = work.cancelled.child_token();
    let mut context = ExecuteContext { id, attempt: parcel.attempt, cancelled };
    let mut reports = Vec::with_capacity(parcel.bodies.len());
    for (index, body) in parcel.bodies.iter().enumerate() {
        context.id.seq = parcel.id.first.plus(index as u64);
        if context.cancelled.is_cancelled() && !work.cancelled.is_cancelled() {
            // The one before it was over its time, and was told so.
            context.cancelled = work.cancelled.child_token();
        }
        reports.push(subtask(work, body, &context, stop).await);
    }
    ParcelReport { parcel: parcel.id, attempt: parcel.attempt, reports, busy: started.elapsed() }
}

async fn subtask(work: &Work, body: &Bytes, context: &ExecuteContext, stop: &Stop) -> Report {
    match work.control() {
        Control::Cancel | Control::Abort => return Report::Ended(Outcome::Cancelled),
        Control::Pause => return Report::Returned,
        Control::Run if stop.soon.is_cancelled() => return Report::Returned,
        Control::Run => {}
    }
    let executor = match &work.executor {
        Ok(executor) => executor.as_ref(),
        Err(error) => return failed(error, body),
    };
    match execute(work, executor, body, context, stop).await {
        Executed::Returned(Ok(result)) => succeeded(result, body),
        Executed::Returned(Err(_)) if context.cancelled.is_cancelled() => Report::Ended(Outcome::Cancelled),
        Executed::Returned(Err(error)) => failure(work, &error, body, context),
        Executed::Panicked(text) => failed(&format!("the plugin panicked: {text}"), body),
        Executed::TimedOut => Report::Ended(Outcome::TimedOut { body: body.clone() }),
        Executed::Cancelled => Report::Ended(Outcome::Cancelled),
        Executed::Dropped => Report::Returned,
    }
}

/// How the execution of a subtask ended.
enum Executed {
    Returned(Result<SubtaskResult, ExecuteError>),
    Panicked(String),
    TimedOut,
    Cancelled,
    Dropped,
}

type Caught = Result<Result<SubtaskResult, ExecuteError>, Box<dyn std::any::Any + Send>>;

async fn execute(
    work: &Work,
    executor: &dyn TaskExecutor,
    body: &Bytes,
    context: &ExecuteContext,
    stop: &Stop,
) -> Executed {
    let mut call = pin!(AssertUnwindSafe(executor.execute(body, context)).catch_unwind());
    // Work that never waits needs no timers.
    if let std::task::Poll::Ready(caught) = futures::poll!(call.as_mut()) {
        return returned(caught);
    }
    wait_for(work, call, context, stop).await
}

async fn wait_for(
    work: &Work,
    call: Pin<&mut impl Future<Output = Caught>>,
    context: &ExecuteContext,
    stop: &Stop,
) -> Executed {
    let grace_over = async {
        context.cancelled.cancelled().await;
        tokio::time::sleep(work.conf.cancel_grace).await;
    };
    tokio::select! {
        caught = call => returned(caught),
        () = tokio::time::sleep(work.conf.subtask_timeout) => {
            context.cancelled.cancel();
            Executed::TimedOut
        }
        () = grace_over => Executed::Cancelled,
        () = stop.now.cancelled() => Executed::Dropped,
    }
}

fn returned(caught: Caught) -> Executed {
    match caught {
        Ok(returned) => Executed::Returned(returned),
        Err(panic) => Executed::Panicked(panic_text(panic.as_ref())),
    }
}

fn succeeded(result: SubtaskResult, body: &Bytes) -> Report {
    let size = result.body.len() + result.msg.len();
    if size > MAX_RESULT_BYTES {
        return failed(&format!("the result has {size} bytes; at most {MAX_RESULT_BYTES} are allowed"), body);
    }
    Report::Ended(Outcome::Succeeded(result))
}

fn failure(work: &Work, error: &ExecuteError, body: &Bytes, context: &ExecuteContext) -> Report {
    let failed_so_far = context.attempt + 1;
    let text = error.to_string();
    match error {
        ExecuteError::Retryable(_) if failed_so_far < work.conf.max_attempts => {
            let after = work.conf.backoff.wait(failed_so_far, jitter(context));
            // A wait of zero would be a retry without one.
            Report::Retry { after: after.max(Duration::from_millis(1)), error: shortened(&text) }
        }
        _ => failed(&text, body),
    }
}

fn failed(error: &str, body: &Bytes) -> Report {
    Report::Ended(Outcome::Failed { error: shortened(error), body: body.clone() })
}

fn shortened(text: &str) -> String {
    let mut end = text.len().min(MAX_ERROR_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// A number from 0 to 1 that differs between subtasks and attempts, and is the same each time for one of them.
fn jitter(context: &ExecuteContext) -> f64 {
    let mut hasher = foldhash::quality::FixedState::with_seed(0).build_hasher();
    (context.id, context.attempt).hash(&mut hasher);
    std::hash::Hasher::finish(&hasher) as f64 / u64::MAX as f64
}
