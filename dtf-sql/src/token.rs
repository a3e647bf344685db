//! The port to `tbl_token`, on either database.

use async_trait::async_trait;
use dtf_model::StoreError;
use dtf_model::token::{ApiToken, TokenTable};

use crate::call::{Call, Value, bound, kept};
use crate::sql;
use crate::table::{Database, SqlTable};

#[async_trait]
impl TokenTable for SqlTable {
    async fn add_token(&self, token: &ApiToken) -> Result<(), StoreError> {
        token.check()?;
        let statement = match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => sql::sqlite::ADD_TOKEN,
            #[cfg(feature = "mysql")]
            Database::MySql(_) => sql::mysql::ADD_TOKEN,
        };
        let time = |time: Option<u64>| time.map(|time| kept("a time of the token", time)).transpose();
        let call = Call::new(statement).with(token.id.as_str()).with(token.digest.as_str());
        let call = call.with(token.name.as_str()).with(token.role.code());
        let call = call.with(list(&token.groups).as_str()).with(list(&token.types).as_str());
        let call = call.with(kept("the time", token.created_at)?).with(token.created_by.as_str());
        let call = call.with(Value::Number(time(token.expires_at)?));
        self.execute(call.with(Value::Number(time(token.last_used)?)).repeatable()).await.map(drop)
    }

    async fn token(&self, id: &str) -> Result<Option<ApiToken>, StoreError> {
        Ok(self.fetch(Call::new(sql::TOKEN).with(id).with(id)).await?.pop())
    }

    async fn tokens(&self, after: Option<&str>, most: u32) -> Result<Vec<ApiToken>, StoreError> {
        self.fetch(Call::new(sql::TOKENS).with(after.unwrap_or_default()).with(most)).await
    }

    async fn touch_token(&self, id: &str, at: u64) -> Result<(), StoreError> {
        let call = Call::new(sql::TOUCH_TOKEN).with(bound(at)).with(id).with(bound(at));
        self.database.execute(call.repeatable()).await.map(drop)
    }

    async fn remove_token(&self, id: &str) -> Result<bool, StoreError> {
        self.execute(Call::new(sql::REMOVE_TOKEN).with(id)).await
    }
}

fn list(names: &[String]) -> String {
    serde_json::json!(names).to_string()
}
