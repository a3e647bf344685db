//! MariaDB.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::process::{Process, directory, find, option};
use super::{NONE, Source, TlsFiles, life, ports};

/// A MariaDB or MySQL server.
#[derive(Debug)]
pub struct MariaDb {
    source: Source,
}

impl MariaDb {
    /// Names the server to use.
    const VARIABLE: &str = "DTF_MYSQL";

    fn find() -> anyhow::Result<PathBuf> {
        find("mariadbd", "mariadb-server", Self::VARIABLE)
    }

    /// The one that `DTF_MYSQL` names, else a private one. The URL's user has to be allowed to create databases; the
    /// database in it is not used.
    ///
    /// # Errors
    /// A private one cannot be started.
    pub fn get() -> anyhow::Result<Self> {
        Source::named(Self::VARIABLE).map_or_else(Self::private, |source| Ok(Self { source }))
    }

    /// A private one.
    ///
    /// # Errors
    /// MariaDB is not installed, or does not start.
    pub fn private() -> anyhow::Result<Self> {
        Self::private_in(None, NONE)
    }

    /// A private one with its data below a directory and with further settings, as on its command line.
    ///
    /// # Errors
    /// MariaDB is not installed, or does not start.
    pub fn private_in(below: Option<&Path>, further: &[impl AsRef<OsStr>]) -> anyhow::Result<Self> {
        let further: Vec<_> = further.iter().map(|one| one.as_ref().to_owned()).collect();
        ports::on_free(|| Self::start(below, &further))
    }

    /// A private one whose clients need TLS.
    ///
    /// # Errors
    /// MariaDB is not installed, or does not start.
    pub fn private_with_tls(files: &TlsFiles) -> anyhow::Result<Self> {
        let tls = [
            option("--ssl-ca", &files.ca),
            option("--ssl-cert", &files.cert),
            option("--ssl-key", &files.key),
            "--require-secure-transport=ON".into(),
        ];
        ports::on_free(|| Self::start(None, &tls))
    }

    fn start(below: Option<&Path>, further: &[OsString]) -> anyhow::Result<Self> {
        let program = Self::find()?;
        let (dir, port) = (directory(below)?, ports::free()?);
        let data = dir.path().join("data");
        install(&data)?;
        let mut arguments = vec![
            // Has to be the first one.
            "--no-defaults".into(),
            option("--datadir", &data),
            option("--tmpdir", dir.path()),
            option("--socket", dir.path().join("socket")),
            option("--port", port.to_string()),
            "--bind-address=127.0.0.1".into(),
            "--skip-name-resolve".into(),
            // Small, as several may run on a small machine.
            "--innodb-buffer-pool-size=32M".into(),
            "--performance-schema=OFF".into(),
        ];
        arguments.extend(user().map(Into::into));
        arguments.extend_from_slice(further);
        let process = Process::start(program, arguments, dir, port, (port, greets))?;
        Ok(Self { source: Source::Private(Box::new(process)) })
    }

    /// The URL of a database on it, which need not exist.
    pub fn url(&self, database: &str) -> String {
        match &self.source {
            Source::Private(process) => format!("mysql://root@127.0.0.1:{}/{database}", process.port()),
            Source::Named(url) => with_database(url, database),
        }
    }
}

life!(MariaDb);

/// Puts another database into a URL, keeping its parameters.
fn with_database(url: &str, database: &str) -> String {
    let (url, parameters) = url.split_once('?').map_or((url, None), |(url, rest)| (url, Some(rest)));
    let server = match url.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.split('/').next().unwrap_or(rest)),
        None => url.to_owned(),
    };
    match parameters {
        Some(parameters) => format!("{server}/{database}?{parameters}"),
        None => format!("{server}/{database}"),
    }
}

/// The server refuses to run as root unless told to.
fn user() -> Option<&'static str> {
    rustix::process::geteuid().is_root().then_some("--user=root")
}

/// Makes the system tables, with a root that needs no password.
fn install(data: &Path) -> anyhow::Result<()> {
    fs::create_dir(data)?;
    let program = find("mariadb-install-db", "mariadb-server", MariaDb::VARIABLE)?;
    let made = Command::new(program)
        .arg("--no-defaults")
        .arg(option("--datadir", data))
        // Several at once in one directory take each other's temporary tables for their own.
        .arg(option("--tmpdir", data))
        .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
        .args(user())
        .output()
        .context("cannot start mariadb-install-db")?;
    let words = String::from_utf8_lossy(&made.stderr);
    ensure!(made.status.success(), "mariadb-install-db ended with {}: {words}", made.status);
    Ok(())
}

/// A server that is ready sends a greeting of protocol 10 at once; one that is not sends an error, if anything.
fn greets(stream: &mut TcpStream) -> io::Result<bool> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    Ok(head[4] == 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_server_gets_another_database() {
        assert_eq!(with_database("mysql://u:p@h:1/a?x=y", "b"), "mysql://u:p@h:1/b?x=y");
        assert_eq!(with_database("mysql://h", "b"), "mysql://h/b");
    }
}
