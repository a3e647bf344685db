//! The way to etcd.

use std::fmt;
use std::time::Duration;

use etcd_client::ConnectOptions;
use lrmf_core::config::text;
use serde::Deserialize;

/// A password or private key: shown as dots, read from text, written nowhere.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("•••")
    }
}

/// The credentials for etcd.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// The user's password.
    pub password: Secret,
}

/// Encryption, and who proves what to whom. Everything is PEM text.
#[cfg(feature = "tls")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The authority that signed etcd's certificate; the system's authorities where none is given.
    pub authority: Option<String>,
    /// The name in etcd's certificate, where it is not that of the endpoint.
    pub domain: Option<String>,
    /// Our own certificate and its key, for an etcd that asks for one.
    pub identity: Option<(String, Secret)>,
}

/// How to reach etcd, and how long to wait for it. Durations are read as text: `"3s"`, `"500ms"`.
///
/// ```
/// use lrmf_etcd::EtcdConfig;
/// let config: EtcdConfig = serde_json::from_str(
///     r#"{"endpoints": ["etcd-0:2379"], "credentials": {"user": "root", "password": "…"}, "request_timeout": "5s"}"#,
/// )?;
/// assert_eq!(config.connect_timeout, EtcdConfig::default().connect_timeout);
/// assert!(serde_json::from_str::<EtcdConfig>(r#"{"endpoint": "etcd-0:2379"}"#).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EtcdConfig {
    /// The nodes, as `host:port` or as a URL. Any of them will do; name them all.
    pub endpoints: Vec<String>,
    /// The text that all keys begin with in etcd, for an etcd that is shared with others: `/teams/search`. Default none. All
    /// members of a group must have the same.
    pub root: String,
    /// User and password, where etcd asks for them.
    pub credentials: Option<Credentials>,
    /// Encryption; none by default.
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
    /// The time that a connection may take to come about.
    #[serde(with = "text")]
    pub connect_timeout: Duration,
    /// The longest that a call may take, retries included. Writes and keep-alives take a third of the shortest TTL at most,
    /// where that is less. Default 3 s.
    #[serde(with = "text")]
    pub request_timeout: Duration,
    /// How long a connection may be silent before it is asked for a sign of life. Keep it above etcd's
    /// `--grpc-keepalive-min-time`, by default 5 s: etcd closes connections that ask more often while nothing changes.
    #[serde(with = "text")]
    pub ping_interval: Duration,
    /// The time that the sign of life may take.
    #[serde(with = "text")]
    pub ping_timeout: Duration,
}

impl Default for EtcdConfig {
    fn default() -> Self {
        Self {
            endpoints: vec!["127.0.0.1:2379".to_owned()],
            root: String::new(),
            credentials: None,
            #[cfg(feature = "tls")]
            tls: None,
            connect_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(3),
            ping_interval: Duration::from_secs(6),
            ping_timeout: Duration::from_secs(2),
        }
    }
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// There is nowhere to connect to.
    #[error("no etcd endpoint is given; name at least one, as host:port")]
    NoEndpoint,
    /// An endpoint that cannot be read.
    #[error("the etcd endpoint {0:?} cannot be used; write it as host:port or http://host:port")]
    Endpoint(String),
    /// A timeout of zero.
    #[error("{0} is zero; it must be a positive duration")]
    Zero(&'static str),
    /// A call would end before its connection may.
    #[error("connect_timeout must not be longer than request_timeout")]
    ConnectTooLong,
    /// A user without a name.
    #[error("the etcd user has no name")]
    NoUser,
    /// A root that cannot be used.
    #[error(
        "the root {0:?} cannot be used; it begins with a slash, does not end with one, and has at most 256 bytes"
    )]
    Root(String),
    /// A root other than the one before.
    #[error(
        "the root is {after:?} and was {before:?}; members see each other below one root only, so restart to change it"
    )]
    RootChanged {
        /// The one before.
        before: String,
        /// The one that was asked for.
        after: String,
    },
}

