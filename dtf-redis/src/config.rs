//! The settings of the connection.

use std::fmt;
use std::time::Duration;

use dtf_model::InvalidInput;
use serde::{Deserialize, Serialize};

/// The arrangement of the servers.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Topology {
    /// One server.
    #[default]
    Single,
    /// Nodes of a Cluster. The others are found by themselves. User and password in the first address are for all of them.
    Cluster,
    /// Sentinels, which know where the master is. User, password and database in the first address are for the servers.
    Sentinel {
        /// The name under which the Sentinels watch it.
        master: String,
        /// The Sentinels' own password.
        #[serde(default)]
        password: Option<String>,
    },
}

/// Encryption, and who proves what to whom, for addresses that begin with `rediss://`. Everything is PEM text.
#[cfg(feature = "tls")]
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The authority that signed the servers' certificates; the system's authorities where none is given.
    pub authority: Option<String>,
    /// Our own certificate and its key, for servers that ask for one.
    pub identity: Option<(String, String)>,
}

/// Without the key.
#[cfg(feature = "tls")]
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("authority", &self.authority.is_some())
            .field("identity", &self.identity.is_some())
            .finish()
    }
}

/// Settings of the connection to Redis. In files, times are whole milliseconds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedisConfig {
    /// The address of the server: `redis://[[user]:password@]host[:port][/database]`, `rediss://…` for TLS, or
    /// `redis+unix:///path`.
    pub url: String,
    /// Further addresses, of nodes of the same Cluster or of other Sentinels. Default none.
    pub further_urls: Vec<String>,
    /// Certificates for TLS. All addresses begin with `rediss://`, or none does.
    #[cfg(feature = "tls")]
    pub tls: Tls,
    /// The arrangement of the servers. Default one server.
    pub topology: Topology,
    /// The longest time that making a connection may take. Default 2 s.
    #[serde(with = "dtf_model::millis")]
    pub connect_timeout: Duration,
    /// The longest time that an answer may take. Default 5 s.
    #[serde(with = "dtf_model::millis")]
    pub response_timeout: Duration,
    /// The prefix of all keys and channels, so that several clusters can share a server. Default empty.
    pub key_prefix: String,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".to_owned(),
            further_urls: Vec::new(),
            #[cfg(feature = "tls")]
            tls: Tls::default(),
            topology: Topology::Single,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(5),
            key_prefix: String::new(),
        }
    }
}

impl RedisConfig {
    /// Checks the ranges and the form of the address.
    ///
    /// # Errors
    /// The first thing that is wrong. It does not contain the password.
    pub fn check(&self) -> Result<(), InvalidInput> {
        let wrong = |what, got: String, allowed: &str| {
            Err(InvalidInput::OutOfRange { what, got, allowed: allowed.to_owned() })
        };
        if let Some(url) = self.urls().find(|url| redis::Client::open(*url).is_err()) {
            let form = "redis://[[user]:password@]host[:port][/database], rediss://… or redis+unix:///path";
            return wrong("the address of Redis", shown(url), form);
        }
        if let Some(url) = self.urls().find(|url| is_encrypted(url) != self.is_encrypted()) {
            let first = "with rediss:// where the first address has it, and only there";
            return wrong("an address of Redis", shown(url), first);
        }
        #[cfg(feature = "tls")]
        if !self.is_encrypted() && self.tls != Tls::default() {
            let form = "rediss://…, as certificates are given";
            return wrong("the address of Redis", self.shown_url(), form);
        }
        if self.topology == Topology::Single && !self.further_urls.is_empty() {
            let got = (self.further_urls.len() + 1).to_string();
            return wrong("the number of addresses of a single Redis", got, "1; or a topology of several");
        }
        if matches!(&self.topology, Topology::Sentinel { master, .. } if master.is_empty()) {
            return Err(InvalidInput::Empty("the name of the master that the Sentinels watch"));
        }
        let times = [
            ("the connect timeout of Redis", self.connect_timeout),
            ("the response timeout of Redis", self.response_timeout),
        ];
        for (what, time) in times {
            if time < Duration::from_millis(1) || time > Duration::from_secs(60) {
                return wrong(what, format!("{time:?}"), "1 ms to 60 s");
            }
        }
        // A brace would make all keys of the cluster one hash slot; a space makes logs unreadable.
        let odd = |c: char| c == '{' || c == '}' || c.is_whitespace() || c.is_control();
        if self.key_prefix.len() > 64 || self.key_prefix.contains(odd) {
            let allowed = "at most 64 bytes without braces and spaces";
            return wrong("the key prefix of Redis", format!("{:?}", self.key_prefix), allowed);
        }
        Ok(())
    }

