//! Deletes what ended tasks leave behind.
//!
//! # The problem
//! After the retention no key of a task may be left. But a store that loses its last writes when it is killed may lose a
//! deletion too, and nobody looks at an ended task again. So the queues are deleted twice, [`AFTERWARDS`] apart, which is longer
//! than what a store may lose; only then it is noted that they are gone. The failures of the last run stay, to be shown and run
//! again; those of runs before it go.

use std::collections::HashSet;
use std::time::Duration;

use dtf_model::table::{BucketOf, TaskHead};
use dtf_model::{Role, RunEpoch, StoreError, TaskId};
use dtf_runtime::RoleContext;
use futures::{StreamExt, TryStreamExt};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::manager::{ManagerConfig, ManagerPorts};

/// The run before which there is none.
const FIRST_RUN: RunEpoch = RunEpoch(1);
/// Rows a page when looking for ended tasks whose queues can go.
const PAGE: u32 = 10_000;
/// The tasks whose queues are looked for in one call.
const LOOKED_AT: usize = 1000;
/// The calls that are made at the same time, so that they share statements and round trips.
const TOGETHER: usize = 128;
/// The time between the first deletion and the second one.
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
        let share = self.context.shape.share(Role::Manager, bucket);
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
            self.purge(&rows).await?;
            together(&rows, |row| async move {
                if row.run > FIRST_RUN {
                    self.ports.table.forget_failures(row.id, row.run).await?;
                }
                self.ports.table.purged(row.id).await
            })
            .await?;
            if rows.is_empty() {
                break;
            }
        }
        let lately = self.ports.table.unpurged(share, self.before(self.config.retention), PAGE).await?;
        let known: HashSet<_> = lately.iter().map(|row| row.id).collect();
        once.retain(|task| known.contains(task));
        let new: Vec<_> = lately.into_iter().filter(|row| !once.contains(&row.id)).collect();
        self.purge(&new).await?;
        once.extend(new.iter().map(|row| row.id));
        Ok(())
    }

    /// Deletes the queues of those of these tasks that have any.
    async fn purge(&self, rows: &[TaskHead]) -> Result<(), StoreError> {
        for rows in rows.chunks(LOOKED_AT) {
            let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
            let there = self.ports.queues.progress_of(&ids).await?;
            let there: HashSet<_> = there.into_iter().map(|(task, _)| task).collect();
            let rows: Vec<_> = rows.iter().filter(|row| there.contains(&row.id)).cloned().collect();
            together(&rows, |row| self.ports.queues.purge(row.id, row.run)).await?;
        }
        Ok(())
    }

    /// The time so long ago, in milliseconds since the Unix epoch.
    fn before(&self, span: Duration) -> u64 {
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.context.clock.unix_millis().saturating_sub(span)
    }
}

/// Makes a call for each row, several at a time.
async fn together<F: Future<Output = Result<(), StoreError>>>(
    rows: &[TaskHead],
    call: impl Fn(TaskHead) -> F,
) -> Result<(), StoreError> {
    futures::stream::iter(rows.iter().cloned()).map(call).buffer_unordered(TOGETHER).try_collect().await
}
