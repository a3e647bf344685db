//! Unique keys, on either database: a constraint on a column that may be empty.
//!
//! A key whose time is over is taken from its task only when another one asks for it. So nothing has to be done when a task begins or
//! ends, and tasks that programs of earlier versions begin and end keep no key for ever.

use async_trait::async_trait;
use dtf_model::group::GroupTable;
use dtf_model::table::NewTask;
use dtf_model::unique::{Unique, UniqueTable};
use dtf_model::{InvalidInput, StoreError, TaskId};

use crate::audit::{NumberOf, addition_of};
use crate::batches::with_rows;
use crate::call::{Call, Value, kept};
use crate::row::Number;
use crate::sql;
use crate::table::{Database, SqlTable, insertion};

/// The number of attempts. Each further one means that the task that had the key lost it meanwhile.
const ATTEMPTS: u32 = 8;

#[async_trait]
impl UniqueTable for SqlTable {
    async fn insert_unique(&self, task: &NewTask, unique: &Unique) -> Result<TaskId, StoreError> {
        task.param.check()?;
        unique.check()?;
        if self.group(&task.param.group).await?.is_none() {
            return Err(InvalidInput::UnknownGroup(task.param.group.clone()).into());
        }
        let statement = match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => sql::sqlite::INSERT_UNIQUE,
            #[cfg(feature = "mysql")]
            Database::MySql(_) => sql::mysql::INSERT_UNIQUE,
        };
        let request = task.request.to_string();
        let now = kept("the time", task.now)?;
        let mut row = insertion(task)?.row;
        row.extend([unique.key.as_str().into(), unique.scope.code().into()]);
        row.push(Value::Number(
            unique.until(task.now).map(|until| kept("the end of the period", until)).transpose()?,
        ));
        let places = format!("({}1, '')", "?, ".repeat(row.len()));
        for _ in 0..ATTEMPTS {
            let lapse = Call::new(sql::UNIQUE_LAPSE).with(unique.key.as_str()).with(now);
            // The request is a name, so that the statement can be sent again.
            let insert = with_rows(statement, &places, ", ", vec![row.clone()]).repeatable();
            self.insert_or_find(lapse.repeatable(), insert, NumberOf::UniqueTask(&request, &unique.key))
                .await?;
            let holder = Call::new(sql::UNIQUE_HOLDER).with(request.as_str()).with(unique.key.as_str());
            let found: Vec<Number> = self.fetch(holder.with(request.as_str())).await?;
            if let Some(holder) = found.first() {
                return Ok(TaskId(holder.0));
            }
        }
        let cause = format!("the key {:?} changed hands again and again", unique.key);
        Err(StoreError::Unknown { store: "SQL", cause })
    }
}

impl SqlTable {
    /// Frees a key whose time is over and inserts a task that has it, together with the entry of the audit, if there is one.
    async fn insert_or_find(&self, lapse: Call, insert: Call, found: NumberOf<'_>) -> Result<(), StoreError> {
        let Some(note) = self.unwritten() else {
            self.database.execute(lapse).await?;
            return self.database.execute(insert).await.map(drop);
        };
        // The task that has the key cannot lose it before the end of the transaction.
        let entry = self.database.adding(&[addition_of(note, found)])?;
        self.database.transaction(vec![lapse, insert, entry]).await?;
        note.set_written();
        Ok(())
    }
}
