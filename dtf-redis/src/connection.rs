//! The connection that all calls go over.

use std::sync::Arc;

use dtf_model::StoreError;
use dtf_model::queue::Incarnation;
use futures::{StreamExt, TryStreamExt};
use redis::aio::PubSub;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{ErrorKind, FromRedisValue, RedisError, RedisResult, ScriptInvocation, ServerErrorKind, Value};
use tracing::{info, warn};

use crate::config::{RedisConfig, Topology};
use crate::keys::Keys;
use crate::link::{Connection, Generation, Link, is_answer, is_elsewhere, on};
use crate::lives::{Lives, incarnation_of};
use crate::reply::Reply;

/// The name of this store in errors.
pub(crate) const STORE: &str = "Redis";

/// The number of commands that are sent in one go.
const TOGETHER: usize = 256;

/// A connection to a Redis or Valkey server, to a Cluster of them, or to the master that Sentinels name; shared by its
/// clones. It is made again by itself after it broke.
#[derive(Clone)]
pub struct Redis {
    inner: Arc<Inner>,
}

struct Inner {
    /// Never used for a blocking command: it would stall everybody's calls.
    link: Link,
    config: RedisConfig,
    keys: Keys,
    lives: Lives,
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
    /// The settings are wrong; the server is not reached; it is too old, a replica, something else than the settings say, or
    /// may evict keys.
    pub async fn connect(config: RedisConfig) -> Result<Self, StoreError> {
        config.check()?;
        let link = Link::connect(&config).await.map_err(|error| match store_error(&error) {
            // Nothing but the greeting was sent.
            StoreError::Unknown { store, cause } => StoreError::Unreachable { store, cause },
            other => other,
        })?;
        let keys = Keys::new(&config.key_prefix);
        let redis = Self { inner: Arc::new(Inner { link, config, keys, lives: Lives::default() }) };
        redis.check_servers().await?;
        Ok(redis)
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.inner.keys
    }

    pub(crate) fn config(&self) -> &RedisConfig {
        &self.inner.config
    }

    /// Returns true if one server has all keys, so that a script can work on those of several tasks or shards.
    pub(crate) fn is_one_server(&self) -> bool {
        self.inner.config.topology != Topology::Cluster
    }

    async fn connection(&self) -> Result<(Connection, Generation), StoreError> {
        self.inner.link.connection().await.map_err(|error| match store_error(&error) {
            // The call itself was not sent.
            StoreError::Unknown { store, cause } => StoreError::Unreachable { store, cause },
            other => other,
        })
    }

    fn answered<T>(&self, answer: RedisResult<T>, over: Generation) -> Result<T, StoreError> {
        answer.map_err(|error| {
            self.inner.link.failed(&error, over);
            self.with_rule(store_error(&error))
        })
    }

