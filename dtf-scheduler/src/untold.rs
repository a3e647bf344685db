//! The manager's care for dependents that were not told of the end of a task, because whoever was to tell them died.
//!
//! One process looks, the holder of the first watch bucket, on a period; what it finds costs an entry of an index each.

use std::sync::Arc;
use std::time::Duration;

use dtf_model::table::TaskTable;
use dtf_model::{StoreError, TaskId};
use dtf_runtime::Dependents;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// The period of looks.
const PERIOD: Duration = Duration::from_secs(5);
/// The tasks of a page.
const PAGE: u32 = 1000;

/// Tells dependents that were not told.
pub(crate) struct Untold {
    table: Arc<dyn TaskTable>,
    dependents: Dependents,
}

impl Untold {
    pub(crate) fn new(table: Arc<dyn TaskTable>, dependents: Dependents) -> Self {
        Self { table, dependents }
    }

    /// Looks again and again until told to stop, for the holder of the first bucket.
    pub(crate) async fn run(&self, bucket: u32, stop: &CancellationToken) {
        if bucket != 0 {
            return;
        }
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let looking = async {
            loop {
                period.tick().await;
                if let Err(error) = self.look().await {
                    warn!(%error, "dependents not told");
                }
            }
        };
        // What is dropped half-way is found again.
        stop.run_until_cancelled(looking).await;
    }

    async fn look(&self) -> Result<(), StoreError> {
        let mut after = TaskId(0);
        loop {
            let ended = self.table.with_untold(after, PAGE).await?;
            for task in &ended {
                self.dependents.tell(*task).await?;
            }
            match ended.last() {
                Some(last) if ended.len() == PAGE as usize => after = *last,
                _ => return Ok(()),
            }
        }
    }
}
