//! etcd, one node.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

use super::process::{Process, directory, find, option};
use super::{Source, life, ports};

/// An etcd server.
#[derive(Debug)]
pub struct Etcd {
    source: Source,
}

impl Etcd {
    /// Names the server to use.
    const VARIABLE: &str = "DTF_ETCD";

    fn find() -> anyhow::Result<PathBuf> {
        find("etcd", "etcd-server", Self::VARIABLE)
    }

    /// The one that `DTF_ETCD` names, else a private one.
    ///
    /// # Errors
    /// A private one cannot be started.
    pub fn get() -> anyhow::Result<Self> {
        Source::named(Self::VARIABLE).map_or_else(Self::private, |source| Ok(Self { source }))
    }

    /// A private one.
    ///
    /// # Errors
    /// etcd is not installed, or does not start.
    pub fn private() -> anyhow::Result<Self> {
        let program = Self::find()?;
        let (dir, port, peer) = (directory()?, ports::free()?, ports::free()?);
        let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
        let arguments = vec![
            option("--name", "test"),
            option("--data-dir", dir.path().join("data")),
            option("--listen-client-urls", &client),
            option("--advertise-client-urls", &client),
            option("--listen-peer-urls", &peer),
            option("--initial-advertise-peer-urls", &peer),
            option("--initial-cluster", format!("test={peer}")),
        ];
        let process = Process::start(program, arguments, dir, port, is_healthy)?;
        Ok(Self { source: Source::Private(Box::new(process)) })
    }

    /// Its endpoint, `http://HOST:PORT`.
    pub fn url(&self) -> String {
        match &self.source {
            Source::Named(url) => url.clone(),
            Source::Private(process) => format!("http://127.0.0.1:{}", process.port()),
        }
    }
}

life!(Etcd);

fn is_healthy(stream: &mut TcpStream) -> io::Result<bool> {
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.contains(r#""health":"true""#))
}
