//! The settings of the connection.

use std::fmt;
use std::time::Duration;

use dtf_model::Invalid;
use serde::{Deserialize, Serialize};

/// Settings of the connection to Redis. In files, times are whole milliseconds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedisConfig {
    /// Where the server is: `redis://[[user]:password@]host[:port][/database]` or `redis+unix:///path`.
    pub url: String,
    /// How long making a connection may take. Default 2 s.
    #[serde(with = "dtf_model::millis")]
    pub connect_timeout: Duration,
    /// How long an answer may take. Default 5 s.
    #[serde(with = "dtf_model::millis")]
    pub response_timeout: Duration,
    /// What all keys and channels begin with, so that several clusters can share a server. Default empty.
    pub key_prefix: String,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".to_owned(),
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
    pub fn check(&self) -> Result<(), Invalid> {
        let wrong = |what, got: String, allowed: &str| {
            Err(Invalid::OutOfRange { what, got, allowed: allowed.to_owned() })
        };
        if redis::Client::open(self.url.as_str()).is_err() {
            let form = "redis://[[user]:password@]host[:port][/database] or redis+unix:///path";
            return wrong("the address of Redis", self.shown_url(), form);
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

    /// The address without what may be a password: nothing before the last `@` and behind the first `?`.
    pub(crate) fn shown_url(&self) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("", &self.url));
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        let place = place.split('?').next().unwrap_or_default();
        let hidden = if place.len() < rest.len() { "***@" } else { "" };
        format!("{scheme}://{hidden}{place}")
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("url", &self.shown_url())
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .field("key_prefix", &self.key_prefix)
            .finish()
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
        let config = RedisConfig { url: "redis://host:1/0".into(), ..RedisConfig::default() };
        assert!(format!("{config:?}").contains("redis://host:1/0"));
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        assert_eq!(RedisConfig::default().check(), Ok(()));
        let wrong = [
            RedisConfig { url: "http://host".into(), ..RedisConfig::default() },
            RedisConfig { connect_timeout: Duration::ZERO, ..RedisConfig::default() },
            RedisConfig { response_timeout: Duration::from_secs(61), ..RedisConfig::default() },
            RedisConfig { key_prefix: "{x}".into(), ..RedisConfig::default() },
        ];
        for config in wrong {
            assert!(matches!(config.check(), Err(Invalid::OutOfRange { .. })), "{config:?}");
        }
    }

    #[test]
    fn unknown_settings_are_refused() {
        let read = |text: &str| serde_json::from_str::<RedisConfig>(text);
        let config = read(r#"{"url": "redis://h", "response_timeout": 250}"#).unwrap();
        assert_eq!(config.response_timeout, Duration::from_millis(250));
        assert!(read(r#"{"ur": "redis://h"}"#).is_err());
    }
}
