//! [`GeneratorQueue`] in memory.

use async_trait::async_trait;
use dtf_model::queue::{Backlog, Fence, GeneratorLoad, GeneratorQueue, Push};
use dtf_model::{Role, RunEpoch, StoreError, TaskId};

use super::MemoryQueues;

#[async_trait]
impl GeneratorQueue for MemoryQueues {
    async fn load_generator(&self, fence: Fence) -> Result<GeneratorLoad, StoreError> {
        self.with(fence.task, fence.run, |queue| queue.load_generator(fence.token))
    }

    async fn push(&self, fence: Fence, push: Push) -> Result<Backlog, StoreError> {
        self.with(fence.task, fence.run, |queue| queue.push(fence.token, push))
    }

    async fn backlog(&self, task: TaskId, run: RunEpoch) -> Result<Backlog, StoreError> {
        self.with(task, run, |queue| Ok(queue.backlog()))
    }

    async fn stop_by_generator(&self, fence: Fence, reason: &str) -> Result<(), StoreError> {
        self.with(fence.task, fence.run, |queue| queue.stop_by_generator(fence.token, reason))
    }

    async fn set_generator_blocked_on(&self, fence: Fence, reason: Option<&str>) -> Result<(), StoreError> {
        self.with(fence.task, fence.run, |queue| queue.set_waits(fence.token, Role::Generator, reason))
    }
}
