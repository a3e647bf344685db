//! Hooks, on either database: columns of the task's row, so that the statement that ends a task makes them due.

use async_trait::async_trait;
use dtf_model::StoreError;
use dtf_model::hook::{HookRecord, HookTable, HookUpdate};
use dtf_model::table::TaskRow;

use crate::call::{Call, Value, bound, kept};
use crate::row::Number;
use crate::sql;
use crate::table::SqlTable;

/// The records as text; none where there are none.
pub(crate) fn text(records: &[HookRecord]) -> Result<Option<String>, StoreError> {
    let text = (!records.is_empty()).then(|| serde_json::to_string(records)).transpose();
    text.map_err(|error| crate::config::wrong(error.to_string()))
}

#[async_trait]
impl HookTable for SqlTable {
    async fn due_hooks(&self, by: u64, most: u32) -> Result<Vec<TaskRow>, StoreError> {
        self.fetch(Call::new(sql::DUE_HOOKS).with(bound(by)).with(most)).await
    }

    async fn next_hook_at(&self) -> Result<Option<u64>, StoreError> {
        let found: Vec<Number> = self.fetch(Call::new(sql::NEXT_HOOK)).await?;
        Ok(found.first().map(|at| at.0))
    }

    async fn update_hooks(&self, update: &HookUpdate) -> Result<bool, StoreError> {
        let time = |at: Option<u64>| at.map(|at| kept("the time of a hook", at)).transpose();
        let call = Call::new(sql::UPDATE_HOOKS).with(Value::Text(text(&update.records)?));
        let call = call.with(Value::Number(time(update.hook_at)?)).with(bound(update.task.0));
        self.execute(call.with(time(update.read_at)?.unwrap_or(-1))).await
    }
}
