//! etcd, one node.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use super::process::{Process, directory, find, option};
use super::{NONE, Source, TlsFiles, life, ports};

/// An etcd server.
#[derive(Debug)]
pub struct Etcd {
    pub(super) source: Source,
    /// The scheme of a private server's address.
    scheme: &'static str,
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
        Source::named(Self::VARIABLE).map_or_else(Self::private, |source| Ok(Self { source, scheme: "http" }))
    }

    /// A private one.
    ///
    /// # Errors
    /// etcd is not installed, or does not start.
    pub fn private() -> anyhow::Result<Self> {
        Self::private_in(None, NONE)
    }

    /// A private one with its data below a directory and with further settings, as on its command line.
    ///
    /// # Errors
    /// etcd is not installed, or does not start.
    pub fn private_in(below: Option<&Path>, further: &[impl AsRef<OsStr>]) -> anyhow::Result<Self> {
        let further: Vec<_> = further.iter().map(|one| one.as_ref().to_owned()).collect();
        ports::on_free(|| Self::start("http", below, &further))
    }

    /// A private one whose clients need TLS and a certificate of the files' authority.
    ///
    /// # Errors
    /// etcd is not installed, or does not start.
    pub fn private_with_tls(files: &TlsFiles) -> anyhow::Result<Self> {
        let tls = [
            option("--trusted-ca-file", &files.ca),
            option("--cert-file", &files.cert),
            option("--key-file", &files.key),
            "--client-cert-auth=true".into(),
        ];
        ports::on_free(|| Self::start("https", None, &tls))
    }

    fn start(scheme: &'static str, below: Option<&Path>, further: &[OsString]) -> anyhow::Result<Self> {
        let program = Self::find()?;
        let (dir, port, health) = (directory(below)?, ports::free()?, ports::free()?);
        let (client, peer) =
            (format!("{scheme}://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", ports::free()?));
        let mut arguments = vec![
            option("--name", "test"),
            option("--data-dir", dir.path().join("data")),
            option("--listen-client-urls", &client),
            option("--advertise-client-urls", &client),
            // Where it says whether it is well, in plain text also when clients need TLS.
            option("--listen-metrics-urls", format!("http://127.0.0.1:{health}")),
            option("--listen-peer-urls", &peer),
            option("--initial-advertise-peer-urls", &peer),
            option("--initial-cluster", format!("test={peer}")),
        ];
        arguments.extend_from_slice(further);
        let process = Process::start(program, arguments, dir, port, (health, is_healthy))?;
        Ok(Self { source: Source::Private(Box::new(process)), scheme })
    }

    /// Its endpoint, `http://HOST:PORT`, or with `https`.
    pub fn url(&self) -> String {
        match &self.source {
            Source::Named(url) => url.clone(),
            Source::Private(process) => format!("{}://127.0.0.1:{}", self.scheme, process.port()),
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
