//! [`ExecutorQueue`] in memory.

use async_trait::async_trait;
use dtf_model::queue::{ExecutorQueue, LostParcel, Parcel, ParcelId, ParcelReport, Reported};
use dtf_model::{Control, RunEpoch, Shard, StoreError, TaskId};

use super::{MemoryQueues, lock};

#[async_trait]
impl ExecutorQueue for MemoryQueues {
    async fn controls(&self, tasks: &[TaskId]) -> Result<Vec<(TaskId, RunEpoch, Control)>, StoreError> {
        let found = tasks.iter().filter_map(|task| Some((*task, self.find(*task)?)));
        Ok(found
            .map(|(task, shared)| {
                let queue = lock(&shared);
                (task, queue.spec().run, queue.control())
            })
            .collect())
    }

    async fn complete(
        &self,
        task: TaskId,
        run: RunEpoch,
        report: ParcelReport,
    ) -> Result<Reported, StoreError> {
        let now = self.clock.now();
        self.with(task, run, |queue| queue.complete(now, report))
    }

    async fn recover(&self, task: TaskId, run: RunEpoch, lost: LostParcel) -> Result<Reported, StoreError> {
        self.with(task, run, |queue| Ok(queue.recover(lost)))
    }

    async fn mark_suspect(
        &self,
        task: TaskId,
        run: RunEpoch,
        parcel: ParcelId,
        attempt: u32,
    ) -> Result<bool, StoreError> {
        self.with(task, run, |queue| Ok(queue.mark_suspect(parcel, attempt)))
    }

    async fn runs_on(
        &self,
        task: TaskId,
        run: RunEpoch,
        shard: Shard,
        parcel: &Parcel,
    ) -> Result<bool, StoreError> {
        self.with(task, run, |queue| Ok(queue.runs_on(shard, parcel)))
    }
}
