//! The soak: a cluster of processes on real servers, under a mixed load and random faults, for as long as it is told to.
//!
//! Load and faults follow from a seed; when they come follows from it and from the machine. Each task's books are checked
//! against its inputs when it ends, and all at the end. A failure panics, with the seed in what it says, and keeps the logs of
//! all processes and servers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod clock;
mod dice;
mod disk;
mod faults;
mod load;
mod queues;
mod quota;
mod restores;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use test_servers::servers::{Etcd, MariaDb, Redis};

use self::clock::Clock;
use self::dice::Dice;
use self::disk::Disk;
pub use self::disk::OWN_MOUNTS;
use self::load::{Entry, GROUPS};
use self::queues::Queues;
pub use self::queues::Topology;
use crate::stage::{Network, PATIENCE, Service, Site, said, statement};

/// The roles of the processes: two of each role, some together.
const PROCESSES: [&str; 7] = [
    "manager",
    "generator,collector",
    "scheduler",
    "executor",
    "executor",
    "manager,generator,scheduler",
    "executor,collector",
];
/// The number of tasks that run at a time.
const TASKS: usize = 6;
/// The user of the database, who may write no more than anybody when it is read-only.
const USER: &str = "soak";

/// The length and the seed of a soak.
#[derive(Clone, Debug)]
pub struct Options {
    /// The time for which faults go on.
    pub span: Duration,
    /// The seed of load and faults.
    pub seed: u64,
    /// The longest that a fault lasts: an eighth of the span where it is none, ten minutes at most.
    pub longest: Option<Duration>,
    /// The topology of the servers of the queues; the seed says which where it is none.
    pub redis: Option<Topology>,
}

impl Options {
    fn topology(&self) -> Topology {
        self.redis.unwrap_or(match self.seed % 4 {
            2 => Topology::Sentinel,
            3 => Topology::Cluster,
            _ => Topology::Single,
        })
    }
}

/// Runs a soak. Where the environment names servers, and there are no programs for private ones, it does nothing, and says so.
///
/// # Panics
/// Books are wrong, a process ended by itself, or something did not come about.
pub fn run(options: &Options) {
    println!("soak: seed {}, {} s, Redis {:?}", options.seed, options.span.as_secs(), options.topology());
    let disks = [1024, 1024, 512].map(Disk::mount);
    let Some(site) = site(&disks) else { return };
    let mut soak = Soak::new(site, disks, options);
    let begin = Instant::now();
    while begin.elapsed() < options.span {
        soak.tend();
        soak.fault();
        soak.nothing_ended_by_itself();
    }
    soak.calm_down();
    println!(
        "soak: {} faults, {} tasks, {} subtasks: their books are right (seed {})",
        soak.faults, soak.checked, soak.subtasks, options.seed
    );
}

/// The settings of the database server with this number: it can be followed by others.
fn database_settings(server: u64) -> Vec<String> {
    vec![
        format!("--server-id={server}"),
        "--log-bin=binlog".to_owned(),
        "--binlog-format=ROW".to_owned(),
        "--log-slave-updates".to_owned(),
        "--skip-slave-start".to_owned(),
    ]
}

/// Private servers on these disks.
fn site(disks: &[Option<Disk>; 3]) -> Option<Site> {
    // Says why, where there are to be none.
    drop(Site::to_harm()?);
    let [etcd, sql, redis] = disks.each_ref().map(|disk| disk.as_ref().map(Disk::path));
    let etcd = Etcd::private_in(etcd, &quota::settings()).unwrap();
    let sql = MariaDb::private_in(sql, &database_settings(1)).unwrap();
    let redis = Redis::private_in(redis, &["--appendfsync", "always"]).unwrap();
    Some(Site::on(etcd, sql, redis))
}

struct Soak {
    services: Vec<Service>,
    /// By process.
    networks: Vec<Network>,
    clocks: Vec<Option<Clock>>,
    load: Vec<Entry>,
    dice: Dice,
    seed: u64,
    /// The longest that a fault lasts.
    longest: Duration,
    incarnations: usize,
    /// The number of database servers so far.
    servers: u64,
    /// True if the database may have died while its disk was full: its log then ends in the middle of an event, and no other server can
    /// follow it.
    torn: bool,
    /// The server of the queues that the present fault is about, where there are several.
    node: usize,
    faults: u64,
    checked: u64,
    subtasks: u64,
    queues: Queues,
    /// Behind the processes, as their logs are in it.
    site: Site,
    /// Last, as the servers' data are on them.
    disks: [Option<Disk>; 3],
}

impl Soak {
    fn new(mut site: Site, disks: [Option<Disk>; 3], options: &Options) -> Self {
        let allow = format!("CREATE USER {USER}@'%'; GRANT ALL ON {}.* TO {USER}@'%'", Site::DATABASE);
        statement(&site.sql.url(""), &allow);
        site.user = USER.to_owned();
        let queues = Queues::start(options.topology());
        for (variable, value) in queues.settings() {
            site.set(variable, value);
        }
        let networks = PROCESSES.iter().map(|_| site.network()).collect();
        let clocks = (0..PROCESSES.len()).map(|at| Clock::new(site.dir.path(), &at.to_string())).collect();
        let mut soak = Self {
            services: Vec::new(),
            networks,
            clocks,
            load: Vec::new(),
            dice: Dice(options.seed),
            seed: options.seed,
            longest: options.longest.unwrap_or_else(|| (options.span / 8).min(Duration::from_secs(600))),
            incarnations: 0,
            servers: 1,
            torn: false,
            node: 0,
            faults: 0,
            checked: 0,
            subtasks: 0,
            queues,
            site,
            disks,
        };
        for (at, roles) in PROCESSES.iter().enumerate() {
            let service = soak.start(at, roles);
            soak.services.push(service);
        }
        soak.services.iter().for_each(Service::until_ready);
        for group in &GROUPS[1..] {
            let out = soak.site.run(&["group", "set-quota", group, "50"]);
            assert!(out.status.success(), "{}", said(&out));
        }
        soak
    }

