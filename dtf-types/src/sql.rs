//! The function `sql`: a statement for each item, over a connection that operators name.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::InvalidInput;
use dtf_model::connection::{SqlConnections, SqlError};
use dtf_model::plugin::{ExecuteContext, ExecuteError, SubtaskResult, TaskExecutor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::function::Attempts;
use crate::param::check_name;

/// The longest statement, in bytes.
const MAX_STATEMENT: usize = 64 * 1024;
/// The most values of a statement.
const MAX_VALUES: usize = 1000;

/// Rows of a database, as a source: read in the order of a key, so that generating goes on behind the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqlQuery {
    /// The name of the connection.
    pub connection: String,
    /// The query, with two placeholders: the key behind which rows are wanted, and how many; as in `SELECT id, name FROM customers WHERE id > ?
    /// ORDER BY id LIMIT ?`.
    pub query: String,
    /// The column that is the key: rising, and another one in each row.
    pub key: String,
    /// The key behind which the first row is. Default 0.
    #[serde(default = "zero")]
    pub from: Value,
}

fn zero() -> Value {
    Value::from(0)
}

/// A statement for each item, as a function. It may be executed more than once for one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqlCall {
    /// The name of the connection.
    pub connection: String,
    /// The statement, as in `UPDATE customers SET seen = ? WHERE id = ?`. Its result is the number of rows that it concerned.
    pub statement: String,
    /// The value of each of its placeholders: a JSON pointer into the item, as in `/id`; the empty one is the item.
    #[serde(default)]
    pub values: Vec<String>,
}

fn check_statement(what: &'static str, statement: &str, placeholders: usize) -> Result<(), InvalidInput> {
    let wrong = |got: String, allowed: String| Err(InvalidInput::OutOfRange { what, got, allowed });
    if statement.trim().is_empty() || statement.len() > MAX_STATEMENT {
        return wrong(format!("{} bytes", statement.len()), format!("1 to {MAX_STATEMENT} bytes"));
    }
    match statement.matches('?').count() {
        found if found == placeholders => Ok(()),
        found => wrong(
            format!("one with {found} question marks"),
            format!("one with {placeholders}, one for each value"),
        ),
    }
}

impl SqlQuery {
    pub(crate) fn check(&self) -> Result<(), InvalidInput> {
        check_name(&self.connection)?;
        check_statement("the query", &self.query, 2)?;
        match &self.from {
            Value::Number(_) | Value::String(_) => Ok(()),
            other => Err(InvalidInput::OutOfRange {
                what: "from",
                got: other.to_string(),
                allowed: "a number or a text".to_owned(),
            }),
        }
    }
}

impl SqlCall {
    pub(crate) fn check(&self) -> Result<(), InvalidInput> {
        check_name(&self.connection)?;
        if self.values.len() > MAX_VALUES {
            return Err(InvalidInput::OutOfRange {
                what: "the number of values",
                got: self.values.len().to_string(),
                allowed: format!("at most {MAX_VALUES}"),
            });
        }
        if let Some(wrong) = self.values.iter().find(|at| !at.is_empty() && !at.starts_with('/')) {
            return Err(InvalidInput::OutOfRange {
                what: "the place of a value",
                got: format!("{wrong:?}"),
                allowed: "a JSON pointer, as in /id, or nothing for the whole item".to_owned(),
            });
        }
        check_statement("the statement", &self.statement, self.values.len())
    }

    /// Returns the member of the type that executes it.
    pub(crate) fn member(&self) -> String {
        member_of(&self.connection)
    }
}

/// Returns the member of the type that executes statements over a connection.
pub(crate) fn member_of(connection: &str) -> String {
    format!("sql:{connection}")
}

/// Executes a statement for each item.
pub(crate) struct SqlFunction {
    pub(crate) connections: Arc<dyn SqlConnections>,
    pub(crate) call: SqlCall,
    pub(crate) timeout: Duration,
    pub(crate) attempts: Attempts,
}

impl SqlFunction {
    fn values(&self, item: &Bytes) -> Result<Vec<Value>, String> {
        let item: Value =
            serde_json::from_slice(item).map_err(|error| format!("the item is no JSON: {error}"))?;
        let value = |at: &String| item.pointer(at).cloned().ok_or_else(|| format!("the item has no {at}"));
        self.call.values.iter().map(value).collect()
    }
}

#[async_trait]
impl TaskExecutor for SqlFunction {
    fn may_block(&self) -> bool {
        false
    }

    async fn execute(&self, body: &Bytes, context: &ExecuteContext) -> Result<SubtaskResult, ExecuteError> {
        let failed = |message, retryable| self.attempts.failed(context, message, retryable);
        let values = self.values(body).map_err(|wrong| failed(wrong, false))?;
        let SqlCall { connection, statement, .. } = &self.call;
        let done = self.connections.execute(connection, statement, &values);
        let done = tokio::select! {
            done = tokio::time::timeout(self.timeout, done) => done,
            () = context.cancelled.cancelled() => return Err(failed("cancelled".to_owned(), false)),
        };
        match done {
            Ok(Ok(rows)) => Ok(SubtaskResult::new(json!({ "rows": rows }).to_string())),
            Ok(Err(SqlError::Retryable(why))) => Err(failed(why, true)),
            Ok(Err(SqlError::Final(why))) => Err(failed(why, false)),
            Err(_) => Err(failed(format!("the database was not done within {:?}", self.timeout), true)),
        }
    }
}
