//! The port to `tbl_resource_group`, on either database.

use async_trait::async_trait;
use dtf_model::StoreError;
use dtf_model::group::{GroupTable, ResourceGroup};

use crate::call::{Call, Value};
use crate::sql;
use crate::table::{Database, SqlTable};

#[async_trait]
impl GroupTable for SqlTable {
    async fn set_group(&self, group: &ResourceGroup) -> Result<(), StoreError> {
        group.check()?;
        let limit = |limit: Option<u32>| Value::Number(limit.map(i64::from));
        let call = match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => crate::sqlite::set_group(),
            #[cfg(feature = "mysql")]
            Database::MySql(_) => crate::mysql::set_group(),
        };
        let call = call.with(group.name.as_str()).with(group.quota);
        let call = call.with(limit(group.limits.running)).with(limit(group.limits.rate));
        let call = call.with(group.description.as_str()).with(u8::from(group.paused));
        self.execute(call.repeatable()).await.map(drop)
    }

    async fn group(&self, name: &str) -> Result<Option<ResourceGroup>, StoreError> {
        Ok(self.fetch(Call::new(sql::GROUP).with(name).with(name)).await?.pop())
    }

    async fn groups(&self, after: Option<&str>, most: u32) -> Result<Vec<ResourceGroup>, StoreError> {
        self.fetch(Call::new(sql::GROUPS).with(after.unwrap_or_default()).with(most)).await
    }
}
