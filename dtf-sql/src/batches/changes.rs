//! Changes of rows: the plain ones of many tasks in one statement.
//!
//! The statement changes only rows that stand as is most common (never paused, for one), and is rolled back unless it
//! changed every row that it names. Then each call is made by itself, which says of each whether it applied.

use async_trait::async_trait;
use dtf_model::{StoreError, TaskId};
use futures::future::join_all;

use super::batcher::BatchWork;
use super::{parts, with_rows};
use crate::call::{Call, Value, bound};
use crate::sql;
use crate::table::Database;

/// A change of one task or schedule.
pub(crate) struct Change {
    /// The task; of a schedule, the task that its hints name.
    pub(crate) task: TaskId,
    /// The values of a row of the statement for many.
    pub(crate) row: Vec<Value>,
    /// The statement for this task alone.
    pub(crate) alone: Call,
}

/// Makes changes of one kind.
pub(crate) struct Changes {
    database: Database,
    /// The statement for many, with a marker for its rows.
    together: &'static str,
    /// A row of it.
    row: &'static str,
}

impl Changes {
    /// Begins runs.
    pub(crate) fn begin_runs(database: Database) -> Self {
        let together = match database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => sql::sqlite::BEGIN_RUNS,
            #[cfg(feature = "mysql")]
            Database::MySql(_) => sql::mysql::BEGIN_RUNS,
        };
        Self { database, together, row: sql::BEGIN_RUNS_ROW }
    }

    /// Ends tasks.
    pub(crate) fn finishes(database: Database) -> Self {
        let together = match database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => sql::sqlite::FINISH_ALL,
            #[cfg(feature = "mysql")]
            Database::MySql(_) => sql::mysql::FINISH_ALL,
        };
        Self { database, together, row: sql::FINISH_ALL_ROW }
    }

    /// Changes the progress of schedules.
    pub(crate) fn schedules(database: Database) -> Self {
        let together = match database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => sql::sqlite::UPDATE_SCHEDULES,
            #[cfg(feature = "mysql")]
            Database::MySql(_) => sql::mysql::UPDATE_SCHEDULES,
        };
        Self { database, together, row: sql::UPDATE_SCHEDULES_ROW }
    }

    /// Makes changes together, or, where that does not apply to all of them, one by one.
    async fn make(&self, together: Call, each: Vec<Call>) -> Vec<Result<bool, StoreError>> {
        if each.len() > 1 {
            match self.database.all_or_none(together, each.len() as u64).await {
                Ok(true) => return each.iter().map(|_| Ok(true)).collect(),
                Err(error) if !error.is_definitely_not_applied() => {
                    return each.iter().map(|_| Err(error.clone())).collect();
                }
                Ok(false) | Err(_) => {}
            }
        }
        join_all(each.into_iter().map(|call| self.database.execute(call))).await
    }
}

#[async_trait]
impl BatchWork for Changes {
    type Call = Change;
    type Answer = Result<bool, StoreError>;

    fn weight(&self, call: &Change) -> usize {
        call.row.iter().map(Value::bytes).sum()
    }

    /// Rows are named in the order of their ids, so that statements do not lock them crosswise.
    async fn perform(&self, calls: Vec<Change>) -> Vec<Self::Answer> {
        let mut ordered: Vec<_> = calls.into_iter().enumerate().collect();
        ordered.sort_by_key(|(_, change)| change.task);
        let mut answers = Vec::with_capacity(ordered.len());
        for part in parts(ordered) {
            let (places, part): (Vec<_>, Vec<_>) = part.into_iter().unzip();
            let (rows, each) = part.into_iter().map(|change| (change.row, change.alone)).unzip();
            let together = with_rows(self.together, self.row, " UNION ALL ", rows);
            answers.extend(places.into_iter().zip(self.make(together, each).await));
        }
        answers.sort_unstable_by_key(|(place, _)| *place);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }
}

/// Notes that the queues of ended tasks are gone.
pub(crate) struct Purges(pub(crate) Database);

#[async_trait]
impl BatchWork for Purges {
    type Call = TaskId;
    type Answer = Result<(), StoreError>;

    async fn perform(&self, calls: Vec<TaskId>) -> Vec<Self::Answer> {
        let mut answers = Vec::with_capacity(calls.len());
        for part in parts(calls) {
            let rows = part.iter().map(|id| vec![Value::from(bound(id.0))]).collect();
            let noted = self.0.execute(with_rows(sql::PURGED, "?", ", ", rows).repeatable()).await.map(drop);
            answers.extend(part.iter().map(|_| noted.clone()));
        }
        answers
    }
}
