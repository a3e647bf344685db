//! [`QueueStore`] in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dtf_model::Role;
use dtf_model::error::StoreError;
use dtf_model::ids::{RunEpoch, Shard, TaskId};
use dtf_model::param::TaskSpec;
use dtf_model::plugin::TaskResult;
use dtf_model::queue::{
    Backlog, CollectorLoad, Commit, Fence, GeneratorLoad, Hand, Incarnation, LostParcel, Parcel, ParcelId,
    ParcelReport, Push, QueueStore, Reported, ResultBatch, SchedulerLoad, Standing, Taken, TaskState,
};
use dtf_model::status::{Control, Counts};
use lrmf_core::Clock;

use super::task_queue::TaskQueue;

type Shared = Arc<Mutex<TaskQueue>>;

/// The queues of all tasks of one process. They end with it.
#[derive(Debug)]
pub struct MemoryQueues {
    clock: Arc<dyn Clock>,
    tasks: Mutex<HashMap<TaskId, Shared>>,
    incarnation: Mutex<Incarnation>,
}

/// What was there at some time, see [`MemoryQueues::snapshot`].
#[derive(Clone, Debug, Default)]
pub struct QueuesSnapshot(HashMap<TaskId, TaskQueue>);

/// A panic while a lock is held can only come from an allocation failure; what it guards is whole or unreachable then.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryQueues {
    /// Empty queues, with delays reckoned on this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, tasks: Mutex::default(), incarnation: Mutex::default() }
    }

    /// Whether nothing is left of any task.
    pub fn is_empty(&self) -> bool {
        lock(&self.tasks).is_empty()
    }

    /// Everything as it is now, to be [rolled back](Self::roll_back) to.
    pub fn snapshot(&self) -> QueuesSnapshot {
        let tasks = lock(&self.tasks);
        QueuesSnapshot(tasks.iter().map(|(task, queue)| (*task, lock(queue).clone())).collect())
    }

    /// Forgets what has happened since, and begins another life: as a server does that is killed and has not written its last
    /// writes to its file. Back to a default snapshot, it forgets everything.
    pub fn roll_back(&self, to: &QueuesSnapshot) {
        let shared = |(task, queue): (&TaskId, &TaskQueue)| {
            let mut queue = queue.clone();
            queue.forget_nothing_drawn();
            (*task, Arc::new(Mutex::new(queue)))
        };
        *lock(&self.tasks) = to.0.iter().map(shared).collect();
        lock(&self.incarnation).0.push('+');
    }

    fn find(&self, task: TaskId) -> Option<Shared> {
        lock(&self.tasks).get(&task).cloned()
    }

    /// Does something with the queues of a run, or says that they are gone.
    fn with<T>(
        &self,
        task: TaskId,
        run: RunEpoch,
        act: impl FnOnce(&mut TaskQueue) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let shared = self.find(task).ok_or(StoreError::Gone { task, run })?;
        let mut queue = lock(&shared);
        if queue.spec().run != run {
            return Err(StoreError::Gone { task, run });
        }
        act(&mut queue)
    }
}

#[async_trait]
impl QueueStore for MemoryQueues {
    async fn incarnation(&self) -> Result<Incarnation, StoreError> {
        Ok(lock(&self.incarnation).clone())
    }

    async fn open(&self, spec: &TaskSpec) -> Result<(), StoreError> {
        let mut tasks = lock(&self.tasks);
        if let Some(there) = tasks.get(&spec.id) {
            let run = lock(there).spec().run;
            if run > spec.run {
                return Err(StoreError::Gone { task: spec.id, run: spec.run });
            }
            if run == spec.run {
                return Ok(());
            }
        }
        tasks.insert(spec.id, Arc::new(Mutex::new(TaskQueue::new(spec.clone()))));
        Ok(())
    }

    async fn state(&self, task: TaskId) -> Result<Option<TaskState>, StoreError> {
        Ok(self.find(task).map(|shared| lock(&shared).state()))
    }

    async fn controls(&self, tasks: &[TaskId]) -> Result<Vec<(TaskId, RunEpoch, Control)>, StoreError> {
        let found = tasks.iter().filter_map(|task| Some((*task, self.find(*task)?)));
        Ok(found
            .map(|(task, shared)| {
                let queue = lock(&shared);
                (task, queue.spec().run, queue.control())
            })
            .collect())
    }

    async fn set_control(&self, task: TaskId, run: RunEpoch, control: Control) -> Result<(), StoreError> {
        self.with(task, run, |queue| {
            queue.set_control(control);
            Ok(())
        })
    }

    async fn close(&self, task: TaskId, run: RunEpoch) -> Result<Counts, StoreError> {
        self.with(task, run, |queue| Ok(queue.close()))
    }

    async fn purge(&self, task: TaskId, run: RunEpoch) -> Result<(), StoreError> {
        let mut tasks = lock(&self.tasks);
        if tasks.get(&task).is_some_and(|there| lock(there).spec().run <= run) {
            tasks.remove(&task);
        }
        Ok(())
    }

    async fn stop_by_generator(&self, fence: Fence, reason: &str) -> Result<(), StoreError> {
        self.with(fence.task, fence.run, |queue| queue.stop_by_generator(fence.token, reason))
    }

    async fn set_waits(&self, fence: Fence, role: Role, reason: Option<&str>) -> Result<(), StoreError> {
        self.with(fence.task, fence.run, |queue| queue.set_waits(fence.token, role, reason))
    }

    async fn load_generator(&self, fence: Fence) -> Result<GeneratorLoad, StoreError> {
        self.with(fence.task, fence.run, |queue| queue.load_generator(fence.token))
    }

    async fn push(&self, fence: Fence, push: Push) -> Result<Backlog, StoreError> {
        self.with(fence.task, fence.run, |queue| queue.push(fence.token, push))
    }

    async fn backlog(&self, task: TaskId, run: RunEpoch) -> Result<Backlog, StoreError> {
        self.with(task, run, |queue| Ok(queue.backlog()))
    }

    async fn load_scheduler(&self, fence: Fence) -> Result<SchedulerLoad, StoreError> {
        self.with(fence.task, fence.run, |queue| queue.load_scheduler(fence.token))
    }

    async fn take(&self, fence: Fence, hand: &Hand, most: u64) -> Result<Taken, StoreError> {
        let now = self.clock.now();
        self.with(fence.task, fence.run, |queue| queue.take(fence.token, now, hand, most))
    }

    async fn standings(&self, tasks: &[TaskId]) -> Result<Vec<(TaskId, Standing)>, StoreError> {
        let found = tasks.iter().filter_map(|task| Some((*task, self.find(*task)?)));
        Ok(found.map(|(task, shared)| (task, lock(&shared).standing())).collect())
    }

    async fn put_back(&self, fence: Fence, parcels: &[ParcelId], after: Duration) -> Result<(), StoreError> {
        let now = self.clock.now();
        self.with(fence.task, fence.run, |queue| queue.put_back(fence.token, now, parcels, after))
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

    async fn accuse(
        &self,
        task: TaskId,
        run: RunEpoch,
        parcel: ParcelId,
        attempt: u32,
    ) -> Result<bool, StoreError> {
        self.with(task, run, |queue| Ok(queue.accuse(parcel, attempt)))
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

    async fn stop_by_collector(&self, fence: Fence, reason: &str) -> Result<(), StoreError> {
        self.with(fence.task, fence.run, |queue| queue.stop_by_collector(fence.token, reason))
    }

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
}
