//! The port to `tbl_bulk`, on either database.

use async_trait::async_trait;
use dtf_model::StoreError;
use dtf_model::bulk::{BulkRow, BulkState, BulkTable, BulkUpdate, NewBulk};
use serde::Serialize;
use uuid::Uuid;

use crate::call::{Call, Value, bound, kept};
use crate::row::TasksOfBulk;
use crate::sql;
use crate::table::{Database, SqlTable};

#[async_trait]
impl BulkTable for SqlTable {
    async fn add_bulk(&self, new: &NewBulk) -> Result<(), StoreError> {
        new.check()?;
        let statement = match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => sql::sqlite::ADD_BULK,
            #[cfg(feature = "mysql")]
            Database::MySql(_) => sql::mysql::ADD_BULK,
        };
        let now = kept("the time", new.now)?;
        let call = Call::new(statement).with(new.id.to_string().as_str()).with(json(&new.spec)?.as_str());
        let call = call.with(json(&new.tasks)?.as_str()).with(json(&BulkState::default())?.as_str());
        self.execute(call.with(now).with(now).repeatable()).await.map(drop)
    }

    async fn bulk(&self, id: Uuid) -> Result<Option<BulkRow>, StoreError> {
        Ok(self.fetch(Call::new(sql::BULK).with(id.to_string().as_str())).await?.pop())
    }

    async fn tasks_of_bulk(&self, id: Uuid) -> Result<Vec<u64>, StoreError> {
        let call = Call::new(sql::TASKS_OF_BULK).with(id.to_string().as_str());
        Ok(self.fetch::<TasksOfBulk>(call).await?.pop().map(|tasks| tasks.0).unwrap_or_default())
    }

    async fn update_bulk(&self, update: &BulkUpdate) -> Result<bool, StoreError> {
        let until = update.until.map(|until| kept("the time", until)).transpose()?;
        let call = Call::new(sql::UPDATE_BULK).with(json(&update.state)?.as_str()).with(Value::Number(until));
        self.execute(call.with(update.id.to_string().as_str()).with(bound(update.revision))).await
    }

    async fn due_bulks(&self, now: u64, most: u32) -> Result<Vec<BulkRow>, StoreError> {
        self.fetch(due(now, most)).await
    }

    async fn forget_bulks(&self, before: u64, most: u32) -> Result<bool, StoreError> {
        let statement = match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => sql::sqlite::FORGET_BULKS,
            #[cfg(feature = "mysql")]
            Database::MySql(_) => sql::mysql::FORGET_BULKS,
        };
        self.execute(Call::new(statement).with(bound(before)).with(most)).await
    }
}

/// The statement that finds what nobody works on.
pub(crate) fn due(now: u64, most: u32) -> Call {
    Call::new(sql::BULKS_DUE).with(bound(now)).with(most)
}

fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| crate::config::wrong(error.to_string()))
}
