//! All roles with their queues on Redis of every topology, with and without TLS; and that after the retention no key of a task
//! is left there, however it ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::authority::Authority;
use dtf::embedded::{self, Database, Embedded};
use dtf::model::queue::GeneratorQueue;
use dtf::model::shard::ShardQueue;
use dtf::model::{RunEpoch, Shard, TaskId, TaskParam, TaskStatus};
use dtf::tasks::NOOP;
use dtf::tasks::noop::{Noop, NoopParam};
use dtf::{Dtf, DtfConfig, Ports, TaskHandle};
use dtf_redis::{RedisConfig, RedisQueues, RedisShards, RedisWakeUp, Tls, Topology};
use test_servers::servers::{Redis, RedisCluster, RedisSentinel, TlsFiles};

/// Much more than anything takes: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(600);

/// A process with all roles whose queues are on Redis; everything else is in memory.
struct Stage {
    dtf: Dtf,
    shards: Arc<dyn ShardQueue>,
    /// The number of them.
    of: u32,
}

impl Stage {
    async fn start(config: RedisConfig) -> Self {
        Self::start_with(config, |_| {}).await
    }

    async fn start_with(config: RedisConfig, change: impl FnOnce(&mut DtfConfig)) -> Self {
        let redis = dtf_redis::Redis::connect(config).await.unwrap();
        let shards: Arc<dyn ShardQueue> = Arc::new(RedisShards::new(redis.clone()));
        let ports = Ports {
            queues: Arc::new(RedisQueues::new(redis.clone())),
            shards: shards.clone(),
            wake: Arc::new(RedisWakeUp::start(redis)),
            ..embedded::ports(Database::Memory).await.unwrap()
        };
        let mut config = Embedded { jobs: 4 }.config();
        config.manager.retention = Duration::from_millis(200);
        config.manager.sweep = Duration::from_millis(200);
        change(&mut config);
        let of = config.shape.shards;
        let dtf = Dtf::builder(ports).config(config).register_task_type(Noop::registration()).unwrap();
        let dtf = dtf.build().unwrap();
        dtf.start_all().await.unwrap();
        Self { dtf, shards, of }
    }

    /// Returns the number of parcels on the shards.
    async fn shipped(&self) -> usize {
        let mut shipped = 0;
        for shard in 0..self.of {
            shipped += self.shards.contents(Shard(shard)).await.unwrap().len();
        }
        shipped
    }

