//! Databases of users, by name: SQLite files, MySQL and MariaDB.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use dtf_model::connection::{SqlConnections, SqlError, SqlRow};
use futures::TryStreamExt;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Column, Error, Row, TypeInfo, ValueRef};

use crate::error::words;

/// The most connections to one database.
const MOST: u32 = 16;
/// The longest that a statement may take, with the wait for a connection.
const PATIENCE: Duration = Duration::from_secs(60);

enum Pool {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
    #[cfg(feature = "mysql")]
    MySql(sqlx::MySqlPool),
}

/// The databases that a process may use for the items of tasks. A connection is made when it is needed.
pub struct NamedConnections(BTreeMap<String, Pool>);

impl fmt::Debug for NamedConnections {
    /// Without addresses: they may have passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl NamedConnections {
    /// The databases at these URLs: `sqlite:///FILE`, and with the feature `mysql` `mysql://USER:PASSWORD@HOST:PORT/DATABASE`. It has to be
    /// called on a runtime.
    ///
    /// # Errors
    /// A URL that cannot be used, in one line that does not repeat it.
    pub fn new(urls: impl IntoIterator<Item = (String, String)>) -> Result<Self, String> {
        let pool = |(name, url): (String, String)| {
            let wrong = |why: String| format!("the connection {name} cannot be used: {why}");
            let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
            let pool = match scheme {
                #[cfg(feature = "sqlite")]
                "sqlite" => sqlx::pool::PoolOptions::new()
                    .max_connections(MOST)
                    .acquire_timeout(PATIENCE)
                    .connect_lazy(&url)
                    .map(Pool::Sqlite)
                    .map_err(|error| wrong(words(&error)))?,
                #[cfg(feature = "mysql")]
                "mysql" => sqlx::pool::PoolOptions::new()
                    .max_connections(MOST)
                    .acquire_timeout(PATIENCE)
                    .connect_lazy(&url)
                    .map(Pool::MySql)
                    .map_err(|error| wrong(words(&error)))?,
                _ => return Err(wrong("its URL has to begin with sqlite:// or mysql://".to_owned())),
            };
            Ok((name, pool))
        };
        urls.into_iter().map(pool).collect::<Result<_, _>>().map(Self)
    }

    fn find(&self, name: &str) -> Result<&Pool, SqlError> {
        self.0.get(name).ok_or_else(|| SqlError::Final(format!("this process has no connection {name:?}")))
    }
}

/// Binds values to a statement, whatever the database.
macro_rules! bound {
    ($statement:expr, $values:expr) => {{
        let mut query = sqlx::query(AssertSqlSafe($statement.to_owned()));
        for value in $values {
            query = match value {
                Value::Null => query.bind(None::<String>),
                Value::Bool(value) => query.bind(*value),
                Value::Number(number) => match number.as_i64() {
                    Some(number) => query.bind(number),
                    None => query.bind(number.as_f64()),
                },
                Value::String(text) => query.bind(text.clone()),
                other => query.bind(other.to_string()),
            };
        }
        query
    }};
}

/// Reads at most so many rows.
macro_rules! rows {
    ($pool:expr, $query:expr, $values:expr, $most:expr, $value:path) => {{
        let mut stream = bound!($query, $values).fetch($pool);
        let mut rows = Vec::new();
        while rows.len() < $most
            && let Some(row) = stream.try_next().await.map_err(|error| said(&error))?
        {
            let mut read = SqlRow::new();
            for (at, column) in row.columns().iter().enumerate() {
                read.insert(column.name().to_owned(), $value(&row, at)?);
            }
            rows.push(read);
        }
        Ok(rows)
    }};
}

#[async_trait]
impl SqlConnections for NamedConnections {
    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    async fn query(
        &self,
        connection: &str,
        query: &str,
        values: &[Value],
        most: usize,
    ) -> Result<Vec<SqlRow>, SqlError> {
        let pool = self.find(connection)?;
        in_time(async {
            match pool {
                #[cfg(feature = "sqlite")]
                Pool::Sqlite(pool) => rows!(pool, query, values, most, sqlite_value),
                #[cfg(feature = "mysql")]
                Pool::MySql(pool) => rows!(pool, query, values, most, mysql_value),
            }
        })
        .await
    }

