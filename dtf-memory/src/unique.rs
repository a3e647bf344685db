//! Unique keys in memory.

use std::collections::HashMap;

use async_trait::async_trait;
use dtf_model::error::{InvalidInput, StoreError};
use dtf_model::table::NewTask;
use dtf_model::unique::{Unique, UniqueTable, UniqueWhile};
use dtf_model::{RunEpoch, TaskId};

use super::MemoryTable;
use super::table::State;

/// The task that has each key, for how long, and the end of a period.
pub(super) type Keys = HashMap<String, (TaskId, UniqueWhile, Option<u64>)>;

impl State {
    /// The task that has a key at this time.
    fn holder(&self, key: &str, now: u64) -> Option<TaskId> {
        let (task, scope, until) = self.keys.get(key)?;
        let row = &self.rows.get(task)?.row;
        let is_taken = match scope {
            UniqueWhile::Pending => row.run == RunEpoch(0) && !row.status.is_terminal(),
            UniqueWhile::Running => !row.status.is_terminal(),
            UniqueWhile::Period(_) => until.is_some_and(|until| until > now),
        };
        is_taken.then_some(*task)
    }
}

#[async_trait]
impl UniqueTable for MemoryTable {
    async fn insert_unique(&self, task: &NewTask, unique: &Unique) -> Result<TaskId, StoreError> {
        task.param.check()?;
        unique.check()?;
        let state = &mut *self.state();
        if !state.groups.has(&task.param.group) {
            return Err(InvalidInput::UnknownGroup(task.param.group.clone()).into());
        }
        if let Some(id) = state.by_request.get(&task.request).copied().or(state.holder(&unique.key, task.now))
        {
            self.write_entry(state, id.0);
            return Ok(id);
        }
        let id = state.insert(task);
        state.keys.insert(unique.key.clone(), (id, unique.scope, unique.until(task.now)));
        self.write_entry(state, id.0);
        Ok(id)
    }
}
