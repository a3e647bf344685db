//! The tests of the tables on SQLite, MariaDB and MySQL.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[cfg(feature = "sqlite")]
mod connections;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "sqlite")]
mod sqlite;