    async fn execute(&self, connection: &str, statement: &str, values: &[Value]) -> Result<u64, SqlError> {
        let pool = self.find(connection)?;
        in_time(async {
            let done = match pool {
                #[cfg(feature = "sqlite")]
                Pool::Sqlite(pool) => {
                    bound!(statement, values).execute(pool).await.map(|done| done.rows_affected())
                }
                #[cfg(feature = "mysql")]
                Pool::MySql(pool) => {
                    bound!(statement, values).execute(pool).await.map(|done| done.rows_affected())
                }
            };
            done.map_err(|error| said(&error))
        })
        .await
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, SqlError>>) -> Result<T, SqlError> {
    let late = |_| Err(SqlError::Retryable(format!("the database gave no answer within {PATIENCE:?}")));
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(late)
}

/// What an error of the driver says of another attempt.
fn said(error: &Error) -> SqlError {
    let text = words(error);
    match error {
        // A lock that was waited for too long, a deadlock, a server that shuts down.
        Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            match &*code {
                "5" | "6" | "40001" | "HY000" | "08S01" => SqlError::Retryable(text),
                _ => SqlError::Final(text),
            }
        }
        Error::Io(_) | Error::Tls(_) | Error::Protocol(_) | Error::PoolTimedOut | Error::WorkerCrashed => {
            SqlError::Retryable(text)
        }
        _ => SqlError::Final(text),
    }
}

fn no_json(column: &str, kind: &str) -> SqlError {
    SqlError::Final(format!(
        "the column {column} is of type {kind}; convert it in the query, as in CAST({column} AS CHAR)"
    ))
}

fn number(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number)
}

#[cfg(feature = "sqlite")]
fn sqlite_value(row: &sqlx::sqlite::SqliteRow, at: usize) -> Result<Value, SqlError> {
    let raw = row.try_get_raw(at).map_err(|error| said(&error))?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    // The type of the value: one of the column need not have any.
    let kind = raw.type_info().name().to_owned();
    let value = match kind.as_str() {
        "INTEGER" => row.try_get::<i64, _>(at).map(Value::from),
        "BOOLEAN" => row.try_get::<bool, _>(at).map(Value::from),
        "REAL" => row.try_get::<f64, _>(at).map(number),
        "TEXT" => row.try_get::<String, _>(at).map(Value::from),
        other => return Err(no_json(row.column(at).name(), other)),
    };
    value.map_err(|error| said(&error))
}

#[cfg(feature = "mysql")]
fn mysql_value(row: &sqlx::mysql::MySqlRow, at: usize) -> Result<Value, SqlError> {
    let raw = row.try_get_raw(at).map_err(|error| said(&error))?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info().name().to_owned();
    let value = match kind.as_str() {
        "BOOLEAN" => row.try_get::<bool, _>(at).map(Value::from),
        "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => row.try_get::<i64, _>(at).map(Value::from),
        "TINYINT UNSIGNED" | "SMALLINT UNSIGNED" | "MEDIUMINT UNSIGNED" | "INT UNSIGNED"
        | "BIGINT UNSIGNED" | "YEAR" => row.try_get_unchecked::<u64, _>(at).map(Value::from),
        "FLOAT" => row.try_get::<f32, _>(at).map(|value| number(value.into())),
        "DOUBLE" => row.try_get::<f64, _>(at).map(number),
        // It comes as text, whose digits are all kept.
        "DECIMAL" => row.try_get_unchecked::<String, _>(at).map(Value::from),
        "CHAR" | "VARCHAR" | "TINYTEXT" | "TEXT" | "MEDIUMTEXT" | "LONGTEXT" | "ENUM" => {
            row.try_get::<String, _>(at).map(Value::from)
        }
        "JSON" => row
            .try_get_unchecked::<String, _>(at)
            .map(|text| serde_json::from_str(&text).unwrap_or(Value::Null)),
        other => return Err(no_json(row.column(at).name(), other)),
    };
    value.map_err(|error| said(&error))
}
