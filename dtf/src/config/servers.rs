//! The settings of the servers, and how their adapters take them.

use std::path::Path;
use std::time::Duration;

use dtf_redis::{RedisConfig, Topology};
use dtf_sql::SqlConfig;
use lrmf_core::config::text;
use lrmf_etcd::{Credentials, EtcdConfig, Tls};
use serde::{Deserialize, Serialize};

use super::check::ConfigError;
use super::secret::escaped;
use super::{Config, Origin, Secret, ServerUrl, settings};

/// etcd.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Etcd {
    /// The nodes; any of them will do.
    pub endpoints: Vec<String>,
    /// The text that all keys begin with. Default none. The same for all processes of a cluster.
    pub root: String,
    /// The user, where etcd asks for one.
    pub user: String,
    /// The user's password.
    pub password: Secret,
    /// A PEM file with the authority that signed etcd's certificate.
    pub ca: String,
    /// A PEM file with our own certificate.
    pub cert: String,
    /// A PEM file with its key.
    pub key: String,
    /// The name in etcd's certificate, where it is not the endpoint's.
    pub domain: String,
    /// The longest time that a connection may take to come about. Default 1 s.
    #[serde(with = "text")]
    pub connect_timeout: Duration,
    /// The longest time that a call may take. Default 3 s.
    #[serde(with = "text")]
    pub request_timeout: Duration,
}

impl Default for Etcd {
    fn default() -> Self {
        let lrmf_etcd::EtcdConfig { connect_timeout, request_timeout, .. } = lrmf_etcd::EtcdConfig::default();
        Self {
            endpoints: Vec::new(),
            root: String::new(),
            user: String::new(),
            password: Secret::default(),
            ca: String::new(),
            cert: String::new(),
            key: String::new(),
            domain: String::new(),
            connect_timeout,
            request_timeout,
        }
    }
}

/// MySQL or MariaDB.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MySql {
    /// `mysql://USER@HOST:PORT/DATABASE`.
    pub url: ServerUrl,
    /// The user's password; it replaces the one in the URL.
    pub password: Secret,
    /// A PEM file with the authority that signed the database's certificate; turns TLS on.
    pub ca: String,
    /// A PEM file with our own certificate.
    pub cert: String,
    /// A PEM file with its key.
    pub key: String,
    /// True if a service brings the schema up to date when it starts. Default true.
    pub migrate: bool,
    /// The most connections at once. Default 8.
    pub max_connections: u32,
    /// The longest time that a call may wait for a connection. Default 3 s.
    #[serde(with = "text")]
    pub acquire_timeout: Duration,
    /// The longest time that the database may take to answer. Default 10 s.
    #[serde(with = "text")]
    pub call_timeout: Duration,
    /// The age at which a connection is replaced by a new one, for which the name is resolved again. Default 5 minutes.
    #[serde(with = "text")]
    pub max_lifetime: Duration,
}

impl Default for MySql {
    fn default() -> Self {
        let dtf_sql::SqlConfig { max_connections, acquire_timeout, call_timeout, max_lifetime, .. } =
            dtf_sql::SqlConfig::default();
        Self {
            url: ServerUrl::default(),
            password: Secret::default(),
            ca: String::new(),
            cert: String::new(),
            key: String::new(),
            migrate: true,
            max_connections,
            acquire_timeout,
            call_timeout,
            max_lifetime,
        }
    }
}

/// Redis or Valkey.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisServer {
    /// `redis://[USER@]HOST:PORT/DATABASE`, `rediss://…` for TLS.
    pub url: ServerUrl,
    /// The password; it replaces the one in the URL.
    pub password: Secret,
    /// A PEM file with the authority that signed the servers' certificates; the system's authorities where there is none.
    pub ca: String,
    /// A PEM file with our own certificate.
    pub cert: String,
    /// A PEM file with its key.
    pub key: String,
    /// The arrangement of the servers. Default one server.
    pub topology: RedisTopology,
    /// Further nodes of the Cluster, or further Sentinels. Default none.
    pub further_urls: Vec<String>,
    /// The name under which the Sentinels watch the master. User, password and database of `url` are for that one.
    pub sentinel_master: String,
    /// The Sentinels' own password. Default none.
    pub sentinel_password: Secret,
    /// The prefix of all keys. Default empty.
    pub key_prefix: String,
    /// True if a server without an append-only file is refused. Default false: it is warned of.
    pub require_aof: bool,
    /// The longest time that a connection may take to come about. Default 2 s.
    #[serde(with = "text")]
    pub connect_timeout: Duration,
    /// The longest time that an answer may take. Default 5 s.
    #[serde(with = "text")]
    pub response_timeout: Duration,
}

/// The arrangement of Redis servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedisTopology {
    /// One server.
    #[default]
    Single,
    /// Nodes of a Cluster.
    Cluster,
    /// Sentinels.
    Sentinel,
}

impl Default for RedisServer {
    fn default() -> Self {
        let dtf_redis::RedisConfig { connect_timeout, response_timeout, key_prefix, .. } =
            dtf_redis::RedisConfig::default();
        let (url, password, sentinel_password) = Default::default();
        Self {
            url,
            password,
            ca: String::new(),
            cert: String::new(),
            key: String::new(),
            topology: RedisTopology::default(),
            further_urls: Vec::new(),
            sentinel_master: String::new(),
            sentinel_password,
            key_prefix,
            require_aof: false,
            connect_timeout,
            response_timeout,
        }
    }
}

