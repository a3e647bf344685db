//! Reading the resource groups again, so that a changed quota takes effect while tasks run.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dtf_model::group::all_groups;
use dtf_model::table::TaskTable;
use dtf_model::{ResourceGroup, StoreError};
use tokio::time::Instant;
use tracing::warn;

/// The period of reading the groups while there is something to share out. With the time of one read it stays below the
/// second within which a change takes effect.
const READ_AGAIN: Duration = Duration::from_millis(500);

/// The longest time that dispatch waits for the groups after a rest.
const AFTER_REST: Duration = Duration::from_millis(200);

type Reading = Pin<Box<dyn Future<Output = Result<Vec<ResourceGroup>, StoreError>> + Send>>;

/// Reads the groups on a period. A database that does not answer delays nothing but a change of quotas.
pub(super) struct GroupReader {
    table: Arc<dyn TaskTable>,
    due: Instant,
    reading: Option<Reading>,
}

impl GroupReader {
    pub(super) fn new(table: Arc<dyn TaskTable>) -> Self {
        Self { table, due: Instant::now(), reading: None }
    }

    /// Reads at once where the last reading is an old one: after a rest, no group is to be served that was paused meanwhile. A database that does
    /// not answer delays dispatch by a moment, once.
    pub(super) async fn refreshed(&mut self) -> Option<Vec<ResourceGroup>> {
        if Instant::now() < self.due {
            return None;
        }
        tokio::time::timeout(AFTER_REST, self.next()).await.ok()
    }

    /// Waits until it is time to read, and reads. Dropping the future loses nothing: the next call goes on.
    pub(super) async fn next(&mut self) -> Vec<ResourceGroup> {
        loop {
            tokio::time::sleep_until(self.due).await;
            let table = &self.table;
            let reading = self.reading.get_or_insert_with(|| {
                let table = table.clone();
                Box::pin(async move { all_groups(&*table).await })
            });
            let read = reading.await;
            self.reading = None;
            self.due = Instant::now() + READ_AGAIN;
            match read {
                Ok(groups) => return groups,
                Err(error) => warn!(%error, "resource groups not read, the last known quotas stay"),
            }
        }
    }
}
