//! Processes with a role, which a benchmark starts and kills, and the events that their executors report.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::Context;
use clap::Args;
use dtf::model::Role;

use crate::cluster::Cluster;
use crate::events::{Event, now_ns, set_reporting};
use crate::usage;

/// The arguments of a process with a role.
#[derive(Args)]
pub(crate) struct Options {
    /// The cluster, as JSON
    #[arg(long)]
    cluster: String,
    /// The name of the process
    #[arg(long)]
    instance: String,
    /// The role
    #[arg(long)]
    role: String,
    /// Reports the starts and ends of subtasks
    #[arg(long)]
    reports: bool,
}

/// Runs a process with a role until its standard input ends.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let cluster: Cluster = serde_json::from_str(&options.cluster)?;
    let role = Role::ALL.into_iter().find(|role| role.name() == options.role).context("no such role")?;
    set_reporting(options.reports);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let dtf = cluster.process(&options.instance, &[role]).await?;
        println!("ready");
        let ended =
            tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        ended.await??;
        dtf.stop().await;
        Ok(())
    })
}

struct Member {
    role: Role,
    child: Child,
    _stdin: ChildStdin,
    reader: Option<JoinHandle<()>>,
}

/// The processes of a cluster and the events that they reported. Dropping it kills them.
pub(crate) struct Processes {
    cluster: Cluster,
    members: Vec<Option<Member>>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Processes {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self { cluster, members: Vec::new(), events: Arc::default() }
    }

    /// Starts a process with a role that reports its events, and waits until it has joined.
    pub(crate) fn start(&mut self, role: Role) -> anyhow::Result<()> {
        self.start_with(role, &["--reports"])
    }

    /// Starts a process with a role that reports nothing, and waits until it has joined.
    pub(crate) fn start_silent(&mut self, role: Role) -> anyhow::Result<()> {
        self.start_with(role, &[])
    }

    fn start_with(&mut self, role: Role, further: &[&str]) -> anyhow::Result<()> {
        let number = self.members.len();
        let mut child = Command::new(std::env::current_exe()?)
            .args(["role", "--role", role.name(), "--instance", &format!("{}-{number}", role.name())])
            .args(["--cluster", &serde_json::to_string(&self.cluster)?])
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
            for event in lines.lines().map_while(Result::ok).filter_map(|line| Event::parse(&line, number)) {
                events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            }
        });
        self.members.push(Some(Member { role, child, _stdin: stdin, reader: Some(reader) }));
        Ok(())
    }

    /// The number of the process that has had this role for the longest time.
    pub(crate) fn oldest(&self, role: Role) -> anyhow::Result<usize> {
        let holds = |member: &Option<Member>| member.as_ref().is_some_and(|member| member.role == role);
        self.members.iter().position(holds).context("nobody has the role")
    }

    /// Kills a process (SIGKILL) and reads the rest of what it reported. Returns the time of the kill.
    pub(crate) fn kill(&mut self, number: usize) -> anyhow::Result<u64> {
        let member = self.members.get_mut(number).and_then(Option::take);
        let mut member = member.context("it has been killed already")?;
        let at = now_ns();
        end(&mut member)?;
        Ok(at)
    }

    /// The events reported so far, in the order of time.
    pub(crate) fn events(&self) -> Vec<Event> {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner).clone();
        events.sort_by_key(|event| event.at_ns);
        events
    }

    /// Forgets the events reported so far.
    pub(crate) fn forget(&self) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The processor time that the living processes have used, in seconds.
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

impl Drop for Processes {
    fn drop(&mut self) {
        for member in self.members.iter_mut().flatten() {
            if let Err(error) = end(member) {
                eprintln!("a process of the benchmark may be left: {error}");
            }
        }
    }
}
