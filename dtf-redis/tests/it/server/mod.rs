//! A private Redis server for a test, or the one that the environment names.

#![allow(dead_code, reason = "a benchmark uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot have its server has failed")]

use std::time::Duration;

use dtf_redis::{Redis, RedisConfig};
use test_servers::servers;
use uuid::Uuid;

/// A server that ends with this value, and whose data end with it.
pub(crate) struct Server(servers::Redis);

impl Server {
    /// A new server with append-only persistence.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// A new server with further settings.
    pub(crate) fn with(settings: &[&str]) -> Self {
        Self(servers::Redis::private_with(settings).unwrap())
    }

    /// Starts it again where it was, with the data that it wrote.
    pub(crate) fn restart(&mut self) {
        self.0.restart().unwrap();
    }

    /// Ends it without warning.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
    }

    /// Makes it hang.
    pub(crate) fn stop(&mut self) {
        self.0.stop().unwrap();
    }

    /// Lets it go on.
    pub(crate) fn cont(&mut self) {
        self.0.cont().unwrap();
    }

    pub(crate) fn config(&self) -> RedisConfig {
        RedisConfig {
            url: self.0.url(),
            // A server that is not there refuses; one that is there may stand for a while with its machine.
            connect_timeout: Duration::from_secs(30),
            response_timeout: Duration::from_secs(60),
            ..RedisConfig::default()
        }
    }

    pub(crate) async fn connect(&self) -> Redis {
        Redis::connect(self.config()).await.unwrap()
    }
}

/// The server that the environment names with `DTF_REDIS`, or a new one, which must be kept for as long as it is used.
pub(crate) async fn any() -> (servers::Redis, Redis) {
    let server = servers::Redis::get().unwrap();
    let key_prefix = format!("test.{}.", Uuid::new_v4());
    let response_timeout = Duration::from_secs(60);
    let config = RedisConfig { url: server.url(), key_prefix, response_timeout, ..RedisConfig::default() };
    (server, Redis::connect(config).await.unwrap())
}
