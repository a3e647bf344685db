//! The address of the database, and the time limits of calls.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use dtf_model::StoreError;
use serde::{Deserialize, Serialize};

use crate::pool::Limits;

/// The database and the limits of calls to it.
///
/// ```
/// let config = dtf_sql::SqlConfig { url: "sqlite:dtf.db".into(), ..Default::default() };
/// assert!(config.check().is_ok());
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SqlConfig {
    /// `sqlite::memory:`, `sqlite:PATH` (or `sqlite://PATH`), or `mysql://USER:PASSWORD@HOST:PORT/DATABASE`. Default: in
    /// memory.
    pub url: String,
    /// The most connections at once, 1 to 1,000; SQLite always has one. Default 8.
    pub max_connections: u32,
    /// The longest wait of a call for a connection; in milliseconds where it is text. Default 3 s, at most 10 minutes.
    #[serde(with = "dtf_model::millis")]
    pub acquire_timeout: Duration,
    /// The longest time that the database may take to answer; in milliseconds where it is text. Default 10 s, at most 10
    /// minutes.
    #[serde(with = "dtf_model::millis")]
    pub call_timeout: Duration,
    /// The age at which a connection to MySQL is replaced by a new one, for which the server's name is resolved again; in
    /// milliseconds where it is text. Default 5 minutes, 1 s to 1 day.
    #[serde(with = "dtf_model::millis")]
    pub max_lifetime: Duration,
}

impl Default for SqlConfig {
    fn default() -> Self {
        Self {
            url: "sqlite::memory:".to_owned(),
            max_connections: 8,
            acquire_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(10),
            max_lifetime: Duration::from_secs(300),
        }
    }
}

/// Leaves out the URL's user, password and parameters.
impl fmt::Debug for SqlConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlConfig")
            .field("url", &shown(&self.url))
            .field("max_connections", &self.max_connections)
            .field("acquire_timeout", &self.acquire_timeout)
            .field("call_timeout", &self.call_timeout)
            .field("max_lifetime", &self.max_lifetime)
            .finish()
    }
}

/// The database that a URL names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A SQLite database, in a file or in memory.
    Sqlite(Option<PathBuf>),
    /// A MySQL or MariaDB server.
    MySql,
}

impl SqlConfig {
    /// Checks everything that can be checked without the database.
    ///
    /// # Errors
    /// The first thing that is wrong, and what is allowed.
    pub fn check(&self) -> Result<(), StoreError> {
        self.place().map(drop)
    }

    pub(crate) fn place(&self) -> Result<Place, StoreError> {
        if !(1..=1000).contains(&self.max_connections) {
            return Err(wrong(format!("max_connections is {}; allowed is 1 to 1000", self.max_connections)));
        }
        let limits = [("acquire_timeout", self.acquire_timeout), ("call_timeout", self.call_timeout)];
        for (name, limit) in limits {
            if limit < Duration::from_millis(1) || limit > Duration::from_secs(600) {
                return Err(wrong(format!("{name} is {limit:?}; allowed is 1 ms to 10 minutes")));
            }
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&self.max_lifetime) {
            return Err(wrong(format!("max_lifetime is {:?}; allowed is 1 s to 1 day", self.max_lifetime)));
        }
        place(&self.url).ok_or_else(|| {
            let allowed = "sqlite::memory:, sqlite:PATH, or mysql://USER:PASSWORD@HOST:PORT/DATABASE";
            wrong(format!("the database URL {} is not understood; allowed is {allowed}", shown(&self.url)))
        })
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            connections: self.max_connections,
            acquire: self.acquire_timeout,
            call: self.call_timeout,
            lifetime: self.max_lifetime,
        }
    }
}

pub(crate) fn wrong(cause: String) -> StoreError {
    StoreError::Refused { store: "the database's configuration", cause }
}

fn place(url: &str) -> Option<Place> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return match path {
            "" => None,
            ":memory:" => Some(Place::Sqlite(None)),
            path => Some(Place::Sqlite(Some(path.into()))),
        };
    }
    let server = url.strip_prefix("mysql://").or_else(|| url.strip_prefix("mariadb://"))?;
    let (_, rest) = server.rsplit_once('@').unwrap_or(("", server));
    let (_, database) = rest.split_once('/')?;
    let database = database.split(['?', '#']).next().unwrap_or("");
    (!database.is_empty()).then_some(Place::MySql)
}

/// A URL as it may be shown: without user, password and parameters.
pub(crate) fn shown(url: &str) -> String {
    if url.starts_with("sqlite:") {
        return url.to_owned();
    }
    let Some((scheme, rest)) = url.split_once("://") else { return "(no URL)".to_owned() };
    // A password may hold any of these signs unescaped; what is behind the last of them is certainly no password.
    let rest = rest.rsplit('@').next().unwrap_or("");
    let rest = rest.split(['?', '#']).next().unwrap_or("");
    format!("{scheme}://{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(url: &str) -> SqlConfig {
        SqlConfig { url: url.to_owned(), ..SqlConfig::default() }
    }

    #[test]
    fn urls_name_a_place() {
        let file = |path: &str| Ok(Place::Sqlite(Some(path.into())));
        let place = |text: &str| url(text).place().map_err(|error| error.to_string());
        assert_eq!(place("sqlite::memory:"), Ok(Place::Sqlite(None)));
        assert_eq!(place("sqlite:dtf.db"), file("dtf.db"));
        assert_eq!(place("sqlite:///var/lib/d t f.db"), file("/var/lib/d t f.db"));
        assert_eq!(place("mysql://u:p@h:3306/d"), Ok(Place::MySql));
        assert_eq!(place("mariadb://h/d?ssl-mode=required"), Ok(Place::MySql));
        for bad in [
            "",
            "dtf.db",
            "sqlite:",
            "mysql://u:p@h:3306/",
            "mysql://u:p@h",
            "mysql://h/?x=y",
            "postgres://h/d",
        ] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_are_checked() {
        for config in [
            SqlConfig { max_connections: 0, ..SqlConfig::default() },
            SqlConfig { acquire_timeout: Duration::ZERO, ..SqlConfig::default() },
            SqlConfig { call_timeout: Duration::MAX, ..SqlConfig::default() },
            SqlConfig { max_lifetime: Duration::ZERO, ..SqlConfig::default() },
        ] {
            assert!(config.check().is_err(), "{config:?}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_and_missing_ones_have_defaults() {
        let config: SqlConfig = serde_json::from_str(r#"{"call_timeout": 1500}"#).unwrap();
        assert_eq!(config, SqlConfig { call_timeout: Duration::from_millis(1500), ..SqlConfig::default() });
        assert!(serde_json::from_str::<SqlConfig>(r#"{"timeout": 1}"#).is_err());
    }

    #[test]
    fn no_password_is_shown() {
        for bad in [
            "mysql://me:s3cret@host/db",
            "mysql://me:s3cret@host",
            "mysql://me:s3cret/@x@host:1/db?password=s3cret",
            "postgres://me:s3cret@host/db",
            "me:s3cret@host/db",
        ] {
            let config = url(bad);
            let said = config.check().err().map(|error| error.to_string()).unwrap_or_default();
            assert!(!format!("{config:?}{said}").contains("s3cret"), "{bad}");
        }
    }
}
