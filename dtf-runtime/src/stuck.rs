//! Reports of plugin code that blocks its thread past its time limit. Such code cannot be interrupted.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dtf_model::ids::TaskId;
use dtf_model::role::Role;
use tokio::sync::watch;
use tracing::warn;

use super::guard::Calls;

/// Gauge: calls into plugins that block their threads past their time limit.
pub const STUCK_CALLS: &str = "dtf_plugin_stuck_calls";
/// The time after its limit at which a call that has not been interrupted certainly blocks its thread.
pub const CERTAINLY_STUCK: Duration = Duration::from_secs(1);

/// The time between two looks of the watchdog.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Of this process, like the threads that are blocked.
static STUCK: LazyLock<watch::Sender<Vec<Stuck>>> = LazyLock::new(watch::Sender::default);

tokio::task_local! {
    static CALLER: Caller;
}

/// A call past its time limit that has not returned.
#[derive(Clone, Debug)]
pub struct Stuck {
    /// The call: the role and the task on whose behalf it was made, as far as that is known.
    pub call: String,
    /// The time at which it was seen to be stuck.
    pub since: Instant,
    number: u64,
}

/// The role and the task on whose behalf a plugin is called.
#[derive(Clone, Copy, Debug)]
struct Caller {
    role: Role,
    task: TaskId,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, task {}", self.role, self.task)
    }
}

/// Returns the number of calls into plugins that block their threads past their time limit in this process.
pub fn stuck_calls() -> usize {
    STUCK.borrow().len()
}

/// Returns these calls, those that are stuck for longest first, and how they change.
pub fn stuck() -> watch::Receiver<Vec<Stuck>> {
    STUCK.subscribe()
}

/// Runs work whose calls into plugins are on behalf of a role and a task.
pub(super) fn on_behalf_of<F: Future>(role: Role, task: TaskId, work: F) -> impl Future<Output = F::Output> {
    CALLER.scope(Caller { role, task }, work)
}

/// Reports a call if it lasts longer than `limit`, until the returned watch is dropped.
pub(super) fn watch(limit: Duration, calls: Calls) -> Watch {
    let caller = CALLER.try_with(|caller| *caller).ok();
    WATCHDOG.watch(Watched { calls, limit: limit.saturating_add(CERTAINLY_STUCK), caller, stuck: None })
}

/// The watchdog of this process. It is a thread, as every thread of a runtime may be blocked.
static WATCHDOG: LazyLock<Watchdog> = LazyLock::new(|| {
    let begun = std::thread::Builder::new().name("plugin-watchdog".to_owned()).spawn(|| WATCHDOG.run());
    if let Err(error) = begun {
        warn!(%error, "no watchdog: calls into plugins that block their threads are not reported");
    }
    Watchdog::default()
});

/// Looks now and then at all calls that are under way. A call costs it no task and no timer.
#[derive(Default)]
struct Watchdog {
    calls: Mutex<UnderWay>,
    /// Notified when a call begins while it rests.
    begun: Condvar,
}

#[derive(Default)]
struct UnderWay {
    watched: HashMap<u64, Watched>,
    next: u64,
    /// Whether the watchdog rests, as there were no calls.
    is_resting: bool,
}

/// A call that is under way.
struct Watched {
    calls: Calls,
    limit: Duration,
    caller: Option<Caller>,
    stuck: Option<StuckCall>,
}

/// The watch on a call. Dropping it says that the call has returned.
pub(super) struct Watch(u64);

impl Drop for Watch {
    fn drop(&mut self) {
        let watched = WATCHDOG.calls().watched.remove(&self.0);
        drop(watched); // which may log, without the lock
    }
}

impl Watchdog {
    fn calls(&self) -> MutexGuard<'_, UnderWay> {
        // A panic while it is held can only come from an allocation failure.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, call: Watched) -> Watch {
        let mut calls = self.calls();
        calls.next += 1;
        let number = calls.next;
        calls.watched.insert(number, call);
        if std::mem::take(&mut calls.is_resting) {
            self.begun.notify_one();
        }
        Watch(number)
    }

    fn run(&self) {
        loop {
            let mut calls = self.calls();
            while calls.watched.is_empty() {
                calls.is_resting = true;
                calls = self.begun.wait(calls).unwrap_or_else(PoisonError::into_inner);
            }
            for call in calls.watched.values_mut() {
                call.look();
            }
            drop(calls);
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Watched {
    fn look(&mut self) {
        if self.stuck.is_none() && self.calls.present_lasts() >= self.limit {
            let caller = self.caller.map(|caller| caller.to_string());
            self.stuck =
                Some(StuckCall::enter(caller.unwrap_or_else(|| "a call without a lease".to_owned())));
        }
    }
}

/// A call past its time limit that has not returned. Dropping it reports the return.
#[derive(Debug)]
pub struct StuckCall {
    call: String,
    number: u64,
}

impl StuckCall {
    /// Reports a stuck call; `call` describes it in the log.
    pub fn enter(call: String) -> Self {
        warn!(%call, "plugin code blocks its thread past its time limit and cannot be broken off");
        let mut number = 0;
        STUCK.send_modify(|stuck| {
            number = stuck.last().map_or(0, |last| last.number + 1);
            stuck.push(Stuck { call: call.clone(), since: Instant::now(), number });
        });
        metrics::gauge!(STUCK_CALLS).increment(1.0);
        Self { call, number }
    }
}

impl Drop for StuckCall {
    fn drop(&mut self) {
        STUCK.send_modify(|stuck| stuck.retain(|one| one.number != self.number));
        metrics::gauge!(STUCK_CALLS).decrement(1.0);
        warn!(call = %self.call, "plugin code that was over its time limit has come back");
    }
}