    /// Names the rule to add, where the user has no right to something.
    pub(crate) fn with_rule(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Refused { store, cause } if is_about_rights(&cause) => {
                let rule = acl_rule(&self.inner.config);
                StoreError::Refused { store, cause: format!("{cause}; give the user its rights: {rule}") }
            }
            other => other,
        }
    }

    /// Makes the next call connect anew.
    pub(crate) fn give_up(&self) {
        self.inner.link.give_up(self.inner.link.generation());
    }

    /// Calls a script.
    pub(crate) async fn invoke(&self, call: &ScriptInvocation<'_>) -> Result<Reply, StoreError> {
        let (connection, over) = self.connection().await?;
        let answer = on!(connection, connection => call.invoke_async(&mut { connection }).await);
        Reply::new(self.answered(answer, over)?)
    }

    /// Sends a single command.
    pub(crate) async fn send<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, StoreError> {
        let (connection, over) = self.connection().await?;
        let answer = on!(connection, connection => command.query_async(&mut { connection }).await);
        self.answered(answer, over)
    }

    /// The answers to commands of which none needs another: in one go, but for a Cluster, where each finds its own node.
    pub(crate) async fn send_all<T: FromRedisValue + Send>(
        &self,
        commands: Vec<redis::Cmd>,
    ) -> Result<Vec<T>, StoreError> {
        if !self.is_one_server() {
            let sent = futures::stream::iter(commands)
                .map(|command| async move { self.send::<T>(&command).await })
                .buffered(TOGETHER);
            return sent.try_collect().await;
        }
        let (mut answers, mut commands) = (Vec::with_capacity(commands.len()), commands.into_iter());
        while commands.len() > 0 {
            let mut some = redis::pipe();
            for command in commands.by_ref().take(TOGETHER) {
                some.add_command(command);
            }
            let (connection, over) = self.connection().await?;
            let answer: RedisResult<Vec<T>> =
                on!(connection, connection => some.query_async(&mut { connection }).await);
            answers.extend(self.answered(answer, over)?);
        }
        Ok(answers)
    }

    /// Publishes messages, in one go where that is possible.
    pub(crate) async fn publish(&self, messages: &[(String, Vec<u8>)]) -> Result<(), StoreError> {
        if !self.is_one_server() {
            // A pipeline of a Cluster goes to one node, that of its keys; channels are none.
            let commands = messages.iter().map(|(channel, message)| redis::Cmd::publish(channel, message));
            let sent = commands.map(|command| async move { self.send::<()>(&command).await });
            return futures::future::try_join_all(sent).await.map(drop);
        }
        let mut all = redis::pipe();
        for (channel, message) in messages {
            all.publish(channel, message).ignore();
        }
        let (connection, over) = self.connection().await?;
        let answer = on!(connection, connection => all.exec_async(&mut { connection }).await);
        self.answered(answer, over)
    }

    /// The generation of the connection for commands: another one once the master was looked for again.
    pub(crate) fn generation(&self) -> Generation {
        self.inner.link.generation()
    }

    /// A connection of its own for listening.
    pub(crate) async fn listen(&self) -> Result<PubSub, StoreError> {
        let nodes = self.inner.link.listening().await.map_err(|error| store_error(&error))?;
        let mut last = StoreError::Unreachable { store: STORE, cause: "there is no address".to_owned() };
        for node in nodes {
            match tokio::time::timeout(self.inner.config.connect_timeout, node.get_async_pubsub()).await {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => last = store_error(&error),
                Err(_) => {
                    let cause = "connecting took too long".to_owned();
                    last = StoreError::Unreachable { store: STORE, cause };
                }
            }
        }
        Err(last)
    }

    /// Returns a section of the information of every server that is written to.
    pub(crate) async fn infos(&self, section: &str) -> Result<Vec<String>, StoreError> {
        let mut info = redis::cmd("INFO");
        info.arg(section);
        let (connection, over) = self.connection().await?;
        let Connection::Cluster(mut cluster) = connection else {
            return Ok(vec![self.send(&info).await?]);
        };
        let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        let answers = self.answered(cluster.route_command(info, masters).await, over)?;
        let texts = match answers {
            Value::Map(nodes) => nodes.into_iter().map(|(_, text)| String::from_redis_value(text)).collect(),
            other => vec![String::from_redis_value(other)],
        };
        let texts: Result<Vec<_>, _> = texts.into_iter().collect();
        self.answered(texts.map_err(RedisError::from), over)
    }

    /// Returns the incarnations of all servers that are written to; as they answered within the last second.
    pub(crate) async fn incarnation(&self) -> Result<Incarnation, StoreError> {
        self.inner.lives.known_or(async || Ok(incarnation_of(&Box::pin(self.infos("server")).await?))).await
    }

    async fn check_servers(&self) -> Result<(), StoreError> {
        let url = self.inner.config.shown_url();
        for text in self.infos("default").await? {
            let server = ServerInfo(&text);
            server.is_there()?;
            let fit = server.check(&self.inner.config.topology);
            fit.map_err(|cause| StoreError::Refused { store: STORE, cause })?;
            let version = server.field("redis_version");
            if server.field("aof_enabled") == "0" {
                warn!(%url, "Redis has appendonly off: a restart of it loses the progress of all tasks");
            }
            info!(%url, version, "connected to Redis");
        }
        Ok(())
    }
}

/// The information of a server, as lines `field:value`.
pub(crate) struct ServerInfo<'a>(pub(crate) &'a str);

