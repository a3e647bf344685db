//! The end of history: what is not to be kept is deleted, a small batch at a time.

use dtf_model::StoreError;
use dtf_model::table::{HistoryOf, Keep};

use crate::call::{Call, bound};
use crate::row::Number;
use crate::sql;
use crate::table::{Database, SqlTable};

/// The place of the ids.
const MARKER: &str = "/* ids */";
/// The most tasks whose rows a statement deletes: a short lock each.
const TOGETHER: usize = 100;

impl SqlTable {
    pub(crate) async fn history_behind(
        &self,
        after: Option<&HistoryOf>,
    ) -> Result<Option<HistoryOf>, StoreError> {
        let group = after.map_or("", |after| after.group.as_str());
        let task_type = after.map_or(-1, |after| i64::from(after.task_type.0));
        let call = Call::new(sql::NEXT_HISTORY).with(group).with(group).with(task_type);
        Ok(self.fetch(call).await?.pop())
    }

    /// Deletes failures, results and items first: a task that is there without them says so, they without their task would stay.
    pub(crate) async fn delete_history(
        &self,
        of: &HistoryOf,
        keep: Keep,
        most: u32,
    ) -> Result<u64, StoreError> {
        let Some(before) = self.oldest_kept(of, keep).await? else { return Ok(0) };
        let call = Call::new(sql::FORGETTABLE).with(of.group.as_str()).with(of.task_type.0).with(before);
        let ids: Vec<Number> = self.fetch(call.with(most)).await?;
        let kept_beside = match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => [
                sql::sqlite::FORGET_ALL_FAILURES,
                sql::sqlite::FORGET_ALL_RESULTS,
                sql::sqlite::FORGET_ALL_ITEMS,
            ],
            #[cfg(feature = "mysql")]
            Database::MySql(_) => [
                sql::mysql::FORGET_ALL_FAILURES,
                sql::mysql::FORGET_ALL_RESULTS,
                sql::mysql::FORGET_ALL_ITEMS,
            ],
        };
        for ids in ids.chunks(TOGETHER) {
            for statement in kept_beside {
                while self.execute(of_ids(statement, ids)).await? {}
            }
            self.execute(of_ids(sql::FORGET_AFTER, ids)).await?;
            self.execute(of_ids(sql::FORGET, ids)).await?;
        }
        Ok(ids.len() as u64)
    }

    /// The end of the task before which nothing is kept; none where everything is.
    async fn oldest_kept(&self, of: &HistoryOf, keep: Keep) -> Result<Option<i64>, StoreError> {
        let by_age = keep.ended_since.map(bound);
        let Some(newest) = keep.newest else { return Ok(by_age) };
        let call = Call::new(sql::OLDEST_KEPT).with(of.group.as_str()).with(of.task_type.0);
        let kept: Vec<Number> = self.fetch(call.with(bound(newest.max(1) - 1))).await?;
        Ok(by_age.max(kept.first().map(|time| bound(time.0))))
    }
}

/// A statement on some tasks. Deleting what is deleted does nothing.
fn of_ids(statement: &'static str, ids: &[Number]) -> Call {
    let places = vec!["?"; ids.len()].join(", ");
    let call = Call::assembled(statement.replacen(MARKER, &places, 1)).repeatable();
    ids.iter().fold(call, |call, id| call.with(bound(id.0)))
}
