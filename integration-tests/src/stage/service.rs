//! A process with some roles.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use test_servers::guard::Guard;

use super::{PATIENCE, until};

/// A process with some roles.
pub struct Service {
    child: Child,
    /// Until it is waited for.
    guard: Option<Guard>,
    /// The address of its pages, `host:port`.
    address: String,
    /// The command that asks it for its report, where its pages cannot be reached from here.
    ask: Option<RefCell<Command>>,
    /// Its instance.
    pub instance: String,
    /// Its roles, as they are given to `dtf serve`.
    pub roles: String,
    log: PathBuf,
}

impl Service {
    /// Starts the command, which logs to this file, and does not wait for it.
    pub(super) fn started(
        mut command: Command,
        instance: &str,
        roles: &str,
        address: String,
        log: PathBuf,
    ) -> Self {
        let to = File::options().create(true).append(true).open(&log).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(to).spawn().unwrap();
        let guard = Some(Guard::over(child.id(), log.parent().unwrap()).unwrap());
        let (instance, roles) = (instance.to_owned(), roles.to_owned());
        Self { child, guard, address, ask: None, instance, roles, log }
    }

    /// It is this command that can ask it for its report.
    pub(super) fn asked_by(mut self, ask: Command) -> Self {
        self.ask = Some(RefCell::new(ask));
        self
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the address of its pages, `host:port`.
    pub fn listens_at(&self) -> &str {
        &self.address
    }

    /// One of its pages; none where it does not answer.
    pub fn page(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    }

    /// Returns its health page; `None` where it does not answer.
    pub fn report(&self) -> Option<Value> {
        let text = match &self.ask {
            None => self.page("/ready")?,
            Some(ask) => String::from_utf8(ask.borrow_mut().output().ok()?.stdout).ok()?,
        };
        serde_json::from_str(&text).ok()
    }

    /// Returns true if it says that it is ready.
    pub fn is_ready(&self) -> bool {
        self.report().is_some_and(|report| report["ready"] == true)
    }

    /// Returns the number of parts of all its roles that it holds; 0 where it does not answer.
    pub fn parts(&self) -> u64 {
        self.says_parts().unwrap_or_default()
    }

    /// Returns the number of parts of all its roles that it says it holds.
    pub fn says_parts(&self) -> Option<u64> {
        let report = self.report()?;
        Some(report["roles"].as_array()?.iter().filter_map(|role| role["parts"].as_u64()).sum())
    }

    /// Waits until it answers.
    pub fn until_it_answers(&self) {
        until(&format!("{} answers", self.instance), || self.report().is_some());
    }

    /// Waits until it says that it is ready.
    pub fn until_ready(&self) {
        until(&format!("{} is ready: {}", self.instance, self.last_words()), || {
            assert!(!self.is_over(), "{} ended instead of becoming ready", self.instance);
            self.is_ready()
        });
    }

    /// Returns true if it has ended and waits for its exit status to be read.
    fn is_over(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Kills it (SIGKILL) and waits for its end.
    pub fn kill(&mut self) {
        self.guard = None;
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Returns true if it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.ended().is_some()
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().unwrap();
        if status.is_some() {
            self.guard = None;
        }
        status
    }

    /// Tells it to end, and waits until it has, in good order.
    pub fn ends_well(&mut self) {
        self.signal(Signal::TERM);
        self.has_ended_with(0);
    }

    /// Waits until it has ended, with this code.
    pub fn has_ended_with(&mut self, code: i32) {
        let mut status = None;
        until(&format!("{} ends", self.instance), || {
            status = self.ended();
            status.is_some()
        });
        assert_eq!(
            status.and_then(|status| status.code()),
            Some(code),
            "{}: {}",
            self.instance,
            self.last_words()
        );
    }

    /// All that it has logged.
    pub fn whole_log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The last lines that it has logged.
    pub fn last_words(&self) -> String {
        tail(&self.log)
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} ({}) said last:\n{}", self.instance, self.roles, self.last_words());
        }
        self.guard = None;
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
