//! Processes with a role, which a benchmark starts and kills, and the events that their executors report.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::Context;
use clap::Args;
use dtf::Dtf;
use dtf::model::Role;
use futures::future::join_all;

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
    /// The number of members in the process, each with the role; several wait until each of them holds something
    #[arg(long, default_value_t = 1)]
    members: usize,
    /// Reports the starts and ends of subtasks
    #[arg(long)]
    reports: bool,
}

/// Runs a process with a role until its standard input ends.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let cluster: Cluster = serde_json::from_str(&options.cluster)?;
    let role = Role::ALL.into_iter().find(|role| role.name() == options.role).context("no such role")?;
    set_reporting(options.reports);
    let plugins = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let on = plugins.handle();
        let members = cluster.members(&options.instance, role, options.members, on).await?;
        println!("ready");
        let ended =
            tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        ended.await??;
        join_all(members.iter().map(Dtf::stop)).await;
        anyhow::Ok(())
    })?;
    plugins.shutdown_background();
    Ok(())
}

struct Member {
    role: Role,
    child: Child,
    _stdin: ChildStdin,
    reader: Option<JoinHandle<()>>,
}

/// The events that processes have reported and nobody has taken.
pub(crate) type EventLog = Arc<Mutex<Vec<Event>>>;

/// Takes all events out of a log.
pub(crate) fn take_events(log: &EventLog) -> Vec<Event> {
    std::mem::take(&mut log.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The processes of a cluster and the events that they reported. Dropping it kills them.
pub(crate) struct Processes {
    cluster: Cluster,
    members: Vec<Option<Member>>,
    events: EventLog,
}

impl Processes {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self { cluster, members: Vec::new(), events: Arc::default() }
    }

    /// Starts a process with a role that reports its events, and waits until it has joined.
    pub(crate) fn start(&mut self, role: Role) -> anyhow::Result<()> {
        self.start_many(1, role, &["--reports"])
    }

    /// Starts a process with a role that reports nothing, and waits until it has joined.
    pub(crate) fn start_silent(&mut self, role: Role) -> anyhow::Result<()> {
        self.start_many(1, role, &[])
    }

    /// Starts processes at the same time, each with this many executors that report their events, and waits until all
    /// have joined.
    pub(crate) fn start_executors(&mut self, processes: usize, executors: usize) -> anyhow::Result<()> {
        self.start_many(processes, Role::Executor, &["--reports", "--members", &executors.to_string()])
    }

    fn start_many(&mut self, processes: usize, role: Role, further: &[&str]) -> anyhow::Result<()> {
        let first = self.members.len();
        for number in first..first + processes {
            let child = self.spawn(number, role, further)?;
            self.members.push(Some(child));
        }
        for number in first..first + processes {
            let member = self.members[number].as_mut().context("it was started just now")?;
            member.reader = Some(follow(&mut member.child, number, self.events.clone())?);
        }
        Ok(())
    }

    fn spawn(&self, number: usize, role: Role, further: &[&str]) -> anyhow::Result<Member> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["role", "--role", role.name(), "--instance", &format!("{}-{number}", role.name())])
            .args(["--cluster", &serde_json::to_string(&self.cluster)?])
            .args(further)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take().context("its standard input is a pipe")?;
        Ok(Member { role, child, _stdin: stdin, reader: None })
    }

    /// The log of the events that are reported from now on.
    pub(crate) fn event_log(&self) -> EventLog {
        self.events.clone()
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
        self.pids().filter_map(usage::cpu_s_of).sum()
    }

    /// The ids of the living processes.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> {
        self.members.iter().flatten().map(|member| member.child.id())
    }
}

/// Waits until a process has joined, and reads its events from then on.
fn follow(child: &mut Child, number: usize, log: EventLog) -> anyhow::Result<JoinHandle<()>> {
    let mut lines = BufReader::new(child.stdout.take().context("its standard output is a pipe")?);
    let mut first = String::new();
    lines.read_line(&mut first)?;
    anyhow::ensure!(first == "ready\n", "process {number} of the benchmark did not start");
    Ok(std::thread::spawn(move || {
        for event in lines.lines().map_while(Result::ok).filter_map(|line| Event::parse(&line, number)) {
            log.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        }
    }))
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
