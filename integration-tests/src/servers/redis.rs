//! Redis, one node.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use super::process::{Process, directory, find};
use super::{Source, life, ports};

/// A Redis server. A private one has an append-only file, written every second, and evicts nothing.
#[derive(Debug)]
pub struct Redis {
    pub(super) source: Source,
}

impl Redis {
    /// Names the server to use.
    pub(super) const VARIABLE: &str = "DTF_REDIS";

    fn find() -> anyhow::Result<PathBuf> {
        find("redis-server", "redis-server", Self::VARIABLE)
    }

    /// The one that `DTF_REDIS` names, else a private one.
    ///
    /// # Errors
    /// A private one cannot be started.
    pub fn get() -> anyhow::Result<Self> {
        Source::named(Self::VARIABLE).map_or_else(Self::private, |source| Ok(Self { source }))
    }

    /// A private one.
    ///
    /// # Errors
    /// Redis is not installed, or does not start.
    pub fn private() -> anyhow::Result<Self> {
        Self::private_with(&[])
    }

    /// A private one with further settings, as on its command line: `["--maxmemory", "10mb"]`.
    ///
    /// # Errors
    /// Redis is not installed, or does not start.
    pub fn private_with(further: &[&str]) -> anyhow::Result<Self> {
        let program = Self::find()?;
        let (dir, port) = (directory()?, ports::free()?);
        let mut arguments = vec!["--dir".into(), dir.path().into(), "--port".into(), port.to_string().into()];
        let settings =
            "--bind 127.0.0.1 --appendonly yes --appendfsync everysec --maxmemory-policy noeviction";
        arguments.extend(settings.split(' ').map(OsString::from));
        arguments.extend(["--save".into(), "".into()]);
        arguments.extend(further.iter().map(OsString::from));
        let process = Process::start(program, arguments, dir, port, answers)?;
        Ok(Self { source: Source::Private(Box::new(process)) })
    }

    /// Its URL, `redis://HOST:PORT/`.
    pub fn url(&self) -> String {
        match &self.source {
            Source::Named(url) => url.clone(),
            Source::Private(process) => format!("redis://127.0.0.1:{}/", process.port()),
        }
    }
}

life!(Redis);

/// While it loads its file it answers, but not with this.
pub(super) fn answers(stream: &mut TcpStream) -> io::Result<bool> {
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    Ok(&answer == b"+PONG")
}