    /// All addresses.
    pub(crate) fn urls(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.url).chain(&self.further_urls).map(String::as_str)
    }

    /// Returns true if the connections use TLS.
    pub(crate) fn is_encrypted(&self) -> bool {
        is_encrypted(&self.url)
    }

    /// The first address without what may be a password.
    pub(crate) fn shown_url(&self) -> String {
        shown(&self.url)
    }
}

fn is_encrypted(url: &str) -> bool {
    url.starts_with("rediss://")
}

/// An address without what may be a password: nothing before the last `@` and behind the first `?`.
fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    let place = place.split('?').next().unwrap_or_default();
    let hidden = if place.len() < rest.len() { "***@" } else { "" };
    format!("{scheme}://{hidden}{place}")
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("url", &self.shown_url())
            .field("further_urls", &self.further_urls.iter().map(|url| shown(url)).collect::<Vec<_>>())
            .field("topology", &self.topology)
            .field("encrypted", &self.is_encrypted())
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .field("key_prefix", &self.key_prefix)
            .finish()
    }
}

/// Without the Sentinels' password.
impl fmt::Debug for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single => f.write_str("Single"),
            Self::Cluster => f.write_str("Cluster"),
            Self::Sentinel { master, .. } => write!(f, "Sentinel({master:?})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_never_shown() {
        for url in [
            "redis://:secret@host:1/0",
            "redis://user:secret@host",
            "redis://u:p@secret@host",
            "redis+unix:///run/x?pass=secret",
            "nonsense://:secret@host",
        ] {
            let config = RedisConfig { url: url.into(), ..RedisConfig::default() };
            let shown = format!("{config:?} {:?}", config.check().map_err(|error| error.to_string()));
            assert!(!shown.contains("secret"), "{shown}");
        }
        let password = Some("secret".to_owned());
        let topology = Topology::Sentinel { master: "m".into(), password };
        let further_urls = vec!["redis://:secret@other".to_owned()];
        let config =
            RedisConfig { url: "redis://host:1/0".into(), further_urls, topology, ..RedisConfig::default() };
        let shown = format!("{config:?}");
        assert!(shown.contains("redis://host:1/0") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        assert_eq!(RedisConfig::default().check(), Ok(()));
        let wrong = [
            RedisConfig { url: "http://host".into(), ..RedisConfig::default() },
            RedisConfig { connect_timeout: Duration::ZERO, ..RedisConfig::default() },
            RedisConfig { response_timeout: Duration::from_secs(61), ..RedisConfig::default() },
            RedisConfig { key_prefix: "{x}".into(), ..RedisConfig::default() },
            RedisConfig { further_urls: vec!["redis://other".into()], ..RedisConfig::default() },
            RedisConfig {
                further_urls: vec!["rediss://other".into()],
                topology: Topology::Cluster,
                ..RedisConfig::default()
            },
            #[cfg(feature = "tls")]
            RedisConfig {
                tls: Tls { authority: Some("x".into()), ..Tls::default() },
                ..RedisConfig::default()
            },
        ];
        for config in wrong {
            assert!(matches!(config.check(), Err(InvalidInput::OutOfRange { .. })), "{config:?}");
        }
    }

    #[test]
    fn unknown_settings_are_refused() {
        let read = |text: &str| serde_json::from_str::<RedisConfig>(text);
        let config = read(r#"{"url": "redis://h", "response_timeout": 250}"#).unwrap();
        assert_eq!(config.response_timeout, Duration::from_millis(250));
        assert!(read(r#"{"ur": "redis://h"}"#).is_err());
        let config = read(r#"{"topology": {"sentinel": {"master": "m"}}}"#).unwrap();
        assert_eq!(config.topology, Topology::Sentinel { master: "m".into(), password: None });
        assert_eq!(read(r#"{"topology": "cluster"}"#).unwrap().topology, Topology::Cluster);
    }
}
