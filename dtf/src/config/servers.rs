//! The settings of the servers, as their adapters take them.

use std::path::Path;

use dtf_redis::{RedisConfig, Topology};
use dtf_sql::SqlConfig;
use lrmf_etcd::{Credentials, EtcdConfig, Tls};

use super::check::ConfigError;
use super::{Config, Origin, RedisTopology, settings};

impl Config {
    /// etcd, but for what stands in files.
    pub(super) fn etcd_without_files(&self) -> EtcdConfig {
        let password = lrmf_etcd::Secret::new(self.etcd.password.expose());
        let user = self.etcd.user.clone();
        EtcdConfig {
            credentials: (!user.is_empty()).then_some(Credentials { user, password }),
            connect_timeout: self.etcd.connect_timeout,
            request_timeout: self.etcd.request_timeout,
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
            let optional = |key, path: &str| (!path.is_empty()).then(|| pem(key, path)).transpose();
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
        SqlConfig {
            url: self.mysql.url.with_password(&self.mysql.password),
            max_connections: self.mysql.max_connections,
            acquire_timeout: self.mysql.acquire_timeout,
            call_timeout: self.mysql.call_timeout,
        }
    }

    /// The database of `tbl_task`.
    ///
    /// # Errors
    /// It is not named.
    pub fn mysql(&self) -> Result<SqlConfig, ConfigError> {
        if self.mysql.url.is_empty() { Err(missing("mysql.url")) } else { Ok(self.sql()) }
    }

    pub(super) fn redis_unchecked(&self) -> RedisConfig {
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
    /// They are not named.
    pub fn redis(&self) -> Result<RedisConfig, ConfigError> {
        if self.redis.url.is_empty() { Err(missing("redis.url")) } else { Ok(self.redis_unchecked()) }
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
