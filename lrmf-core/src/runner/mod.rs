//! A worker that runs one future for each held task.
//!
//! ```
//! use lrmf_core::runner::{Held, TaskRunner};
//!
//! let worker = TaskRunner::new(|held: Held| async move {
//!     while held.may_work() {
//!         // … one round of work for held.task, writing with held.token …
//!         # break;
//!     }
//!     Ok(())
//! });
//! # drop(worker);
//! ```

mod crashes;
mod supervisor;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use self::supervisor::Supervisor;
use crate::ids::Token;
use crate::panics::message_of;
use crate::task::{Holding, Task};
use crate::tenure::Tenure;
use crate::worker::{GivenUp, Worker};

/// A task in the hands of its runner.
#[derive(Clone, Debug)]
pub struct Held {
    /// The task.
    pub task: Task,
    /// The proof of holding it, for every store that it writes to.
    pub token: Token,
    /// Cancelled when the task is to stop. It is handed over only once the run has ended, so end soon.
    pub stop: CancellationToken,
    tenure: Tenure,
    /// The run was told that its time is over, and may end because of that.
    warned: Arc<AtomicBool>,
}

impl Held {
    /// A task in the hands of no member, to call a body with in tests.
    pub fn new(task: Task, token: Token, stop: CancellationToken) -> Self {
        Self::within(&Tenure::unlimited(), task, token, stop)
    }

    fn within(tenure: &Tenure, task: Task, token: Token, stop: CancellationToken) -> Self {
        Self { task, token, stop, tenure: tenure.clone(), warned: Arc::default() }
    }

    /// Returns true where to begin another piece of work: the task is not to stop, and the member's session cannot have ended. A
    /// process that was suspended for longer than that hears it here at once, and from [`stop`](Self::stop) only when its
    /// member has run; see [`Tenure`]. Ask before each effect that must not come from a former holder; the token is for
    /// those that must not by any means.
    ///
    /// A run that ends well after it was told no is begun again, should the session turn out to be alive.
    pub fn may_work(&self) -> bool {
        if self.stop.is_cancelled() {
            return false;
        }
        let may = self.tenure.is_valid();
        if !may {
            self.warned.store(true, Ordering::Relaxed);
        }
        may
    }
}

/// The work of a [`TaskRunner`] for each task that its member holds. A closure will do:
/// `|held: Held| async move { … }`.
///
/// # What an implementor guarantees
/// When the future of [`run`](Self::run) ends or is dropped, nothing of the task runs any more. What it spawns, blocking
/// work too, it waits for.
#[async_trait]
pub trait RunTask: Send + Sync + 'static {
    /// Works on the task until `held.stop` is cancelled or there is nothing left to do.
    ///
    /// # Errors
    /// The task is run again, after a wait. So it is after a panic. With [`Declined`] it is not: another member is to have it.
    async fn run(&self, held: Held) -> anyhow::Result<()>;
}

#[async_trait]
impl<F, R> RunTask for F
where
    F: Fn(Held) -> R + Send + Sync + 'static,
    R: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    async fn run(&self, held: Held) -> anyhow::Result<()> {
        self(held).await
    }
}

/// Why a run ends whose task another member should have: this one lacks what it takes. The leader gives it to one that has
/// not declined it; where all have, to one of them again, later and later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("declined: {0}")]
pub struct Declined(pub String);

/// The treatment of a run that goes on after `revoke_timeout`. Its task stays unacknowledged in any case, and so is not
/// given to anybody else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overrun {
    /// Report it, and wait on.
    #[default]
    Wait,
    /// Report it, drop the run at its next `.await`, and wait for that. Code that blocks without awaiting is waited for.
    Abort,
}

/// The settings of a [`TaskRunner`].
#[derive(Clone, Debug)]
pub struct RunnerConfig {
    /// The wait before a crashed task is run again; it doubles with each crash within the window.
    pub first_backoff: Duration,
    /// The longest such wait.
    pub longest_backoff: Duration,
    /// The number of crashes within the window that end the attempts; at least 1.
    pub quarantine_after: u32,
    /// The time for which a crash counts.
    pub quarantine_window: Duration,
    /// The time that a run may take to end after it was told to.
    pub revoke_timeout: Duration,
    /// The treatment of a run that does not end in time.
    pub overrun: Overrun,
}

