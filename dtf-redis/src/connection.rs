//! The connection that all calls go over.

use std::sync::Arc;
use std::time::Duration;

use dtf_model::StoreError;
use redis::aio::{ConnectionManager, ConnectionManagerConfig, PubSub};
use redis::io::tcp::TcpSettings;
use redis::{
    Client, ErrorKind, FromRedisValue, IntoConnectionInfo, RedisError, ScriptInvocation, ServerErrorKind,
};
use tracing::{info, warn};

use crate::config::RedisConfig;
use crate::keys::Keys;
use crate::reply::Reply;

/// How this store is called in errors.
pub(crate) const STORE: &str = "Redis";

/// A connection to a Redis or Valkey server, shared by its clones. It is made again by itself after it broke.
#[derive(Clone)]
pub struct Redis {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    /// Never used for a blocking command: it would stall everybody's calls.
    manager: ConnectionManager,
    config: RedisConfig,
    keys: Keys,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("config", &self.inner.config).finish()
    }
}

impl Redis {
    /// Connects, and checks that the server is fit for it.
    ///
    /// # Errors
    /// The settings are wrong; the server is not reached; it is too old, a replica, a node of a Cluster, or may evict keys.
    pub async fn connect(config: RedisConfig) -> Result<Self, StoreError> {
        config.check()?;
        let client = client(&config)?;
        // Retries inside a call would hide for seconds what the caller can decide better.
        let manager = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(config.connect_timeout))
            .set_response_timeout(Some(config.response_timeout));
        let connecting = ConnectionManager::new_with_config(client.clone(), manager);
        let manager = connecting.await.map_err(|error| match store_error(&error) {
            // Nothing but the greeting was sent.
            StoreError::Unknown { store, cause } => StoreError::Unreachable { store, cause },
            other => other,
        })?;
        let keys = Keys::new(&config.key_prefix);
        let redis = Self { inner: Arc::new(Inner { client, manager, config, keys }) };
        redis.check_server().await?;
        Ok(redis)
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.inner.keys
    }

    pub(crate) fn config(&self) -> &RedisConfig {
        &self.inner.config
    }

    /// Calls a script.
    pub(crate) async fn invoke(&self, call: &ScriptInvocation<'_>) -> Result<Reply, StoreError> {
        let mut connection = self.inner.manager.clone();
        Reply::new(call.invoke_async(&mut connection).await.map_err(|error| store_error(&error))?)
    }

    /// Sends a single command.
    pub(crate) async fn send<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, StoreError> {
        let mut connection = self.inner.manager.clone();
        command.query_async(&mut connection).await.map_err(|error| store_error(&error))
    }

    /// Sends commands whose order among each other does not matter, in one go.
    pub(crate) async fn send_all(&self, commands: &redis::Pipeline) -> Result<(), StoreError> {
        let mut connection = self.inner.manager.clone();
        commands.exec_async(&mut connection).await.map_err(|error| store_error(&error))
    }

    /// A connection of its own for listening.
    pub(crate) async fn listen(&self) -> Result<PubSub, StoreError> {
        let limit = self.inner.config.connect_timeout;
        match tokio::time::timeout(limit, self.inner.client.get_async_pubsub()).await {
            Ok(connected) => connected.map_err(|error| store_error(&error)),
            Err(_) => {
                Err(StoreError::Unreachable { store: STORE, cause: "connecting took too long".to_owned() })
            }
        }
    }

    async fn check_server(&self) -> Result<(), StoreError> {
        let text: String = self.send(&redis::cmd("INFO")).await?;
        let server = ServerInfo(&text);
        server.check().map_err(|cause| StoreError::Refused { store: STORE, cause })?;
        let (version, url) = (server.field("redis_version"), self.inner.config.shown_url());
        if server.field("aof_enabled") == "0" {
            warn!(%url, "Redis has appendonly off: a restart of it loses the progress of all tasks");
        }
        info!(%url, version, "connected to Redis");
        Ok(())
    }
}

fn client(config: &RedisConfig) -> Result<Client, StoreError> {
    let refused = |error: &RedisError| StoreError::Refused { store: STORE, cause: error.to_string() };
    let info = config.url.as_str().into_connection_info().map_err(|error| refused(&error))?;
    // A connection into a black hole ends, instead of timing out call by call for good.
    let dead_after = (config.response_timeout * 2).max(Duration::from_secs(1));
    let tcp = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(dead_after);
    #[cfg(not(target_os = "linux"))]
    let _ = dead_after;
    Client::open(info.set_tcp_settings(tcp)).map_err(|error| refused(&error))
}

