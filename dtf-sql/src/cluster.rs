//! The port to `tbl_cluster`, on either database.

use async_trait::async_trait;
use dtf_model::StoreError;
use dtf_model::cluster::ClusterTable;

use crate::call::Call;
use crate::row::Note;
use crate::sql;
use crate::table::{Database, SqlTable};

#[async_trait]
impl ClusterTable for SqlTable {
    async fn note(&self, name: &str) -> Result<Option<String>, StoreError> {
        let call = Call::new(sql::NOTE).with(name).with(name);
        Ok(self.fetch::<Note>(call).await?.pop().map(|note| note.0))
    }

    async fn note_once(&self, name: &str, value: &str) -> Result<String, StoreError> {
        let statement = match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => sql::sqlite::NOTE_ONCE,
            #[cfg(feature = "mysql")]
            Database::MySql(_) => sql::mysql::NOTE_ONCE,
        };
        self.database.execute(Call::new(statement).with(name).with(value).repeatable()).await?;
        let gone = || StoreError::Refused { store: "tbl_cluster", cause: format!("{name:?} was deleted") };
        self.note(name).await?.ok_or_else(gone)
    }

    async fn replace_note(&self, name: &str, expected: &str, value: &str) -> Result<bool, StoreError> {
        let call = Call::new(sql::REPLACE_NOTE).with(value).with(name).with(expected);
        self.execute(call.with(value)).await
    }
}
