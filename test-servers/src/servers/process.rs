//! A server's process: started, watched until it answers, killed, stopped, started again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

use crate::guard::Guard;

/// The time limit of a server's first answer. Much more than it needs: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(180);
/// The period of questions.
const PAUSE: Duration = Duration::from_millis(10);

/// The name of the log in the directory of a server.
const LOG: &str = "log";

/// Asks a server over a fresh connection whether it is ready.
pub(super) type Probe = fn(&mut TcpStream) -> io::Result<bool>;

/// A private server. It is killed, and its data are deleted, when this is dropped.
#[derive(Debug)]
pub struct Process {
    program: PathBuf,
    arguments: Vec<OsString>,
    port: u16,
    /// The port at which it is asked if it is ready, without TLS, and the question.
    probe: (u16, Probe),
    /// The process, and what ends it with that of the test.
    child: Option<(Child, Guard)>,
    // After the child: its files are deleted last.
    dir: TempDir,
}

impl Process {
    /// Starts `program`, whose clients connect to the port, and waits until it answers.
    pub(super) fn start(
        program: PathBuf,
        arguments: Vec<OsString>,
        dir: TempDir,
        port: u16,
        probe: (u16, Probe),
    ) -> anyhow::Result<Self> {
        let mut process = Self { program, arguments, port, probe, child: None, dir };
        process.restart()?;
        Ok(process)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The directory of its data and its log.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(|(child, _)| child.id())
    }

    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        if let Some((mut child, guard)) = self.child.take() {
            // First, so that it never sees the number of a process that has ended.
            drop(guard);
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    pub(super) fn restart(&mut self) -> anyhow::Result<()> {
        self.kill()?;
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let guard = match Guard::over(child.id(), self.dir.path()) {
            Ok(guard) => guard,
            Err(error) => {
                child.kill()?;
                child.wait()?;
                return Err(error).context("nothing can wait for the end of the test");
            }
        };
        self.child = Some((child, guard));
        self.wait_until_ready()
    }

    /// Starts it again if it has ended by itself.
    pub(super) fn revive(&mut self) -> anyhow::Result<()> {
        let Some((child, _)) = &mut self.child else { return Ok(()) };
        if child.try_wait()?.is_some() {
            self.restart()?;
        }
        Ok(())
    }

    /// Copies its files into a directory. It must have been killed.
    pub(super) fn back_up(&self, to: &Path) -> anyhow::Result<()> {
        anyhow::ensure!(self.child.is_none(), "the files of a server that runs are no backup");
        Ok(copy_all(self.dir.path(), to)?)
    }

    /// Puts the files of a backup in place of its own. It must have been killed.
    pub(super) fn restore(&self, from: &Path) -> anyhow::Result<()> {
        anyhow::ensure!(self.child.is_none(), "a server that runs goes on with what it has in memory");
        for entry in fs::read_dir(self.dir.path())? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else if entry.file_name() != LOG {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(copy_all(from, self.dir.path())?)
    }

    pub(super) fn stop(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)?;
        // The signal stops one thread after the other: what was asked before the last has stopped may be answered.
        waitpid(self.pid().and_then(|pid| Pid::from_raw(pid.cast_signed())), WaitOptions::UNTRACED)?;
        Ok(())
    }

    pub(super) fn cont(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self
            .child
            .as_ref()
            .map(|(child, _)| Pid::from_child(child))
            .context("the server does not run")?;
        Ok(kill_process(pid, signal)?)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let begin = Instant::now();
        while !self.is_ready() {
            let ended = self.child.as_mut().map(|(child, _)| child.try_wait()).transpose()?.flatten();
            if let Some(status) = ended {
                bail!("{} ended with {status}: {}", self.program.display(), self.last_words());
            }
            if begin.elapsed() > PATIENCE {
                bail!("{} did not answer: {}", self.program.display(), self.last_words());
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        let ask = || -> io::Result<bool> {
            let address = SocketAddr::from(([127, 0, 0, 1], self.probe.0));
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            (self.probe.1)(&mut stream)
        };
        // Refused, reset and silent all mean: not yet.
        ask().unwrap_or(false)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.path().join(LOG)
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("cannot kill {}: {error}", self.program.display());
        }
    }
}

/// Copies directories and regular files, but for the log.
fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, to) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_all(&entry.path(), &to)?;
        } else if kind.is_file() && entry.file_name() != LOG {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// Finds a program, also where servers are kept out of users' paths.
pub(super) fn find(program: &str, package: &str, variable: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let others = ["/usr/sbin", "/usr/local/sbin", "/usr/local/bin"].map(PathBuf::from);
    let mut candidates = std::env::split_paths(&path).chain(others).map(|dir| dir.join(program));
    candidates.find(|candidate| candidate.is_file()).with_context(|| {
        format!(
            "{program} is not there: install it (Debian, Ubuntu: apt-get install {package}) or set {variable}"
        )
    })
}

/// A fresh directory for a server, below a certain one or where temporary files are.
pub(super) fn directory(below: Option<&Path>) -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("dtf-test-");
    match below {
        Some(below) => builder.tempdir_in(below),
        None => builder.tempdir(),
    }
}

/// Joins an option and its value.
pub(super) fn option(name: &str, value: impl AsRef<std::ffi::OsStr>) -> OsString {
    let mut option = OsString::from(name);
    option.push("=");
    option.push(value);
    option
}
