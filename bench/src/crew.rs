//! Processes with roles, which a benchmark starts and kills; and what their executors say that they do.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::Context;
use clap::Args;
use dtf::model::Role;
use dtf::model::{Seq, TaskId};

use crate::site::Site;
use crate::usage;

/// Whether this process says what it executes.
static TELLS: AtomicBool = AtomicBool::new(false);

/// What a process of a crew is told.
#[derive(Args)]
pub(crate) struct Options {
    /// The cluster, as JSON
    #[arg(long)]
    site: String,
    /// Its name
    #[arg(long)]
    instance: String,
    /// Its role
    #[arg(long)]
    role: String,
    /// Whether it says what it executes
    #[arg(long)]
    tells: bool,
}

/// The life of a process of a crew: until its standard input ends.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let site: Site = serde_json::from_str(&options.site)?;
    let role = Role::ALL.into_iter().find(|role| role.name() == options.role).context("no such role")?;
    TELLS.store(options.tells, Ordering::Relaxed);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let dtf = site.process(&options.instance, &[role]).await?;
        println!("ready");
        let ended =
            tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        ended.await??;
        dtf.stop().await;
        Ok(())
    })
}

/// Says that a subtask starts or ends here, where somebody listens.
pub(crate) fn tell(what: Step, task: TaskId, number: u64) {
    if TELLS.load(Ordering::Relaxed) {
        let word = if what == Step::Starts { "starts" } else { "ends" };
        // The one who listens may have gone: then nobody is left to miss it.
        drop(writeln!(std::io::stdout().lock(), "{word} {} {task} {number}", now_ns()));
    }
}

/// The time that all processes of the machine have in common, in nanoseconds.
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// What a subtask does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Starts,
    Ends,
}

/// What an executor said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) at_ns: u64,
    pub(crate) member: usize,
    pub(crate) step: Step,
    pub(crate) task: TaskId,
    pub(crate) number: Seq,
}

fn parse(line: &str, member: usize) -> Option<Event> {
    let mut words = line.split(' ');
    let step = match words.next()? {
        "starts" => Step::Starts,
        "ends" => Step::Ends,
        _ => return None,
    };
    let mut number = || words.next()?.parse().ok();
    Some(Event { at_ns: number()?, member, step, task: TaskId(number()?), number: Seq(number()?) })
}

struct Member {
    role: Role,
    child: Child,
    _stdin: ChildStdin,
    reader: Option<JoinHandle<()>>,
}

/// The processes of a cluster, and what they said. They end with it.
pub(crate) struct Crew {
    site: Site,
    members: Vec<Option<Member>>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Crew {
    pub(crate) fn new(site: Site) -> Self {
        Self { site, members: Vec::new(), events: Arc::default() }
    }

    /// Starts a process with a role that says what it executes, and waits until it has joined.
    pub(crate) fn start(&mut self, role: Role) -> anyhow::Result<()> {
        self.start_with(role, &["--tells"])
    }

    /// Starts a process with a role that says nothing, and waits until it has joined.
    pub(crate) fn start_silent(&mut self, role: Role) -> anyhow::Result<()> {
        self.start_with(role, &[])
    }

    fn start_with(&mut self, role: Role, further: &[&str]) -> anyhow::Result<()> {
        let number = self.members.len();
        let mut child = Command::new(std::env::current_exe()?)
            .args(["role", "--role", role.name(), "--instance", &format!("{}-{number}", role.name())])
            .args(["--site", &serde_json::to_string(&self.site)?])
            .args(further)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take().context("its standard input is a pipe")?;
        let mut lines = BufReader::new(child.stdout.take().context("its standard output is a pipe")?);
        let mut first = String::new();
        lines.read_line(&mut first)?;
        anyhow::ensure!(first == "ready\n", "a process with the role {} did not start", role.name());
        let events = self.events.clone();
        let reader = std::thread::spawn(move || {
            for event in lines.lines().map_while(Result::ok).filter_map(|line| parse(&line, number)) {
                events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            }
        });
        self.members.push(Some(Member { role, child, _stdin: stdin, reader: Some(reader) }));
        Ok(())
    }

    /// The process that has had this role for the longest time.
    pub(crate) fn oldest(&self, role: Role) -> anyhow::Result<usize> {
        let holds = |member: &Option<Member>| member.as_ref().is_some_and(|member| member.role == role);
        self.members.iter().position(holds).context("nobody has the role")
    }

    /// Kills a process (SIGKILL), and has read all that it said. Returns when it was killed.
    pub(crate) fn kill(&mut self, number: usize) -> anyhow::Result<u64> {
        let member = self.members.get_mut(number).and_then(Option::take);
        let mut member = member.context("it has been killed already")?;
        let at = now_ns();
        end(&mut member)?;
        Ok(at)
    }

    /// What was said so far, in the order of time.
    pub(crate) fn events(&self) -> Vec<Event> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner).clone();
        events.sort_by_key(|event| event.at_ns);
        events
    }

    /// Forgets what was said.
    pub(crate) fn forget(&self) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The processor time that the living ones have used, in seconds.
    pub(crate) fn cpu_s(&self) -> f64 {
        self.members.iter().flatten().filter_map(|member| usage::cpu_s_of(member.child.id())).sum()
    }
}

fn end(member: &mut Member) -> anyhow::Result<()> {
    member.child.kill()?;
    member.child.wait()?;
    if let Some(reader) = member.reader.take() {
        anyhow::ensure!(reader.join().is_ok(), "the reader of a process panicked");
    }
    Ok(())
}

impl Drop for Crew {
    fn drop(&mut self) {
        for member in self.members.iter_mut().flatten() {
            if let Err(error) = end(member) {
                eprintln!("a process of the benchmark may be left: {error}");
            }
        }
    }
}
