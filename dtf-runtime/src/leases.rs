//! The leases on the tasks of one bucket, and the futures that work under them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use dtf_model::ids::{RunEpoch, TaskId};
use dtf_model::plugin::PluginRegistry;
use dtf_model::role::Role;
use futures::FutureExt;
use lrmf_core::Token;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::peers::Needs;
use super::reconciler::{Reconcile, TaskLease};
use super::retry::Backoff;
use super::stuck::on_behalf_of;
use super::task_scan::{ActiveTask, ScanResult};

/// The number of scans in which every lease is notified once, even if its task has not changed.
const FULL_RESYNC_SCANS: u64 = 12;

/// A lease under which a future runs.
struct RunningLease {
    changed: Arc<Notify>,
    stop: CancellationToken,
    /// True if another lease begins when this one has ended.
    restart: bool,
}

/// The leases on the tasks of one bucket.
pub(super) struct Leases<R> {
    role: Role,
    token: Token,
    stop: CancellationToken,
    on: Handle,
    reconcile: Arc<R>,
    running: HashMap<TaskId, RunningLease>,
    /// The runs for which nothing remains to be done.
    settled: HashMap<TaskId, RunEpoch>,
    /// The tasks whose types are not known here, as of the latest scan.
    unknown: HashSet<TaskId>,
    /// True if some of them were not found by the scan before.
    has_new_unknown: bool,
    /// The tasks as the previous scan found them.
    seen: HashMap<TaskId, ActiveTask>,
    scans: u64,
    futures: JoinSet<(TaskId, Option<RunEpoch>)>,
}

impl<R: Reconcile> Leases<R> {
    /// Creates an empty set. The leases end when `stop` is cancelled.
    pub(super) fn new(
        role: Role,
        token: Token,
        stop: CancellationToken,
        on: Handle,
        reconcile: Arc<R>,
    ) -> Self {
        Self {
            role,
            token,
            stop,
            on,
            reconcile,
            running: HashMap::new(),
            settled: HashMap::new(),
            unknown: HashSet::new(),
            has_new_unknown: false,
            seen: HashMap::new(),
            scans: 0,
            futures: JoinSet::new(),
        }
    }

    /// Returns whether the latest scan found tasks of unknown types that the scan before did not find.
    pub(super) fn has_new_unknown(&self) -> bool {
        self.has_new_unknown
    }

    /// Begins a lease for each task that has none and is not settled, and notifies the leases of changed tasks, because a hint
    /// may have been lost. Now and then it notifies every lease: a future that waits for something that no scan can see is not
    /// expected, but cheap to guard against.
    pub(super) fn resync(&mut self, found: &ScanResult) {
        if found.store_may_have_forgotten {
            self.restart_all();
        }
        let before = std::mem::take(&mut self.seen);
        self.scans += 1;
        let settled = std::mem::take(&mut self.settled);
        for row in &found.active {
            match settled.get(&row.id) {
                Some(run) if *run == row.run => {
                    self.settled.insert(row.id, row.run);
                }
                _ => {
                    let is_its_turn = (row.id.0 + self.scans).is_multiple_of(FULL_RESYNC_SCANS);
                    if is_its_turn || before.get(&row.id) != Some(row) || !self.running.contains_key(&row.id)
                    {
                        self.notify(row.id);
                    }
                    self.seen.insert(row.id, *row);
                }
            }
        }
    }

    /// Returns the types of the tasks that are not settled. A type counts as lacking once a reconciliation of its task has
    /// ended since the previous scan without effect.
    pub(super) fn needs(&mut self, found: &ScanResult, plugins: &PluginRegistry) -> Needs {
        let (mut needs, mut unknown) = (Needs::default(), HashSet::new());
        for row in found.active.iter().filter(|row| self.settled.get(&row.id) != Some(&row.run)) {
            if plugins.able(row.kind).is_ok() {
                needs.known.insert(row.kind);
                continue;
            }
            unknown.insert(row.id);
            if self.unknown.contains(&row.id) && !self.running.contains_key(&row.id) {
                needs.lacking.insert(row.kind);
            }
        }
        self.has_new_unknown = !unknown.is_subset(&self.unknown);
        self.unknown = unknown;
        needs
    }

    fn restart_all(&mut self) {
        self.settled.clear();
        for lease in self.running.values_mut() {
            lease.restart = true;
            lease.stop.cancel();
        }
    }

    /// Notifies the lease on a task, or begins one.
    pub(super) fn notify(&mut self, task: TaskId) {
        if let Some(lease) = self.running.get(&task) {
            lease.changed.notify_one();
            return;
        }
        let (changed, stop) = (Arc::<Notify>::default(), self.stop.child_token());
        let lease = TaskLease { task, token: self.token, changed: changed.clone(), stop: stop.clone() };
        self.running.insert(task, RunningLease { changed, stop, restart: false });
        let work = on_behalf_of(self.role, task, reconcile(self.reconcile.clone(), lease));
        self.futures.spawn_on(work, &self.on);
    }

    /// Waits until a lease has ended, and begins another where the task needs attention again. Waits for ever without leases.
    /// Cancel-safe.
    pub(super) async fn next_ended(&mut self) {
        match self.futures.join_next().await {
            Some(ended) => self.ended(ended),
            None => std::future::pending().await,
        }
    }

    fn ended(&mut self, ended: Result<(TaskId, Option<RunEpoch>), JoinError>) {
        let (task, settled) = match ended {
            Ok(ended) => ended,
            // A role's own code panicked. Its entry in `running` stays, so the task rests until the bucket moves: loud and
            // contained, where trying again at once would spin.
            Err(error) => {
                tracing::error!(%error, "a reconciliation panicked");
                return;
            }
        };
        let Some(lease) = self.running.remove(&task) else { return };
        if lease.restart {
            return self.notify(task);
        }
        if let Some(run) = settled {
            self.settled.insert(task, run);
        }
        if lease.changed.notified().now_or_never().is_some() {
            self.notify(task);
        }
    }

    /// Ends all leases.
    pub(super) async fn finish(mut self) {
        self.stop.cancel();
        while self.futures.join_next().await.is_some() {}
    }
}

/// Reconciles a task, again and again while the store fails in ways that pass.
async fn reconcile<R: Reconcile>(role: Arc<R>, lease: TaskLease) -> (TaskId, Option<RunEpoch>) {
    let mut backoff = Backoff::default();
    loop {
        match role.reconcile(&lease).await {
            Ok(settled) => return (lease.task, settled),
            Err(error) if error.is_retryable() => {
                warn!(task_id = %lease.task, %error, "reconciliation interrupted");
                if !backoff.wait(&lease.stop).await {
                    return (lease.task, None);
                }
            }
            Err(error) => {
                // Fenced: another member does it now. Gone, conflict: the state has moved on, and a hint will come.
                tracing::debug!(task_id = %lease.task, %error, "reconciliation ended");
                return (lease.task, None);
            }
        }
    }
}