/// What the server says of itself, as lines `field:value`.
pub(crate) struct ServerInfo<'a>(pub(crate) &'a str);

impl ServerInfo<'_> {
    pub(crate) fn field(&self, name: &str) -> &str {
        let value = |line: &'_ str| line.strip_prefix(name)?.strip_prefix(':').map(str::len);
        let line = self.0.lines().find(|line| value(line).is_some());
        line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value)
    }

    fn check(&self) -> Result<(), String> {
        let version = self.field("redis_version");
        let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
        let major_minor = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if major_minor < (6, 2) {
            return Err(format!("it has version {version:?}; 6.2 or later is needed"));
        }
        let policy = self.field("maxmemory_policy");
        if policy != "noeviction" {
            return Err(format!(
                "its maxmemory-policy is {policy:?}, which may delete tasks; it must be noeviction"
            ));
        }
        if self.field("redis_mode") == "cluster" {
            return Err("it is a node of a Cluster, which this version does not support".to_owned());
        }
        match self.field("role") {
            "slave" | "replica" => Err("it is a replica; the address must be the master's".to_owned()),
            _ => Ok(()),
        }
    }
}

/// What the caller may conclude from an error.
pub(crate) fn store_error(error: &RedisError) -> StoreError {
    use ServerErrorKind as Server;
    let cause = error.to_string();
    match error.kind() {
        // The server says that it has done nothing, and why it does not work now.
        ErrorKind::Server(
            Server::BusyLoading
            | Server::ClusterDown
            | Server::MasterDown
            | Server::ReadOnly
            | Server::TryAgain
            | Server::Moved
            | Server::Ask,
        ) => StoreError::Unreachable { store: STORE, cause },
        ErrorKind::Server(_) | ErrorKind::Extension
            if is_passing(error.code().unwrap_or_default(), &cause) =>
        {
            StoreError::Unreachable { store: STORE, cause }
        }
        ErrorKind::Io | ErrorKind::ClusterConnectionNotFound if error.is_connection_refusal() => {
            StoreError::Unreachable { store: STORE, cause }
        }
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::ClusterConnectionNotFound => {
            StoreError::Unknown { store: STORE, cause }
        }
        _ => StoreError::Refused { store: STORE, cause },
    }
}

/// Whether an answer says that nothing was done because of a state that passes: out of memory, a script that runs too long,
/// a disk that is full, replicas that are missing. Scripts write first what needs memory, or what frees it.
fn is_passing(code: &str, cause: &str) -> bool {
    ["OOM", "BUSY", "MISCONF", "NOREPLICAS"]
        .into_iter()
        .any(|passing| code == passing || cause.contains(&format!("{passing} ")))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn info(version: &str, policy: &str, mode: &str, role: &str) -> Result<(), String> {
        let text = format!(
            "# Server\r\nredis_version:{version}\r\nredis_mode:{mode}\r\nmaxmemory_policy:{policy}\r\nrole:{role}\r\n"
        );
        ServerInfo(&text).check()
    }

    #[test]
    fn a_server_that_is_not_fit_is_refused() {
        assert_eq!(info("6.2.0", "noeviction", "standalone", "master"), Ok(()));
        assert_eq!(info("7.2.4", "noeviction", "standalone", "master"), Ok(()));
        assert_eq!(info("10.0.1", "noeviction", "standalone", "master"), Ok(()));
        for (wrong, says) in [
            (info("6.0.20", "noeviction", "standalone", "master"), "6.2"),
            (info("", "noeviction", "standalone", "master"), "6.2"),
            (info("7.0.15", "allkeys-lru", "standalone", "master"), "noeviction"),
            (info("7.0.15", "noeviction", "cluster", "master"), "Cluster"),
            (info("7.0.15", "noeviction", "standalone", "slave"), "replica"),
        ] {
            assert!(wrong.as_ref().is_err_and(|cause| cause.contains(says)), "{wrong:?}");
        }
    }

    #[test]
    fn a_refused_connection_was_not_used_and_a_broken_one_may_have_been() {
        let io = |kind: io::ErrorKind| store_error(&RedisError::from(io::Error::from(kind)));
        assert!(matches!(io(io::ErrorKind::ConnectionRefused), StoreError::Unreachable { .. }));
        for kind in [io::ErrorKind::TimedOut, io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset] {
            assert!(matches!(io(kind), StoreError::Unknown { .. }), "{kind:?}");
        }
    }
}
