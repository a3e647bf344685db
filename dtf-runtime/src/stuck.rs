//! Reports of plugin code that blocks its thread past its time limit. Such code cannot be interrupted.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dtf_model::ids::TaskId;
use dtf_model::role::Role;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::guard::Calls;

/// Gauge: calls into plugins that block their threads past their time limit.
pub const STUCK_CALLS: &str = "dtf_plugin_stuck_calls";
/// The time after its limit at which a call that has not been interrupted certainly blocks its thread.
pub const CERTAINLY_STUCK: Duration = Duration::from_secs(1);

/// Of this process, like the threads that are blocked.
static STUCK: AtomicUsize = AtomicUsize::new(0);

tokio::task_local! {
    static CALLER: Caller;
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
    STUCK.load(Ordering::Relaxed)
}

/// Runs work whose calls into plugins are on behalf of a role and a task.
pub(super) fn on_behalf_of<F: Future>(role: Role, task: TaskId, work: F) -> impl Future<Output = F::Output> {
    CALLER.scope(Caller { role, task }, work)
}

/// Reports a call if it lasts longer than `limit`, until the returned handle is dropped.
pub(super) fn watch(limit: Duration, calls: Calls) -> AbortOnDropHandle<()> {
    let call = CALLER.try_with(Caller::to_string).unwrap_or_else(|_| "a call without a lease".to_owned());
    AbortOnDropHandle::new(tokio::spawn(async move {
        calls.last_longer_than(limit.saturating_add(CERTAINLY_STUCK)).await;
        let _stuck = StuckCall::enter(call);
        std::future::pending::<()>().await;
    }))
}

/// A call past its time limit that has not returned. Dropping it reports the return.
#[derive(Debug)]
pub struct StuckCall {
    call: String,
}

impl StuckCall {
    /// Reports a stuck call; `call` describes it in the log.
    pub fn enter(call: String) -> Self {
        warn!(%call, "plugin code blocks its thread past its time limit and cannot be broken off");
        STUCK.fetch_add(1, Ordering::Relaxed);
        metrics::gauge!(STUCK_CALLS).increment(1.0);
        Self { call }
    }
}

impl Drop for StuckCall {
    fn drop(&mut self) {
        STUCK.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!(STUCK_CALLS).decrement(1.0);
        warn!(call = %self.call, "plugin code that was over its time limit has come back");
    }
}
