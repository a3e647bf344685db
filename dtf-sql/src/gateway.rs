//! The port to `tbl_gateway`, on either database.

use async_trait::async_trait;
use dtf_model::StoreError;
use dtf_model::gateway::{Gateway, GatewayTable};
use uuid::Uuid;

use crate::call::{Call, bound, kept};
use crate::sql;
use crate::table::{Database, SqlTable};

#[async_trait]
impl GatewayTable for SqlTable {
    async fn announce_gateway(&self, gateway: &Gateway) -> Result<(), StoreError> {
        gateway.check()?;
        let statement = match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => sql::sqlite::ANNOUNCE_GATEWAY,
            #[cfg(feature = "mysql")]
            Database::MySql(_) => sql::mysql::ANNOUNCE_GATEWAY,
        };
        let workers = serde_json::json!(gateway.workers).to_string();
        let call = Call::new(statement).with(gateway.id.to_string().as_str()).with(gateway.process.as_str());
        let call = call.with(workers.as_str()).with(gateway.connected);
        self.execute(call.with(kept("the time", gateway.until)?).repeatable()).await.map(drop)
    }

    async fn gateways(&self, now: u64, after: Option<Uuid>, most: u32) -> Result<Vec<Gateway>, StoreError> {
        let after = after.map_or_else(String::new, |after| after.to_string());
        self.fetch(Call::new(sql::GATEWAYS).with(after.as_str()).with(bound(now)).with(most)).await
    }

    async fn withdraw_gateway(&self, id: Uuid, now: u64) -> Result<(), StoreError> {
        let call = Call::new(sql::WITHDRAW_GATEWAY).with(id.to_string().as_str()).with(bound(now));
        self.execute(call.repeatable()).await.map(drop)
    }
}