impl ServerInfo<'_> {
    pub(crate) fn field(&self, name: &str) -> &str {
        let value = |line: &'_ str| line.strip_prefix(name)?.strip_prefix(':').map(str::len);
        let line = self.0.lines().find(|line| value(line).is_some());
        line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value)
    }

    /// Checks that it has its data. As long as it reads its file it does not tell the truth about the file either.
    pub(crate) fn is_there(&self) -> Result<(), StoreError> {
        match self.field("loading") {
            "1" => Err(StoreError::Unreachable { store: STORE, cause: "it is loading its data".to_owned() }),
            _ => Ok(()),
        }
    }

    fn check(&self, topology: &Topology) -> Result<(), String> {
        let version = self.field("redis_version");
        let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
        let major_minor = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if major_minor < (6, 2) {
            return Err(format!("it has version {version:?}; 6.2 or later is needed"));
        }
        match (self.field("redis_mode"), topology) {
            ("cluster", Topology::Cluster) | ("standalone", Topology::Single | Topology::Sentinel { .. }) => {
            }
            ("cluster", _) => {
                return Err(
                    "it is a node of a Cluster; the setting `topology` must be \"cluster\"".to_owned()
                );
            }
            ("sentinel", _) => {
                return Err("it is a Sentinel; the setting `topology` must name the master that it watches"
                    .to_owned());
            }
            (mode, _) => {
                return Err(format!("its mode is {mode:?}; the setting `topology` asks for a Cluster"));
            }
        }
        let policy = self.field("maxmemory_policy");
        if policy != "noeviction" {
            return Err(format!(
                "its maxmemory-policy is {policy:?}, which may delete tasks; it must be noeviction"
            ));
        }
        match self.field("role") {
            "slave" | "replica" => Err("it is a replica; the address must be the master's".to_owned()),
            _ => Ok(()),
        }
    }
}

/// Returns true if an answer says that the user has no right to a command, key or channel.
pub(crate) fn is_about_rights(cause: &str) -> bool {
    cause.contains("NOPERM") || cause.contains("no permissions")
}

/// The rule that gives a user what this crate needs.
fn acl_rule(config: &RedisConfig) -> String {
    let prefix = &config.key_prefix;
    let user = redis::Client::open(config.url.as_str()).ok();
    let user =
        user.and_then(|client| client.get_connection_info().redis_settings().username().map(str::to_owned));
    let cluster = if config.topology == Topology::Cluster { " +cluster" } else { "" };
    format!(
        "ACL SETUSER {} ~{prefix}dtf.* &{prefix}dtf.wake.* +@read +@write +@scripting +@connection +@pubsub +info +time{cluster}",
        user.as_deref().unwrap_or("default")
    )
}

/// Returns the conclusion that the caller may draw from an error.
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
        // In the middle of a failover no Sentinel names a master.
        ErrorKind::MasterNameNotFoundBySentinel => StoreError::Unreachable { store: STORE, cause },
        ErrorKind::Io | ErrorKind::ClusterConnectionNotFound if error.is_connection_refusal() => {
            StoreError::Unreachable { store: STORE, cause }
        }
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::ClusterConnectionNotFound => {
            StoreError::Unknown { store: STORE, cause }
        }
        _ if is_elsewhere(error) || is_passing(error) => StoreError::Unreachable { store: STORE, cause },
        _ => StoreError::Refused { store: STORE, cause },
    }
}

/// Whether an answer says that nothing was done because of a state that passes: out of memory, a script that runs too long,
/// a disk that is full, replicas that are missing. Scripts write first what needs memory, or what frees it.
fn is_passing(error: &RedisError) -> bool {
    ["OOM", "BUSY", "MISCONF", "NOREPLICAS"].into_iter().any(|code| is_answer(error, code))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn info(version: &str, policy: &str, mode: &str, role: &str) -> Result<(), String> {
        let text = format!(
            "# Server\r\nredis_version:{version}\r\nredis_mode:{mode}\r\nmaxmemory_policy:{policy}\r\nrole:{role}\r\n"
        );
        ServerInfo(&text).check(&Topology::Single)
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
    fn a_server_that_reads_its_file_is_waited_for() {
        let info = ServerInfo("loading:1\r\naof_enabled:0\r\n");
        assert!(matches!(info.is_there(), Err(StoreError::Unreachable { .. })));
        assert!(ServerInfo("loading:0\r\naof_enabled:1\r\n").is_there().is_ok());
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
