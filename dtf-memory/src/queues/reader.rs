//! [`QueueReader`] in memory.

use async_trait::async_trait;
use dtf_model::queue::{Incarnation, QueueReader, TaskProgress, TaskState};
use dtf_model::{StoreError, TaskId};

use super::{MemoryQueues, lock};

#[async_trait]
impl QueueReader for MemoryQueues {
    async fn incarnation(&self) -> Result<Incarnation, StoreError> {
        Ok(lock(&self.incarnation).clone())
    }

    async fn state(&self, task: TaskId) -> Result<Option<TaskState>, StoreError> {
        Ok(self.find(task).map(|shared| lock(&shared).state()))
    }

    async fn progress_of(&self, tasks: &[TaskId]) -> Result<Vec<(TaskId, TaskProgress)>, StoreError> {
        let found = tasks.iter().filter_map(|task| Some((*task, self.find(*task)?)));
        Ok(found.map(|(task, shared)| (task, lock(&shared).progress())).collect())
    }
}
