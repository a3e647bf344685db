//! Redis, one node.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use super::process::{Process, directory, find};
use super::{Source, TlsFiles, life, ports};

/// A Redis server. A private one has an append-only file, written every second, and evicts nothing.
#[derive(Debug)]
pub struct Redis {
    pub(super) source: Source,
    /// The scheme of a private server's address.
    scheme: &'static str,
    /// The port of a private server without TLS.
    pub(super) plain: u16,
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
        Source::named(Self::VARIABLE)
            .map_or_else(Self::private, |source| Ok(Self { source, scheme: "redis", plain: 0 }))
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
        Self::private_in(None, further)
    }

    /// A private one with its data below a directory and with further settings.
    ///
    /// # Errors
    /// Redis is not installed, or does not start.
    pub fn private_in(below: Option<&Path>, further: &[impl AsRef<OsStr>]) -> anyhow::Result<Self> {
        ports::on_free(|| {
            let port = ports::free()?;
            let further = further.iter().map(|one| one.as_ref().to_owned()).collect();
            Self::start("redis", below, port, port, further)
        })
    }

    /// A private one whose clients need TLS and a certificate of the files' authority.
    ///
    /// # Errors
    /// Redis is not installed, or does not start.
    pub fn private_with_tls(files: &TlsFiles) -> anyhow::Result<Self> {
        Self::private_among(Some(files), &[])
    }

    /// A private one with further settings, and with TLS where files are given, for its clients and among servers.
    pub(super) fn private_among(tls: Option<&TlsFiles>, further: &[&str]) -> anyhow::Result<Self> {
        let Some(files) = tls else { return Self::private_with(further) };
        ports::on_free(|| {
            let (port, plain) = (ports::free()?, ports::free()?);
            let tls = tls_settings(files, port).map(|(name, value)| [format!("--{name}").into(), value]);
            let further = tls.into_iter().flatten().chain(further.iter().map(OsString::from)).collect();
            Self::start("rediss", None, port, plain, further)
        })
    }

    /// Starts one whose clients connect to `port`, and that says without TLS at `plain` whether it is ready.
    fn start(
        scheme: &'static str,
        below: Option<&Path>,
        port: u16,
        plain: u16,
        further: Vec<OsString>,
    ) -> anyhow::Result<Self> {
        let program = Self::find()?;
        let dir = directory(below)?;
        let mut arguments =
            vec!["--dir".into(), dir.path().into(), "--port".into(), plain.to_string().into()];
        // It listens on loopback only; who comes over a wire has another address, and is not to be refused for it.
        let settings = "--bind 127.0.0.1 --protected-mode no \
                        --appendonly yes --appendfsync everysec --maxmemory-policy noeviction";
        arguments.extend(settings.split(' ').map(OsString::from));
        arguments.extend(["--save".into(), "".into()]);
        arguments.extend(further);
        let process = Process::start(program, arguments, dir, port, (plain, answers))?;
        Ok(Self { source: Source::Private(Box::new(process)), scheme, plain })
    }

    /// Its URL, `redis://HOST:PORT/`, or with `rediss`.
    pub fn url(&self) -> String {
        match &self.source {
            Source::Named(url) => url.clone(),
            Source::Private(process) => format!("{}://127.0.0.1:{}/", self.scheme, process.port()),
        }
    }
}

life!(Redis);

/// Returns the settings of a server with TLS, name by name.
pub(super) fn tls_settings(files: &TlsFiles, port: u16) -> [(&'static str, OsString); 4] {
    [
        ("tls-port", port.to_string().into()),
        ("tls-ca-cert-file", files.ca.clone().into()),
        ("tls-cert-file", files.cert.clone().into()),
        ("tls-key-file", files.key.clone().into()),
    ]
}

/// While it loads its file it answers, but not with these. One that asks for a password says so.
pub(super) fn answers(stream: &mut TcpStream) -> io::Result<bool> {
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    Ok([b"+PONG", b"-NOAU"].contains(&&answer))
}
