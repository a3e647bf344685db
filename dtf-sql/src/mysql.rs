//! MySQL's and MariaDB's part.

use dtf_model::StoreError;
use sqlx::migrate::MigrateError;
use sqlx::mysql::{MySql, MySqlConnectOptions, MySqlDatabaseError};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Error, Executor, MySqlConnection, Row};

use crate::call::Call;
use crate::error::Verdict;
use crate::pool::{Driver, Limits, Pool};
use crate::row::{self, Record};
use crate::schema::Schema;
use crate::sql::mysql::{INSERT, LOCK, MIGRATIONS, SET_GROUP, UNLOCK};

/// How to connect, and how long a statement may wait for a row's lock.
pub(crate) struct Target {
    options: MySqlConnectOptions,
    lock_wait_seconds: u64,
}

/// Connects to a database whose schema is there already.
pub(crate) async fn open(
    options: MySqlConnectOptions,
    limits: Limits,
) -> Result<Pool<MySqlConnection>, StoreError> {
    let pool = pool(options, limits);
    pool.prepare(|connection| Box::pin(check(connection)), limits.call).await?;
    Ok(pool)
}

/// Brings the schema up to date.
pub(crate) async fn migrate(options: MySqlConnectOptions, limits: Limits) -> Result<(), StoreError> {
    let pool = pool(options, limits);
    // Longer than a call: a migration may have a large table to change, or wait for another one.
    pool.prepare(|connection| Box::pin(bring_up(connection)), limits.call * 12).await
}

async fn bring_up(connection: &mut MySqlConnection) -> Result<(), StoreError> {
    check_version(connection).await?;
    // The lock of sqlx asks for no limit with -1, which MariaDB answers with NULL, and no lock.
    let locked = sqlx::query_scalar::<_, Option<i64>>(LOCK).fetch_one(&mut *connection).await;
    if locked.map_err(|error| refused(&error))? != Some(1) {
        let cause = "another migration is being run and takes its time".to_owned();
        return Err(StoreError::Unreachable { store: MySqlConnection::STORE, cause });
    }
    let migrated = Schema::new(MySqlConnection::STORE, &MIGRATIONS).migrate(connection).await;
    // Would go with the connection too, but when the server gets to it.
    sqlx::query(UNLOCK).execute(connection).await.map_err(|error| refused(&error))?;
    migrated
}

fn pool(options: MySqlConnectOptions, limits: Limits) -> Pool<MySqlConnection> {
    // A wait for a lock has to end, undone, before the call is given up with its outcome unknown.
    let lock_wait_seconds = (limits.call.as_secs() / 2).max(1);
    Pool::new(Target { options, lock_wait_seconds }, limits)
}

async fn check(connection: &mut MySqlConnection) -> Result<(), StoreError> {
    check_version(connection).await?;
    let schema = Schema::new(MySqlConnection::STORE, &MIGRATIONS);
    let checked = match schema.check(connection).await {
        Err(MigrateError::Execute(error)) if number(&error) == Some(NO_SUCH_TABLE) => {
            Err(MigrateError::VersionNotPresent(1))
        }
        Err(MigrateError::Execute(error)) => return Err(refused(&error)),
        other => other,
    };
    checked.map_err(|error| schema.refusal(&error))
}

async fn check_version(connection: &mut MySqlConnection) -> Result<(), StoreError> {
    let row = connection.fetch_one("SELECT VERSION()").await.map_err(|error| refused(&error))?;
    let version: String = row.try_get(0).map_err(|error| refused(&error))?;
    if is_supported(&version) {
        return Ok(());
    }
    let cause = format!("the server is {version}; needed is MySQL 8.0, MariaDB 10.6, or later");
    Err(StoreError::Refused { store: MySqlConnection::STORE, cause })
}

/// Whether a server of this version will do, as it calls itself: `8.0.35`, `10.11.6-MariaDB-1`, `5.5.5-10.6.1-MariaDB`.
fn is_supported(version: &str) -> bool {
    let mariadb = version.to_ascii_lowercase().contains("mariadb");
    let version = version.strip_prefix("5.5.5-").filter(|_| mariadb).unwrap_or(version);
    let mut numbers =
        version.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    found >= if mariadb { (10, 6) } else { (8, 0) }
}

fn refused(error: &Error) -> StoreError {
    crate::error::calling(MySqlConnection::STORE, error, MySqlConnection::verdict(error))
}

const NO_SUCH_TABLE: u16 = 1146;

fn number(error: &Error) -> Option<u16> {
    let error = error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?;
    Some(error.number())
}

impl Driver for MySqlConnection {
    const STORE: &'static str = "MySQL";
    const SURVIVES_ABANDONED_CALLS: bool = false;

    type Target = Target;

    async fn open(target: &Self::Target) -> Result<Self, Error> {
        let mut connection = target.options.connect().await?;
        // Strict: what does not fit is refused, not cut. Read committed: without it, inserts block each other's gaps.
        sqlx::query("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            .execute(&mut connection)
            .await?;
        let settings = format!(
            "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', SESSION innodb_lock_wait_timeout = {}",
            target.lock_wait_seconds
        );
        sqlx::query(AssertSqlSafe(settings)).execute(&mut connection).await?;
        Ok(connection)
    }

    async fn check(&mut self) -> Result<(), Error> {
        self.ping().await
    }

    fn verdict(error: &Error) -> Verdict {
        match number(error) {
            // Deadlock.
            Some(1213) => Verdict::Again,
            // Too many connections (of all, of one user), the server stops, disk full, lock wait timeout, read-only.
            Some(1040 | 1203 | 1226 | 1053 | 1021 | 1114 | 1205 | 1290 | 1836) => Verdict::Later,
            // Interrupted, connection killed (MySQL, MariaDB), statement out of time (MariaDB, MySQL), read error.
            Some(1317 | 1927 | 1969 | 3024 | 1158..=1161) => Verdict::Interrupted,
            _ => Verdict::No,
        }
    }

    async fn insert(&mut self, call: Call) -> Result<i64, Error> {
        let id = call.query::<MySql>().execute(self).await?.last_insert_id();
        i64::try_from(id).map_err(|error| Error::Protocol(error.to_string()))
    }

    async fn execute(&mut self, call: Call) -> Result<u64, Error> {
        Ok(call.query::<MySql>().execute(self).await?.rows_affected())
    }

    async fn fetch<T: Record>(&mut self, call: Call) -> Result<Vec<T>, Error> {
        row::all(&call.query::<MySql>().fetch_all(self).await?)
    }
}

/// What inserts a task.
pub(crate) fn insert() -> Call {
    Call::new(INSERT)
}

/// What makes or changes a resource group.
pub(crate) fn set_group() -> Call {
    Call::new(SET_GROUP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_are_too_old_are_told_by_their_version() {
        for good in
            ["8.0.35", "8.4.2-log", "9.1.0", "10.6.0-MariaDB", "10.11.6-MariaDB-0+deb12u1", "11.4.2-MariaDB"]
        {
            assert!(is_supported(good), "{good}");
        }
        assert!(is_supported("5.5.5-10.6.18-MariaDB-log"));
        for old in ["5.7.44", "5.5.5-10.5.9-MariaDB", "10.5.23-MariaDB", "10.1.48-mariadb", "", "unknown"] {
            assert!(!is_supported(old), "{old}");
        }
    }
}
