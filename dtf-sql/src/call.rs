//! A statement with its arguments, for whichever database.

use dtf_model::{InvalidInput, StoreError};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Database, Encode, SqlSafeStr, SqlStr, Type};

/// An argument. Every number in the table is a signed one of 64 bits.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Number(Option<i64>),
    Text(Option<String>),
}

#[cfg(feature = "mysql")]
impl Value {
    /// The argument as MySQL reads it in a statement.
    fn literal(&self) -> String {
        match self {
            Self::Number(None) | Self::Text(None) => "NULL".to_owned(),
            Self::Number(Some(number)) => number.to_string(),
            Self::Text(Some(text)) => format!("_utf8mb4 X'{}'", crate::failure::hex(text.as_bytes())),
        }
    }
}

impl Value {
    /// The size in bytes, about.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Number(_) => size_of::<i64>(),
            Self::Text(text) => text.as_ref().map_or(0, String::len),
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(Some(number.into()))
    }
}

impl From<u8> for Value {
    fn from(number: u8) -> Self {
        Self::Number(Some(number.into()))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

/// A statement with its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    sql: SqlStr,
    arguments: Vec<Value>,
    repeatable: bool,
}

impl Call {
    /// One of the fixed statements.
    pub(crate) fn new(sql: &'static str) -> Self {
        Self { sql: sql.into_sql_str(), arguments: Vec::new(), repeatable: false }
    }

    /// A statement put together from fixed pieces: no piece may come from a user.
    pub(crate) fn assembled(sql: String) -> Self {
        Self { sql: AssertSqlSafe(sql).into_sql_str(), arguments: Vec::new(), repeatable: false }
    }

    /// Says that sending it twice has the effect and the answer of sending it once.
    #[must_use]
    pub(crate) fn repeatable(self) -> Self {
        Self { repeatable: true, ..self }
    }

    pub(crate) fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    #[cfg(all(test, feature = "sqlite"))]
    pub(crate) fn sql(&self) -> String {
        self.sql.as_str().to_owned()
    }

    #[cfg(all(test, feature = "sqlite"))]
    pub(crate) fn into_arguments(self) -> Vec<Value> {
        self.arguments
    }

    /// Adds the next argument.
    #[must_use]
    pub(crate) fn with(mut self, value: impl Into<Value>) -> Self {
        self.arguments.push(value.into());
        self
    }

    /// The statement with its arguments in it, for MySQL. A text is written in hex, so nothing in it can be read as SQL.
    #[cfg(feature = "mysql")]
    pub(crate) fn into_text(self) -> Result<SqlStr, sqlx::Error> {
        let wrong =
            || sqlx::Error::Protocol("a statement has not as many arguments as places for them".to_owned());
        let is_code = |line: &&str| !line.starts_with("--");
        let code: Vec<_> = self.sql.as_str().lines().filter(is_code).collect();
        let (code, mut arguments) = (code.join("\n"), self.arguments.iter());
        let mut pieces = code.split('?');
        let mut text = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            text.push_str(&arguments.next().ok_or_else(wrong)?.literal());
            text.push_str(piece);
        }
        match arguments.next() {
            Some(_) => Err(wrong()),
            None => Ok(AssertSqlSafe(text).into_sql_str()),
        }
    }

    /// The statement for a database's driver.
    pub(crate) fn query<DB: Database>(self) -> Query<'static, DB, <DB as Database>::Arguments>
    where
        for<'q> Option<i64>: Encode<'q, DB> + Type<DB>,
        for<'q> Option<String>: Encode<'q, DB> + Type<DB>,
    {
        let query = sqlx::query::<DB>(self.sql);
        self.arguments.into_iter().fold(query, |query, argument| match argument {
            Value::Number(number) => query.bind(number),
            Value::Text(text) => query.bind(text),
        })
    }
}

/// A number to be kept: refused if the table cannot hold it.
pub(crate) fn kept(what: &'static str, number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| {
        let allowed = format!("at most {}", i64::MAX);
        StoreError::InvalidInput(InvalidInput::OutOfRange { what, got: number.to_string(), allowed })
    })
}

/// A number to compare with: the table's are all below the largest, so that one may stand for those above it.
pub(crate) fn bound(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
