//! Hooks in memory.

use async_trait::async_trait;
use dtf_model::StoreError;
use dtf_model::hook::{HookTable, HookUpdate};
use dtf_model::table::TaskRow;

use super::MemoryTable;

#[async_trait]
impl HookTable for MemoryTable {
    async fn due_hooks(&self, by: u64, most: u32) -> Result<Vec<TaskRow>, StoreError> {
        let state = self.state();
        let rows = state.rows.values().map(|stored| &stored.row);
        let mut due: Vec<_> = rows.filter(|row| row.hook_at.is_some_and(|at| at <= by)).collect();
        due.sort_by_key(|row| (row.hook_at, row.id));
        Ok(due.into_iter().take(most as usize).cloned().collect())
    }

    async fn next_hook_at(&self) -> Result<Option<u64>, StoreError> {
        Ok(self.state().rows.values().filter_map(|stored| stored.row.hook_at).min())
    }

    async fn update_hooks(&self, update: &HookUpdate) -> Result<bool, StoreError> {
        let mut state = self.state();
        match state.rows.get_mut(&update.task).map(|stored| &mut stored.row) {
            Some(row) if row.status.is_terminal() && row.hook_at == update.read_at => {
                row.hooks.clone_from(&update.records);
                row.hook_at = update.hook_at;
                self.write_entry(&mut state, update.task.0);
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}
