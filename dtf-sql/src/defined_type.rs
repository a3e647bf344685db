//! The port to `tbl_task_type`, on either database.

use async_trait::async_trait;
use dtf_model::StoreError;
use dtf_model::defined_type::{DefinedType, DefinedTypeTable};

use crate::call::{Call, kept};
use crate::sql;
use crate::table::{Database, SqlTable};

#[async_trait]
impl DefinedTypeTable for SqlTable {
    async fn define_type(&self, definition: &DefinedType) -> Result<bool, StoreError> {
        definition.check()?;
        let statement = match (definition.version, &self.database) {
            #[cfg(feature = "sqlite")]
            (1, Database::Sqlite(_)) => sql::sqlite::INSERT_TYPE,
            #[cfg(feature = "mysql")]
            (1, Database::MySql(_)) => sql::mysql::INSERT_TYPE,
            _ => sql::UPDATE_TYPE,
        };
        let call = Call::new(statement).with(definition.version).with(definition.description.as_str());
        let call = call.with(definition.schema.to_string().as_str());
        let call = call.with(definition.template.to_string().as_str());
        let call = call.with(kept("the time", definition.updated_at)?).with(definition.updated_by.as_str());
        let call = call.with(definition.name.as_str());
        self.execute(match definition.version {
            1 => call,
            version => call.with(version - 1),
        })
        .await
    }

    async fn defined_type(&self, name: &str) -> Result<Option<DefinedType>, StoreError> {
        Ok(self.fetch(Call::new(sql::DEFINED_TYPE).with(name).with(name)).await?.pop())
    }

    async fn defined_types(&self, after: Option<&str>, most: u32) -> Result<Vec<DefinedType>, StoreError> {
        self.fetch(Call::new(sql::DEFINED_TYPES).with(after.unwrap_or_default()).with(most)).await
    }

    async fn delete_type(&self, name: &str) -> Result<bool, StoreError> {
        self.execute(Call::new(sql::DELETE_TYPE).with(name)).await
    }
}
