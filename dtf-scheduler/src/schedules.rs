//! The manager's work on schedules: those of a watch bucket that have come due.
//!
//! # The problem
//! A due time is to be met within a second, with ten thousand schedules, of which nearly all wait. So nothing is kept in memory and
//! nothing is scanned: the table has an index on the time at which a schedule wants attention, and the manager sleeps until the
//! first one does. A hint tells of schedules that were changed; as hints may be lost, it looks again on a period, at the cost of one
//! entry of the index.

use std::time::Duration;

use dtf_model::table::BucketOf;
use dtf_model::wake::Topic;
use dtf_model::{Role, StoreError};
use dtf_runtime::{RoleContext, Schedules};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::manager::ManagerPorts;

/// The most schedules that are acted on together: as many as statements carry.
const TOGETHER: u32 = 256;
/// The longest sleep.
const RESYNC_PERIOD: Duration = Duration::from_secs(5);
/// The pause after the store failed.
const AGAIN: Duration = Duration::from_millis(500);

/// Acts on the schedules of a bucket.
pub(crate) struct DueSchedules {
    ports: ManagerPorts,
    context: RoleContext,
    schedules: Schedules,
}

impl DueSchedules {
    pub(crate) fn new(ports: ManagerPorts, context: RoleContext) -> Self {
        let schedules = Schedules::new(ports.table.clone(), context.clone());
        Self { ports, context, schedules }
    }

    /// Acts on what comes due until told to stop.
    pub(crate) async fn run(&self, bucket: u32, stop: &CancellationToken) {
        // What is dropped half-way was decided or was not, and is as good either way.
        stop.run_until_cancelled(self.run_on(bucket)).await;
    }

    async fn run_on(&self, bucket: u32) {
        let share = self.context.shape.share(Role::Manager, bucket);
        let mut hints = self.context.wake.listen(Topic::Schedules(bucket));
        loop {
            let sleep = match self.act(share).await {
                Ok(next_at) => self.until(next_at),
                Err(error) => {
                    warn!(bucket, %error, "schedules not looked at");
                    AGAIN
                }
            };
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                _ = hints.next() => {}
            }
        }
    }

    /// Acts on all schedules that are due. Returns the time at which the next one is.
    async fn act(&self, share: BucketOf) -> Result<Option<u64>, StoreError> {
        loop {
            let next_at = self.ports.table.next_schedule_at(share).await?;
            let now = self.context.clock.unix_millis();
            if next_at.is_none_or(|at| at > now) {
                return Ok(next_at);
            }
            let due = self.ports.table.due_schedules(share, now, TOGETHER).await?;
            self.schedules.act(due).await?;
        }
    }

    fn until(&self, next_at: Option<u64>) -> Duration {
        let now = self.context.clock.unix_millis();
        next_at.map_or(RESYNC_PERIOD, |at| Duration::from_millis(at.saturating_sub(now)).min(RESYNC_PERIOD))
    }
}
