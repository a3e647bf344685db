//! A look at a database's server, for people who want to know whether it is fit.

use std::time::Duration;

use dtf_model::StoreError;
use sqlx::{ConnectOptions, Executor, MySqlConnection, Row};
use tokio::time::timeout;

use crate::config::{Place, SqlConfig};
use crate::error::{calling, connecting};
use crate::pool::Driver;
use crate::table::{SqlTable, mysql_options};

/// The findings of an inspection of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The version, as the server calls itself.
    pub version: String,
    /// The time by the server's clock, in milliseconds since the Unix epoch.
    pub unix_millis: u64,
}

impl SqlTable {
    /// Looks at the server that the configuration names, whatever its version and its schema.
    ///
    /// # Errors
    /// It is not reached or refuses; SQLite has no server.
    pub async fn inspect(config: &SqlConfig) -> Result<Inspection, StoreError> {
        if config.place()? != Place::MySql {
            return Err(crate::config::wrong("SQLite has no server to look at".to_owned()));
        }
        let options = mysql_options(config)?;
        let connection = within(config.acquire_timeout, options.connect()).await?;
        let mut connection = connection
            .map_err(|error| connecting(MySqlConnection::STORE, &error, MySqlConnection::verdict(&error)))?;
        let statement = "SELECT VERSION(), CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS UNSIGNED)";
        let looked = async {
            let row = connection.fetch_one(statement).await?;
            Ok(Inspection { version: row.try_get(0)?, unix_millis: row.try_get(1)? })
        };
        within(config.call_timeout, looked)
            .await?
            .map_err(|error| calling(MySqlConnection::STORE, &error, MySqlConnection::verdict(&error)))
    }
}

async fn within<T>(limit: Duration, call: impl Future<Output = T>) -> Result<T, StoreError> {
    timeout(limit, call).await.map_err(|_| StoreError::Unreachable {
        store: MySqlConnection::STORE,
        cause: format!("no answer within {limit:?}"),
    })
}
