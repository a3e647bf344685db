//! The port to `tbl_task_failure`, on either database.

use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::failure::{Failure, FailureKey, FailureTable};
use dtf_model::{RunEpoch, StoreError, TaskId};

use crate::call::{Call, Value, bound, kept};
use crate::row::Number;
use crate::sql;
use crate::table::{Database, SqlTable};

/// The place of the rows in `keep_failures.sql`.
const MARKER: &str = "/* rows */";
/// The most rows a statement.
const ROWS: usize = 100;
/// The largest size of a statement's rows: well below that of a packet that a server takes.
const BYTES: usize = 1024 * 1024;

#[async_trait]
impl FailureTable for SqlTable {
    async fn keep_failures(
        &self,
        task: TaskId,
        run: RunEpoch,
        failures: &[Failure],
    ) -> Result<(), StoreError> {
        let (task, mut rest) = (kept("the task's id", task.0)?, failures);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(fitting(rest));
            self.execute(self.keeping(task, run, now)?.repeatable()).await?;
            rest = later;
        }
        Ok(())
    }

    async fn failures(
        &self,
        task: TaskId,
        run: RunEpoch,
        after: Option<FailureKey>,
        most: u32,
    ) -> Result<Vec<Failure>, StoreError> {
        let epoch = after.map_or(-1, |after| i64::from(after.epoch.0));
        let seq = after.map_or(-1, |after| bound(after.seq.0));
        let call = Call::new(sql::FAILURES).with(bound(task.0)).with(run.0);
        self.fetch(call.with(epoch).with(epoch).with(seq).with(most)).await
    }

    async fn errors(&self, task: TaskId, run: RunEpoch) -> Result<Vec<Failure>, StoreError> {
        self.fetch(Call::new(sql::ERRORS).with(bound(task.0)).with(run.0)).await
    }

    async fn count_failures(&self, task: TaskId, run: RunEpoch) -> Result<u64, StoreError> {
        let call = Call::new(sql::COUNT_FAILURES).with(bound(task.0)).with(run.0);
        Ok(self.fetch::<Number>(call).await?.first().map_or(0, |number| number.0))
    }

    async fn forget_failures(&self, task: TaskId, before: RunEpoch) -> Result<(), StoreError> {
        let call = Call::new(sql::FORGET_FAILURES).with(bound(task.0)).with(before.0);
        self.execute(call.repeatable()).await.map(drop)
    }
}

impl SqlTable {
    fn keeping(&self, task: i64, run: RunEpoch, failures: &[Failure]) -> Result<Call, StoreError> {
        let statement = match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => sql::sqlite::KEEP_FAILURES,
            #[cfg(feature = "mysql")]
            Database::MySql(_) => sql::mysql::KEEP_FAILURES,
        };
        let rows = vec!["(?, ?, ?, ?, ?, ?, ?)"; failures.len()].join(", ");
        let mut call = Call::assembled(statement.replacen(MARKER, &rows, 1));
        for Failure { key, timed_out, error, body } in failures {
            let body = Value::Text(body.as_deref().map(hex));
            let seq = kept("a subtask's number", key.seq.0)?;
            call = call.with(task).with(run.0).with(key.epoch.0).with(seq);
            call = call.with(u8::from(*timed_out)).with(error.as_str()).with(body);
        }
        Ok(call)
    }
}

/// Returns the number of these that go into one statement; at least one.
fn fitting(failures: &[Failure]) -> usize {
    let mut bytes = 0;
    let fits = |failure: &&Failure| {
        bytes += failure.error.len() + 2 * failure.body.as_ref().map_or(0, Bytes::len);
        bytes <= BYTES
    };
    failures.iter().take(ROWS).take_while(fits).count().max(1)
}

/// In hex: every value of this crate is a number or a text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |of: u8| char::from(DIGITS[usize::from(of & 0xf)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// The reverse; none where it is something else.
pub(crate) fn read_hex(text: &str) -> Option<Bytes> {
    let digit = |of: u8| char::from(of).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?))
        .collect::<Option<Vec<u8>>>()
        .map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(read_hex(&hex(&all)).as_deref(), Some(&all[..]));
        assert_eq!((hex(&[0x0f, 0xa0]).as_str(), read_hex("")), ("0fa0", Some(Bytes::new())));
        assert!(["0", "0g", "é"].iter().all(|text| read_hex(text).is_none()));
    }

    #[test]
    fn the_marker_is_there_once() {
        #[cfg(feature = "sqlite")]
        assert_eq!(sql::sqlite::KEEP_FAILURES.matches(MARKER).count(), 1);
        #[cfg(feature = "mysql")]
        assert_eq!(sql::mysql::KEEP_FAILURES.matches(MARKER).count(), 1);
    }
}
