//! The execution of a parcel's subtasks, one after the other, and the view of it from outside.
//!
//! A plugin may block its thread, so nothing else depends on the future that calls it: whoever waits for the parcel looks at
//! its [`ParcelExecution`] meanwhile, and can take what is done away and call the rest off.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dtf_model::plugin::{ExecuteContext, ExecuteError, SubtaskResult, TaskExecutor};
use dtf_model::queue::{Outcome, Parcel, Report};
use dtf_model::{Control, SubtaskId};
use dtf_runtime::{apart, panic_text};
use futures::FutureExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::outcome::{failed, failure, succeeded};
use crate::task_cache::CachedTask;

/// The time that a parcel may take until its subtasks that have not begun are given back, so that others can run them.
pub(crate) const OVERRUN: Duration = Duration::from_millis(250);
/// The size that the results of a parcel may grow to until the rest is given back.
const MOST_BYTES: u64 = 4 * 1024 * 1024;
/// The number of subtasks that are executed between two looks at the clock, where none of them waits.
const UNTIMED: usize = 16;

/// The orders to end a parcel early.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    /// Start nothing more.
    pub(crate) soon: CancellationToken,
    /// Drop what runs.
    pub(crate) now: CancellationToken,
}

/// A parcel in execution.
pub(crate) struct ParcelExecution {
    work: Arc<CachedTask>,
    parcel: Parcel,
    stop: Stop,
    begun: Instant,
    state: Mutex<State>,
}

struct State {
    /// The reports of the first subtasks; the next one is being executed, or is about to be.
    reports: Vec<Report>,
    /// The first one that is not to be begun any more.
    end: usize,
    /// The subtask behind the reports, if it has begun: the time since which it waits, if it does.
    current: Option<Option<Instant>>,
    bytes: u64,
}

/// The state of an execution at a moment.
pub(crate) struct Seen {
    /// The reports of the first subtasks.
    pub(crate) reports: Vec<Report>,
    /// The time that they took.
    pub(crate) busy: Duration,
    /// True if the next one is being executed.
    pub(crate) one_goes_on: bool,
}

impl ParcelExecution {
    pub(crate) fn new(work: Arc<CachedTask>, parcel: Parcel, stop: Stop) -> Arc<Self> {
        let state = State {
            reports: Vec::with_capacity(parcel.bodies.len()),
            end: parcel.bodies.len(),
            current: None,
            bytes: 0,
        };
        Arc::new(Self { work, parcel, stop, begun: Instant::now(), state: Mutex::new(state) })
    }

    /// Executes the subtasks, until it has done all or the rest was called off.
    pub(crate) async fn run(&self) {
        let (task, run) = (self.work.spec.id, self.work.spec.run);
        let id = SubtaskId { task, run, epoch: self.parcel.id.epoch, seq: self.parcel.id.first };
        let cancelled = self.work.cancelled.child_token();
        let mut context =
            ExecuteContext { id, key: self.parcel.key, attempt: self.parcel.attempt, cancelled };
        for (index, body) in self.parcel.bodies.iter().enumerate() {
            if !self.begin(index) {
                return;
            }
            context.id.seq = self.parcel.id.first.plus(index as u64);
            if context.cancelled.is_cancelled() && !self.work.cancelled.is_cancelled() {
                // The one before it was over its time, and was told so.
                context.cancelled = self.work.cancelled.child_token();
            }
            let report = self.subtask(body, &context).await;
            let goes_on = !self.parcel.is_ordered() || matches!(report, Report::Ended(_));
            self.ended(report);
            if !goes_on {
                return; // those behind it wait for it
            }
        }
    }

    /// Calls off what has not begun, and takes away what is done.
    pub(crate) fn call_off(&self) -> Seen {
        let mut state = self.state();
        state.end = state.reports.len() + usize::from(state.current.is_some());
        let until = state.current.flatten().unwrap_or_else(Instant::now);
        let busy = until.saturating_duration_since(self.begun);
        Seen { reports: state.reports.clone(), busy, one_goes_on: state.current.is_some() }
    }

    fn may_block(&self) -> bool {
        self.work.executor.as_ref().is_ok_and(|executor| executor.may_block())
    }

    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it is held can only come from an allocation failure.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if this subtask is to be begun. Once the parcel has overrun, none is but the first.
    fn begin(&self, index: usize) -> bool {
        let timed = index.is_multiple_of(UNTIMED) && index > 0;
        let over = timed && self.begun.elapsed() >= OVERRUN;
        let mut state = self.state();
        if over || state.bytes >= MOST_BYTES {
            state.end = state.end.min(index);
        }
        let begins = index < state.end;
        state.current = begins.then_some(None);
        begins
    }

    fn waits(&self) {
        self.state().current = Some(Some(Instant::now()));
    }

    fn ended(&self, report: Report) {
        let mut state = self.state();
        if let Report::Ended(outcome) = &report {
            state.bytes += outcome.bytes();
        }
        let waited = state.current.take().flatten().is_some();
        state.reports.push(report);
        if waited && self.begun.elapsed() >= OVERRUN {
            state.end = state.end.min(state.reports.len());
        }
    }

    async fn subtask(&self, body: &Bytes, context: &ExecuteContext) -> Report {
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
        match self.execute(executor, body, context).await {
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

    async fn execute(&self, executor: &dyn TaskExecutor, body: &Bytes, context: &ExecuteContext) -> Executed {
        // Making the future is the plugin's code as well.
        let call = async { executor.execute(body, context).await };
        let mut call = Box::pin(AssertUnwindSafe(call).catch_unwind());
        // Work that never waits needs no timers.
        let executed = match futures::poll!(call.as_mut()) {
            std::task::Poll::Ready(caught) => returned(caught),
            std::task::Poll::Pending => self.wait_for(call.as_mut(), context).await,
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
        self.waits();
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

/// Executes a parcel on its execution. Nothing of it runs any more when this has ended; that it panics takes a fault of ours.
pub(crate) async fn execute(execution: Arc<ParcelExecution>) {
    match execution.may_block() {
        true => apart(execution.run()).await,
        false => execution.run().await,
    }
}
