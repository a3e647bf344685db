//! A cluster of real processes on real servers, and what tests do with it.

mod network;
mod service;
mod task;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use integration_tests::servers::{Etcd, MariaDb, Redis, free_port};
use integration_tests::wire::Wire;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};
use tempfile::TempDir;

pub(crate) use self::network::Network;
pub(crate) use self::service::Service;
pub(crate) use self::task::Task;

/// How long anything may take that has to happen. Much more than it needs: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);
/// All roles.
pub(crate) const ROLES: [&str; 5] = ["manager", "generator", "scheduler", "executor", "collector"];
/// The shards of the cluster.
pub(crate) const SHARDS: u64 = 8;
/// The database.
const DATABASE: &str = "dtf";
/// How long commands wait for servers that are there: longer than a busy machine lets anybody stand. Services keep the
/// usual limits; they call again.
const PATIENT: [(&str, &str); 6] = [
    ("DTF_ETCD_CONNECT_TIMEOUT", "20s"),
    ("DTF_ETCD_REQUEST_TIMEOUT", "60s"),
    ("DTF_MYSQL_ACQUIRE_TIMEOUT", "60s"),
    ("DTF_MYSQL_CALL_TIMEOUT", "60s"),
    ("DTF_REDIS_CONNECT_TIMEOUT", "60s"),
    ("DTF_REDIS_RESPONSE_TIMEOUT", "60s"),
];

/// Waits until something holds.
pub(crate) fn until(what: &str, holds: impl FnMut() -> bool) {
    until_at_pace(Duration::from_millis(20), what, holds);
}

/// Waits until something holds that costs something to look at.
fn until_at_pace(pause: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "it did not come about that {what}");
        std::thread::sleep(pause);
    }
}

/// Private servers, and where everything is kept.
pub(crate) struct Site {
    pub(crate) etcd: Etcd,
    pub(crate) sql: MariaDb,
    pub(crate) redis: Redis,
    /// Settings besides the usual ones, and instead of them, as variables.
    pub(crate) further: Vec<(String, String)>,
    pub(crate) dir: TempDir,
}

impl Site {
    /// None where the environment names servers, which are not to be harmed, and there are no programs for private ones.
    pub(crate) fn to_harm() -> Option<Self> {
        let (Some(etcd), Some(sql)) = (Etcd::to_harm().unwrap(), MariaDb::to_harm().unwrap()) else {
            return None;
        };
        Redis::to_harm().unwrap()?;
        // Every write is on disk when it is answered, so nothing is forgotten when it is killed.
        let redis = Redis::private_with(&["--appendfsync", "always"]).unwrap();
        Some(Self::on(etcd, sql, redis))
    }

    /// With these servers.
    pub(crate) fn on(etcd: Etcd, sql: MariaDb, redis: Redis) -> Self {
        // A server that needs TLS is spoken to so; the others have none.
        statement(&sql.url(""), &format!("CREATE DATABASE {DATABASE}"));
        Self { etcd, sql, redis, further: Vec::new(), dir: tempfile::tempdir().unwrap() }
    }

    /// The processes keep their sessions however long the machine lets them stand: for tests that wait for the end of none.
    pub(crate) fn with_long_sessions(mut self) -> Self {
        self.set("DTF_MEMBERSHIP_TTL", "120s");
        self.set("DTF_MEMBERSHIP_MARGIN", "30s");
        self
    }

