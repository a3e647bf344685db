//! Deletes what ended tasks leave behind.
//!
//! # The problem
//! After the retention no key of a task may be left. But a store that loses its last writes when it is killed may lose a
//! deletion too, and nobody looks at an ended task again. So the queues are deleted twice, [`AFTERWARDS`] apart, which is longer
//! than what a store may lose; only then it is noted that they are gone. The failures of the last run stay, to be shown and run
//! again; those of runs before it go.

use std::collections::HashSet;
use std::time::Duration;

use dtf_model::table::BucketOf;
use dtf_model::{RunEpoch, StoreError, TaskId};
use dtf_runtime::RoleContext;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::manager::{ManagerConfig, ManagerPorts};

/// The run before which there is none.
const FIRST_RUN: RunEpoch = RunEpoch(1);
/// Rows a page when looking for ended tasks whose queues can go.
const PAGE: u32 = 1000;
/// How long after the first deletion the second one is.
const AFTERWARDS: Duration = Duration::from_secs(10);

/// Deletes the queues of tasks that ended a while ago.
pub(crate) struct Retention {
    config: ManagerConfig,
    ports: ManagerPorts,
    context: RoleContext,
}

impl Retention {
    pub(crate) fn new(config: ManagerConfig, ports: ManagerPorts, context: RoleContext) -> Self {
        Self { config, ports, context }
    }

    /// Sweeps a bucket until told to stop.
    pub(crate) async fn run(&self, bucket: u32, stop: &CancellationToken) {
        let share = BucketOf { bucket, of: self.context.shape.watch_buckets };
        let mut sweep = tokio::time::interval(self.config.sweep);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut once = HashSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = sweep.tick() => {}
            }
            if let Err(error) = self.sweep(share, &mut once).await {
                warn!(bucket, %error, "ended tasks not purged");
            }
        }
    }

    /// One sweep. `once` holds the tasks whose queues were deleted once.
    async fn sweep(&self, share: BucketOf, once: &mut HashSet<TaskId>) -> Result<(), StoreError> {
        let long_ago = self.before(self.config.retention.saturating_add(AFTERWARDS));
        loop {
            let rows = self.ports.table.unpurged(share, long_ago, PAGE).await?;
            for row in &rows {
                self.ports.queues.purge(row.id, row.run).await?;
                if row.run > FIRST_RUN {
                    self.ports.table.forget_failures(row.id, row.run).await?;
                }
                self.ports.table.purged(row.id).await?;
            }
            if rows.is_empty() {
                break;
            }
        }
        let lately = self.ports.table.unpurged(share, self.before(self.config.retention), PAGE).await?;
        let known: HashSet<_> = lately.iter().map(|row| row.id).collect();
        once.retain(|task| known.contains(task));
        for row in lately {
            if !once.contains(&row.id) {
                self.ports.queues.purge(row.id, row.run).await?;
                once.insert(row.id);
            }
        }
        Ok(())
    }

    /// The time so long ago, in milliseconds since the Unix epoch.
    fn before(&self, span: Duration) -> u64 {
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.context.clock.unix_millis().saturating_sub(span)
    }
}