impl EtcdConfig {
    /// These endpoints, and the default for all else.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { endpoints: endpoints.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Checks the values.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        if self.endpoints.is_empty() {
            return Err(InvalidConfig::NoEndpoint);
        }
        for endpoint in &self.endpoints {
            let address = endpoint.split_once("://").map_or(endpoint.as_str(), |(_, address)| address);
            let port = address
                .trim_end_matches('/')
                .rsplit_once(':')
                .map(|(host, port)| (host, port.parse::<u16>()));
            if !matches!(port, Some((host, Ok(_))) if !host.is_empty() && !host.contains('/')) {
                return Err(InvalidConfig::Endpoint(endpoint.clone()));
            }
        }
        let durations = [
            ("connect_timeout", self.connect_timeout),
            ("request_timeout", self.request_timeout),
            ("ping_interval", self.ping_interval),
            ("ping_timeout", self.ping_timeout),
        ];
        if let Some((name, _)) = durations.into_iter().find(|(_, duration)| duration.is_zero()) {
            return Err(InvalidConfig::Zero(name));
        }
        if self.connect_timeout > self.request_timeout {
            return Err(InvalidConfig::ConnectTooLong);
        }
        let Self { root, .. } = self;
        if !root.is_empty() && (!root.starts_with('/') || root.ends_with('/') || root.len() > 256) {
            return Err(InvalidConfig::Root(root.clone()));
        }
        if self.credentials.as_ref().is_some_and(|credentials| credentials.user.is_empty()) {
            return Err(InvalidConfig::NoUser);
        }
        Ok(())
    }

    /// Deadlines of calls are not among the options: those of the client do not bound streams, and hide whether a call
    /// was sent.
    pub(crate) fn options(&self) -> ConnectOptions {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(self.connect_timeout)
            .with_keep_alive(self.ping_interval, self.ping_timeout)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some(Credentials { user, password }) = &self.credentials {
            options = options.with_user(user, &password.0);
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            options = options.with_tls(tls.options());
        }
        options
    }
}

#[cfg(feature = "tls")]
impl Tls {
    fn options(&self) -> etcd_client::TlsOptions {
        let mut options = etcd_client::TlsOptions::new();
        options = match &self.authority {
            Some(pem) => options.ca_certificate(etcd_client::Certificate::from_pem(pem)),
            None => options.with_native_roots(),
        };
        if let Some(domain) = &self.domain {
            options = options.domain_name(domain);
        }
        if let Some((certificate, key)) = &self.identity {
            options = options.identity(etcd_client::Identity::from_pem(certificate, &key.0));
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usable_configurations_pass() {
        for endpoint in ["127.0.0.1:2379", "http://etcd-0:2379", "https://[::1]:2379/"] {
            assert_eq!(EtcdConfig::new([endpoint]).check(), Ok(()));
        }
    }

    #[test]
    fn others_are_named() {
        assert_eq!(EtcdConfig::new(Vec::<String>::new()).check(), Err(InvalidConfig::NoEndpoint));
        for endpoint in ["", "etcd", "etcd:", ":2379", "http://", "etcd:99999", "a/b:1"] {
            assert_eq!(EtcdConfig::new([endpoint]).check(), Err(InvalidConfig::Endpoint(endpoint.into())));
        }
        let zero = EtcdConfig { ping_timeout: Duration::ZERO, ..EtcdConfig::default() };
        assert_eq!(zero.check(), Err(InvalidConfig::Zero("ping_timeout")));
        let long = EtcdConfig { connect_timeout: Duration::from_secs(60), ..EtcdConfig::default() };
        assert_eq!(long.check(), Err(InvalidConfig::ConnectTooLong));
        let nobody = Credentials { user: String::new(), password: Secret::new("x") };
        for root in ["teams", "/teams/", "/"] {
            let wrong = EtcdConfig { root: root.to_owned(), ..EtcdConfig::default() };
            assert_eq!(wrong.check(), Err(InvalidConfig::Root(root.to_owned())));
        }
        let nobody = EtcdConfig { credentials: Some(nobody), ..EtcdConfig::default() };
        assert_eq!(nobody.check(), Err(InvalidConfig::NoUser));
    }

    #[test]
    fn secrets_are_not_shown() {
        let credentials = Credentials { user: "root".into(), password: Secret::new("hunter2") };
        let config = EtcdConfig { credentials: Some(credentials), ..EtcdConfig::default() };
        let shown = format!("{config:?}");
        assert!(shown.contains("root") && !shown.contains("hunter2"), "{shown}");
    }
}
