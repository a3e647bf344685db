//! All roles on a real etcd, a real MariaDB or MySQL, and a real Redis or Valkey.

#[path = "../../../dtf/examples/sample.rs"]
#[expect(dead_code, reason = "the example's own main is not run here")]
mod sample;

use std::time::Duration;

use dtf::lrmf::CoordinatorConfig;
use dtf::model::{ClusterShape, TaskParam, TaskStatus};
use dtf::servers::{Servers, ports};
use dtf::tasks::NOOP;
use dtf::tasks::noop::{Noop, NoopParam};
use dtf::{Dtf, DtfConfig, TaskHandle};
use dtf_redis::RedisConfig;
use dtf_sql::SqlConfig;
use lrmf_etcd::EtcdConfig;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};
use test_servers::servers::{Etcd, MariaDb, Redis};

/// Longer than a busy machine lets anybody stand.
const PATIENCE: Duration = Duration::from_secs(60);

/// Servers, and a name that no other test has used on them.
struct Site {
    etcd: Etcd,
    sql: MariaDb,
    redis: Redis,
    name: String,
}

impl Site {
    async fn new() -> Self {
        let name = format!("t{}", uuid::Uuid::new_v4().simple());
        let etcd = Etcd::get().expect("etcd starts");
        let sql = MariaDb::get().expect("MariaDB starts");
        let redis = Redis::get().expect("Redis starts");
        let options: MySqlConnectOptions = sql.url("").parse().expect("the URL is valid");
        let mut connection = options.connect().await.expect("MariaDB answers");
        let statement = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::raw_sql(statement).execute(&mut connection).await.expect("the name is new");
        Self { etcd, sql, redis, name }
    }

    /// A process with all roles.
    async fn start(&self, instance: &str) -> Dtf {
        let url = self.sql.url(&self.name);
        let key_prefix = format!("{}.", self.name);
        let servers = Servers {
            etcd: EtcdConfig { request_timeout: PATIENCE, ..EtcdConfig::new([self.etcd.url()]) },
            sql: SqlConfig { url, acquire_timeout: PATIENCE, call_timeout: PATIENCE, ..SqlConfig::default() },
            redis: RedisConfig {
                url: self.redis.url(),
                key_prefix,
                response_timeout: PATIENCE,
                ..RedisConfig::default()
            },
        };
        let membership = CoordinatorConfig { settle: Duration::ZERO, ..CoordinatorConfig::default() };
        let shape = ClusterShape {
            watch_buckets: 4,
            generation_buckets: 4,
            shards: 8,
            collection_buckets: 4,
            ..ClusterShape::default()
        };
        let (cluster, instance) = (self.name.clone(), instance.to_owned());
        let config = DtfConfig { cluster, instance, shape, membership, ..DtfConfig::default() };
        let builder = Dtf::builder(ports(servers).await.expect("the servers are there")).config(config);
        let registered = builder.register_task_type(Noop::registration()).expect("the type is new");
        let registered = registered.register_task_type(sample::registration()).expect("the type is new");
        let dtf = registered.build().expect("the settings are in range");
        dtf.start_all().await.expect("the groups can be joined");
        dtf
    }
}

async fn create(dtf: &Dtf, param: NoopParam) -> TaskHandle {
    let param = TaskParam { type_param: param.to_json(), ..TaskParam::default() };
    dtf.client().create_task(NOOP, param).await.expect("the task is valid")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_runs_through_all_roles_and_is_counted_once() {
    let site = Site::new().await;
    let dtf = site.start("a").await;
    let task = create(&dtf, NoopParam { failure_rate: 0.01, body_bytes: 64, ..NoopParam::new(50_000) }).await;
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.created), (TaskStatus::Completed, 50_000), "{}", row.reason);
    assert_eq!(row.counts.succeeded + row.counts.failed, 50_000);
    assert!(row.counts.failed > 0);
    let data = row.result.expect("the collector summed up").data;
    assert_eq!(data["failed_items"], row.counts.failed);
    dtf.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_of_the_original_runs_on_servers() {
    let site = Site::new().await;
    let dtf = site.start("a").await;
    let row = sample::create_task(&dtf).await.unwrap().wait().await.unwrap();
    assert_eq!((row.status, row.counts.succeeded), (TaskStatus::Completed, 1000), "{}", row.reason);
    let result = row.result.expect("the collector summed up");
    assert_eq!((result.reason.as_str(), result.data), ("1000 greetings", 1000.into()));
    // Whoever waits for the process to end does so until its roles have ended.
    tokio::join!(dtf.notify_stop(Duration::from_millis(10)), dtf.join());
    let asked = dtf.member(dtf::model::Role::Manager).await;
    assert!(asked.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_is_killed_in_mid_task_and_the_other_one_finishes_it() {
    let site = Site::new().await;
    let (first, second) = (site.start("a").await, site.start("b").await);
    let task = create(&second, NoopParam { sleep_ms: 2, ..NoopParam::new(4000) }).await;
    while task.status().await.unwrap().progress().succeeded < 500 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    first.kill().await;
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.created, row.counts.succeeded), (TaskStatus::Completed, 4000, 4000));
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_task_is_cancelled() {
    let site = Site::new().await;
    let dtf = site.start("a").await;
    let task = create(&dtf, NoopParam { sleep_ms: 60_000, ..NoopParam::new(1000) }).await;
    while task.status().await.unwrap().progress().running == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    task.cancel().await.unwrap();
    let row = task.wait().await.unwrap();
    assert_eq!((row.status, row.counts.cancelled), (TaskStatus::Cancelled, 1000));
    dtf.stop().await;
}
