//! The port to `tbl_task_result`, on either database.

use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::result::{NumberedResult, ResultTable};
use dtf_model::{InvalidInput, RunEpoch, StoreError, TaskId};

use crate::call::{Call, bound, kept};
use crate::row::StoredResult;
use crate::sql;
use crate::table::{Database, SqlTable};

/// The place of the rows in `keep_results.sql`.
const MARKER: &str = "/* rows */";
/// The most rows a statement.
const ROWS: usize = 500;
/// The largest size of a statement's rows: well below that of a packet that a server takes.
const BYTES: usize = 1024 * 1024;

#[async_trait]
impl ResultTable for SqlTable {
    async fn keep_results(
        &self,
        task: TaskId,
        run: RunEpoch,
        first: u64,
        results: &[Bytes],
    ) -> Result<(), StoreError> {
        let texts = results.iter().map(|result| text(result)).collect::<Result<Vec<_>, _>>()?;
        let task = kept("the task's id", task.0)?;
        let (mut rest, mut first) = (&texts[..], first);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(fitting(rest));
            self.execute(self.keeping_results(task, run, first, now)?.repeatable()).await?;
            first += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    async fn results(
        &self,
        task: TaskId,
        run: RunEpoch,
        from: u64,
        most: u32,
    ) -> Result<Vec<NumberedResult>, StoreError> {
        let call = Call::new(sql::RESULTS).with(bound(task.0)).with(run.0);
        let rows: Vec<StoredResult> = self.fetch(call.with(bound(from)).with(most)).await?;
        Ok(rows.into_iter().map(|StoredResult { number, body }| (number, body.into())).collect())
    }
}

impl SqlTable {
    fn keeping_results(
        &self,
        task: i64,
        run: RunEpoch,
        first: u64,
        results: &[&str],
    ) -> Result<Call, StoreError> {
        let statement = match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => sql::sqlite::KEEP_RESULTS,
            #[cfg(feature = "mysql")]
            Database::MySql(_) => sql::mysql::KEEP_RESULTS,
        };
        let rows = vec!["(?, ?, ?, ?)"; results.len()].join(", ");
        let mut call = Call::assembled(statement.replacen(MARKER, &rows, 1));
        for (number, result) in (first..).zip(results) {
            call = call.with(task).with(run.0).with(kept("the number of a result", number)?).with(*result);
        }
        Ok(call)
    }
}

fn text(result: &Bytes) -> Result<&str, StoreError> {
    str::from_utf8(result).map_err(|error| {
        let (got, allowed) = (error.to_string(), "UTF-8".to_owned());
        InvalidInput::OutOfRange { what: "a result", got, allowed }.into()
    })
}

/// Returns the number of these that go into one statement; at least one.
fn fitting(results: &[&str]) -> usize {
    let mut bytes = 0;
    let fits = |result: &&&str| {
        bytes += 2 * result.len();
        bytes <= BYTES
    };
    results.iter().take(ROWS).take_while(fits).count().max(1)
}
