//! A scan of all tasks of a bucket, which runs beside other work.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use dtf_model::error::StoreError;
use dtf_model::ids::{RunEpoch, TaskId, TypeVersion};
use dtf_model::queue::{Incarnation, QueueReader, TaskProgress};
use dtf_model::status::Control;
use dtf_model::table::{BucketOf, TaskTable};

/// The number of rows a page.
const PAGE: u32 = 1000;

/// The result of a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanResult {
    /// The tasks of the bucket that have not ended, by id.
    pub active: Vec<ActiveTask>,
    /// True if the store of the queues may have lost writes since the previous scan. Always set by the first scan.
    pub store_may_have_forgotten: bool,
}

/// A task that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveTask {
    /// The task.
    pub id: TaskId,
    /// The number of its run.
    pub run: RunEpoch,
    /// The type and version that a plugin must have to work on it.
    pub kind: TypeVersion,
    /// The control that its row asks for.
    pub control: Control,
    /// The progress of its queues; `None` without queues.
    pub progress: Option<TaskProgress>,
}

/// Scans the tasks of a bucket.
#[derive(Clone)]
pub struct TaskScan {
    table: Arc<dyn TaskTable>,
    queues: Arc<dyn QueueReader>,
}

impl TaskScan {
    /// Creates a scan that reads these stores.
    pub fn new(table: Arc<dyn TaskTable>, queues: Arc<dyn QueueReader>) -> Self {
        Self { table, queues }
    }

    /// Returns a pending scan that has not begun.
    pub fn pending(&self) -> PendingScan {
        PendingScan { scan: self.clone(), known: None, under_way: None }
    }

    async fn run(self, share: BucketOf) -> Result<(Incarnation, Vec<ActiveTask>), StoreError> {
        // Read the incarnation first, so that everything read afterwards is at least as recent.
        let incarnation = self.queues.incarnation().await?;
        let (mut active, mut after) = (Vec::new(), TaskId(0));
        loop {
            let rows = self.table.active(share, after, PAGE).await?;
            let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
            let progress: HashMap<_, _> = self.queues.progress_of(&ids).await?.into_iter().collect();
            active.extend(rows.iter().map(|row| ActiveTask {
                id: row.id,
                run: row.run,
                kind: row.kind,
                control: row.control,
                progress: progress.get(&row.id).copied(),
            }));
            match rows.last() {
                Some(last) if rows.len() as u32 == PAGE => after = last.id,
                _ => return Ok((incarnation, active)),
            }
        }
    }
}

type ScanFuture = Pin<Box<dyn Future<Output = Result<(Incarnation, Vec<ActiveTask>), StoreError>> + Send>>;

/// A scan that may be under way, and the incarnation that the previous one found.
pub struct PendingScan {
    scan: TaskScan,
    known: Option<Incarnation>,
    under_way: Option<ScanFuture>,
}

impl PendingScan {
    /// Returns whether no scan is under way.
    pub fn is_idle(&self) -> bool {
        self.under_way.is_none()
    }

    /// Begins a scan of a bucket. A scan that is under way continues instead.
    pub fn begin(&mut self, share: BucketOf) {
        let scan = &self.scan;
        self.under_way.get_or_insert_with(|| Box::pin(scan.clone().run(share)));
    }

    /// Waits for the result of the scan under way, or for ever if there is none. Cancel-safe.
    ///
    /// # Errors
    /// A store failed. The next scan is near, so the error may be ignored.
    pub async fn next(&mut self) -> Result<ScanResult, StoreError> {
        let Some(under_way) = &mut self.under_way else { return std::future::pending().await };
        let found = under_way.await;
        self.under_way = None;
        let (incarnation, active) = found?;
        let store_may_have_forgotten = self.known.as_ref() != Some(&incarnation);
        self.known = Some(incarnation);
        Ok(ScanResult { active, store_may_have_forgotten })
    }
}
