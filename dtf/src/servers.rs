//! The stores on servers: coordination in etcd, `tbl_task` in MySQL or MariaDB, queues in Redis or Valkey.

use std::sync::Arc;

use dtf_model::StoreError;
use dtf_model::table::TaskTable;
use dtf_redis::{Redis, RedisConfig, RedisQueues, RedisShards, RedisWakeUp};
use dtf_sql::{SqlConfig, SqlTable};
use lrmf_core::Coordination;
use lrmf_etcd::{ConnectError, EtcdConfig, EtcdStore};

use crate::service::Ports;

/// The addresses of the servers.
#[derive(Clone, Debug)]
pub struct Servers {
    /// The coordination store, on which the roles' groups meet.
    pub etcd: EtcdConfig,
    /// `tbl_task`. Its schema is brought up to date when it is connected to.
    pub sql: SqlConfig,
    /// The queues of tasks.
    pub redis: RedisConfig,
}

/// Why the servers cannot be worked with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServersError {
    /// A store of tasks.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The coordination store.
    #[error(transparent)]
    Etcd(#[from] ConnectError),
}

impl ServersError {
    /// Returns true if connecting may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.is_retryable(),
            Self::Etcd(ConnectError::Store(error)) => error.is_retryable(),
            Self::Etcd(ConnectError::Config(_)) => false,
        }
    }
}

/// Connects to the servers.
///
/// # Errors
/// A server that is not reached, refuses, or is of a version or setting that cannot be worked with.
pub async fn ports(servers: Servers) -> Result<Ports, ServersError> {
    SqlTable::migrate(&servers.sql).await?;
    let table = SqlTable::connect(&servers.sql).await?;
    let redis = Redis::connect(servers.redis).await?;
    let coordination = EtcdStore::connect(servers.etcd).await?;
    Ok(queues_on(redis, Arc::new(table), Arc::new(coordination)))
}

/// All stores, from the connections to them.
pub(crate) fn queues_on(
    redis: Redis,
    table: Arc<dyn TaskTable>,
    coordination: Arc<dyn Coordination>,
) -> Ports {
    Ports {
        table,
        queues: Arc::new(RedisQueues::new(redis.clone())),
        shards: Arc::new(RedisShards::new(redis.clone())),
        wake: Arc::new(RedisWakeUp::start(redis)),
        coordination,
    }
}
