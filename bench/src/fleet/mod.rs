//! Ten thousand executors: slots busy, the time to fill them, losses of executors, and the cost of each executor.
//!
//! The executors are members with the role's real code, many in each process on shared connections; each other role has a
//! process of its own, the scheduler two. One task of subtasks that run for seconds lasts through all phases.

mod timeline;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use dtf::TaskHandle;
use dtf::model::{Role, TaskStatus};
use serde_json::json;

use self::timeline::{Timeline, least_running, longest_rest_ns, refilled_ns};
use crate::cluster::Cluster;
use crate::events::now_ns;
use crate::load::{BACKLOG, Books, LOAD, LoadParam};
use crate::polling::until;
use crate::processes::{EventLog, Processes, take_events};
use crate::report::Report;
use crate::servers::{ServerOptions, Servers};
use crate::usage;

#[derive(Args)]
pub(crate) struct Options {
    /// The number of executors
    #[arg(long, default_value_t = 10_000)]
    executors: usize,
    /// The number of processes that they are in, in equal parts; one of them dies
    #[arg(long, default_value_t = 10)]
    processes: usize,
    /// The number of slots of each executor
    #[arg(long, default_value_t = 4)]
    slots: usize,
    /// The number of shards; by default four for each executor, as far as that many are allowed
    #[arg(long)]
    shards: Option<u32>,
    /// The shortest run time of a subtask, in milliseconds
    #[arg(long, default_value_t = 1000)]
    min_ms: u64,
    /// The longest run time of a subtask, in milliseconds
    #[arg(long, default_value_t = 10_000)]
    max_ms: u64,
    /// The TTL of sessions, in milliseconds
    #[arg(long, default_value_t = 10_000)]
    ttl_ms: u64,
    /// The time over which the idle cost is measured, in seconds
    #[arg(long, default_value_t = 20)]
    idle_s: u64,
    /// The time over which the busy slots are measured, in seconds
    #[arg(long, default_value_t = 30)]
    steady_s: u64,
    #[command(flatten)]
    servers: ServerOptions,
}

/// The time between two samples of the running subtasks.
const SAMPLED: Duration = Duration::from_millis(20);
/// The number of different run times.
const RUN_TIMES: u64 = 10;
/// The share of the slots that counts as filled.
const FILLED: f64 = 0.95;
/// The longest time that filling the slots may take before the benchmark goes on.
const PATIENCE: Duration = Duration::from_secs(60);
/// The time after a death, beside the TTL, in which everything should be as before.
const RECOVERY: Duration = Duration::from_secs(15);

impl Options {
    fn shards(&self) -> u32 {
        let most = dtf::model::ClusterShape::MOST as usize;
        self.shards.unwrap_or((4 * self.executors).min(most) as u32)
    }

    fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }

    /// The run times in microseconds, evenly spread and in a mixed order.
    fn micros(&self) -> Vec<u64> {
        let step = (self.max_ms - self.min_ms) as f64 / (RUN_TIMES - 1) as f64;
        let millis = |at: u64| self.min_ms as f64 + step * (at * 3 % RUN_TIMES) as f64;
        (0..RUN_TIMES).map(|at| (millis(at) * 1000.0) as u64).collect()
    }

    /// The number of subtasks that all slots can run until the last phase ends.
    fn subtasks(&self) -> u64 {
        let mean_s = (self.min_ms + self.max_ms) as f64 / 2000.0;
        let seconds = PATIENCE + Duration::from_secs(self.steady_s) + 2 * (self.ttl() + RECOVERY);
        ((self.executors * self.slots) as f64 / mean_s * seconds.as_secs_f64()) as u64
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let Options { executors, processes, slots, min_ms, max_ms, ttl_ms, .. } = *options;
    anyhow::ensure!(min_ms <= max_ms, "--min-ms is {min_ms}; at most --max-ms, {max_ms}, is allowed");
    anyhow::ensure!(
        processes > 1 && executors.is_multiple_of(processes) && executors > processes,
        "--processes is {processes}; at least 2 are needed, each with the same part, 2 or more, of {executors} executors"
    );
    let params = json!({
        "executors": executors, "processes": processes, "slots": slots, "shards": options.shards(),
        "min_ms": min_ms, "max_ms": max_ms, "ttl_ms": ttl_ms, "subtasks": options.subtasks(),
    });
    let mut report = Report::new("fleet", params);
    let servers = Servers::new(&options.servers)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(options, &servers, &mut report))?;
    Ok(report)
}

