//! Connecting to servers that may not be there yet.

use std::sync::Arc;
use std::time::Duration;

use dtf_memory::MemoryTable;
use dtf_model::Role;
use dtf_model::cluster::{self, ClusterTable};
use dtf_model::table::TaskTable;
use dtf_model::{ClusterShape, InvalidInput, StoreError};
use dtf_redis::{Redis, RedisQueues};
use dtf_sql::{Reach, SqlTable};
use lrmf_core::config::text;
use lrmf_core::{Coordination, MemoryStore};
use lrmf_etcd::{EtcdConfig, EtcdStore};
use tokio::time::Instant;

use super::watched::Watched;
use super::{identity, shape};
use crate::config::{Config, ConfigError};
use crate::servers::{ServersError, queues_on};
use crate::service::Ports;

/// The first pause before a server is tried again; it doubles from time to time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The condition that an executing process waits for, where it is the first of its cluster.
const FIRST_PROCESS: &str = "a process of another role";

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
        /// The address, without a password.
        place: String,
        /// The error of the server.
        error: ServersError,
        /// The advice, where there is more to say than the error does.
        advice: String,
    },
    /// The cluster divides its work into other numbers of parts, or a store belongs to another cluster.
    #[error(transparent)]
    OtherCluster(InvalidInput),
    /// Only executors were started.
    #[error(
        "no process of the cluster {cluster} has said yet how its work is divided; start one with another role than executor, or correct \
         cluster (given up after {waited})"
    )]
    Alone {
        /// The cluster's name.
        cluster: String,
        /// The time waited.
        waited: String,
    },
    /// A server that was not there in time.
    #[error("{key} is {place}, and {error}; start it, or correct {key}{advice} (given up after {waited})")]
    Away {
        /// The setting that names it.
        key: &'static str,
        /// The address, without a password.
        place: String,
        /// The last failure.
        error: ServersError,
        /// The advice on other causes.
        advice: String,
        /// The time waited.
        waited: String,
    },
}

/// The longest wait for servers, and the receiver of news about it.
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
pub(crate) async fn service_ports(
    config: &Config,
    patience: &Patience<'_>,
) -> Result<(Ports, Watched, ClusterShape), ConnectError> {
    let begun = Instant::now();
    let etcd = config.etcd()?;
    let coordination =
        until_there(
            etcd_server(&etcd),
            patience,
            begun,
            async || Ok(EtcdStore::connect(etcd.clone()).await?),
        );
    let only_executes = only_executes(config);
    let migrate = config.mysql.migrate.then_some(Reach::Compatible);
    // Nobody asks this one: it stands where a table has to stand.
    let nowhere: Arc<dyn TaskTable> = Arc::new(MemoryTable::default());
    let (table, redis, etcd): (Arc<dyn TaskTable>, Redis, Arc<EtcdStore>) = (
        if only_executes { nowhere } else { table(config, migrate, patience, begun).await? },
        redis(config, patience, begun).await?,
        Arc::new(coordination.await?),
    );
    let truth = (!only_executes).then_some(&*table);
    let queues = RedisQueues::new(redis.clone());
    let (shape, identity) = agree(config, truth, &*etcd, &queues, patience, begun).await?;
    let truth = (!only_executes).then(|| table.clone());
    let watched = Watched { etcd: etcd.clone(), table: truth, redis: redis.clone(), identity };
    Ok((queues_on(redis, table, etcd), watched, shape))
}

/// Returns true if a process has no other role than executor, and so needs no database.
pub(super) fn only_executes(config: &Config) -> bool {
    // Who serves the API needs the tasks for it.
    config.role.iter().all(|role| *role == Role::Executor) && config.api.listen == "off"
}