impl Default for RunnerConfig {
    fn default() -> Self {
        Self {
            first_backoff: Duration::from_millis(100),
            longest_backoff: Duration::from_secs(10),
            quarantine_after: 10,
            quarantine_window: Duration::from_secs(300),
            revoke_timeout: Duration::from_secs(30),
            overrun: Overrun::Wait,
        }
    }
}

impl RunnerConfig {
    /// Checks the values against each other.
    ///
    /// # Errors
    /// A wait or timeout of zero, `longest_backoff` below `first_backoff`, `quarantine_after` of zero.
    pub fn check(&self) -> Result<(), InvalidRunnerConfig> {
        let refuse = |what| Err(InvalidRunnerConfig(what));
        if self.first_backoff.is_zero() || self.revoke_timeout.is_zero() {
            return refuse("first_backoff and revoke_timeout must be longer than zero");
        }
        if self.longest_backoff < self.first_backoff {
            return refuse("longest_backoff must be at least first_backoff");
        }
        if self.quarantine_after == 0 {
            return refuse("quarantine_after must be at least 1");
        }
        Ok(())
    }
}

/// A [`RunnerConfig`] that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the runner's configuration is invalid: {0}")]
pub struct InvalidRunnerConfig(&'static str);

/// The fate of a held task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunnerEvent {
    /// The run ended well. The task stays held and is left alone.
    Finished,
    /// The run ended with an error or a panic, and begins again after a wait.
    Crashed {
        /// The error or the panic's message.
        error: String,
        /// The wait.
        restart_in: Duration,
    },
    /// The task crashed too often. It is given up here: the leader tries elsewhere, or here again later.
    Quarantined {
        /// The last error or panic's message.
        error: String,
    },
    /// The run said that another member is to have the task. It is given up here.
    Declined {
        /// Why.
        why: String,
    },
    /// The run has not ended within `revoke_timeout` of being told to. Reported again after each further one.
    Overran,
}

/// Hears of each event with its task. It is called from the runs themselves, so it must not block.
pub type Observer = Arc<dyn Fn(&Holding, &RunnerEvent) + Send + Sync>;

/// A held task's run, from the outside.
#[derive(Debug)]
struct Run {
    token: Token,
    stop: CancellationToken,
    /// Cancelled once nothing of the run is left.
    ended: CancellationToken,
    abort: AbortHandle,
}

/// A [`Worker`] that runs one tokio task for each held task: restarted with a growing wait when it ends with an error or
/// panics, left alone if it ends well, quarantined and reported if it keeps crashing. A revoke stops it and waits until it
/// has really ended. Dropping the runner aborts all runs.
pub struct TaskRunner {
    body: Arc<dyn RunTask>,
    config: Arc<RunnerConfig>,
    observer: Observer,
    runtime: Option<Handle>,
    runs: Mutex<HashMap<Arc<str>, Run>>,
    given_up: Arc<Quarantine>,
}

/// The quarantined tasks that nobody was told of yet, each with the tenure that it was assigned within; one a run at most.
#[derive(Debug, Default)]
struct Quarantine {
    tasks: Mutex<VecDeque<(Tenure, GivenUp)>>,
    more: Notify,
}

impl Quarantine {
    fn put(&self, tenure: Tenure, task: GivenUp) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push_back((tenure, task));
        // Several members may wait, each for its own.
        self.more.notify_waiters();
    }

    /// The next one within a tenure, or within any.
    async fn next(&self, of: Option<&Tenure>) -> GivenUp {
        loop {
            let mut more = pin!(self.more.notified());
            // Begun before the look, so that what comes in between is not missed.
            more.as_mut().enable();
            if let Some(task) = self.take(of) {
                return task;
            }
            more.await;
        }
    }

    fn take(&self, of: Option<&Tenure>) -> Option<GivenUp> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let at = tasks.iter().position(|(tenure, _)| of.is_none_or(|of| of.is_same(tenure)))?;
        tasks.remove(at).map(|(_, task)| task)
    }
}

/// Tells the observer, whose panics end no run.
fn tell(observer: &Observer, holding: &Holding, event: &RunnerEvent) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| observer(holding, event))) {
        let error = message_of(panic.as_ref());
        tracing::error!(task = %holding.task.key, token = %holding.token, error, "the runner's observer panicked");
    }
}

impl fmt::Debug for TaskRunner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskRunner").field("runs", &self.runs().len()).finish_non_exhaustive()
    }
}

