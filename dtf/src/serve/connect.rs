//! Connecting to servers that may not be there yet.

use std::sync::Arc;
use std::time::Duration;

use dtf_model::StoreError;
use dtf_model::memory::MemoryTable;
use dtf_model::roles::Role;
use dtf_model::table::TaskTable;
use dtf_redis::Redis;
use dtf_sql::SqlTable;
use lrmf_core::config::text;
use lrmf_core::{Coordination, MemoryStore};
use lrmf_etcd::EtcdStore;
use tokio::time::Instant;

use crate::config::{Config, ConfigError};
use crate::servers::{ServersError, queues_on};
use crate::service::Ports;

/// The first pause before a server is tried again; it doubles from time to time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why servers cannot be worked with, in one line.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A server is not named.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A server that was reached and cannot be worked with.
    #[error("{key} is {place}, and {error}{advice}")]
    Refused {
        /// The setting that names it.
        key: &'static str,
        /// What it says, without a password.
        place: String,
        /// What the server said.
        error: ServersError,
        /// What to do, where there is more to say than the error does.
        advice: String,
    },
    /// A server that was not there in time.
    #[error("{key} is {place}, and {error}; start it, or correct {key} (given up after {waited})")]
    Away {
        /// The setting that names it.
        key: &'static str,
        /// What it says, without a password.
        place: String,
        /// The last failure.
        error: ServersError,
        /// How long it was waited for.
        waited: String,
    },
}

/// How long servers are waited for, and who is told.
pub(crate) struct Patience<'a> {
    /// For ever, where there is none.
    pub(crate) deadline: Option<Duration>,
    /// Is told of each server that is waited for.
    pub(crate) waiting: &'a (dyn Fn(&'static str) + Sync),
}

impl Patience<'static> {
    /// For commands that people wait for: one attempt.
    pub(crate) fn none() -> Self {
        Self { deadline: Some(Duration::ZERO), waiting: &|_| {} }
    }
}

/// The stores of a service with the configuration's roles.
///
/// A process that only executes does not connect to MySQL: what it needs of a task travels with the queues.
pub(crate) async fn service_ports(config: &Config, patience: &Patience<'_>) -> Result<Ports, ConnectError> {
    let begun = Instant::now();
    let etcd = config.etcd()?;
    let place = etcd.endpoints.join(",");
    let coordination = until_there("etcd.endpoints", place, patience, begun, async || {
        Ok(EtcdStore::connect(etcd.clone()).await?)
    });
    let only_executes = config.role.iter().all(|role| *role == Role::Executor);
    // Nobody asks this one: it stands where a table has to stand.
    let nowhere: Arc<dyn TaskTable> = Arc::new(MemoryTable::default());
    let (table, redis, coordination): (Arc<dyn TaskTable>, Redis, Arc<dyn Coordination>) = (
        if only_executes { nowhere } else { table(config, config.mysql.migrate, patience, begun).await? },
        redis(config, patience, begun).await?,
        Arc::new(coordination.await?),
    );
    Ok(queues_on(redis, table, coordination))
}

/// etcd, for a command.
pub(crate) async fn coordination(config: &Config) -> Result<EtcdStore, ConnectError> {
    let etcd = config.etcd()?;
    let place = etcd.endpoints.join(",");
    let connect = async || Ok(EtcdStore::connect(etcd.clone()).await?);
    until_there("etcd.endpoints", place, &Patience::none(), Instant::now(), connect).await
}

/// Redis, for a command.
pub(crate) async fn queues(config: &Config) -> Result<Redis, ConnectError> {
    redis(config, &Patience::none(), Instant::now()).await
}

/// The database, for a command: it has to have the schema.
pub(crate) async fn database(config: &Config) -> Result<Arc<dyn TaskTable>, ConnectError> {
    table(config, false, &Patience::none(), Instant::now()).await
}

/// The stores of a client, which holds nothing and so needs no etcd.
pub(crate) async fn client_ports(config: &Config) -> Result<Ports, ConnectError> {
    let (table, redis) = (database(config).await?, queues(config).await?);
    Ok(queues_on(redis, table, Arc::new(MemoryStore::new())))
}

async fn table(
    config: &Config,
    migrate: bool,
    patience: &Patience<'_>,
    begun: Instant,
) -> Result<Arc<dyn TaskTable>, ConnectError> {
    let sql = config.mysql()?;
    let table = until_there("mysql.url", config.mysql.url.to_string(), patience, begun, async || {
        if migrate {
            SqlTable::migrate(&sql).await?;
        }
        Ok(SqlTable::connect(&sql).await?)
    });
    Ok(Arc::new(table.await?))
}

async fn redis(config: &Config, patience: &Patience<'_>, begun: Instant) -> Result<Redis, ConnectError> {
    let (settings, place) = (config.redis()?, config.redis.url.to_string());
    until_there("redis.url", place, patience, begun, async || {
        let redis = Redis::connect(settings.clone()).await?;
        if config.redis.require_aof && !redis.inspect().await?.append_only {
            let cause = "its appendonly is off, so a restart of it would forget all progress; set it to yes, or redis.require_aof to false";
            return Err(StoreError::Refused { store: "Redis", cause: cause.to_owned() }.into());
        }
        Ok(redis)
    })
    .await
}

/// Connects again and again, with growing pauses, while the server is not there.
async fn until_there<T>(
    key: &'static str,
    place: String,
    patience: &Patience<'_>,
    begun: Instant,
    connect: impl AsyncFn() -> Result<T, ServersError>,
) -> Result<T, ConnectError> {
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match connect().await {
            Ok(connected) => return Ok(connected),
            Err(error) => error,
        };
        if !error.is_retryable() {
            let advice = advice(key, &error.to_string());
            return Err(ConnectError::Refused { key, place, error, advice });
        }
        let waited = begun.elapsed();
        if patience.deadline.is_some_and(|deadline| waited + pause > deadline) {
            let waited = text::show(waited);
            return Err(ConnectError::Away { key, place, error, waited });
        }
        (patience.waiting)(key);
        tracing::warn!(server = key, %place, %error, again_in = %text::show(pause), "waiting for a server");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What to do about a refusal that does not say it itself.
fn advice(key: &'static str, error: &str) -> String {
    let section = key.split('.').next().unwrap_or(key);
    let variable = section.to_uppercase();
    let error = error.to_lowercase();
    let credentials = [
        "access denied",
        "wrongpass",
        "noauth",
        "authentication",
        "invalid password",
        "invalid user",
        "invalid username",
    ];
    if credentials.iter().any(|words| error.contains(words)) {
        return format!("; correct the user or the password ({section}.password, DTF_{variable}_PASSWORD)");
    }
    if error.contains("unknown database") {
        return "; create it (CREATE DATABASE), or name another one".to_owned();
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_passwords_are_pointed_at() {
        assert!(
            advice("mysql.url", "MySQL refused: Access denied for user 'x'").contains("DTF_MYSQL_PASSWORD")
        );
        assert!(advice("redis.url", "Redis refused: WRONGPASS invalid").contains("redis.password"));
        assert_eq!(advice("redis.url", "it must be noeviction"), "");
    }
}
