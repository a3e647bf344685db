//! [`CollectorQueue`] in memory.

use async_trait::async_trait;
use dtf_model::plugin::TaskResult;
use dtf_model::queue::{CollectorLoad, CollectorQueue, Commit, Fence, ResultBatch, TaskState};
use dtf_model::{Role, StoreError};

use super::MemoryQueues;

#[async_trait]
impl CollectorQueue for MemoryQueues {
    async fn load_collector(&self, fence: Fence) -> Result<CollectorLoad, StoreError> {
        self.with(fence.task, fence.run, |queue| queue.load_collector(fence.token))
    }

    async fn peek(&self, fence: Fence, offset: u64, most: usize) -> Result<Vec<ResultBatch>, StoreError> {
        self.with(fence.task, fence.run, |queue| queue.peek(fence.token, offset, most))
    }

    async fn commit(&self, fence: Fence, commit: Commit) -> Result<TaskState, StoreError> {
        let now = self.clock.now();
        self.with(fence.task, fence.run, |queue| queue.commit(fence.token, now, commit))
    }

    async fn conclude(&self, fence: Fence, result: &TaskResult) -> Result<(), StoreError> {
        self.with(fence.task, fence.run, |queue| queue.conclude(fence.token, result))
    }

    async fn stop_by_collector(&self, fence: Fence, reason: &str) -> Result<(), StoreError> {
        self.with(fence.task, fence.run, |queue| queue.stop_by_collector(fence.token, reason))
    }

    async fn set_collector_blocked_on(&self, fence: Fence, reason: Option<&str>) -> Result<(), StoreError> {
        self.with(fence.task, fence.run, |queue| queue.set_waits(fence.token, Role::Collector, reason))
    }
}
