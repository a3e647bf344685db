//! A private Redis server for a test, or the one that the environment names.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot have its server has failed")]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dtf_redis::{Redis, RedisConfig};
use tempfile::TempDir;
use uuid::Uuid;

/// A server that ends with this value, and whose data end with it.
pub(crate) struct Server {
    address: SocketAddr,
    directory: TempDir,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// A new server with append-only persistence that writes at once.
    pub(crate) fn start() -> Self {
        Self::with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// A new server with these settings.
    ///
    /// # Panics
    /// There is no `redis-server`, or it does not start.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        // A port that was free a moment ago may be taken; another one is not then.
        for _ in 0..5 {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            drop(listener);
            let directory = tempfile::tempdir().unwrap();
            let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            let mut server = Self { address, directory, arguments, child: None };
            if server.run() {
                return server;
            }
        }
        panic!("redis-server did not start on any of five ports");
    }

    /// Starts it again where it was, with the data that it wrote.
    pub(crate) fn restart(&mut self) {
        assert!(self.run(), "redis-server did not start again");
    }

    /// Ends it without warning.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The operating system's number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub(crate) fn config(&self) -> RedisConfig {
        RedisConfig {
            url: format!("redis://{}", self.address),
            connect_timeout: Duration::from_millis(500),
            response_timeout: Duration::from_millis(1000),
            key_prefix: String::new(),
        }
    }

    pub(crate) async fn connect(&self) -> Redis {
        Redis::connect(self.config()).await.unwrap()
    }

    fn run(&mut self) -> bool {
        let child = Command::new("redis-server")
            .args(["--port", &self.address.port().to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--dir".as_ref(), self.directory.path()])
            .args(&self.arguments)
            .stdout(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            panic!("no redis-server found: install redis (apt-get install redis-server)")
        };
        self.child = Some(child);
        let until = Instant::now() + Duration::from_secs(10);
        while Instant::now() < until {
            if TcpStream::connect(self.address).is_ok() {
                return true;
            }
            if self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_)))) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill();
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The server that the environment names with `DTF_REDIS`, or a new one, which must be kept for as long as it is used.
pub(crate) async fn any() -> (Option<Server>, Redis) {
    if let Ok(url) = std::env::var("DTF_REDIS") {
        let key_prefix = format!("test.{}.", Uuid::new_v4());
        let config = RedisConfig { url, key_prefix, ..RedisConfig::default() };
        return (None, Redis::connect(config).await.unwrap());
    }
    let server = Server::start();
    let redis = server.connect().await;
    (Some(server), redis)
}