async fn measure(options: &Options, servers: &Servers, report: &mut Report) -> anyhow::Result<()> {
    servers.describe(report).await?;
    let cluster = Cluster {
        slots: options.slots,
        ttl_ms: options.ttl_ms,
        shards: options.shards(),
        backlog: BACKLOG.max(2 * (options.executors * options.slots) as u64),
        ..servers.cluster().await?
    };
    let client = cluster.process("client", &[]).await?.client();
    let (mut others, mut executors) = (Processes::new(cluster.clone()), Processes::new(cluster));
    for role in [Role::Manager, Role::Generator, Role::Scheduler, Role::Scheduler, Role::Collector] {
        others.start_silent(role)?;
    }
    let begin = Instant::now();
    executors.start_executors(options.processes, options.executors / options.processes)?;
    report.add("join_s", begin.elapsed().as_secs_f64());
    let log = executors.event_log();
    let timeline = Arc::default();
    let mut fleet = Fleet { options, servers, others, executors, timeline: Arc::clone(&timeline), dead: 0 };
    fleet.cost_of_executors(report).await?;
    let param = LoadParam {
        count: options.subtasks(),
        micros: options.micros(),
        books: true,
        ..LoadParam::default()
    };
    tokio::select! {
        measured = async {
            let task = client.create_task(LOAD, param.task()).await?;
            fleet.fill(report).await;
            fleet.steady(report).await?;
            fleet.executors_die(report).await?;
            fleet.scheduler_dies(report).await?;
            fleet.check_books(&task, report).await
        } => measured,
        never = follow(&timeline, &log) => match never {},
    }
}

/// Takes the events of the executors into the timeline for as long as it is polled.
async fn follow(timeline: &Mutex<Timeline>, log: &EventLog) -> Infallible {
    let mut period = tokio::time::interval(SAMPLED);
    loop {
        period.tick().await;
        let mut timeline = lock(timeline);
        timeline.apply(&take_events(log));
        timeline.sample(now_ns());
    }
}

fn lock(timeline: &Mutex<Timeline>) -> MutexGuard<'_, Timeline> {
    timeline.lock().unwrap_or_else(PoisonError::into_inner)
}

fn seconds_between(begin_ns: u64, end_ns: u64) -> f64 {
    end_ns.saturating_sub(begin_ns) as f64 / 1e9
}

/// The executors and the processes with the other roles.
struct Fleet<'a> {
    options: &'a Options,
    servers: &'a Servers,
    others: Processes,
    executors: Processes,
    timeline: Arc<Mutex<Timeline>>,
    /// The number of executors that have been killed.
    dead: usize,
}

