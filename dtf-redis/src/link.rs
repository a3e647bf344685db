//! The ways to the servers: one server, a Cluster, or the master that Sentinels name.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError, RedisResult,
};

use crate::config::{RedisConfig, Topology};

/// The number of times that the Cluster's client tries a command again that was redirected, or whose node has gone. Scripts
/// may be sent
/// again.
const REDIRECTS: u32 = 4;
/// The longest wait between these tries.
const REDIRECT_WAIT: Duration = Duration::from_millis(200);

/// A way to the servers.
pub(crate) enum Link {
    /// To one server: that at an address, or the master that Sentinels name.
    One(Box<Master>),
    /// To all nodes of a Cluster. It follows slots by itself.
    Cluster { nodes: Vec<Client>, connection: ClusterConnection },
}

/// A connection to send a command on.
pub(crate) enum Connection {
    Cluster(ClusterConnection),
    Master(MultiplexedConnection),
}

/// The number of a connection among those that were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Generation(u64);

/// Does the same on whichever connection there is.
macro_rules! on {
    ($connection:expr, $name:ident => $what:expr) => {
        match $connection {
            $crate::link::Connection::Cluster($name) => $what,
            $crate::link::Connection::Master($name) => $what,
        }
    };
}
pub(crate) use on;

impl Link {
    /// Connects as the settings say.
    pub(crate) async fn connect(config: &RedisConfig) -> RedisResult<Self> {
        match &config.topology {
            Topology::Single => {
                let find = Find::At(Client::open(address(config, &config.url)?)?);
                Ok(Self::One(Box::new(Master::connect(config, find).await?)))
            }
            Topology::Cluster => {
                let mut nodes = addresses(config)?;
                // The nodes of a Cluster have the same users.
                let users = address(config, &config.url)?.redis_settings().clone();
                nodes = nodes.into_iter().map(|node| node.set_redis_settings(users.clone())).collect();
                let connection = cluster_client(config, &nodes)?.get_async_connection().await?;
                let nodes = nodes.into_iter().map(Client::open).collect::<RedisResult<_>>()?;
                Ok(Self::Cluster { nodes, connection })
            }
            Topology::Sentinel { master, password } => {
                let find = Find::Named { master: master.clone(), password: password.clone() };
                Ok(Self::One(Box::new(Master::connect(config, find).await?)))
            }
        }
    }

    /// A connection for a command.
    pub(crate) async fn connection(&self) -> RedisResult<(Connection, Generation)> {
        Ok(match self {
            Self::One(master) => {
                let (connection, generation) = master.connection().await?;
                (Connection::Master(connection), generation)
            }
            Self::Cluster { connection, .. } => (Connection::Cluster(connection.clone()), Generation(0)),
        })
    }

    /// An error came over the connection of this generation.
    pub(crate) fn failed(&self, error: &RedisError, generation: Generation) {
        if let Self::One(master) = self {
            master.failed(error, generation);
        }
    }

    /// Makes the next call connect anew: this connection leads to a server that is not the master.
    pub(crate) fn give_up(&self, generation: Generation) {
        if let Self::One(master) = self {
            master.give_up(generation);
        }
    }

    /// The generation of the connection for commands.
    pub(crate) fn generation(&self) -> Generation {
        match self {
            Self::One(master) => master.current().generation,
            Self::Cluster { .. } => Generation(0),
        }
    }

    /// Returns the servers to listen on for messages: each is heard on every node.
    pub(crate) async fn listening(&self) -> RedisResult<Vec<Client>> {
        match self {
            Self::One(master) => Ok(vec![master.client().await?]),
            Self::Cluster { nodes, .. } => Ok(nodes.clone()),
        }
    }
}

fn cluster_client(config: &RedisConfig, nodes: &[ConnectionInfo]) -> RedisResult<ClusterClient> {
    let most_ms = u64::try_from(REDIRECT_WAIT.as_millis()).unwrap_or(u64::MAX);
    let builder = ClusterClientBuilder::new(nodes.to_vec())
        .retries(REDIRECTS)
        .min_retry_wait(10)
        .max_retry_wait(most_ms)
        .connection_timeout(config.connect_timeout)
        .response_timeout(config.response_timeout)
        .tcp_settings(tcp(config));
    #[cfg(feature = "tls")]
    let builder = match crate::tls::certificates(config) {
        Some(certificates) => builder.certs(certificates),
        None => builder,
    };
    builder.build()
}

/// All addresses of the settings.
fn addresses(config: &RedisConfig) -> RedisResult<Vec<ConnectionInfo>> {
    config.urls().map(|url| address(config, url)).collect()
}

fn address(config: &RedisConfig, url: &str) -> RedisResult<ConnectionInfo> {
    let info = url.into_connection_info()?;
    #[cfg(feature = "tls")]
    let info = crate::tls::with_certificates(config, info)?;
    Ok(info.set_tcp_settings(tcp(config)))
}