    fn start(&mut self, at: usize, roles: &str) -> Service {
        self.incarnations += 1;
        let mut settings = self.networks[at].settings.to_vec();
        // Several servers tell their own addresses.
        settings.extend(self.queues.settings());
        settings.extend(self.clocks[at].iter().flat_map(Clock::settings));
        self.site.start_with(&format!("p{}", self.incarnations), roles, &settings)
    }

    /// Gives a command of the cluster, and returns the document that it answers with; none where it did not succeed.
    fn command(&self, words: &[String]) -> Option<Value> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let out = self.site.dtf(&words).output().unwrap();
        if !out.status.success() {
            println!("  {}: {}", words[..2].join(" "), said(&out).lines().last().unwrap_or_default());
            return None;
        }
        serde_json::from_slice(&out.stdout).ok()
    }

    /// Looks after the load: creates what is to be created, checks what has ended, and does what users do meanwhile.
    fn tend(&mut self) {
        self.check_ended();
        while self.load.len() < TASKS {
            self.load.push(Entry::draw(&mut self.dice, self.site.dir.path()));
        }
        self.create();
        self.steer();
        if self.dice.once_in(8) {
            let group = GROUPS[self.dice.index(GROUPS.len())];
            let quota = (1 + self.dice.below(200)).to_string();
            self.command(&["group", "set-quota", group, &quota].map(str::to_owned));
        }
    }

    /// Creates the tasks whose creation has not been answered yet. What it is answered with is the same however often it is
    /// asked for.
    fn create(&mut self) {
        for at in 0..self.load.len() {
            if self.load[at].id.is_none() {
                let answer = self.command(&self.load[at].creation());
                self.load[at].id = answer.and_then(|answer| answer["task"].as_u64());
            }
        }
    }

    /// Pauses a task, lets another go on, cancels one, or does nothing.
    fn steer(&mut self) {
        for at in 0..self.load.len() {
            let Some(id) = self.load[at].id else { continue };
            let entry = &mut self.load[at];
            let word = match self.dice.below(40) {
                0..=1 if !entry.paused => "pause",
                _ if entry.paused => "resume",
                2 => "cancel",
                _ => continue,
            };
            // Without an answer a command may have been obeyed.
            entry.paused |= word == "pause";
            entry.cancelled |= word == "cancel";
            let obeyed = self.command(&["task", word, &id.to_string(), "-o", "json"].map(str::to_owned));
            if word == "resume" && obeyed.is_some() {
                self.load[at].paused = false;
            }
        }
    }

    /// Takes those tasks out of the load that have ended, and checks their books.
    fn check_ended(&mut self) {
        let mut at = 0;
        while at < self.load.len() {
            match self.ended(at) {
                None => at += 1,
                Some(row) => {
                    let entry = self.load.swap_remove(at);
                    self.check(&entry, &row);
                }
            }
        }
    }

    fn ended(&self, at: usize) -> Option<Value> {
        let id = self.load[at].id?;
        let row = self.command(&["task", "get", &id.to_string(), "-o", "json"].map(str::to_owned))?;
        (!row["finished_at"].is_null()).then_some(row)
    }

    fn check(&mut self, entry: &Entry, row: &Value) {
        if let Err(wrong) = entry.check(row) {
            panic!("seed {}: {wrong}\n{entry:?}\n{row}", self.seed);
        }
        self.checked += 1;
        self.subtasks += entry.size();
        if entry.has_failures() {
            self.load.push(entry.retry());
        } else {
            entry.forget();
        }
    }

    fn nothing_ended_by_itself(&mut self) {
        for service in &mut self.services {
            assert!(
                !service.has_ended(),
                "seed {}: {} ended by itself: {}",
                self.seed,
                service.instance,
                service.last_words()
            );
        }
    }

    /// Waits, with everything in order, until all tasks have ended with their books right.
    fn calm_down(&mut self) {
        self.services.iter().for_each(Service::until_ready);
        let calm = Instant::now();
        let (mut begin, mut before) = (calm, (self.checked, 0));
        while !self.load.is_empty() {
            self.create();
            for entry in self.load.iter().filter(|entry| entry.paused) {
                let id = entry.id.unwrap().to_string();
                self.command(&["task", "resume", &id, "-o", "json"].map(str::to_owned));
            }
            self.check_ended();
            // On a machine that others keep busy tasks take their time, and what is executed is seen.
            let now = (self.checked, self.load.iter().map(Entry::written).sum());
            if now != before {
                (begin, before) = (Instant::now(), now);
            }
            let left = &self.load;
            let goes_on = begin.elapsed() < PATIENCE && calm.elapsed() < 6 * PATIENCE;
            assert!(goes_on, "seed {}: these do not end: {left:#?}", self.seed);
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Soak {
    /// Keeps the logs when something went wrong.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.site.dir.disable_cleanup(true);
            let dir = self.site.dir.path();
            let logs = [
                ("etcd", self.site.etcd.log()),
                ("sql", self.site.sql.log()),
                ("redis", self.site.redis.log()),
            ];
            for (name, log) in logs {
                let to = dir.join(format!("server-{name}.log"));
                if let Some(Err(error)) = log.map(|log: PathBuf| std::fs::copy(log, to)) {
                    eprintln!("the log of {name} is lost: {error}");
                }
            }
            eprintln!("soak: seed {} failed; the logs are in {}", self.seed, dir.display());
        }
    }
}
