//! The ways to the servers: one server, a Cluster, or the master that Sentinels name.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError, RedisResult,
};

use crate::config::{RedisConfig, Topology};

/// How often the Cluster's client tries a command again that was redirected, or whose node has gone. Scripts may be sent
/// again.
const REDIRECTS: u32 = 4;
/// The longest wait between these tries.
const REDIRECT_WAIT: Duration = Duration::from_millis(200);

/// A way to the servers.
pub(crate) enum Link {
    /// To one server. It connects again by itself.
    One { client: Client, manager: ConnectionManager },
    /// To all nodes of a Cluster. It follows slots by itself.
    Cluster { nodes: Vec<Client>, connection: ClusterConnection },
    /// To the master that Sentinels name.
    Sentinel(Sentinel),
}

/// A connection to send a command on.
pub(crate) enum Connection {
    Managed(ConnectionManager),
    Cluster(ClusterConnection),
    Master(MultiplexedConnection),
}

/// Does the same on whichever connection there is.
macro_rules! on {
    ($connection:expr, $name:ident => $what:expr) => {
        match $connection {
            $crate::link::Connection::Managed($name) => $what,
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
                let client = Client::open(address(config, &config.url)?)?;
                // Retries inside a call would hide for seconds what the caller can decide better.
                let settings = ConnectionManagerConfig::new()
                    .set_number_of_retries(0)
                    .set_connection_timeout(Some(config.connect_timeout))
                    .set_response_timeout(Some(config.response_timeout));
                let manager = ConnectionManager::new_with_config(client.clone(), settings).await?;
                Ok(Self::One { client, manager })
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
                let sentinel = Sentinel::new(config, master, password.as_deref());
                sentinel.connection().await?;
                Ok(Self::Sentinel(sentinel))
            }
        }
    }

    /// A connection for a command.
    pub(crate) async fn connection(&self) -> RedisResult<Connection> {
        Ok(match self {
            Self::One { manager, .. } => Connection::Managed(manager.clone()),
            Self::Cluster { connection, .. } => Connection::Cluster(connection.clone()),
            Self::Sentinel(sentinel) => Connection::Master(sentinel.connection().await?),
        })
    }

    /// An error came over the connection that was given out last.
    pub(crate) fn failed(&self, error: &RedisError) {
        if let Self::Sentinel(sentinel) = self {
            sentinel.failed(error);
        }
    }

    /// Where to listen for messages: each is heard on every node.
    pub(crate) async fn listening(&self) -> RedisResult<Vec<Client>> {
        match self {
            Self::One { client, .. } => Ok(vec![client.clone()]),
            Self::Cluster { nodes, .. } => Ok(nodes.clone()),
            Self::Sentinel(sentinel) => Ok(vec![sentinel.master().await?]),
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

/// The way to the master that Sentinels name.
///
/// The Sentinels are asked when there is no connection, and there is none after an error that may mean that the master has
/// changed. So the first call after a failover fails, and the ones after it go to the new master. Nothing is locked while
/// they are asked: calls that find no connection at the same time each make one, and one of them stays.
pub(crate) struct Sentinel {
    config: RedisConfig,
    master: String,
    password: Option<String>,
    current: Mutex<Option<MultiplexedConnection>>,
}

impl Sentinel {
    fn new(config: &RedisConfig, master: &str, password: Option<&str>) -> Self {
        let (config, master, password) = (config.clone(), master.to_owned(), password.map(str::to_owned));
        Self { config, master, password, current: Mutex::default() }
    }

    fn client(&self) -> RedisResult<SentinelClient> {
        // What the first address says besides the place is meant for the servers.
        let first = address(&self.config, &self.config.url)?;
        let servers = first.redis_settings();
        let places: Vec<_> = addresses(&self.config)?.iter().map(|info| info.addr().clone()).collect();
        let mut builder = SentinelClientBuilder::new(places, &self.master, SentinelServerType::Master)?
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
        if let Some(password) = &self.password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        builder.build()
    }

    /// A panic while it is held can only come from an allocation failure; what it guards is whole then.
    fn current(&self) -> MutexGuard<'_, Option<MultiplexedConnection>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connection(&self) -> RedisResult<MultiplexedConnection> {
        let known = self.current().clone();
        if let Some(connection) = known {
            return Ok(connection);
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.config.connect_timeout))
            .set_response_timeout(Some(self.config.response_timeout));
        let master = self.master().await?;
        let connection = master.get_multiplexed_async_connection_with_config(&config).await?;
        *self.current() = Some(connection.clone());
        Ok(connection)
    }

    /// What the Sentinels say; one that hangs is not waited for without end.
    async fn master(&self) -> RedisResult<Client> {
        let mut client = self.client()?;
        match tokio::time::timeout(self.config.connect_timeout, client.async_get_client()).await {
            Ok(answered) => answered,
            // Nothing was sent to the master.
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into()),
        }
    }

    fn failed(&self, error: &RedisError) {
        use redis::ServerErrorKind::{MasterDown, ReadOnly};
        let gone = matches!(
            error.kind(),
            ErrorKind::Io | ErrorKind::Parse | ErrorKind::Server(ReadOnly | MasterDown)
        );
        if gone {
            *self.current() = None;
        }
    }
}