    /// Waits until no server has a key of these tasks, and no shard anything of theirs.
    async fn nothing_is_left(&self, tasks: &[TaskId], servers: &[Redis]) {
        let begin = Instant::now();
        loop {
            let mut left: Vec<_> = servers.iter().flat_map(|server| server.keys().unwrap()).collect();
            // A shard's own keys are there for ever, and so is the cluster's.
            left.retain(|key| !key.starts_with("dtf.shard.") && key != "dtf.cluster");
            let shipped = self.shipped().await;
            if left.is_empty() && shipped == 0 {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "of {tasks:?} are left {left:?}, {shipped} on shards");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn create(dtf: &Dtf, param: NoopParam, timeout: Duration) -> TaskHandle {
    let param = TaskParam { type_param: param.to_json(), timeout, ..TaskParam::default() };
    dtf.client().create_task(NOOP, param).await.unwrap()
}

async fn runs(task: &TaskHandle) {
    let begin = Instant::now();
    while task.status().await.unwrap().progress().running == 0 {
        assert!(begin.elapsed() < PATIENCE, "nothing of it runs");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Tasks that end in every way there is, and leave as many kinds of keys as there are.
async fn end_in_every_way(dtf: &Dtf) -> Vec<TaskId> {
    const LONG: Duration = Duration::from_secs(3600);
    let slow = NoopParam { sleep_ms: 600_000, ..NoopParam::new(2_000) };
    let failing = NoopParam { failure_rate: 0.5, ..NoopParam::new(20_000) };
    let completes = create(dtf, failing, LONG).await;
    assert_eq!(completes.wait().await.unwrap().status, TaskStatus::Completed);
    let cancelled = create(dtf, slow.clone(), LONG).await;
    runs(&cancelled).await;
    cancelled.cancel().await.unwrap();
    assert_eq!(cancelled.wait().await.unwrap().status, TaskStatus::Cancelled);
    let times_out = create(dtf, slow.clone(), Duration::from_secs(1)).await;
    assert_eq!(times_out.wait().await.unwrap().status, TaskStatus::Exceptional);
    let paused = create(dtf, slow, LONG).await;
    runs(&paused).await;
    paused.pause().await.unwrap();
    paused.cancel().await.unwrap();
    assert_eq!(paused.wait().await.unwrap().status, TaskStatus::Cancelled);
    [completes, cancelled, times_out, paused].map(|task| task.id()).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_on_one_server() {
    let server = tokio::task::spawn_blocking(Redis::private).await.unwrap().unwrap();
    let stage = Stage::start(RedisConfig { url: server.url(), ..RedisConfig::default() }).await;
    let tasks = end_in_every_way(&stage.dtf).await;
    stage.nothing_is_left(&tasks, &[server]).await;
    stage.dtf.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_on_a_cluster() {
    let mut cluster = tokio::task::spawn_blocking(RedisCluster::private).await.unwrap().unwrap();
    let url = cluster.urls().remove(0);
    let config = RedisConfig { url, topology: Topology::Cluster, ..RedisConfig::default() };
    let stage = Stage::start(config).await;
    let tasks = end_in_every_way(&stage.dtf).await;
    stage.nothing_is_left(&tasks, cluster.nodes()).await;
    stage.dtf.stop().await;
}

/// Three tasks whose bodies of 64 KiB would take 375 MB together, and budgets of 8 MiB.
#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_keep_to_the_budgets_in_bytes() {
    const BODY: usize = 64 << 10;
    const BUDGET: u64 = 8 << 20;
    let server = tokio::task::spawn_blocking(Redis::private).await.unwrap().unwrap();
    let config = RedisConfig { url: server.url(), ..RedisConfig::default() };
    let stage = Stage::start_with(config, |config| {
        config.generator.all.bytes = BUDGET;
        config.generator.group.bytes = BUDGET;
    });
    let stage = stage.await;
    let queues = RedisQueues::new(
        dtf_redis::Redis::connect(RedisConfig { url: server.url(), ..RedisConfig::default() }).await.unwrap(),
    );
    let param = NoopParam { body_bytes: BODY, sleep_ms: 1, ..NoopParam::new(2000) };
    let mut tasks = Vec::new();
    for _ in 0..3 {
        tasks.push(create(&stage.dtf, param.clone(), PATIENCE).await);
    }
    let mut most = 0;
    let mut has_all_ended = false;
    while !has_all_ended {
        let mut bytes = 0;
        has_all_ended = true;
        for task in &tasks {
            bytes += queues.backlog(task.id(), RunEpoch(1)).await.map_or(0, |backlog| backlog.bytes);
            has_all_ended &= task.status().await.unwrap().row.status.is_terminal();
        }
        most = most.max(bytes);
    }
    for task in &tasks {
        let row = task.wait().await.unwrap();
        assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 2000), "{}", row.reason);
    }
    // A batch of each task may come on top, as its size is not known before: 4 MiB.
    assert!(most > 0 && most <= BUDGET + 3 * (4 << 20), "{most} bytes waited");
    stage.dtf.stop().await;
}

/// Returns the configuration of a client with such files.
fn over_tls(files: &TlsFiles) -> Tls {
    let read = |path| std::fs::read_to_string(path).unwrap();
    Tls { authority: Some(read(&files.ca)), identity: Some((read(&files.cert), read(&files.key))) }
}

async fn completes(stage: &Stage) {
    let task = create(&stage.dtf, NoopParam::new(10_000), PATIENCE).await;
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 10_000), "{}", row.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_runs_over_tls_on_a_cluster() {
    let ours = Authority::new();
    let server = ours.files("127.0.0.1");
    let start = move || RedisCluster::private_with_tls(&server);
    let cluster = tokio::task::spawn_blocking(start).await.unwrap().unwrap();
    let config = RedisConfig {
        url: cluster.urls().remove(0),
        topology: Topology::Cluster,
        tls: over_tls(&ours.files("client")),
        ..RedisConfig::default()
    };
    assert!(config.url.starts_with("rediss://"));
    let stage = Stage::start(config.clone()).await;
    completes(&stage).await;
    stage.dtf.stop().await;
    // Without a certificate nobody is let in.
    let nobody = Tls { identity: None, ..config.tls.clone() };
    assert!(dtf_redis::Redis::connect(RedisConfig { tls: nobody, ..config }).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_runs_over_tls_under_a_sentinel_and_through_a_failover() {
    let ours = Authority::new();
    let server = ours.files("127.0.0.1");
    let start = move || RedisSentinel::private_with_tls(&server);
    let mut servers = tokio::task::spawn_blocking(start).await.unwrap().unwrap();
    let config = RedisConfig {
        url: servers.url(),
        topology: Topology::Sentinel { master: RedisSentinel::MASTER.to_owned(), password: None },
        tls: over_tls(&ours.files("client")),
        ..RedisConfig::default()
    };
    assert!(config.url.starts_with("rediss://"));
    let stage = Stage::start(config).await;
    completes(&stage).await;
    let slow = NoopParam { sleep_ms: 20, ..NoopParam::new(4_000) };
    let task = create(&stage.dtf, slow, PATIENCE).await;
    runs(&task).await;
    servers.master().kill().unwrap();
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 4_000), "{}", row.reason);
    stage.dtf.stop().await;
}
