//! Plugin code that blocks its thread for longer than it may: it cannot be broken off, but it can be told of.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dtf_model::ids::TaskId;
use dtf_model::role::Role;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

/// Gauge: calls into plugins that block their threads past their time limit.
pub const STUCK_CALLS: &str = "dtf_plugin_stuck_calls";
/// How long after its time limit a call that can be broken off has been, certainly: whatever is not, blocks its thread.
pub const CERTAINLY_STUCK: Duration = Duration::from_secs(1);

/// Of this process, like the threads that are blocked.
static STUCK: AtomicUsize = AtomicUsize::new(0);

tokio::task_local! {
    static CALLER: Caller;
}

/// On whose behalf a plugin is called.
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

/// How many calls into plugins block their threads past their time limit in this process.
pub fn stuck_calls() -> usize {
    STUCK.load(Ordering::Relaxed)
}

/// Says on whose behalf plugins are called meanwhile.
pub(super) fn on_behalf_of<F: Future>(role: Role, task: TaskId, work: F) -> impl Future<Output = F::Output> {
    CALLER.scope(Caller { role, task }, work)
}

/// Tells of a call that may not last longer than `limit` if it does, until what is given back is dropped.
pub(super) fn watch(limit: Duration) -> AbortOnDropHandle<()> {
    let call = CALLER.try_with(Caller::to_string).unwrap_or_else(|_| "a call without a lease".to_owned());
    AbortOnDropHandle::new(tokio::spawn(async move {
        tokio::time::sleep(limit.saturating_add(CERTAINLY_STUCK)).await;
        let _stuck = StuckCall::enter(call);
        std::future::pending::<()>().await;
    }))
}

/// A call that is over its time and has not come back, until it is dropped.
#[derive(Debug)]
pub struct StuckCall {
    call: String,
}

impl StuckCall {
    /// One more. `call` says which, for people.
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
