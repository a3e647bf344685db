//! A wire that can be pulled: what a process sends is lost, its connections stay, and nobody is told.
//!
//! A test that wants one runs in a network namespace of its own ([`alone`]), with all its servers; the process that is to be
//! cut off runs in a further one ([`Wire`]), whose loopback leads over the wire to that of the test. So everything listens on
//! loopback, and no machine's network is touched. It takes user namespaces or root, `unshare` and `nsenter` (util-linux), and
//! `ip` (iproute2); where those are not to be had, [`crate::proxy`] swallows what is sent instead.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use anyhow::{Context, ensure};

use crate::guard::Guard;

/// The script that lays a wire to a process's namespace; its head describes it.
const LAY: &str = include_str!("wire.sh");
/// Set in a test that runs in a namespace of its own.
const ALONE: &str = "DTF_TEST_ALONE";
/// Ways into a namespace of one's own, the one with the least privileges first: as a user, as root.
const WAYS: [&[&str]; 2] = [&["--user", "--map-root-user", "--net"], &["--net"]];

/// The place where a test runs.
#[derive(Debug, PartialEq, Eq)]
pub enum Where {
    /// In a network namespace of its own: it goes on.
    Alone,
    /// It ran in one, as a process of its own, and passed: nothing is left to do.
    Done,
    /// In that of the machine, as there can be no other, for this reason, of which the log has been told.
    Shared(String),
}

/// Runs the test of this name (as it stands in this program) again in a network namespace of its own, where that is
/// permitted, and says where the caller is.
///
/// # Errors
/// The test failed there; the error has what it said.
pub fn alone(test: &str) -> anyhow::Result<Where> {
    if std::env::var_os(ALONE).is_some() {
        run("ip", &["link", "set", "lo", "up"])?;
        return Ok(Where::Alone);
    }
    let way = match permitted() {
        Ok(way) => way,
        Err(why) => {
            let why = format!("{why:#}");
            // Not by a macro: those are not heard where a test passes.
            writeln!(io::stderr(), "{test}: no network namespace, a proxy instead, as {why}")?;
            return Ok(Where::Shared(why));
        }
    };
    // The user of the namespace has the number of another one, whose files in the usual place are not to be written.
    let dir = tempfile::tempdir()?;
    let program = std::env::current_exe()?;
    let running = Command::new("unshare")
        .args(way)
        .arg("--")
        .arg(program)
        .args([test, "--exact", "--nocapture"])
        .env(ALONE, "1")
        .env("TMPDIR", dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let guard = Guard::over(running.id(), dir.path())?;
    let test = running.wait_with_output()?;
    drop(guard);
    let said = [test.stdout, test.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    print!("{said}");
    ensure!(
        test.status.success(),
        "in a network namespace of its own it ended with {}:\n{said}",
        test.status
    );
    ensure!(said.contains("1 passed"), "no such test ran:\n{said}");
    Ok(Where::Done)
}

/// The way into a namespace of one's own in which wires can be laid: it is tried.
fn permitted() -> anyhow::Result<&'static [&'static str]> {
    let trial = format!(
        "ip link set lo up\nunshare --net sleep 60 & set -- $!\ntrap 'kill $1' EXIT\n\
                         until [ \"$(readlink /proc/$1/ns/net)\" != \"$(readlink /proc/self/ns/net)\" ]; do sleep 0.01; done\n{LAY}"
    );
    let mut why = None;
    for way in WAYS {
        match run("unshare", &[way, &["--", "sh", "-ec", &trial]].concat()) {
            Ok(_) => return Ok(way),
            Err(error) => why = why.or(Some(error)),
        }
    }
    Err(why.context("there is no way")?)
}

/// A network namespace with a wire to that of the test, which has to be alone, and which has room for one.
#[derive(Debug)]
pub struct Wire {
    /// Keeps the namespace, for as long as it is read to.
    keeper: Child,
    _until: ChildStdin,
}

impl Wire {
    /// The address that only processes behind it have.
    pub const OWN: &str = "127.0.0.2";
    /// The address from which servers hear those behind it.
    pub const FROM: &str = "10.77.0.2";

    /// Lays it.
    ///
    /// # Errors
    /// The test is not alone, or the system does not permit it.
    pub fn lay() -> anyhow::Result<Self> {
        let mut keeper = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", "echo there; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare")?;
        let (until, says) = keeper.stdin.take().zip(keeper.stdout.take()).context("both are piped")?;
        BufReader::new(says).read_line(&mut String::new())?;
        let wire = Self { keeper, _until: until };
        run("sh", &["-ec", LAY, "wire", &wire.keeper.id().to_string()])?;
        Ok(wire)
    }

    /// The same command (its program, arguments, variables and directory) behind the wire. Its process is the command's own.
    pub fn lead(&self, command: &Command) -> Command {
        let mut led = Command::new("nsenter");
        led.arg(format!("--net=/proc/{}/ns/net", self.keeper.id())).arg("--");
        led.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => led.env(name, value),
                None => led.env_remove(name),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            led.current_dir(dir);
        }
        led
    }

    /// From now on nothing passes, either way.
    ///
    /// # Errors
    /// The system does not permit it.
    pub fn pull(&self) -> anyhow::Result<()> {
        run("ip", &["link", "set", "near", "down"]).map(drop)
    }

    /// From now on everything passes again.
    ///
    /// # Errors
    /// The system does not permit it.
    pub fn plug(&self) -> anyhow::Result<()> {
        run("ip", &["link", "set", "near", "up"]).map(drop)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.keeper.kill());
        drop(self.keeper.wait());
    }
}

/// Runs a program that has to succeed.
fn run(program: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    let out =
        Command::new(program).args(arguments).stdin(Stdio::null()).output().with_context(|| {
            format!("{program} is not there (util-linux and iproute2 have what it takes)")
        })?;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "{program} says: {}", said.lines().next().unwrap_or_default());
    Ok(out)
}
