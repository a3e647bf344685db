//! SQLite's part.
//!
//! There is one connection. SQLite has one writer at a time anyway, and its writers wait for each other by polling;
//! callers that wait for one connection do not. A database in memory is that connection.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dtf_model::StoreError;
use sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Error, SqliteConnection};

use crate::call::Call;
use crate::error::Verdict;
use crate::lock::{FileLock, lock};
use crate::pool::{Driver, Limits, Pool};
use crate::row::{self, Record};
use crate::schema::{Reach, Schema};
use crate::sql::ACCEPTS;
use crate::sql::sqlite::{MIGRATIONS, SET_GROUP};

/// The longest wait for other programs that look into the file.
const BUSY: Duration = Duration::from_secs(5);

/// The connection to a database whose schema is up to date, and the lock on its file.
pub(crate) type Opened = (Arc<Pool<SqliteConnection>>, Option<FileLock>);

/// Opens a file, or a database in memory where there is none.
pub(crate) async fn open(file: Option<&Path>, limits: Limits) -> Result<Opened, StoreError> {
    let store = SqliteConnection::STORE;
    let options = SqliteConnectOptions::new().foreign_keys(false).busy_timeout(BUSY);
    let (options, lock) = match file {
        None => (options.in_memory(true).shared_cache(false), None),
        Some(file) => {
            let (lock, real) = lock(file).map_err(|cause| StoreError::Refused { store, cause })?;
            let options = options.filename(real).create_if_missing(true);
            // What was acknowledged survives a loss of power, hence `Full`.
            let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
            (options, Some(lock))
        }
    };
    // A database in memory ends with its connection.
    let pool = Pool::new(options, Limits { connections: 1, lifetime: Duration::MAX, ..limits });
    let prepared = pool.prepare(|connection| Box::pin(bring_up(connection)), limits.call).await;
    prepared.map_err(|error| with_name(error, file))?;
    Ok((Arc::new(pool), lock))
}

async fn bring_up(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    // No other process has the file, so no program is shut out.
    Schema::new(SqliteConnection::STORE, &MIGRATIONS, ACCEPTS).migrate(connection, Reach::Any).await
}

/// SQLite's own words do not say which file they are about.
fn with_name(error: StoreError, file: Option<&Path>) -> StoreError {
    match (error, file) {
        (StoreError::Refused { store, cause }, Some(file)) => {
            StoreError::Refused { store, cause: format!("{}: {cause}", file.display()) }
        }
        (error, _) => error,
    }
}

impl Driver for SqliteConnection {
    const STORE: &'static str = "SQLite";
    const SURVIVES_ABANDONED_CALLS: bool = true;

    type Target = SqliteConnectOptions;

    async fn open(target: &Self::Target) -> Result<Self, Error> {
        target.connect().await
    }

    async fn check(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn verdict(error: &Error) -> Verdict {
        let code = error.as_database_error().and_then(|error| error.code());
        let code = code.and_then(|code| code.parse::<u32>().ok()).unwrap_or(0);
        match code & 0xff {
            // SQLITE_BUSY, SQLITE_LOCKED, SQLITE_FULL.
            5 | 6 | 13 => Verdict::Later,
            // SQLITE_INTERRUPT, SQLITE_IOERR.
            9 | 10 => Verdict::Interrupted,
            _ => Verdict::No,
        }
    }

    fn is_missing_table(error: &Error) -> bool {
        error.as_database_error().is_some_and(|error| error.message().starts_with("no such table"))
    }

    async fn all_or_none(&mut self, call: Call, rows: u64) -> Result<bool, Error> {
        // Dropped before it is committed, it is rolled back.
        let mut transaction = self.begin().await?;
        let affected = call.query::<Sqlite>().execute(&mut *transaction).await?.rows_affected();
        match affected == rows {
            true => transaction.commit().await?,
            false => transaction.rollback().await?,
        }
        Ok(affected == rows)
    }

    async fn execute_with(&mut self, call: Call, other: Call) -> Result<u64, Error> {
        // Dropped before it is committed, it is rolled back.
        let mut transaction = self.begin().await?;
        let affected = call.query::<Sqlite>().execute(&mut *transaction).await?.rows_affected();
        match affected {
            0 => transaction.rollback().await?,
            _ => {
                other.query::<Sqlite>().execute(&mut *transaction).await?;
                transaction.commit().await?;
            }
        }
        Ok(affected)
    }

    async fn transaction(&mut self, calls: Vec<Call>) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        for call in calls {
            call.query::<Sqlite>().execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }

    async fn execute(&mut self, call: Call) -> Result<u64, Error> {
        Ok(call.query::<Sqlite>().execute(self).await?.rows_affected())
    }

    async fn fetch<T: Record>(&mut self, call: Call) -> Result<Vec<T>, Error> {
        row::all(&call.query::<Sqlite>().fetch_all(self).await?)
    }
}

/// The statement that makes or changes a resource group.
pub(crate) fn set_group() -> Call {
    Call::new(SET_GROUP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Dialect;
    use crate::filter::tests::cases;

    /// The steps of a statement.
    async fn plan(connection: &mut SqliteConnection, call: Call) -> Vec<String> {
        let explained = Call::assembled(format!("EXPLAIN QUERY PLAN {}", call.sql()));
        let explained = call.into_arguments().into_iter().fold(explained, Call::with);
        let rows = explained.query::<Sqlite>().fetch_all(connection).await.unwrap();
        rows.iter().map(|row| sqlx::Row::try_get(row, "detail").unwrap()).collect()
    }

    async fn empty() -> SqliteConnection {
        let options = SqliteConnectOptions::new().in_memory(true);
        let mut connection = options.connect().await.unwrap();
        bring_up(&mut connection).await.unwrap();
        connection
    }

    #[tokio::test]
    async fn every_list_of_the_audit_walks_along_an_index() {
        let mut connection = empty().await;
        for (what, index, call) in crate::audit::tests::cases(Dialect::Sqlite) {
            let plan = plan(&mut connection, call).await;
            let by = if index == "PRIMARY" { "USING PRIMARY KEY" } else { index };
            // One step: neither all rows are looked at, nor is anything sorted.
            assert!(
                plan.len() == 1 && plan[0].starts_with("SEARCH") && plan[0].contains(by),
                "{what}: {plan:?}"
            );
        }
    }

    #[tokio::test]
    async fn every_list_walks_along_an_index() {
        let mut connection = empty().await;
        for (what, index, call) in cases(Dialect::Sqlite) {
            let plan = plan(&mut connection, call).await;
            let by = if index == "PRIMARY" { "USING INTEGER PRIMARY KEY" } else { index };
            assert!(
                plan.len() == 1 && plan[0].starts_with("SEARCH") && plan[0].contains(by),
                "{what}: {plan:?}"
            );
        }
    }
}
