//! A cluster of real processes on real servers, and what tests do with it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod network;
mod service;
mod task;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use etcd_client::{AlarmAction, AlarmOptions, AlarmType, Client};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};
use tempfile::TempDir;
use test_servers::servers::{Etcd, MariaDb, Redis, free_port};
use test_servers::wire::Wire;

pub use self::network::Network;
pub use self::service::Service;
pub use self::task::Task;

/// The time limit of anything that has to happen. Much more than it needs: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// All roles.
pub const ROLES: [&str; 5] = ["manager", "generator", "scheduler", "executor", "collector"];
/// The shards of the cluster.
pub const SHARDS: u64 = 8;
/// The name that the program goes by when it is the `dtf` command with the books.
const PROGRAM: &str = "dtf-books";
/// The time that commands wait for servers that are there: longer than a busy machine stands still. Services keep the usual
/// limits; they call again.
const PATIENT: [(&str, &str); 6] = [
    ("DTF_ETCD_CONNECT_TIMEOUT", "20s"),
    ("DTF_ETCD_REQUEST_TIMEOUT", "60s"),
    ("DTF_MYSQL_ACQUIRE_TIMEOUT", "60s"),
    ("DTF_MYSQL_CALL_TIMEOUT", "60s"),
    ("DTF_REDIS_CONNECT_TIMEOUT", "60s"),
    ("DTF_REDIS_RESPONSE_TIMEOUT", "60s"),
];

/// Waits until something holds.
pub fn until(what: &str, holds: impl FnMut() -> bool) {
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
pub struct Site {
    /// The store of the groups.
    pub etcd: Etcd,
    /// The store of the tasks.
    pub sql: MariaDb,
    /// The store of the queues.
    pub redis: Redis,
    /// The user that the processes are to the database.
    pub user: String,
    /// Settings besides the usual ones, and instead of them, as variables.
    pub further: Vec<(String, String)>,
    /// The directory of its files, and of the processes.
    pub dir: TempDir,
}

impl Site {
    /// The database.
    pub const DATABASE: &str = "dtf";

    /// None where the environment names servers, which are not to be harmed, and there are no programs for private ones.
    pub fn to_harm() -> Option<Self> {
        let (Some(etcd), Some(sql)) = (Etcd::to_harm().unwrap(), MariaDb::to_harm().unwrap()) else {
            return None;
        };
        Redis::to_harm().unwrap()?;
        // Every write is on disk when it is answered, so nothing is forgotten when it is killed.
        let redis = Redis::private_with(&["--appendfsync", "always"]).unwrap();
        Some(Self::on(etcd, sql, redis))
    }

    /// With these servers.
    pub fn on(etcd: Etcd, sql: MariaDb, redis: Redis) -> Self {
        // A server that needs TLS is spoken to so; the others have none.
        statement(&sql.url(""), &format!("CREATE DATABASE {}", Self::DATABASE));
        let (user, further) = ("root".to_owned(), Vec::new());
        Self { etcd, sql, redis, user, further, dir: tempfile::tempdir().unwrap() }
    }

    /// The processes keep their sessions however long the machine lets them stand: for tests that wait for the end of none.
    pub fn with_long_sessions(mut self) -> Self {
        self.set("DTF_MEMBERSHIP_TTL", "120s");
        self.set("DTF_MEMBERSHIP_MARGIN", "30s");
        self
    }

    /// From now on the processes have this setting.
    pub fn set(&mut self, variable: &str, value: impl Into<String>) {
        self.further.push((variable.to_owned(), value.into()));
    }

    /// A file of this name in its directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The command, with the settings of the cluster.
    pub fn dtf(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg0(PROGRAM);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DTF_") {
                command.env_remove(name);
            }
        }
        let settings = [
            ("DTF_ETCD_ENDPOINTS", self.etcd.url()),
            ("DTF_MYSQL_URL", self.database()),
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

    /// Returns the URL of the database, as the processes use it.
    pub fn database(&self) -> String {
        self.sql.url(Self::DATABASE).replace("//root@", &format!("//{}@", self.user))
    }

    /// Runs a command that finds its servers, or is refused by them at once.
    pub fn run(&self, args: &[&str]) -> Output {
        self.dtf(args).envs(PATIENT).output().unwrap()
    }

    /// Starts a service and does not wait for it.
    pub fn start(&self, instance: &str, roles: &str) -> Service {
        self.start_with(instance, roles, &[])
    }

    /// Starts a service with further settings, as variables, and does not wait for it.
    pub fn start_with(&self, instance: &str, roles: &str, settings: &[(&str, String)]) -> Service {
        let address = format!("127.0.0.1:{}", free_port().unwrap());
        let mut command = self.service(instance, roles, &address);
        command.envs(settings.iter().cloned());
        Service::started(command, instance, roles, address, self.log(instance))
    }

    /// Starts a service behind a wire and does not wait for it.
    pub fn start_behind(&self, wire: &Wire, instance: &str, roles: &str) -> Service {
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
    pub fn serve(&self, instance: &str, roles: &str) -> Service {
        let service = self.start(instance, roles);
        service.until_ready();
        service
    }

    /// Starts a service for each role and waits until all are ready.
    pub fn one_of_each(&self) -> Vec<Service> {
        let started: Vec<_> = ROLES.iter().map(|role| self.start(&format!("{role}-1"), role)).collect();
        for service in &started {
            service.until_ready();
        }
        started
    }

    /// Changes something in the database by hand.
    pub fn change(&self, sql: &str) {
        statement(&self.sql.url(Self::DATABASE), sql);
    }
}

/// Gives a database a statement, over TLS where it can be had.
pub fn statement(url: &str, sql: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options: MySqlConnectOptions = url.parse().unwrap();
        let mut connection = options.connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    });
}

