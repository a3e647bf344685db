//! The execution of a parcel's subtasks, one after the other, and the view of it from outside.
//!
//! A plugin may block its thread, so nothing else depends on the future that calls it: whoever waits for the parcel looks at
//! its [`ParcelExecution`] meanwhile, and can take what is done away and call the rest off.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dtf_model::queue::{Parcel, Report};
use dtf_runtime::apart;
use tokio::time::Instant;

use crate::subtask::{Stop, SubtaskExecution};
use crate::task_cache::CachedTask;

/// The time that a parcel may take until its subtasks that have not begun are given back, so that others can run them.
pub(crate) const OVERRUN: Duration = Duration::from_millis(250);
/// The size that the results of a parcel may grow to until the rest is given back.
pub(crate) const MOST_BYTES: u64 = 4 * 1024 * 1024;
/// The number of subtasks that are executed between two looks at the clock, where none of them waits.
const UNTIMED: usize = 16;

/// A parcel in execution.
pub(crate) struct ParcelExecution {
    single: SubtaskExecution,
    parcel: Parcel,
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
        let single = SubtaskExecution { work, stop };
        Arc::new(Self { single, parcel, begun: Instant::now(), state: Mutex::new(state) })
    }

    /// Executes the subtasks, until it has done all or the rest was called off.
    pub(crate) async fn run(&self) {
        let task_cancelled = &self.single.work.cancelled;
        let mut context = self.single.context(&self.parcel, 0);
        for (index, body) in self.parcel.bodies.iter().enumerate() {
            if !self.begin(index) {
                return;
            }
            context.id.seq = self.parcel.id.first.plus(index as u64);
            if context.cancelled.is_cancelled() && !task_cancelled.is_cancelled() {
                // The one before it was over its time, and was told so.
                context.cancelled = task_cancelled.child_token();
            }
            let report = self.single.run(body, &context, || self.waits()).await;
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
        self.single.work.executor.as_ref().is_ok_and(|executor| executor.may_block())
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
}

/// Executes a parcel on its execution. Nothing of it runs any more when this has ended; that it panics takes a fault of ours.
pub(crate) async fn execute(execution: Arc<ParcelExecution>) {
    match execution.may_block() {
        true => apart(execution.run()).await,
        false => execution.run().await,
    }
}
