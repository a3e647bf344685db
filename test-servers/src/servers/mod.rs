//! The servers that tests run on.
//!
//! [`Etcd::get`], [`MariaDb::get`] and [`Redis::get`] give the one that the environment names (`DTF_ETCD`, `DTF_MYSQL`,
//! `DTF_REDIS`, each a URL), else a private one: on a free loopback port, with a data directory of its own, ended with the
//! value. A program that is missing is an error that says what to install, never a reason to skip.
//!
//! A test that is killed leaves no server behind, see [`crate::guard`].
//!
//! A test that harms its server takes `to_harm`: always a private one. Where the environment names a server and there is
//! no program for a private one, such a test is left out, and says so.
//!
//! Starting, killing and restarting block the thread until it is done: in asynchronous tests, use a runtime with several
//! threads where something has to go on meanwhile.

mod etcd;
mod forgetting;
mod mariadb;
mod ports;
mod process;
mod redis;
mod redis_cluster;

use std::path::PathBuf;

use anyhow::Context;

pub use etcd::Etcd;
pub use mariadb::MariaDb;
pub use ports::free as free_port;
pub use process::Process;
pub use redis::Redis;
pub use redis_cluster::{RedisCluster, RedisSentinel};

/// Files with the certificates of a server whose clients need TLS, each PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The authority whose clients are let in, where clients are asked for certificates.
    pub ca: PathBuf,
    /// The server's certificate, for 127.0.0.1.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// No further settings.
const NONE: &[&str] = &[];

/// A server, somebody else's or private.
#[derive(Debug)]
enum Source {
    /// Named by the environment; this URL.
    Named(String),
    Private(Box<Process>),
}

impl Source {
    /// The server that the variable names, if it is set.
    fn named(variable: &str) -> Option<Self> {
        std::env::var(variable).ok().filter(|url| !url.is_empty()).map(Self::Named)
    }

    /// The private server's process.
    fn process(&mut self) -> anyhow::Result<&mut Process> {
        match self {
            Self::Private(process) => Ok(process),
            Self::Named(_) => None.context("this server is not the test's own: it is left alone"),
        }
    }
}

fn to_harm<T>(
    variable: &str,
    find: fn() -> anyhow::Result<PathBuf>,
    private: fn() -> anyhow::Result<T>,
) -> anyhow::Result<Option<T>> {
    match find() {
        Err(error) if Source::named(variable).is_some() => {
            eprintln!("left out, as the server that {variable} names is not to be harmed and {error}");
            Ok(None)
        }
        _ => private().map(Some),
    }
}

/// Gives a server type its life cycle, from its field `source`.
macro_rules! life {
    ($server:ident) => {
        impl $server {
            /// A private one to kill and stop; none where the environment names one and none can be started.
            ///
            /// # Errors
            /// The environment names none, and the program is not installed; or it does not start.
            pub fn to_harm() -> anyhow::Result<Option<Self>> {
                super::to_harm(Self::VARIABLE, Self::find, Self::private)
            }

            /// The id of its process, while a private one runs.
            pub fn pid(&self) -> Option<u32> {
                match &self.source {
                    super::Source::Private(process) => process.pid(),
                    super::Source::Named(_) => None,
                }
            }

            /// Kills it (SIGKILL) and waits for its end. Its data stay.
            ///
            /// # Errors
            /// It is not private, or cannot be killed.
            pub fn kill(&mut self) -> anyhow::Result<()> {
                self.source.process()?.kill()
            }

            /// Starts it again on its port with its data, killing it first if it runs, and waits until it answers.
            ///
            /// # Errors
            /// It is not private, or does not answer.
            pub fn restart(&mut self) -> anyhow::Result<()> {
                self.source.process()?.restart()
            }

            /// Starts it again if it has ended by itself, and waits until it answers.
            ///
            /// # Errors
            /// It is not private, or does not answer.
            pub fn revive(&mut self) -> anyhow::Result<()> {
                self.source.process()?.revive()
            }

            /// Copies its data into a directory. It must have been killed.
            ///
            /// # Errors
            /// It is not private, still runs, or something cannot be copied.
            pub fn back_up(&mut self, to: &std::path::Path) -> anyhow::Result<()> {
                self.source.process()?.back_up(to)
            }

            /// Puts the data of a backup in place of its own. It must have been killed.
            ///
            /// # Errors
            /// It is not private, still runs, or something cannot be copied.
            pub fn restore(&mut self, from: &std::path::Path) -> anyhow::Result<()> {
                self.source.process()?.restore(from)
            }

            /// Stops it (SIGSTOP): connections to it stay and are silent.
            ///
            /// # Errors
            /// It is not private, or does not run.
            pub fn stop(&mut self) -> anyhow::Result<()> {
                self.source.process()?.stop()
            }

            /// The file of its log, where it is private.
            pub fn log(&self) -> Option<std::path::PathBuf> {
                match &self.source {
                    Source::Private(process) => Some(process.log()),
                    Source::Named(_) => None,
                }
            }

            /// Lets it go on (SIGCONT).
            ///
            /// # Errors
            /// It is not private, or does not run.
            pub fn cont(&mut self) -> anyhow::Result<()> {
                self.source.process()?.cont()
            }
        }
    };
}
use life;
