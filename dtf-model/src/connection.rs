//! Connections to databases of users, by name: what sources and functions read and write there.
//!
//! An operator names them; whoever creates tasks chooses among the names, and gives the statements.

use async_trait::async_trait;
use serde_json::{Map, Value};

/// A row, by the names of its columns.
pub type SqlRow = Map<String, Value>;

/// Why a statement has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// It may succeed at another time: the database is away or busy. It may have been done.
    #[error("{0}")]
    Retryable(String),
    /// It would fail again.
    #[error("{0}")]
    Final(String),
}

/// Databases, by name.
///
/// # What an implementor guarantees
/// Values are bound, never pasted into a statement: numbers, texts and truth values as such, null as `NULL`, all else as its JSON text.
/// A statement is sent once, and given up after a while.
#[async_trait]
pub trait SqlConnections: Send + Sync + 'static {
    /// Returns the names.
    fn names(&self) -> Vec<String>;

    /// Returns the rows of a query, at most so many.
    ///
    /// # Errors
    /// An unknown name, a statement that is refused, a column whose type has no JSON form, a database that is away.
    async fn query(
        &self,
        connection: &str,
        query: &str,
        values: &[Value],
        most: usize,
    ) -> Result<Vec<SqlRow>, SqlError>;

    /// Executes a statement, and returns the number of rows that it concerned.
    ///
    /// # Errors
    /// As for [`query`](Self::query).
    async fn execute(&self, connection: &str, statement: &str, values: &[Value]) -> Result<u64, SqlError>;
}
