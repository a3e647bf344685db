//! `tbl_bulk` in memory.

use std::collections::HashMap;

use async_trait::async_trait;
use dtf_model::bulk::{BulkRow, BulkState, BulkTable, BulkUpdate, NewBulk};
use dtf_model::error::StoreError;
use uuid::Uuid;

use super::MemoryTable;

/// The actions by name.
pub(super) type Bulks = HashMap<Uuid, Stored>;

#[derive(Debug)]
pub(super) struct Stored {
    row: BulkRow,
    tasks: Vec<u64>,
    /// The time until which a process works on it; none where it has ended.
    until: Option<u64>,
}

#[async_trait]
impl BulkTable for MemoryTable {
    async fn add_bulk(&self, new: &NewBulk) -> Result<(), StoreError> {
        new.check()?;
        let NewBulk { id, spec, tasks, now } = new.clone();
        let row = BulkRow { id, spec, state: BulkState::default(), revision: 0, created_at: now };
        let mut state = self.state();
        state.bulks.entry(id).or_insert(Stored { row, tasks, until: Some(now) });
        self.write_entry(&mut state, 0);
        Ok(())
    }

    async fn bulk(&self, id: Uuid) -> Result<Option<BulkRow>, StoreError> {
        Ok(self.state().bulks.get(&id).map(|stored| stored.row.clone()))
    }

    async fn tasks_of_bulk(&self, id: Uuid) -> Result<Vec<u64>, StoreError> {
        Ok(self.state().bulks.get(&id).map(|stored| stored.tasks.clone()).unwrap_or_default())
    }

    async fn update_bulk(&self, update: &BulkUpdate) -> Result<bool, StoreError> {
        let mut state = self.state();
        let known = state.bulks.get_mut(&update.id).filter(|known| known.row.revision == update.revision);
        let Some(known) = known else { return Ok(false) };
        known.row.revision += 1;
        known.row.state = update.state.clone();
        known.until = update.until;
        Ok(true)
    }

    async fn due_bulks(&self, now: u64, most: u32) -> Result<Vec<BulkRow>, StoreError> {
        let state = self.state();
        let mut due: Vec<_> =
            state.bulks.values().filter(|known| known.until.is_some_and(|at| at <= now)).collect();
        due.sort_by_key(|known| (known.until, known.row.id));
        Ok(due.into_iter().take(most as usize).map(|known| known.row.clone()).collect())
    }

    async fn forget_bulks(&self, before: u64, most: u32) -> Result<bool, StoreError> {
        let mut state = self.state();
        let old = state.bulks.values().filter(|known| known.row.created_at < before);
        let gone: Vec<_> = old.take(most as usize).map(|known| known.row.id).collect();
        gone.iter().for_each(|id| drop(state.bulks.remove(id)));
        Ok(!gone.is_empty())
    }
}