impl Fleet<'_> {
    /// Measures the memory, the connections and the idle cost of the executors.
    async fn cost_of_executors(&self, report: &mut Report) -> anyhow::Result<()> {
        let executors = self.options.executors as f64;
        let mib: f64 = self.executors.pids().filter_map(usage::rss_mib_of).sum();
        let sockets: usize = self.executors.pids().flat_map(usage::sockets_of).sum();
        report.add("kib_per_executor", mib * 1024.0 / executors);
        report.add("sockets_of_executors", sockets as f64);
        let (servers, redis) = (self.servers.cpu().await?, self.servers.redis_usage().await?);
        report.add("redis_connections", redis.clients);
        let (cpu, begin) = (self.executors.cpu_s(), Instant::now());
        tokio::time::sleep(Duration::from_secs(self.options.idle_s)).await;
        let seconds = begin.elapsed().as_secs_f64();
        let used = self.servers.cpu().await?.since(servers);
        let commands = self.servers.redis_usage().await?.commands - redis.commands;
        report.add("idle_us_per_s_per_executor", (self.executors.cpu_s() - cpu) * 1e6 / seconds / executors);
        report.add("idle_redis_cores", used.redis_s / seconds);
        report.add("idle_etcd_cores", used.etcd_s / seconds);
        report.add("idle_sql_cores", used.sql_s / seconds);
        report.add("idle_redis_commands_per_s", commands / seconds);
        Ok(())
    }

    fn timeline(&self) -> MutexGuard<'_, Timeline> {
        lock(&self.timeline)
    }

    /// The number of slots of the executors that live.
    fn slots(&self) -> usize {
        (self.options.executors - self.dead) * self.options.slots
    }

    /// The number of running subtasks at which the slots count as filled.
    fn filled(&self) -> usize {
        (self.slots() as f64 * FILLED).ceil() as usize
    }

    /// Measures the time until the slots are filled from cold.
    async fn fill(&self, report: &mut Report) {
        let begin = Instant::now();
        let filled = until(|| async { self.timeline().running() >= self.filled() });
        if tokio::time::timeout(PATIENCE, filled).await.is_ok() {
            report.add("fill_s", begin.elapsed().as_secs_f64());
        }
    }

    /// Measures the share of busy slots, the rate of dispatch and its cost while nothing happens.
    async fn steady(&self, report: &mut Report) -> anyhow::Result<()> {
        let (servers, others, own) = (self.servers.cpu().await?, self.others.cpu_s(), self.executors.cpu_s());
        let now = || {
            let (timeline, now_ns) = (self.timeline(), now_ns());
            (now_ns, timeline.slot_time_ns(now_ns), timeline.started())
        };
        let before = now();
        tokio::time::sleep(Duration::from_secs(self.options.steady_s)).await;
        let after = now();
        let seconds = seconds_between(before.0, after.0);
        let subtasks = (after.2 - before.2) as f64;
        report.add("busy_share", seconds_between(before.1, after.1) / (self.slots() as f64 * seconds));
        report.add("subtasks_per_s", subtasks / seconds);
        let used = self.servers.cpu().await?.since(servers);
        report.add("redis_us_per_subtask", used.redis_s * 1e6 / subtasks);
        report.add("etcd_cores", used.etcd_s / seconds);
        report.add("sql_cores", used.sql_s / seconds);
        report.add("executors_us_per_subtask", (self.executors.cpu_s() - own) * 1e6 / subtasks);
        report.add("others_us_per_subtask", (self.others.cpu_s() - others) * 1e6 / subtasks);
        Ok(())
    }

    /// Kills the executors of a process, and measures the time until all that they ran runs again and the slots of the
    /// others are filled.
    async fn executors_die(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let victim = self.executors.oldest(Role::Executor)?;
        let log = self.executors.event_log();
        let killed_ns = self.executors.kill(victim)?;
        {
            let mut timeline = self.timeline();
            timeline.apply(&take_events(&log));
            timeline.die(victim, killed_ns);
            report.add("cut_off", timeline.cut_off() as f64);
        }
        self.dead = self.options.executors / self.options.processes;
        let again = until(|| async { self.timeline().cut_off() == 0 });
        if tokio::time::timeout(PATIENCE, again).await.is_ok() {
            let again_ns = self.timeline().started_again_ns();
            report.add("executors_died_run_again_s", seconds_between(killed_ns, again_ns));
        }
        self.wait_until_recovered(killed_ns).await;
        self.after_death(killed_ns, ["executors_died_least_busy", "executors_died_refilled_s"], report);
        Ok(())
    }

    /// Kills the scheduler, and measures the time until its successor has filled the slots.
    async fn scheduler_dies(&mut self, report: &mut Report) -> anyhow::Result<()> {
        let scheduler = self.others.oldest(Role::Scheduler)?;
        let killed_ns = self.others.kill(scheduler)?;
        self.wait_until_recovered(killed_ns).await;
        self.after_death(killed_ns, ["scheduler_died_least_busy", "scheduler_died_refilled_s"], report);
        let rest_ns = longest_rest_ns(self.timeline().since(killed_ns));
        report.add("scheduler_died_rest_s", rest_ns as f64 / 1e9);
        let (started, all) = (self.timeline().started(), self.options.subtasks());
        anyhow::ensure!(started < all, "all {all} subtasks had started before the last phase was over");
        Ok(())
    }

    async fn wait_until_recovered(&self, killed_ns: u64) {
        let period = self.options.ttl() + RECOVERY;
        tokio::time::sleep(period.saturating_sub(Duration::from_nanos(now_ns() - killed_ns))).await;
    }

    fn after_death(&self, killed_ns: u64, figures: [&'static str; 2], report: &mut Report) {
        let timeline = self.timeline();
        let samples = timeline.since(killed_ns);
        report.add(figures[0], least_running(samples) as f64 / self.slots() as f64);
        if let Some(refilled_ns) = refilled_ns(samples, self.filled()) {
            report.add(figures[1], seconds_between(killed_ns, refilled_ns));
        }
    }

    /// Waits for the end of the task and compares its books with its inputs.
    async fn check_books(&self, task: &TaskHandle, report: &mut Report) -> anyhow::Result<()> {
        let (row, subtasks) = (task.wait().await?, self.options.subtasks());
        let ended = row.status;
        anyhow::ensure!(ended == TaskStatus::Completed, "the task ended as {ended}: {}", row.reason);
        let data = row.result.context("a completed task has a result")?.data;
        let books: Books = serde_json::from_value(data)?;
        report.add("lost", subtasks.saturating_sub(books.results) as f64);
        report.add("double_counted", books.results.saturating_sub(subtasks) as f64);
        report.add("run_again", self.timeline().started() as f64 - subtasks as f64);
        let exact = books == Books::of(subtasks);
        anyhow::ensure!(exact || books.results != subtasks, "a subtask was counted in place of another one");
        Ok(())
    }
}