impl TaskRunner {
    /// A runner of this body, configured by default.
    pub fn new(body: impl RunTask) -> Self {
        Self {
            body: Arc::new(body),
            config: Arc::default(),
            observer: Arc::new(|_, _| {}),
            runtime: None,
            runs: Mutex::default(),
            given_up: Arc::default(),
        }
    }

    /// The same with another configuration.
    ///
    /// # Errors
    /// What [`RunnerConfig::check`] refuses.
    pub fn configured(mut self, config: RunnerConfig) -> Result<Self, InvalidRunnerConfig> {
        config.check()?;
        self.config = Arc::new(config);
        Ok(self)
    }

    /// The same with an observer.
    #[must_use]
    pub fn observed(mut self, observer: impl Fn(&Holding, &RunnerEvent) + Send + Sync + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// The same with its runs on another runtime than the one that calls the worker: a body that blocks then cannot
    /// keep the member's session from being kept alive.
    #[must_use]
    pub fn on_runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<Arc<str>, Run>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, holding: &Holding, tenure: &Tenure) -> Run {
        let stop = CancellationToken::new();
        let ended = CancellationToken::new();
        let supervisor = Supervisor {
            body: self.body.clone(),
            config: self.config.clone(),
            observer: self.observer.clone(),
            given_up: self.given_up.clone(),
            holding: holding.clone(),
            tenure: tenure.clone(),
            stop: stop.clone(),
        };
        let ended_with_it = ended.clone().drop_guard();
        let run = async move {
            // Declared first, so dropped last, also when the run is aborted.
            let _ended_with_it = ended_with_it;
            supervisor.run().await;
        };
        let spawned = match &self.runtime {
            Some(runtime) => runtime.spawn(run),
            None => tokio::spawn(run),
        };
        Run { token: holding.token, stop, ended, abort: spawned.abort_handle() }
    }

    /// Tells the runs of these tasks to stop, and returns what to wait for.
    fn tell<'a>(&self, holdings: &'a [Holding]) -> Vec<(&'a Holding, CancellationToken, AbortHandle)> {
        let runs = self.runs();
        let told = holdings.iter().filter_map(|holding| {
            let run = runs.get(&holding.task.key)?;
            run.stop.cancel();
            Some((holding, run.ended.clone(), run.abort.clone()))
        });
        told.collect()
    }

    /// Waits until a run that was told to stop has ended.
    async fn wait_for(&self, holding: &Holding, ended: CancellationToken, abort: AbortHandle) {
        while tokio::time::timeout(self.config.revoke_timeout, ended.cancelled()).await.is_err() {
            tracing::warn!(task = %holding.task.key, token = %holding.token, "a revoked task still runs");
            tell(&self.observer, holding, &RunnerEvent::Overran);
            if self.config.overrun == Overrun::Abort {
                abort.abort();
            }
        }
    }
}

#[async_trait]
impl Worker for TaskRunner {
    async fn assign(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        self.assign_within(holdings, &Tenure::unlimited()).await
    }

    async fn assign_within(&self, holdings: &[Holding], tenure: &Tenure) -> anyhow::Result<()> {
        let mut runs = self.runs();
        let mut begins = Vec::new();
        for holding in holdings {
            match runs.get(&holding.task.key) {
                None => begins.push(holding),
                Some(run) if run.token == holding.token && !run.stop.is_cancelled() => {}
                Some(run) => anyhow::bail!(
                    "task {:?} was assigned with token {} before its run with token {} was revoked",
                    holding.task.key,
                    holding.token,
                    run.token,
                ),
            }
        }
        for holding in begins {
            runs.insert(holding.task.key.clone(), self.start(holding, tenure));
        }
        Ok(())
    }

    async fn revoke(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        // A run stays on the books until it has ended, so that a revoke given up halfway can be repeated.
        let waits = self.tell(holdings).into_iter().map(|(holding, ended, abort)| async move {
            self.wait_for(holding, ended, abort).await;
            self.runs().remove(&holding.task.key);
        });
        futures::future::join_all(waits).await;
        Ok(())
    }

    async fn given_up(&self) -> GivenUp {
        self.given_up.next(None).await
    }

    async fn given_up_within(&self, tenure: &Tenure) -> GivenUp {
        self.given_up.next(Some(tenure)).await
    }
}

impl Drop for TaskRunner {
    fn drop(&mut self) {
        for run in self.runs().values() {
            run.stop.cancel();
            run.abort.abort();
        }
    }
}

#[cfg(test)]
mod tests;
