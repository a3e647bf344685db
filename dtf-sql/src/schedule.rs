//! The port to `tbl_schedule`, on either database.

use async_trait::async_trait;
use dtf_model::schedule::{NewSchedule, ScheduleRow, ScheduleState, ScheduleTable, ScheduleUpdate};
use dtf_model::table::BucketOf;
use dtf_model::{InvalidInput, ScheduleId, StoreError, TaskId};

use crate::batches::{Change, answered};
use crate::call::{Call, Value, bound, kept};
use crate::row::Number;
use crate::sql;
use crate::table::{Database, SqlTable, of_share};

#[async_trait]
impl ScheduleTable for SqlTable {
    async fn insert_schedule(&self, new: &NewSchedule) -> Result<ScheduleRow, StoreError> {
        new.spec.check()?;
        let insert = match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => sql::sqlite::INSERT_SCHEDULE,
            #[cfg(feature = "mysql")]
            Database::MySql(_) => sql::mysql::INSERT_SCHEDULE,
        };
        let request = new.request.to_string();
        let call = Call::new(insert).with(request.as_str()).with(new.spec.name.as_str());
        let call =
            call.with(json(&new.spec)?.as_str()).with(json(&new.state)?.as_str()).with(time(new.next_at)?);
        let call = call.with(kept("the time", new.now)?).repeatable();
        match self.unwritten() {
            None => drop(self.database.execute(call).await?),
            Some(note) => {
                let entry = self.database.adding_of_schedule(note.entry(), &request)?;
                self.database.transaction(vec![call, entry]).await?;
            }
        }
        let made = self.fetch(Call::new(sql::SCHEDULE_REQUESTED).with(request.as_str())).await?.pop();
        if let (Some(_), Some(note)) = (&made, self.unwritten()) {
            note.set_written();
        }
        made.ok_or_else(|| InvalidInput::ScheduleTaken(new.spec.name.clone()).into())
    }

    async fn schedule(&self, name: &str) -> Result<Option<ScheduleRow>, StoreError> {
        Ok(self.fetch(Call::new(sql::SCHEDULE_NAMED).with(name).with(name)).await?.pop())
    }

    async fn schedules(&self, after: Option<&str>, most: u32) -> Result<Vec<ScheduleRow>, StoreError> {
        self.fetch(Call::new(sql::SCHEDULES).with(after.unwrap_or_default()).with(most)).await
    }

    async fn due_schedules(
        &self,
        share: BucketOf,
        by: u64,
        most: u32,
    ) -> Result<Vec<ScheduleRow>, StoreError> {
        let call = Call::new(sql::SCHEDULES_DUE).with(bound(by));
        self.fetch(of_share(call, share).with(most)).await
    }

    async fn next_schedule_at(&self, share: BucketOf) -> Result<Option<u64>, StoreError> {
        let next = self.fetch::<Number>(of_share(Call::new(sql::SCHEDULE_NEXT), share)).await?;
        Ok(next.first().map(|next| next.0))
    }

    async fn update_schedule(&self, update: &ScheduleUpdate) -> Result<bool, StoreError> {
        let ScheduleUpdate { id, revision, state, next_at } = update;
        let (state, next_at) = (json::<ScheduleState>(state)?, time(*next_at)?);
        let (number, revision) = (Value::from(bound(id.0)), Value::from(bound(*revision)));
        let alone = Call::new(sql::UPDATE_SCHEDULE).with(state.as_str()).with(next_at.clone());
        let alone = alone.with(number.clone()).with(revision.clone());
        if self.unwritten().is_some() {
            return self.execute(alone).await;
        }
        let row = vec![number, revision, next_at, state.as_str().into()];
        answered(&self.batches.schedules, Change { task: TaskId(id.0), row, alone }).await
    }

    async fn delete_schedule(&self, id: ScheduleId) -> Result<bool, StoreError> {
        self.execute(Call::new(sql::DELETE_SCHEDULE).with(bound(id.0))).await
    }
}

fn time(at: Option<u64>) -> Result<Value, StoreError> {
    Ok(Value::Number(at.map(|at| kept("the time", at)).transpose()?))
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| crate::config::wrong(error.to_string()))
}
