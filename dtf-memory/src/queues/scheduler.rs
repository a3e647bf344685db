//! [`SchedulerQueue`] in memory.

use std::time::Duration;

use async_trait::async_trait;
use dtf_model::queue::{Fence, ParcelId, SchedulerLoad, SchedulerQueue, TakeRequest, Taken};
use dtf_model::{Role, StoreError};

use super::MemoryQueues;

#[async_trait]
impl SchedulerQueue for MemoryQueues {
    async fn load_scheduler(&self, fence: Fence) -> Result<SchedulerLoad, StoreError> {
        self.with(fence.task, fence.run, |queue| queue.load_scheduler(fence.token))
    }

    async fn take(&self, fence: Fence, hand: &TakeRequest, most: u64) -> Result<Taken, StoreError> {
        let now = self.clock.now();
        self.with(fence.task, fence.run, |queue| queue.take(fence.token, now, hand, most))
    }

    async fn put_back(&self, fence: Fence, parcels: &[ParcelId], after: Duration) -> Result<(), StoreError> {
        let now = self.clock.now();
        self.with(fence.task, fence.run, |queue| queue.put_back(fence.token, now, parcels, after))
    }

    async fn set_scheduler_blocked_on(&self, fence: Fence, reason: Option<&str>) -> Result<(), StoreError> {
        self.with(fence.task, fence.run, |queue| queue.set_waits(fence.token, Role::Scheduler, reason))
    }
}
