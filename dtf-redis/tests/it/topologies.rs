//! A Cluster of three masters, and a master under a Sentinel that fails over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dtf_model::plugin::SubtaskResult;
use dtf_model::queue::{
    ExecutorQueue, Fence, GeneratorQueue, Outcome, ParcelReport, Push, QueueReader, QueueStore, Report,
    SchedulerQueue, TakeRequest, TaskControl,
};
use dtf_model::wake::{Hint, Topic, WakeUp};
use dtf_model::{RunEpoch, Seq, Shard, TaskId, TaskParam, TaskSpec, TaskTypeId};
use dtf_redis::{Redis, RedisConfig, RedisQueues, RedisShards, RedisWakeUp, Topology};
use dtf_testkit::until_answered;
use lrmf_core::Token;
use test_servers::servers::{RedisCluster, RedisSentinel};

/// Much more than a failover takes: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(180);

/// Servers that are there may stand for a while with their machine.
fn patient() -> RedisConfig {
    RedisConfig { response_timeout: Duration::from_secs(60), ..RedisConfig::default() }
}

/// A Cluster, and a connection to it that knows one of its nodes.
async fn cluster() -> (RedisCluster, Redis) {
    let cluster = tokio::task::spawn_blocking(RedisCluster::private).await.unwrap().unwrap();
    let url = cluster.urls().swap_remove(1);
    let config = RedisConfig { url, topology: Topology::Cluster, ..patient() };
    (cluster, Redis::connect(config).await.unwrap())
}

#[tokio::test]
async fn queues_on_a_cluster_conform() {
    let (_cluster, redis) = cluster().await;
    let queues: Arc<dyn QueueStore> = Arc::new(RedisQueues::new(redis));
    dtf_testkit::queue::run_all(queues.clone()).await;
    for seed in 2000..2005 {
        dtf_testkit::queue::model::run(&queues, seed, 300).await;
    }
}

#[tokio::test]
async fn shards_on_a_cluster_conform() {
    let (_cluster, redis) = cluster().await;
    dtf_testkit::shard::run_all(Arc::new(RedisShards::new(redis))).await;
}

#[tokio::test]
async fn a_full_cluster_takes_no_more_and_everything_else_goes_on() {
    let full = || RedisCluster::private_with(&["--maxmemory", "6mb"]);
    let mut cluster = tokio::task::spawn_blocking(full).await.unwrap().unwrap();
    let config =
        RedisConfig { url: cluster.urls().remove(0), topology: Topology::Cluster, ..RedisConfig::default() };
    let redis = Redis::connect(config).await.unwrap();
    let nodes: Vec<_> = cluster.nodes().iter().collect();
    crate::task::a_full_store_takes_no_more(redis, async |bytes| {
        for node in &nodes {
            node.ask(&["CONFIG", "SET", "maxmemory", bytes]).unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_cluster_is_looked_at_as_one_and_has_another_life_when_a_node_of_it_has() {
    let (mut cluster, redis) = cluster().await;
    let found = redis.inspect().await.unwrap();
    assert!(found.append_only && found.eviction == "noeviction" && found.used_memory > 0, "{found:?}");
    let queues = RedisQueues::new(redis);
    let before = until_answered(|| queues.incarnation()).await;
    let restarting = tokio::task::spawn_blocking(move || {
        cluster.nodes()[2].restart().unwrap();
        cluster
    });
    let cluster = restarting.await.unwrap();
    let begin = Instant::now();
    while until_answered(|| queues.incarnation()).await == before {
        assert!(begin.elapsed() < PATIENCE, "nothing is noticed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(cluster);
}

#[tokio::test]
async fn wake_ups_on_a_cluster_conform() {
    let (_cluster, redis) = cluster().await;
    let [here, there] = [(); 2].map(|()| Arc::new(RedisWakeUp::start(redis.clone())));
    dtf_testkit::wake::run_all(dtf_testkit::wake::between(here, there)).await;
}

#[tokio::test]
async fn what_is_there_must_be_what_the_settings_say() {
    let (cluster, _) = cluster().await;
    let config = RedisConfig { url: cluster.urls().swap_remove(0), ..RedisConfig::default() };
    let error = Redis::connect(config).await.unwrap_err().to_string();
    assert!(error.contains("node of a Cluster") && error.contains("topology"), "{error}");
    let servers = tokio::task::spawn_blocking(RedisSentinel::private).await.unwrap().unwrap();
    let config = RedisConfig { url: servers.url(), ..RedisConfig::default() };
    let error = Redis::connect(config).await.unwrap_err().to_string();
    assert!(error.contains("Sentinel"), "{error}");
}

fn spec() -> TaskSpec {
    TaskSpec {
        id: TaskId(7),
        request: uuid::Uuid::from_u128(7),
        run: RunEpoch(1),
        task_type: TaskTypeId(1),
        param: Arc::new(TaskParam::default()),
    }
}

#[tokio::test]
async fn a_failover_loses_nothing_that_was_replicated() {
    let mut servers = tokio::task::spawn_blocking(RedisSentinel::private).await.unwrap().unwrap();
    let config = RedisConfig {
        url: servers.url(),
        topology: Topology::Sentinel { master: RedisSentinel::MASTER.to_owned(), password: None },
        ..patient()
    };
    let redis = Redis::connect(config).await.unwrap();
    let [here, there] = [(); 2].map(|()| RedisWakeUp::start(redis.clone()));
    let mut listener = there.listen(Topic::Watch(1));
    let queues = RedisQueues::new(redis);
    let fence = Fence { task: TaskId(7), run: RunEpoch(1), token: Token(5) };
    queues.open(&spec()).await.unwrap();
    let epoch = queues.load_generator(fence).await.unwrap().epoch;
    let bodies = vec![Bytes::from_static(b"x"); 10];
    let push = Push {
        epoch,
        first: Seq(0),
        parcels: vec![1; 10],
        keys: Vec::new(),
        bodies,
        saved: None,
        progress: None,
        finished: true,
    };
    queues.push(fence, push).await.unwrap();
    let parcel =
        queues.take(fence, &TakeRequest::of(&[Shard(0)], 1), u64::MAX).await.unwrap().parcels.remove(0).1;
    let before = queues.state(TaskId(7)).await.unwrap();
    servers.until_replicated().unwrap();

    servers.master().kill().unwrap();
    assert_eq!(until_answered(|| queues.state(TaskId(7))).await, before);
    let report = ParcelReport {
        parcel: parcel.id,
        attempt: parcel.attempt,
        executor_losses: parcel.executor_losses,
        reports: vec![Report::Ended(Outcome::Succeeded(SubtaskResult::default()))],
        together: 1,
        busy: Duration::ZERO,
    };
    let reported = until_answered(|| queues.complete(TaskId(7), RunEpoch(1), report.clone())).await;
    assert_eq!(reported.counted, 1);
    // Wake-ups are heard over the new master.
    let heard = async {
        loop {
            here.notify(Topic::Watch(1), TaskId(3));
            let hint = tokio::time::timeout(Duration::from_millis(100), listener.next()).await;
            if matches!(hint, Ok(Hint::Tasks(tasks)) if tasks.contains(&TaskId(3))) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.unwrap();
}