/// Agrees with the cluster on how its work is divided: with the database, or with the copy of what it says, which is waited
/// for. A process that went on with numbers of its own would hold other shards than those that work is shipped to.
async fn agree(
    config: &Config,
    truth: Option<&dyn TaskTable>,
    coordination: &dyn Coordination,
    queues: &RedisQueues,
    patience: &Patience<'_>,
    begun: Instant,
) -> Result<(ClusterShape, Option<String>), ConnectError> {
    let etcd = config.etcd()?;
    let mut pause = FIRST_PAUSE;
    loop {
        let agreed = until_there(etcd_server(&etcd), patience, begun, async || {
            let (name, shape) = (&config.cluster, config.shape);
            // First, so that nothing of another cluster is touched.
            let table = truth.map(|table| table as &dyn ClusterTable);
            let identity = identity::claim(table, coordination, queues, name).await?;
            let agreed = match truth {
                Some(table) => Some(shape::agree(table, coordination, name, shape).await?),
                None => shape::compare(coordination, name, shape).await?,
            };
            Ok((agreed, identity))
        });
        match agreed.await {
            Ok((Some(shape), identity)) => return Ok((shape, identity)),
            Ok((None, _)) => {}
            Err(error) => return Err(of_cluster(error)),
        }
        let (cluster, waited) = (config.cluster.clone(), begun.elapsed());
        if patience.deadline.is_some_and(|deadline| waited + pause > deadline) {
            return Err(ConnectError::Alone { cluster, waited: text::show(waited) });
        }
        (patience.waiting)(FIRST_PROCESS);
        tracing::warn!(cluster, again_in = %text::show(pause), "waiting for a process of another role: it tells how the cluster's work is divided");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Of an error that is about the cluster, and no server's fault, only what it says.
fn of_cluster(error: ConnectError) -> ConnectError {
    match error {
        ConnectError::Refused { error: ServersError::Store(StoreError::InvalidInput(invalid)), .. } => {
            ConnectError::OtherCluster(invalid)
        }
        other => other,
    }
}

/// etcd, for a command.
pub(crate) async fn coordination(config: &Config) -> Result<EtcdStore, ConnectError> {
    let etcd = config.etcd()?;
    let connect = async || Ok(EtcdStore::connect(etcd.clone()).await?);
    until_there(etcd_server(&etcd), &Patience::none(), Instant::now(), connect).await
}

/// Redis, for a command.
pub(crate) async fn queues(config: &Config) -> Result<Redis, ConnectError> {
    redis(config, &Patience::none(), Instant::now()).await
}

/// The database, for a command: it has to have the schema.
pub(crate) async fn database(config: &Config) -> Result<Arc<dyn TaskTable>, ConnectError> {
    table(config, None, &Patience::none(), Instant::now()).await
}

/// Brings the schema of the database up to date, for a command.
pub(crate) async fn migrated(config: &Config, reach: Reach) -> Result<(), ConnectError> {
    table(config, Some(reach), &Patience::none(), Instant::now()).await.map(drop)
}

/// The stores of a client, which holds nothing and so needs no etcd, and the shape of the cluster.
pub(crate) async fn client_ports(config: &Config) -> Result<(Ports, ClusterShape), ConnectError> {
    let (table, redis) = (database(config).await?, queues(config).await?);
    let known = async || -> Result<ClusterShape, StoreError> {
        let (queues, name) = (RedisQueues::new(redis.clone()), &config.cluster);
        if let Some(recorded) = queues.owner().await? {
            cluster::check_owner("Redis", &recorded, &cluster::identity(&*table, name).await?)?;
        }
        Ok(cluster::shape(&*table).await?.unwrap_or(config.shape))
    };
    let shape = known().await.map_err(|error| match error {
        StoreError::InvalidInput(invalid) => ConnectError::OtherCluster(invalid),
        other => ConnectError::Refused {
            key: "redis.url",
            place: config.redis.url.to_string(),
            error: other.into(),
            advice: String::new(),
        },
    })?;
    Ok((queues_on(redis, table, Arc::new(MemoryStore::new())), shape))
}

async fn table(
    config: &Config,
    migrate: Option<Reach>,
    patience: &Patience<'_>,
    begun: Instant,
) -> Result<Arc<dyn TaskTable>, ConnectError> {
    let sql = config.mysql()?;
    let server = Server {
        key: "mysql.url",
        place: config.mysql.url.to_string(),
        anonymous: !config.mysql.ca.is_empty() && config.mysql.cert.is_empty(),
    };
    let table = until_there(server, patience, begun, async || {
        if let Some(reach) = migrate {
            SqlTable::migrate_within(&sql, reach).await?;
        }
        Ok(SqlTable::connect(&sql).await?)
    });
    Ok(Arc::new(table.await?))
}

async fn redis(config: &Config, patience: &Patience<'_>, begun: Instant) -> Result<Redis, ConnectError> {
    let settings = config.redis()?;
    let server = Server {
        key: "redis.url",
        place: config.redis.url.to_string(),
        anonymous: settings.url.starts_with("rediss://") && settings.tls.identity.is_none(),
    };
    until_there(server, patience, begun, async || {
        let redis = Redis::connect(settings.clone()).await?;
        if config.redis.require_aof && !redis.inspect().await?.append_only {
            let cause = "its appendonly is off, so a restart of it would forget all progress; set it to yes, or redis.require_aof to false";
            return Err(StoreError::Refused { store: "Redis", cause: cause.to_owned() }.into());
        }
        Ok(redis)
    })
    .await
}

fn etcd_server(etcd: &EtcdConfig) -> Server {
    let anonymous = etcd.tls.as_ref().is_some_and(|tls| tls.identity.is_none());
    Server { key: "etcd.endpoints", place: etcd.endpoints.join(","), anonymous }
}

/// A server that is connected to.
struct Server {
    /// The setting that names it.
    key: &'static str,
    /// The address, without a password.
    place: String,
    /// True if it is connected to over TLS without a certificate of ours.
    anonymous: bool,
}

/// Connects again and again, with growing pauses, while the server is not there.
async fn until_there<T>(
    server: Server,
    patience: &Patience<'_>,
    begun: Instant,
    connect: impl AsyncFn() -> Result<T, ServersError>,
) -> Result<T, ConnectError> {
    let Server { key, place, anonymous } = server;
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match connect().await {
            Ok(connected) => return Ok(connected),
            Err(error) => error,
        };
        let speaks = error.to_string();
        if !error.is_retryable() || is_about_certificates(&speaks) {
            let advice = advice(key, &speaks, anonymous);
            return Err(ConnectError::Refused { key, place, error, advice });
        }
        let waited = begun.elapsed();
        let Some(wait) = before_the_next(pause, waited, patience.deadline) else {
            let waited = text::show(waited);
            // A server that wants to see a certificate may hang up before its saying so is read.
            let advice = if anonymous { certificate_of_ours(key) } else { String::new() };
            return Err(ConnectError::Away { key, place, error, advice, waited });
        };
        (patience.waiting)(key);
        tracing::warn!(server = key, %place, %error, again_in = %text::show(wait), "waiting for a server");
        tokio::time::sleep(wait).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Returns the wait before the next attempt, of which the last is at the deadline; `None` behind it.
fn before_the_next(pause: Duration, waited: Duration, deadline: Option<Duration>) -> Option<Duration> {
    match deadline.map(|deadline| deadline.saturating_sub(waited)) {
        None => Some(pause),
        Some(Duration::ZERO) => None,
        Some(left) => Some(pause.min(left)),
    }
}

/// The part of the settings that a key is in.
fn section(key: &'static str) -> &'static str {
    key.split('.').next().unwrap_or(key)
}

fn certificate_of_ours(key: &'static str) -> String {
    let section = section(key);
    format!(", or set {section}.cert and {section}.key if it asks for a certificate")
}

/// Returns true if one side does not trust the other's certificate. That does not get better by waiting for the server.
fn is_about_certificates(error: &str) -> bool {
    let error = error.to_lowercase();
    ["certificate", "unknownissuer", "unknownca", "handshake"].iter().any(|words| error.contains(words))
}

/// Returns the advice about a refusal that does not give it itself.
fn advice(key: &'static str, error: &str, anonymous: bool) -> String {
    let section = section(key);
    let variable = section.to_uppercase();
    if is_about_certificates(error) {
        return format!(
            "; correct {section}.ca, the authority that vouches for the server, or {section}.cert and {section}.key, which vouch for us"
        );
    }
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
        let more = if anonymous { certificate_of_ours(key) } else { String::new() };
        return format!(
            "; correct the user or the password ({section}.password, DTF_{variable}_PASSWORD){more}"
        );
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
    fn the_last_attempt_is_at_the_deadline() {
        let [two, five, six] = [2, 5, 6].map(Duration::from_secs);
        let cases = [
            (two, five, None, Some(two)),
            (two, Duration::ZERO, Some(five), Some(two)),
            (five, two, Some(six), Some(Duration::from_secs(4))),
            (two, five, Some(five), None),
            (two, six, Some(five), None),
        ];
        for (pause, waited, deadline, wait) in cases {
            assert_eq!(before_the_next(pause, waited, deadline), wait, "{pause:?} {waited:?} {deadline:?}");
        }
    }

    #[test]
    fn wrong_passwords_are_pointed_at() {
        assert!(
            advice("mysql.url", "MySQL refused: Access denied for user 'x'", false)
                .contains("DTF_MYSQL_PASSWORD")
        );
        assert!(advice("redis.url", "Redis refused: WRONGPASS invalid", false).contains("redis.password"));
        let said =
            advice("redis.url", "Redis cannot be reached: invalid peer certificate: UnknownIssuer", false);
        assert!(said.contains("redis.ca"), "{said}");
        let said = advice("mysql.url", "Access denied", true);
        assert!(said.contains("mysql.cert"), "{said}");
        assert_eq!(advice("redis.url", "it must be noeviction", false), "");
    }
}
