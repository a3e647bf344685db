//! [`QueueStore`](dtf_model::queue::QueueStore) in memory, each side of it in a file of its own.

mod collector;
mod control;
mod executor;
mod generator;
mod reader;
mod scheduler;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dtf_model::error::StoreError;
use dtf_model::ids::{RunEpoch, TaskId};
use dtf_model::queue::Incarnation;
use lrmf_core::Clock;

use crate::task_queue::TaskQueue;

type Shared = Arc<Mutex<TaskQueue>>;

/// The queues of all tasks of one process. They end with it.
#[derive(Debug)]
pub struct MemoryQueues {
    clock: Arc<dyn Clock>,
    tasks: Mutex<HashMap<TaskId, Shared>>,
    incarnation: Mutex<Incarnation>,
    owner: Mutex<Option<String>>,
}

/// The contents at some time, see [`MemoryQueues::snapshot`].
#[derive(Clone, Debug, Default)]
pub struct QueuesSnapshot(HashMap<TaskId, TaskQueue>);

/// A panic while a lock is held can only come from an allocation failure; what it guards is whole or unreachable then.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryQueues {
    /// Empty queues, with delays reckoned on this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, tasks: Mutex::default(), incarnation: Mutex::default(), owner: Mutex::default() }
    }

    /// Returns true if nothing is left of any task.
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