/// Raises the alarm of an etcd that has no space left, with which it refuses writes, or takes it back.
pub fn let_etcd_refuse(url: &str, refuse: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let action = if refuse { AlarmAction::Activate } else { AlarmAction::Deactivate };
    runtime.block_on(async {
        let mut client = Client::connect([url], None).await.unwrap();
        let member = client.status().await.unwrap().leader();
        let mut options = AlarmOptions::new();
        options.with_member(member);
        client.alarm(action, AlarmType::Nospace, Some(options)).await.unwrap();
    });
}

/// The number that a database answers a query with; none where it answers with NULL.
pub fn answer(url: &str, sql: &str) -> Option<u64> {
    said_by(url, sql).and_then(|said| said.parse().ok())
}

/// The first column of the first row that a database answers a query with, as text.
pub fn said_by(url: &str, sql: &str) -> Option<String> {
    let sql = format!("SELECT CAST(({sql}) AS CHAR)");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options: MySqlConnectOptions = url.parse().unwrap();
        let mut connection = options.connect().await.unwrap();
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut connection).await.unwrap()
    })
}

/// Says whether this process was started to be the `dtf` command with the books.
pub fn is_dtf_books() -> bool {
    std::env::args_os().next().is_some_and(|name| Path::new(&name).file_name() == Some(PROGRAM.as_ref()))
}

/// The program that the processes run: the soak runs itself, tests find it beside them or, as theirs are in `deps`, above.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    if own.file_name() == Some("soak".as_ref()) {
        return own;
    }
    let mut places = own.ancestors().skip(1).take(2).map(|dir| dir.join(PROGRAM));
    places.find(|place| place.is_file()).unwrap()
}

/// Returns the words of a command for people.
pub fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// The one line of a command that is refused, with these variables.
pub fn refused(site: &Site, args: &[&str], variables: &[(&str, String)]) -> String {
    let out = site.dtf(args).envs(variables.iter().cloned()).output().unwrap();
    let said = said(&out);
    assert_eq!(out.status.code(), Some(1), "{said}");
    let mut lines = said.lines().filter(|line| line.starts_with("dtf: "));
    let line = lines.next().unwrap().to_owned();
    assert_eq!(lines.next(), None, "{said}");
    line
}
