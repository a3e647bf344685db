//! A cluster of real processes on real servers, and what tests do with it.

#![allow(dead_code, reason = "every test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use integration_tests::books::{BooksParam, Told, begun, executed, let_go};
use integration_tests::proxy::{Passage, Proxy};
use integration_tests::servers::{Etcd, MariaDb, Redis, free_port};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions};
use tempfile::TempDir;

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

    /// Ways of its own to the servers, which can be cut, for one process.
    pub(crate) fn network(&self) -> Network {
        let to = |url: &str| {
            let place = url.split_once("://").unwrap().1.trim_end_matches('/');
            let place = place.rsplit('@').next().unwrap().split('/').next().unwrap();
            (Proxy::to(place).unwrap(), place.to_owned())
        };
        let (etcd, sql, redis) = (self.etcd.url(), self.sql.url(DATABASE), self.redis.url());
        let ((to_etcd, at_etcd), (to_sql, at_sql), (to_redis, at_redis)) = (to(&etcd), to(&sql), to(&redis));
        let settings = [
            ("DTF_ETCD_ENDPOINTS", etcd.replace(&at_etcd, &to_etcd.address())),
            ("DTF_MYSQL_URL", sql.replace(&at_sql, &to_sql.address())),
            ("DTF_REDIS_URL", redis.replace(&at_redis, &to_redis.address())),
        ];
        Network { ways: [to_etcd, to_sql, to_redis], settings }
    }

    /// Starts a service with further settings, as variables, and does not wait for it.
    pub(crate) fn start_with(&self, instance: &str, roles: &str, settings: &[(&str, String)]) -> Service {
        let port = free_port().unwrap();
        let listen = format!("127.0.0.1:{port}");
        let log = self.file(&format!("{instance}.log"));
        let to = File::options().create(true).append(true).open(&log).unwrap();
        let mut command =
            self.dtf(&["serve", "--role", roles, "--instance", instance, "--http-listen", &listen]);
        let child = command.envs(settings.iter().cloned()).stdout(Stdio::null()).stderr(to).spawn().unwrap();
        Service { child, port, instance: instance.to_owned(), roles: roles.to_owned(), log }
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

    /// Creates a task.
    pub(crate) fn submit(&self, count: u64, sleep_ms: u64, more: &[&str]) -> Task {
        self.submit_with(count, sleep_ms, |_| {}, more)
    }

    /// Creates a task with other parameters besides.
    pub(crate) fn submit_with(
        &self,
        count: u64,
        sleep_ms: u64,
        change: impl FnOnce(&mut BooksParam),
        more: &[&str],
    ) -> Task {
        let file = self.file(&format!("executed-{}", uuid::Uuid::new_v4()));
        let mut param = BooksParam {
            count,
            sleep_ms,
            file: file.clone(),
            rounds: 0,
            fatal: None,
            keys: None,
            held: false,
        };
        change(&mut param);
        let held = param.held;
        let param = serde_json::to_string(&param).unwrap();
        let out = self.run(&[&["task", "submit", "books", "--param", &param, "-o", "json"], more].concat());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let answer: Value = serde_json::from_slice(&out.stdout).unwrap();
        Task { id: answer["task"].as_u64().unwrap(), count, free: count - u64::from(held), file }
    }

    /// Changes something in the database by hand.
    pub(crate) fn change(&self, sql: &str) {
        statement(&self.sql.url(DATABASE), sql);
    }

    /// Waits for a task's end by looking at it again and again, as watching is a test of its own.
    pub(crate) fn until_ended(&self, task: &Task) -> Value {
        self.until_row(task, "it has ended", |row| !row["finished_at"].is_null())
    }

    /// Waits until a task is shown as wanted.
    pub(crate) fn until_row(&self, task: &Task, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut row = Value::Null;
        let what = format!("task {} ({} of {} executed): {what}", task.id, task.executed(), task.count);
        until_at_pace(Duration::from_millis(200), &what, || {
            let out = self.run(&["task", "get", &task.id.to_string(), "-o", "json"]);
            row = serde_json::from_slice(&out.stdout).unwrap_or_default();
            holds(&row)
        });
        row
    }

    /// Waits for a task's end and looks whether the books are right: every number executed, told once, counted once.
    pub(crate) fn balance(&self, task: &Task) {
        task.is_let_go();
        let row = self.until_ended(task);
        assert_eq!(row["status"], "completed", "{row}");
        let mut numbers = executed(&task.file).unwrap();
        let times = numbers.len() as u64;
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers, (0..task.count).collect::<Vec<_>>(), "{row}");
        let counts = &row["counts"];
        assert_eq!(
            (counts["created"].as_u64(), counts["succeeded"].as_u64()),
            (Some(task.count), Some(task.count)),
            "{row}"
        );
        let told: Told = serde_json::from_value(row["result"]["data"].clone()).unwrap();
        assert_eq!(told, Told::once_each(task.count));
        println!("task {}: {} subtasks, executed {times} times", task.id, task.count);
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

/// The ways of a process to etcd, the database and Redis.
pub(crate) struct Network {
    pub(crate) ways: [Proxy; 3],
    /// What makes a process take these ways.
    pub(crate) settings: [(&'static str, String); 3],
}

impl Network {
    /// From now on this passes to and from all servers.
    pub(crate) fn let_pass(&self, passage: Passage) {
        self.ways.iter().for_each(|way| way.let_pass(passage));
    }
}

/// A task that was created.
pub(crate) struct Task {
    pub(crate) id: u64,
    pub(crate) count: u64,
    /// How many are not held.
    free: u64,
    file: PathBuf,
}

impl Task {
    /// What is not in order among the executions, where there are so many keys.
    pub(crate) fn out_of_order(&self, keys: u64) -> Vec<String> {
        integration_tests::books::out_of_order(&self.file, keys).unwrap()
    }

    /// How many executions there were.
    pub(crate) fn executed(&self) -> u64 {
        std::fs::metadata(&self.file).map_or(0, |file| file.len() / 8)
    }

    /// How many executions have begun.
    pub(crate) fn begun(&self) -> u64 {
        std::fs::metadata(begun(&self.file)).map_or(0, |file| file.len())
    }

    /// From now on it can end, if it was held.
    fn is_let_go(&self) {
        File::create(let_go(&self.file)).unwrap();
    }

    /// Waits until there were so many more executions, or the task cannot have any more.
    pub(crate) fn goes_on(&self, by: u64) {
        let goal = (self.executed() + by).min(self.free);
        until(&format!("task {} goes on to {goal}", self.id), || self.executed() >= goal);
    }
}

/// A process with some roles.
pub(crate) struct Service {
    child: Child,
    port: u16,
    pub(crate) instance: String,
    pub(crate) roles: String,
    log: PathBuf,
}

impl Service {
    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its pages are, `host:port`.
    pub(crate) fn listens_at(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// One of its pages; none where it does not answer.
    pub(crate) fn page(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    }

    /// What its health page says; none where it does not answer.
    pub(crate) fn report(&self) -> Option<Value> {
        serde_json::from_str(&self.page("/ready")?).ok()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.report().is_some_and(|report| report["ready"] == true)
    }

    /// How many parts of all its roles it holds.
    pub(crate) fn parts(&self) -> u64 {
        let report = self.report().unwrap_or_default();
        report["roles"]
            .as_array()
            .map_or(0, |roles| roles.iter().filter_map(|role| role["parts"].as_u64()).sum())
    }

    pub(crate) fn until_it_answers(&self) {
        until(&format!("{} answers", self.instance), || self.report().is_some());
    }

    pub(crate) fn until_ready(&self) {
        until(&format!("{} is ready: {}", self.instance, self.last_words()), || {
            assert!(!self.is_over(), "{} ended instead of becoming ready", self.instance);
            self.is_ready()
        });
    }

    /// Whether it has ended and waits for being asked how.
    fn is_over(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Tells it to end, and waits until it has, in good order.
    pub(crate) fn ends_well(&mut self) {
        self.signal(Signal::TERM);
        self.has_ended_with(0);
    }

    /// Waits until it has ended, with this code.
    pub(crate) fn has_ended_with(&mut self, code: i32) {
        let mut status = None;
        until(&format!("{} ends", self.instance), || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(
            status.and_then(|status| status.code()),
            Some(code),
            "{}: {}",
            self.instance,
            self.last_words()
        );
    }

    /// All that it has logged.
    pub(crate) fn whole_log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn last_words(&self) -> String {
        tail(&self.log)
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

impl Drop for Service {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} ({}) said last:\n{}", self.instance, self.roles, self.last_words());
        }
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
