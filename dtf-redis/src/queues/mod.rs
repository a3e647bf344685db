//! [`QueueStore`] on Redis: every call is one script.

mod calls;
mod collector;
mod executor;
mod generator;
mod life;
mod scheduler;

use std::time::Duration;

use async_trait::async_trait;
use dtf_model::Role;
use dtf_model::plugin::TaskResult;
use dtf_model::queue::{
    Backlog, CollectorLoad, Commit, Fence, GeneratorLoad, Hand, Incarnation, LostParcel, Parcel, ParcelId,
    ParcelReport, Push, QueueStore, Reported, ResultBatch, SchedulerLoad, Standing, Taken, TaskState,
};
use dtf_model::{Control, Counts, RunEpoch, Shard, StoreError, TaskId, TaskSpec};

use self::calls::RoleToken;
pub(crate) use self::calls::token_text;
use crate::connection::Redis;

/// The queues of tasks, in Redis.
#[derive(Clone, Debug)]
pub struct RedisQueues {
    redis: Redis,
}

impl RedisQueues {
    /// Queues over this connection.
    pub fn new(redis: Redis) -> Self {
        Self { redis }
    }
}

#[async_trait]
impl QueueStore for RedisQueues {
    async fn incarnation(&self) -> Result<Incarnation, StoreError> {
        self.redis.incarnation().await
    }

    async fn open(&self, spec: &TaskSpec) -> Result<(), StoreError> {
        self.make(spec).await
    }

    async fn state(&self, task: TaskId) -> Result<Option<TaskState>, StoreError> {
        self.read_state(task).await
    }

    async fn controls(&self, tasks: &[TaskId]) -> Result<Vec<(TaskId, RunEpoch, Control)>, StoreError> {
        self.read_controls(tasks).await
    }

    async fn set_control(&self, task: TaskId, run: RunEpoch, control: Control) -> Result<(), StoreError> {
        self.write_control(task, run, control).await
    }

    async fn close(&self, task: TaskId, run: RunEpoch) -> Result<Counts, StoreError> {
        self.end(task, run).await
    }

    async fn purge(&self, task: TaskId, run: RunEpoch) -> Result<(), StoreError> {
        self.delete(task, run).await
    }

    async fn stop_by_generator(&self, fence: Fence, reason: &str) -> Result<(), StoreError> {
        self.say_stop(fence, RoleToken::Generator, reason).await
    }

    async fn set_waits(&self, fence: Fence, role: Role, reason: Option<&str>) -> Result<(), StoreError> {
        self.say_waits(fence, role, reason).await
    }

    async fn load_generator(&self, fence: Fence) -> Result<GeneratorLoad, StoreError> {
        self.begin_generation(fence).await
    }

    async fn push(&self, fence: Fence, push: Push) -> Result<Backlog, StoreError> {
        self.add(fence, push).await
    }

    async fn backlog(&self, task: TaskId, run: RunEpoch) -> Result<Backlog, StoreError> {
        self.read_backlog(task, run).await
    }

    async fn load_scheduler(&self, fence: Fence) -> Result<SchedulerLoad, StoreError> {
        self.begin_scheduling(fence).await
    }

    async fn take(&self, fence: Fence, hand: &Hand, most: u64) -> Result<Taken, StoreError> {
        self.give_out(fence, hand, most).await
    }

    async fn standings(&self, tasks: &[TaskId]) -> Result<Vec<(TaskId, Standing)>, StoreError> {
        self.read_standings(tasks).await
    }

    async fn put_back(&self, fence: Fence, parcels: &[ParcelId], after: Duration) -> Result<(), StoreError> {
        self.return_or_delay(fence, parcels, after).await
    }

    async fn complete(
        &self,
        task: TaskId,
        run: RunEpoch,
        report: ParcelReport,
    ) -> Result<Reported, StoreError> {
        self.count(task, run, report).await
    }

    async fn recover(&self, task: TaskId, run: RunEpoch, lost: LostParcel) -> Result<Reported, StoreError> {
        self.take_back(task, run, lost).await
    }

    async fn accuse(
        &self,
        task: TaskId,
        run: RunEpoch,
        parcel: ParcelId,
        attempt: u32,
    ) -> Result<bool, StoreError> {
        self.charge_in_advance(task, run, parcel, attempt).await
    }

    async fn runs_on(
        &self,
        task: TaskId,
        run: RunEpoch,
        shard: Shard,
        parcel: &Parcel,
    ) -> Result<bool, StoreError> {
        self.is_running_on(task, run, shard, parcel).await
    }

    async fn stop_by_collector(&self, fence: Fence, reason: &str) -> Result<(), StoreError> {
        self.say_stop(fence, RoleToken::Collector, reason).await
    }

    async fn load_collector(&self, fence: Fence) -> Result<CollectorLoad, StoreError> {
        self.begin_collection(fence).await
    }

    async fn peek(&self, fence: Fence, offset: u64, most: usize) -> Result<Vec<ResultBatch>, StoreError> {
        self.look(fence, offset, most).await
    }

    async fn commit(&self, fence: Fence, commit: Commit) -> Result<TaskState, StoreError> {
        self.take_off(fence, commit).await
    }

    async fn conclude(&self, fence: Fence, result: &TaskResult) -> Result<(), StoreError> {
        self.record_end(fence, result).await
    }
}