    /// From now on the processes have this setting.
    pub(crate) fn set(&mut self, variable: &str, value: impl Into<String>) {
        self.further.push((variable.to_owned(), value.into()));
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The command, with the settings of the cluster.
    pub(crate) fn dtf(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dtf-books"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DTF_") {
                command.env_remove(name);
            }
        }
        let settings = [
            ("DTF_ETCD_ENDPOINTS", self.etcd.url()),
            ("DTF_MYSQL_URL", self.sql.url(DATABASE)),
            ("DTF_REDIS_URL", self.redis.url()),
            ("DTF_REDIS_REQUIRE_AOF", "true".to_owned()),
            ("DTF_MEMBERSHIP_TTL", "5s".to_owned()),
            ("DTF_MEMBERSHIP_MARGIN", "2s".to_owned()),
            ("DTF_SHAPE_WATCH_BUCKETS", "2".to_owned()),
            ("DTF_SHAPE_GENERATION_BUCKETS", "2".to_owned()),
            ("DTF_SHAPE_SHARDS", SHARDS.to_string()),
            ("DTF_SHAPE_COLLECTION_BUCKETS", "2".to_owned()),
            ("DTF_EXECUTOR_SLOTS", "8".to_owned()),
            ("DTF_EXECUTOR_WINDOW", "4".to_owned()),
            ("DTF_LOG_FORMAT", "json".to_owned()),
        ];
        command
            .args(args)
            .envs(settings)
            .envs(self.further.iter().cloned())
            .stdin(Stdio::null())
            .current_dir(self.dir.path());
        command
    }

    /// Runs a command that finds its servers, or is refused by them at once.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.dtf(args).envs(PATIENT).output().unwrap()
    }

    /// Starts a service and does not wait for it.
    pub(crate) fn start(&self, instance: &str, roles: &str) -> Service {
        self.start_with(instance, roles, &[])
    }

    /// Starts a service with further settings, as variables, and does not wait for it.
    pub(crate) fn start_with(&self, instance: &str, roles: &str, settings: &[(&str, String)]) -> Service {
        let address = format!("127.0.0.1:{}", free_port().unwrap());
        let mut command = self.service(instance, roles, &address);
        command.envs(settings.iter().cloned());
        Service::started(command, instance, roles, address, self.log(instance))
    }

    /// Starts a service behind a wire and does not wait for it.
    pub(crate) fn start_behind(&self, wire: &Wire, instance: &str, roles: &str) -> Service {
        let address = format!("{}:{}", Wire::OWN, free_port().unwrap());
        let ask = wire.lead(&self.dtf(&["health", "-o", "json", "--http-listen", &address]));
        let command = wire.lead(&self.service(instance, roles, &address));
        Service::started(command, instance, roles, address, self.log(instance)).asked_by(ask)
    }

    fn service(&self, instance: &str, roles: &str, address: &str) -> Command {
        self.dtf(&["serve", "--role", roles, "--instance", instance, "--http-listen", address])
    }

    fn log(&self, instance: &str) -> PathBuf {
        self.file(&format!("{instance}.log"))
    }

    /// Starts a service and waits until it is ready.
    pub(crate) fn serve(&self, instance: &str, roles: &str) -> Service {
        let service = self.start(instance, roles);
        service.until_ready();
        service
    }

    /// Starts a service for each role and waits until all are ready.
    pub(crate) fn one_of_each(&self) -> Vec<Service> {
        let started: Vec<_> = ROLES.iter().map(|role| self.start(&format!("{role}-1"), role)).collect();
        for service in &started {
            service.until_ready();
        }
        started
    }

    /// Changes something in the database by hand.
    pub(crate) fn change(&self, sql: &str) {
        statement(&self.sql.url(DATABASE), sql);
    }
}

/// Gives a database a statement, over TLS where it can be had.
pub(crate) fn statement(url: &str, sql: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options: MySqlConnectOptions = url.parse().unwrap();
        let mut connection = options.connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    });
}

/// What a command says to people.
pub(crate) fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// The one line of a command that is refused, with these variables.
pub(crate) fn refused(site: &Site, args: &[&str], variables: &[(&str, String)]) -> String {
    let out = site.dtf(args).envs(variables.iter().cloned()).output().unwrap();
    let said = said(&out);
    assert_eq!(out.status.code(), Some(1), "{said}");
    let mut lines = said.lines().filter(|line| line.starts_with("dtf: "));
    let line = lines.next().unwrap().to_owned();
    assert_eq!(lines.next(), None, "{said}");
    line
}
