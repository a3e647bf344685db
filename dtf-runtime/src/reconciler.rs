//! Reconciliation of the tasks in a bucket: one future for each task that needs attention.
//!
//! It is level-triggered, like a Kubernetes controller: hints make it prompt, and a periodic scan of all tasks (resync) makes it
//! independent of them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dtf_model::error::StoreError;
use dtf_model::ids::{RunEpoch, TaskId};
use dtf_model::role::{Role, part_number};
use dtf_model::wake::Hint;
use lrmf_core::Token;
use lrmf_core::runner::{Held, RunTask};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::context::RoleContext;
use super::leases::Leases;
use super::peers::Needs;
use super::task_scan::{ScanResult, TaskScan};

/// The time between two scans of a bucket, in case hints were lost.
const RESYNC_PERIOD: Duration = Duration::from_secs(5);
/// The longest time between two scans. A scan that took long may have met a store that stood still, rather than many tasks.
const MAX_RESYNC_PERIOD: Duration = Duration::from_secs(60);
/// Scans take one part in this many of the time at most, unless that makes them too rare.
const SCAN_SHARE: u32 = 20;
/// The time to the next scan while the bucket has tasks whose unknown types have not been confirmed by a reconciliation.
const UNKNOWN_TYPE_RESYNC: Duration = Duration::from_secs(1);

/// The right to work on one task, for as long as the bucket is held.
#[derive(Clone, Debug)]
pub struct TaskLease {
    /// The task.
    pub task: TaskId,
    /// The token of the bucket's holding.
    pub token: Token,
    /// Notified when the task may need attention.
    pub changed: Arc<Notify>,
    /// Cancelled when the lease ends: the bucket is given up, or the task is to be loaded again.
    pub stop: CancellationToken,
}

/// A role's work on one task.
#[async_trait]
pub trait Reconcile: Send + Sync + 'static {
    /// Brings a task to the state that is wanted of it. Returns the run for which nothing remains to be done, or `None` if
    /// that may change. Returns soon after `lease.stop` is cancelled.
    async fn reconcile(&self, lease: &TaskLease) -> Result<Option<RunEpoch>, StoreError>;
}

/// Runs a role on the buckets that its member holds.
///
/// After a restart of one of its servers, the store of the queues may have lost the last writes of any task, including those
/// that a running future relies on and those that settled a task. All leases are then ended and begun again, which raises their
/// tokens, and no task counts as settled any more.
pub struct Reconciler<R> {
    role: Role,
    scan: TaskScan,
    context: RoleContext,
    on: Handle,
    reconcile: Arc<R>,
}

impl<R: Reconcile> Reconciler<R> {
    /// Creates a reconciler for a role. It finds the tasks with `scan` and runs their futures on `on`.
    pub fn new(role: Role, scan: TaskScan, context: &RoleContext, on: Handle, reconcile: R) -> Self {
        Self { role, scan, context: context.clone(), on, reconcile: Arc::new(reconcile) }
    }

    /// Returns the types that the tasks of the bucket need. A manager needs no type.
    fn needs(&self, leases: &mut Leases<R>, found: &ScanResult) -> Needs {
        match self.role {
            Role::Manager => Needs::default(),
            _ => leases.needs(found, &self.context.plugins),
        }
    }
}

#[async_trait]
impl<R: Reconcile> RunTask for Reconciler<R> {
    async fn run(&self, held: Held) -> anyhow::Result<()> {
        let bucket = part_number(&held.task)?;
        let mut listener = self.context.wake.listen(self.role.topic(bucket));
        let mut leases = Leases::new(
            self.role,
            held.token,
            held.stop.child_token(),
            self.on.clone(),
            self.reconcile.clone(),
        );
        let share = self.context.shape.share(self.role, bucket);
        let mut resync = tokio::time::interval(RESYNC_PERIOD);
        resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (held_since, mut declined) = (self.context.clock.now(), Ok(()));
        let mut begun = Instant::now();
        // Hints are followed while a scan waits for the stores.
        let mut scan = self.scan.pending();
        loop {
            tokio::select! {
                () = held.stop.cancelled() => break,
                _ = resync.tick(), if scan.is_idle() => {
                    begun = Instant::now();
                    scan.begin(share);
                }
                found = scan.next() => match found {
                    Ok(found) => {
                        let needs = self.needs(&mut leases, &found);
                        declined = self.context.keep_or_decline(self.role, &held, &needs, held_since).await;
                        if declined.is_err() {
                            break;
                        }
                        leases.resync(&found);
                        match leases.has_new_unknown() {
                            true => resync.reset_after(UNKNOWN_TYPE_RESYNC),
                            false => resync.reset_after(next_resync(begun.elapsed())),
                        }
                    }
                    Err(error) => warn!(role = %self.role, bucket, %error, "tasks not listed"),
                },
                hint = listener.next() => match hint {
                    Hint::Tasks(tasks) => tasks.into_iter().for_each(|task| leases.notify(task)),
                    Hint::Anything => resync.reset_immediately(),
                },
                () = leases.next_ended() => {}
            }
        }
        leases.finish().await;
        Ok(declined?)
    }
}

/// Returns the time to the next scan after one that took this long.
fn next_resync(took: Duration) -> Duration {
    took.saturating_mul(SCAN_SHARE).clamp(RESYNC_PERIOD, MAX_RESYNC_PERIOD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scans_take_a_share_of_the_time_and_are_never_rare() {
        let until = |millis| next_resync(Duration::from_millis(millis)).as_millis();
        assert_eq!([0, 250, 500, 3000, 60_000].map(until), [5000, 5000, 10_000, 60_000, 60_000]);
        assert_eq!(next_resync(Duration::MAX), MAX_RESYNC_PERIOD);
    }
}