impl Config {
    /// etcd, but for what stands in files.
    pub(super) fn etcd_without_files(&self) -> EtcdConfig {
        let password = lrmf_etcd::Secret::new(self.etcd.password.expose());
        let user = self.etcd.user.clone();
        EtcdConfig {
            credentials: (!user.is_empty()).then_some(Credentials { user, password }),
            connect_timeout: self.etcd.connect_timeout,
            request_timeout: self.etcd.request_timeout,
            root: self.etcd.root.clone(),
            ..EtcdConfig::new(self.etcd.endpoints.clone())
        }
    }

    /// etcd.
    ///
    /// # Errors
    /// It is not named, or a file with a certificate or a key cannot be read.
    pub fn etcd(&self) -> Result<EtcdConfig, ConfigError> {
        if self.etcd.endpoints.is_empty() {
            return Err(missing("etcd.endpoints"));
        }
        let mut config = self.etcd_without_files();
        let encrypted = self.etcd.endpoints.iter().any(|endpoint| endpoint.starts_with("https://"));
        if encrypted || !self.etcd.ca.is_empty() || !self.etcd.cert.is_empty() {
            let certificate = optional("etcd.cert", &self.etcd.cert)?;
            let key = optional("etcd.key", &self.etcd.key)?.map(lrmf_etcd::Secret::new);
            let domain = (!self.etcd.domain.is_empty()).then(|| self.etcd.domain.clone());
            config.tls = Some(Tls {
                authority: optional("etcd.ca", &self.etcd.ca)?,
                domain,
                identity: certificate.zip(key),
            });
        }
        Ok(config)
    }

    /// The database.
    pub(super) fn sql(&self) -> SqlConfig {
        let MySql { url, password, ca, cert, key, .. } = &self.mysql;
        let mut url = url.with_password(password);
        // The strictest there is; whoever needs less says so in the URL.
        let strict = if ca.is_empty() && cert.is_empty() { "" } else { "VERIFY_IDENTITY" };
        for (name, value) in [("ssl-mode", strict), ("ssl-ca", ca), ("ssl-cert", cert), ("ssl-key", key)] {
            if !value.is_empty() {
                let sign = if url.contains('?') { '&' } else { '?' };
                url = format!("{url}{sign}{name}={}", escaped(value));
            }
        }
        SqlConfig {
            url,
            max_connections: self.mysql.max_connections,
            acquire_timeout: self.mysql.acquire_timeout,
            call_timeout: self.mysql.call_timeout,
            max_lifetime: self.mysql.max_lifetime,
        }
    }

    /// The database of `tbl_task`.
    ///
    /// # Errors
    /// It is not named, or a file with a certificate or a key cannot be read.
    pub fn mysql(&self) -> Result<SqlConfig, ConfigError> {
        if self.mysql.url.is_empty() {
            return Err(missing("mysql.url"));
        }
        let MySql { ca, cert, key, .. } = &self.mysql;
        // Read by the driver; here it is only found out what of it cannot be read.
        for (setting, path) in [("mysql.ca", ca), ("mysql.cert", cert), ("mysql.key", key)] {
            optional(setting, path)?;
        }
        Ok(self.sql())
    }

    /// The queues, but for what stands in files.
    pub(super) fn redis_without_files(&self) -> RedisConfig {
        let password = self.redis.sentinel_password.expose();
        let topology = match self.redis.topology {
            RedisTopology::Single => Topology::Single,
            RedisTopology::Cluster => Topology::Cluster,
            RedisTopology::Sentinel => Topology::Sentinel {
                master: self.redis.sentinel_master.clone(),
                password: (!password.is_empty()).then(|| password.to_owned()),
            },
        };
        RedisConfig {
            url: self.redis.url.with_password(&self.redis.password),
            tls: dtf_redis::Tls::default(),
            further_urls: self.redis.further_urls.clone(),
            topology,
            connect_timeout: self.redis.connect_timeout,
            response_timeout: self.redis.response_timeout,
            key_prefix: self.redis.key_prefix.clone(),
        }
    }

    /// The queues.
    ///
    /// # Errors
    /// They are not named, or a file with a certificate or a key cannot be read.
    pub fn redis(&self) -> Result<RedisConfig, ConfigError> {
        if self.redis.url.is_empty() {
            return Err(missing("redis.url"));
        }
        let RedisServer { ca, cert, key, .. } = &self.redis;
        let identity = optional("redis.cert", cert)?.zip(optional("redis.key", key)?);
        let tls = dtf_redis::Tls { authority: optional("redis.ca", ca)?, identity };
        Ok(RedisConfig { tls, ..self.redis_without_files() })
    }
}

fn missing(key: &'static str) -> ConfigError {
    let Some(setting) = settings::find(key) else { return ConfigError::plain(format!("{key} is not set")) };
    let flag = setting.flag().unwrap_or_default();
    let variable = setting.variable();
    ConfigError::plain(format!(
        "{key} is not set; name it in the file (--config), as {variable} in the environment, or with --{flag}"
    ))
}

fn optional(key: &'static str, path: &str) -> Result<Option<String>, ConfigError> {
    (!path.is_empty()).then(|| pem(key, path)).transpose()
}

fn pem(key: &'static str, path: &str) -> Result<String, ConfigError> {
    std::fs::read_to_string(Path::new(path)).map_err(|error| match settings::find(key) {
        Some(setting) => ConfigError::new(
            &setting,
            &Origin::Default,
            &format!("names {path}, which cannot be read: {error}"),
        ),
        None => ConfigError::plain(error.to_string()),
    })
}
