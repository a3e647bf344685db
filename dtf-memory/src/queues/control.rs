//! [`TaskControl`] in memory.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use dtf_model::queue::TaskControl;
use dtf_model::{Control, Counts, RunEpoch, StoreError, TaskId, TaskSpec};

use super::{MemoryQueues, lock};
use crate::task_queue::TaskQueue;

#[async_trait]
impl TaskControl for MemoryQueues {
    async fn claim(&self, owner: &str) -> Result<String, StoreError> {
        Ok(lock(&self.owner).get_or_insert_with(|| owner.to_owned()).clone())
    }

    async fn open(&self, spec: &TaskSpec) -> Result<(), StoreError> {
        let mut tasks = lock(&self.tasks);
        if let Some(there) = tasks.get(&spec.id) {
            let (run, same) = {
                let there = lock(there);
                (there.spec().run, there.spec().is_same_creation(spec.request))
            };
            if run > spec.run || (run == spec.run && !same) {
                return Err(StoreError::Gone { task: spec.id, run: spec.run });
            }
            if run == spec.run {
                return Ok(());
            }
        }
        tasks.insert(spec.id, Arc::new(Mutex::new(TaskQueue::new(spec.clone()))));
        Ok(())
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
}