fn tcp(config: &RedisConfig) -> TcpSettings {
    let tcp = TcpSettings::default().set_nodelay(true);
    // A connection into a black hole ends, instead of timing out call by call for good.
    let dead_after = (config.response_timeout * 2).max(Duration::from_secs(1));
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(dead_after);
    #[cfg(not(target_os = "linux"))]
    let _ = dead_after;
    tcp
}

/// The way to one server.
///
/// It is looked for when there is no connection: the name of its address is resolved, or the Sentinels are asked. There is no
/// connection after an error that may mean that another server is the master now. So the first call after a failover fails, and the
/// ones after it go to the new master, also where both are behind one address. Nothing is locked meanwhile: calls that find no
/// connection at the same time each make one, and one of them stays.
pub(crate) struct Master {
    config: RedisConfig,
    find: Find,
    current: Mutex<Current>,
}

/// The way to find the server.
enum Find {
    /// At an address.
    At(Client),
    /// As the master that Sentinels know by this name.
    Named { master: String, password: Option<String> },
}

#[derive(Default)]
struct Current {
    generation: Generation,
    connection: Option<MultiplexedConnection>,
}

impl Master {
    async fn connect(config: &RedisConfig, find: Find) -> RedisResult<Self> {
        let master = Self { config: config.clone(), find, current: Mutex::default() };
        master.connection().await?;
        Ok(master)
    }

    fn sentinels(&self, master: &str, password: Option<&str>) -> RedisResult<SentinelClient> {
        // What the first address says besides the place is meant for the servers.
        let first = address(&self.config, &self.config.url)?;
        let servers = first.redis_settings();
        let places: Vec<_> = addresses(&self.config)?.iter().map(|info| info.addr().clone()).collect();
        let mut builder = SentinelClientBuilder::new(places, master, SentinelServerType::Master)?
            .set_client_to_redis_db(servers.db())
            .set_client_to_redis_tcp_settings(tcp(&self.config))
            .set_client_to_sentinel_tcp_settings(tcp(&self.config));
        if let Some(user) = servers.username() {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = servers.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        #[cfg(feature = "tls")]
        if let Some(certificates) = crate::tls::certificates(&self.config) {
            // The Sentinels' addresses have theirs already.
            builder = builder
                .set_client_to_redis_tls_mode(redis::TlsMode::Secure)
                .set_client_to_redis_certificates(certificates);
        }
        if let Some(password) = password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        builder.build()
    }

    /// A panic while it is held can only come from an allocation failure; what it guards is whole then.
    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connection(&self) -> RedisResult<(MultiplexedConnection, Generation)> {
        if let Current { generation, connection: Some(connection) } = &*self.current() {
            return Ok((connection.clone(), *generation));
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.config.connect_timeout))
            .set_response_timeout(Some(self.config.response_timeout));
        let client = self.client().await?;
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut current = self.current();
        current.generation.0 += 1;
        current.connection = Some(connection.clone());
        Ok((connection, current.generation))
    }

    /// The server. Sentinels that hang are not waited for without end.
    async fn client(&self) -> RedisResult<Client> {
        let (master, password) = match &self.find {
            Find::At(client) => return Ok(client.clone()),
            Find::Named { master, password } => (master, password.as_deref()),
        };
        let mut sentinels = self.sentinels(master, password)?;
        match tokio::time::timeout(self.config.connect_timeout, sentinels.async_get_client()).await {
            Ok(answered) => answered,
            // Nothing was sent to the master.
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into()),
        }
    }

    fn failed(&self, error: &RedisError, generation: Generation) {
        if matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse) || is_elsewhere(error) {
            self.give_up(generation);
        }
    }

    fn give_up(&self, generation: Generation) {
        let mut current = self.current();
        // A call that failed on an earlier connection says nothing of this one.
        if current.generation == generation {
            current.connection = None;
        }
    }
}

/// Returns whether an answer says that the master is elsewhere, or not yet there.
pub(crate) fn is_elsewhere(error: &RedisError) -> bool {
    use redis::ServerErrorKind::{BusyLoading, MasterDown, ReadOnly};
    matches!(error.kind(), ErrorKind::Server(BusyLoading | MasterDown | ReadOnly))
        || ["READONLY", "MASTERDOWN", "LOADING"].into_iter().any(|code| is_answer(error, code))
}

/// Returns whether an answer has this code. That of a command in a pipeline is wrapped, and up to version 6.2 also that of a command
/// that a script calls.
pub(crate) fn is_answer(error: &RedisError, code: &str) -> bool {
    let text = error.to_string();
    error.code() == Some(code) || text.contains(&format!("{code} ")) || text.contains(&format!("\"{code}\""))
}
