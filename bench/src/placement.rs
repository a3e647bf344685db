//! LRMF on a real etcd: how long tasks take to change hands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use integration_tests::servers::Etcd;
use lrmf_core::{
    Coordination, Coordinator, CoordinatorConfig, CoordinatorHandle, FixedTasks, GroupId, InstanceId, Task,
};
use lrmf_etcd::{EtcdConfig, EtcdStore};
use serde_json::json;

use crate::board::{Board, Entry};
use crate::report::{Report, percentile};

/// How long anything may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct Options {
    /// How many members
    #[arg(long, default_value_t = 100)]
    members: usize,
    /// How many tasks
    #[arg(long, default_value_t = 1000)]
    tasks: usize,
    /// How many joins and leaves, half of them each
    #[arg(long, default_value_t = 200)]
    events: usize,
    /// How many kills
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// The sessions' time to live, in milliseconds
    #[arg(long, default_value_t = 3000)]
    ttl_ms: u64,
    /// The etcd to use instead of a private one
    #[arg(long, value_name = "URL")]
    external: Option<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    anyhow::ensure!(options.members > 1, "--members is {}; at least 2 are needed", options.members);
    let private = if options.external.is_none() { Some(Etcd::private()?) } else { None };
    let url = match (&options.external, &private) {
        (Some(url), _) => url.clone(),
        (None, Some(etcd)) => etcd.url(),
        (None, None) => anyhow::bail!("no etcd"),
    };
    let config = config(options);
    let mut report = Report::new(
        "placement",
        json!({
            "members": options.members, "tasks": options.tasks, "events": options.events, "kills": options.kills,
            "ttl_ms": options.ttl_ms, "margin_ms": config.margin.as_millis() as u64,
            "keep_alive_ms": config.keep_alive_interval().as_millis() as u64,
        }),
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = EtcdStore::connect(EtcdConfig::new([url])).await?;
        measure(options, config, Arc::new(store), &mut report).await
    })?;
    Ok(report)
}

fn config(options: &Options) -> CoordinatorConfig {
    let ttl = Duration::from_millis(options.ttl_ms);
    CoordinatorConfig { ttl, margin: ttl / 3, settle: Duration::ZERO, ..CoordinatorConfig::default() }
}

async fn measure(
    options: &Options,
    config: CoordinatorConfig,
    store: Arc<dyn Coordination>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut fleet = Fleet::new(options.tasks, config, store)?;
    let cold = Instant::now();
    for _ in 0..options.members {
        fleet.start().await?;
    }
    fleet.until_all_run().await?;
    report.add("cold_ms", millis(cold));
    joins_and_leaves(options, &mut fleet, report).await?;
    kills(options, &mut fleet, report).await?;
    leader_kill(&mut fleet, report).await?;
    report.add("double_held", fleet.board.book().double_held as f64);
    report.add("ttl_ms", options.ttl_ms as f64);
    Ok(())
}

async fn joins_and_leaves(options: &Options, fleet: &mut Fleet, report: &mut Report) -> anyhow::Result<()> {
    let (mut joins, mut leaves) = (Vec::new(), Vec::new());
    for _ in 0..options.events / 2 {
        let before = fleet.revision().await?;
        let begin = Instant::now();
        let newcomer = fleet.join(options.tasks / (options.members + 1)).await?;
        joins.push(millis(begin));
        report.add("etcd_writes_per_join", (fleet.revision().await? - before) as f64);
        let leaver = fleet.take(&newcomer)?;
        let begin = Instant::now();
        leaver.close().await;
        fleet.until_all_run().await?;
        leaves.push(millis(begin));
    }
    for (times, p50, p99) in
        [(&mut joins, "join_p50_ms", "join_p99_ms"), (&mut leaves, "leave_p50_ms", "leave_p99_ms")]
    {
        times.sort_by(f64::total_cmp);
        report.add(p50, percentile(times, 0.5));
        report.add(p99, percentile(times, 0.99));
    }
    Ok(())
}

