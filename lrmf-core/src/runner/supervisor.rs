//! The life of one held task: run, and run again.

use std::hash::BuildHasher;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::crashes::{Crashes, Verdict};
use super::{Declined, Held, Observer, Quarantine, RunTask, RunnerConfig, RunnerEvent};
use crate::panics::message_of;
use crate::task::Holding;
use crate::tenure::Tenure;
use crate::worker::GivenUp;

/// The period of looks at a run that ended because its time seemed over. A member without a session stops its tasks
/// soon after.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The fault of a run that did not end well.
enum Fault {
    Crash(String),
    Declined(Declined),
}

impl From<anyhow::Error> for Fault {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Declined>() {
            Ok(declined) => Self::Declined(declined),
            Err(error) => Self::Crash(format!("{error:#}")),
        }
    }
}

pub(super) struct Supervisor {
    pub(super) body: Arc<dyn RunTask>,
    pub(super) config: Arc<RunnerConfig>,
    pub(super) observer: Observer,
    pub(super) given_up: Arc<Quarantine>,
    pub(super) holding: Holding,
    pub(super) tenure: Tenure,
    pub(super) stop: CancellationToken,
}

impl Supervisor {
    /// Runs the task until it ends well, is stopped, or is given up.
    pub(super) async fn run(self) {
        let mut crashes = Crashes::default();
        for attempt in 1_u32.. {
            let (outcome, warned) = self.run_once().await;
            if self.stop.is_cancelled() {
                return;
            }
            let error = match outcome {
                // The session may yet turn out to be alive: a sign of life was under way.
                Ok(()) if warned && self.may_work_again().await => continue,
                Ok(()) if warned => return,
                Ok(()) => return self.report(&RunnerEvent::Finished),
                Err(Fault::Declined(declined)) => return self.decline(declined),
                Err(Fault::Crash(error)) => error,
            };
            match crashes.note(Instant::now(), self.jitter(attempt), &self.config) {
                Verdict::Quarantine => return self.quarantine(&error),
                Verdict::RestartIn(wait) => {
                    self.report(&RunnerEvent::Crashed { error, restart_in: wait });
                    if self.stopped_within(wait).await {
                        return;
                    }
                }
            }
        }
    }

    /// One run, and whether it was told that its time is over. A panic is an error like another, with the panic's message.
    async fn run_once(&self) -> (Result<(), Fault>, bool) {
        let Holding { task, token } = self.holding.clone();
        // A child: a body that cancels its own stops only this run.
        let held = Held::within(&self.tenure, task, token, self.stop.child_token());
        let warned = held.warned.clone();
        let outcome = match AssertUnwindSafe(async { self.body.run(held).await }).catch_unwind().await {
            Ok(outcome) => outcome.map_err(Fault::from),
            Err(panic) => Err(Fault::Crash(format!("panicked: {}", message_of(panic.as_ref())))),
        };
        (outcome, warned.load(Ordering::Relaxed))
    }

    /// Waits until the session turns out to be alive, or the task is to stop.
    async fn may_work_again(&self) -> bool {
        while !self.tenure.is_valid() {
            if self.stopped_within(LOOK_AGAIN).await {
                return false;
            }
        }
        true
    }

    fn quarantine(&self, error: &str) {
        self.report(&RunnerEvent::Quarantined { error: error.to_owned() });
        self.give_up(format!("it keeps crashing: {error}"));
    }

    fn decline(&self, Declined(why): Declined) {
        self.report(&RunnerEvent::Declined { why: why.clone() });
        self.give_up(format!("it is declined: {why}"));
    }

    fn give_up(&self, error: String) {
        let (key, token) = (self.holding.task.key.clone(), self.holding.token);
        self.given_up.put(self.tenure.clone(), GivenUp { key, token, error });
    }

    async fn stopped_within(&self, wait: Duration) -> bool {
        tokio::time::timeout(wait, self.stop.cancelled()).await.is_ok()
    }

    /// The same for the same task and attempt, different between tasks.
    fn jitter(&self, attempt: u32) -> u8 {
        let hash = foldhash::fast::FixedState::default().hash_one((&self.holding.task.key, attempt));
        hash.to_le_bytes()[0]
    }

    fn report(&self, event: &RunnerEvent) {
        let (task, token) = (&self.holding.task.key, self.holding.token);
        match event {
            RunnerEvent::Finished => tracing::debug!(%task, %token, "task finished"),
            RunnerEvent::Crashed { error, restart_in } => {
                tracing::warn!(%task, %token, error, ?restart_in, "task crashed");
            }
            RunnerEvent::Quarantined { error } => {
                tracing::error!(%task, %token, error, "task keeps crashing, it is not run again");
            }
            RunnerEvent::Declined { why } => {
                tracing::info!(%task, %token, why, "task declined, another member is to have it");
            }
            RunnerEvent::Overran => {}
        }
        super::tell(&self.observer, &self.holding, event);
    }
}