async fn kills(options: &Options, fleet: &mut Fleet, report: &mut Report) -> anyhow::Result<()> {
    let mut times = Vec::new();
    for _ in 0..options.kills {
        let victim = fleet.newest()?;
        times.push(fleet.kill(&victim).await?);
        fleet.join(options.tasks / options.members).await?;
    }
    times.sort_by(f64::total_cmp);
    if !times.is_empty() {
        report.add("crash_p50_ms", percentile(&times, 0.5));
        report.add("crash_p99_ms", percentile(&times, 0.99));
    }
    Ok(())
}

async fn leader_kill(fleet: &mut Fleet, report: &mut Report) -> anyhow::Result<()> {
    let leader = fleet.leader().context("the group has no leader")?;
    let (held, started) = {
        let book = fleet.board.book();
        (book.held_by(&leader), book.started)
    };
    let took = fleet.kill(&leader).await?;
    let moves = fleet.board.book().started - started;
    report.add("leader_kill_ms", took);
    report.add("leader_kill_moves", moves as f64);
    report.add("leader_held", held as f64);
    Ok(())
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// The members of one group, in this process.
struct Fleet {
    group: GroupId,
    tasks: Vec<Task>,
    config: CoordinatorConfig,
    store: Arc<dyn Coordination>,
    board: Arc<Board>,
    members: Vec<CoordinatorHandle>,
    named: usize,
}

impl Fleet {
    fn new(tasks: usize, config: CoordinatorConfig, store: Arc<dyn Coordination>) -> anyhow::Result<Self> {
        let name = format!("p{}", std::process::id());
        Ok(Self {
            group: GroupId::new("bench", "placement", &name)?,
            tasks: (0..tasks).map(|task| Task::new(format!("task-{task:06}"), "")).collect(),
            config,
            store,
            board: Arc::default(),
            members: Vec::new(),
            named: 0,
        })
    }

    async fn start(&mut self) -> anyhow::Result<InstanceId> {
        self.named += 1;
        let instance = InstanceId::new(&format!("member-{:06}", self.named))?;
        let member = Coordinator::builder(self.store.clone(), self.group.clone())
            .instance_id(instance.clone())
            .provider(FixedTasks::new(self.tasks.clone()))
            .worker(Entry { board: self.board.clone(), instance: instance.clone() })
            .config(self.config.clone())
            .start()
            .await?;
        self.members.push(member);
        Ok(instance)
    }

    /// Starts a member and waits until it has its share of the tasks.
    async fn join(&mut self, share: usize) -> anyhow::Result<InstanceId> {
        let newcomer = self.start().await?;
        let all = self.tasks.len();
        self.until(|book| book.running == all && book.held_by(&newcomer) >= share).await?;
        Ok(newcomer)
    }

    fn newest(&self) -> anyhow::Result<InstanceId> {
        Ok(self.members.last().context("there are no members")?.instance_id().clone())
    }

    fn leader(&self) -> Option<InstanceId> {
        let leading = self.members.iter().find(|member| member.status().borrow().leading)?;
        Some(leading.instance_id().clone())
    }

    fn take(&mut self, instance: &InstanceId) -> anyhow::Result<CoordinatorHandle> {
        let at = self.members.iter().position(|member| member.instance_id() == instance);
        Ok(self.members.remove(at.context("the member is gone")?))
    }

    /// Kills a member; how long until all tasks run elsewhere, in milliseconds.
    async fn kill(&mut self, instance: &InstanceId) -> anyhow::Result<f64> {
        let victim = self.take(instance)?;
        let begin = Instant::now();
        victim.kill().await;
        self.board.died(instance);
        self.until_all_run().await?;
        Ok(millis(begin))
    }

    async fn until_all_run(&self) -> anyhow::Result<()> {
        let all = self.tasks.len();
        self.until(|book| book.running == all).await
    }

    async fn until(&self, wanted: impl Fn(&crate::board::Book) -> bool) -> anyhow::Result<()> {
        let waited = tokio::time::timeout(PATIENCE, self.board.wait_for(wanted)).await;
        waited.with_context(|| format!("not within {PATIENCE:?}; {} tasks run", self.board.book().running))
    }

    /// How many writes etcd has had.
    async fn revision(&self) -> anyhow::Result<u64> {
        Ok(self.store.list("/lrmf-bench/").await?.revision.0)
    }
}
