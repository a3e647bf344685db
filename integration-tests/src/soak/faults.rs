//! The faults, each of which is over when its function returns.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use test_servers::proxy::Passage;
use test_servers::servers::{MariaDb, Redis};

use super::disk::Disk;
use super::{Soak, database_settings, quota};
use crate::stage::{answer, let_etcd_refuse, said_by, statement, until};

/// The ways of a process: to etcd, the database, Redis.
const WAYS: usize = 3;
/// The most seconds by which a clock is wrong.
const WRONG: u64 = 600;

/// Does the same to one of the servers.
macro_rules! server {
    ($soak:ident, $which:expr, $act:ident) => {
        match $which {
            0 => $soak.site.etcd.$act().unwrap(),
            1 => $soak.site.sql.$act().unwrap(),
            _ => $soak.queues.server(&mut $soak.site.redis, $soak.node).$act().unwrap(),
        }
    };
}

impl Soak {
    /// Makes one fault, of whatever kind.
    pub(super) fn fault(&mut self) {
        let (at, which) = (self.dice.index(self.services.len()), self.dice.below(3));
        let what = self.dice.below(32);
        self.node = self.dice.index(6);
        let begin = Instant::now();
        match what {
            0..=3 => self.kill_process(at),
            4..=5 => self.replace_process(at),
            6..=7 => self.stop_process(at),
            8 => self.cut(at, 0..WAYS, Passage::Nothing),
            9 => self.cut(at, 0..WAYS, Passage::Questions),
            10 => {
                let way = self.dice.index(WAYS);
                self.cut(at, way..way + 1, Passage::Nothing);
            }
            11..=13 => self.kill_server(which),
            14..=15 => self.stop_server(which),
            16 => self.slow_server(which),
            17 => self.slow_disk(which),
            18 => self.fill_redis(),
            19 => self.fill_etcd(),
            20 => self.make_database_read_only(),
            21 => self.break_connections(),
            22..=23 => self.move_redis(),
            24..=25 => self.step_clock(at),
            26..=27 => self.move_database(),
            28..=29 => self.fill_disk(which),
            // What becomes of a Redis that is several servers is the same as of one.
            30 if self.queues.may_forget() => self.restore(which % 2),
            30 => self.restore(which),
            _ => self.use_up_quota(),
        }
        self.faults += 1;
        let (process, took) = (&self.services[at], begin.elapsed().as_secs_f32());
        println!(
            "fault {what} (process {} {}, server {which}): {took:.1} s",
            process.instance, process.roles
        );
    }

    /// Waits for as long as a fault lasts, while users go on.
    pub(super) fn endure(&mut self) {
        let begin = Instant::now();
        let length = self.dice.length(self.longest);
        if self.dice.once_in(3) {
            self.create();
            self.steer();
        }
        std::thread::sleep(length.saturating_sub(begin.elapsed()));
    }

    fn kill_process(&mut self, at: usize) {
        self.services[at].kill();
        self.endure();
        self.begin_again(at);
    }

    fn replace_process(&mut self, at: usize) {
        // A process that has only just begun does not listen to signals yet.
        self.services[at].until_it_answers();
        self.services[at].ends_well();
        self.begin_again(at);
    }

    pub(super) fn begin_again(&mut self, at: usize) {
        let roles = self.services[at].roles.clone();
        self.services[at] = self.start(at, &roles);
    }

    fn stop_process(&mut self, at: usize) {
        self.services[at].signal(Signal::STOP);
        self.oversleep();
        self.endure();
        self.oversleep();
        self.services[at].signal(Signal::CONT);
    }

    /// From now on what the present tasks execute may be written down at any time, or again.
    pub(super) fn oversleep(&mut self) {
        self.load.iter_mut().for_each(|entry| entry.overslept = true);
    }

    /// Another Redis may have taken over meanwhile, without the last writes of the one before.
    fn may_have_forgotten(&mut self, which: u64) {
        if which > 1 && self.queues.may_forget() {
            self.queues.until_settled();
            self.oversleep();
        }
    }

    /// Cuts some of a process's ways.
    fn cut(&mut self, at: usize, ways: std::ops::Range<usize>, passage: Passage) {
        self.networks[at].ways[ways].iter().for_each(|way| way.let_pass(passage));
        self.endure();
        self.networks[at].let_pass(Passage::Open);
    }

    fn kill_server(&mut self, which: u64) {
        server!(self, which, kill);
        self.endure();
        server!(self, which, restart);
        self.may_have_forgotten(which);
    }

    fn stop_server(&mut self, which: u64) {
        server!(self, which, stop);
        self.endure();
        server!(self, which, cont);
        self.may_have_forgotten(which);
    }

    /// Lets a server stand again and again, as one does whose machine is busy.
    fn slow_server(&mut self, which: u64) {
        for _ in 0..10 + self.dice.below(20) {
            let pause = Duration::from_millis(20 + self.dice.below(400));
            server!(self, which, stop);
            std::thread::sleep(pause);
            server!(self, which, cont);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Delays each flush of a server's files, as a slow disk does.
    fn slow_disk(&mut self, which: u64) {
        let pid: u32 = server!(self, which, pid);
        let inject = format!("inject=fsync,fdatasync:delay_enter={}ms", 20 + self.dice.below(400));
        let mut strace = Command::new("strace");
        strace.args(["-f", "-q", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", &inject]);
        let traced = strace.args(["-p", &pid.to_string()]).stderr(Stdio::null()).spawn();
        let Ok(mut tracer) = traced else {
            println!("no disk is slow, as strace is not installed");
            return self.slow_server(which);
        };
        self.endure();
        if tracer.try_wait().unwrap().is_some() {
            println!("no disk was slow, as strace may not attach to other processes here");
            return;
        }
        kill_process(Pid::from_child(&tracer), Signal::INT).unwrap();
        tracer.wait().unwrap();
        self.may_have_forgotten(which);
    }

    /// Lets Redis take no more, as when its memory is full.
    fn fill_redis(&mut self) {
        for (limit, is_last) in [("1", false), ("0", true)] {
            for server in self.queues.servers(&mut self.site.redis) {
                server.ask(&["CONFIG", "SET", "maxmemory", limit]).unwrap();
            }
            if !is_last {
                self.endure();
            }
        }
    }

    /// Lets etcd take no more, as when its quota is used up.
    fn fill_etcd(&mut self) {
        let_etcd_refuse(&self.site.etcd.url(), true);
        self.endure();
        let_etcd_refuse(&self.site.etcd.url(), false);
    }

    fn make_database_read_only(&mut self) {
        let url = self.site.sql.url("");
        statement(&url, "SET GLOBAL read_only = 1");
        self.endure();
        statement(&url, "SET GLOBAL read_only = 0");
    }

    /// Ends all connections to the database and to Redis, on the servers' side.
    fn break_connections(&mut self) {
        statement(&self.site.sql.url(""), &format!("KILL CONNECTION USER {}", self.site.user));
        for server in self.queues.servers(&mut self.site.redis) {
            for kind in ["normal", "pubsub"] {
                server.ask(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]).unwrap();
            }
        }
    }

    /// Makes another Redis the master and leads the address there, as a planned failover does: connections stay open, and the server
    /// that they lead to has become a replica. Nothing is lost, as writes are paused until the other one has everything.
    fn move_redis(&mut self) {
        if self.queues.fail_over(&mut self.dice) {
            self.endure();
            self.may_have_forgotten(2);
            return;
        }
        let second = Redis::private_in(self.disk(2), &["--appendfsync", "always"]).unwrap();
        let first = &self.site.redis;
        follow(&second, first);
        first.ask(&["CLIENT", "PAUSE", "60000", "WRITE"]).unwrap();
        until("the replica has everything", || {
            info(&second, "slave_repl_offset") == info(first, "master_repl_offset")
        });
        second.ask(&["REPLICAOF", "NO", "ONE"]).unwrap();
        let place = place(&second);
        self.networks.iter().for_each(|network| network.ways[WAYS - 1].lead_to(&place));
        follow(first, &second);
        let first = std::mem::replace(&mut self.site.redis, second);
        first.ask(&["CLIENT", "UNPAUSE"]).unwrap();
        self.endure();
        // Now it is taken away.
        drop(first);
    }

    /// Makes another database server the one that is written to and leads the address there, as a planned failover does: the first one
    /// stays, read-only, with all connections to it.
    fn move_database(&mut self) {
        if self.torn {
            println!(
                "no database is moved, as a full disk may have torn the log that another one would follow"
            );
            return;
        }
        self.servers += 1;
        let second = MariaDb::private_in(self.disk(1), &database_settings(self.servers)).unwrap();
        let (from, to) = (self.site.sql.url(""), second.url(""));
        let port = from.trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
        let follow =
            format!("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={port}, MASTER_USER='root'");
        statement(&to, &follow);
        statement(&to, "START SLAVE");
        let follows = |to: &str| {
            let at = said_by(&from, "SELECT @@gtid_binlog_pos").unwrap();
            answer(to, &format!("SELECT MASTER_GTID_WAIT('{at}', 10)")) == Some(0)
        };
        until("the other database has nearly everything", || follows(&to));
        statement(&from, "SET GLOBAL read_only = 1");
        until("the other database has everything", || follows(&to));
        statement(&to, "STOP SLAVE");
        statement(&to, "RESET SLAVE ALL");
        let place = to.trim_end_matches('/').rsplit('@').next().unwrap().to_owned();
        self.networks.iter().for_each(|network| network.ways[1].lead_to(&place));
        let first = std::mem::replace(&mut self.site.sql, second);
        self.endure();
        drop(first);
    }

    /// Fills the disk of a server. Servers that end for it are started again once there is room.
    fn fill_disk(&mut self, which: u64) {
        // The servers of a topology of several have no disks of their own.
        let which = if which > 1 && self.queues.may_forget() { 1 } else { which };
        let Some(disk) = &self.disks[which as usize] else {
            println!(
                "no disk is filled, as this process has no mounts of its own (run the program soak as root)"
            );
            return;
        };
        disk.fill();
        self.torn |= which == 1;
        self.endure();
        if let Some(disk) = &self.disks[which as usize] {
            disk.free();
        }
        server!(self, which, revive);
    }

    /// The directory of a server's disk, where it has one.
    fn disk(&self, which: usize) -> Option<&Path> {
        self.disks[which].as_ref().map(Disk::path)
    }

    /// Uses up the quota of etcd, so that it takes no more; then what used it up is deleted, the history of the records with it.
    fn use_up_quota(&mut self) {
        let url = self.site.etcd.url();
        quota::use_up(&url);
        self.endure();
        quota::free(&url);
        let_etcd_refuse(&url, false);
    }

    /// Puts a process's wall clock wrong, and right again.
    fn step_clock(&mut self, at: usize) {
        let seconds = self.dice.below(2 * WRONG).cast_signed() - WRONG.cast_signed();
        let Some(clock) = &self.clocks[at] else {
            println!(
                "no clock is stepped, as libfaketime is not installed (Debian, Ubuntu: apt-get install libfaketime)"
            );
            return;
        };
        clock.step(seconds);
        self.endure();
        if let Some(clock) = &self.clocks[at] {
            clock.step(0);
        }
    }
}

/// The `host:port` of a server.
fn place(server: &Redis) -> String {
    server.url().trim_start_matches("redis://").trim_end_matches('/').to_owned()
}

/// A field of what a server says of its replication.
fn info(server: &Redis, field: &str) -> Option<String> {
    let info = server.ask(&["INFO", "replication"]).unwrap();
    info.lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(|value| value.trim().to_owned()))
}

/// Makes a server a replica of another one, and waits until it follows.
fn follow(replica: &Redis, master: &Redis) {
    let place = place(master);
    let (host, port) = place.split_once(':').unwrap();
    replica.ask(&["REPLICAOF", host, port]).unwrap();
    until("the replica follows its master", || {
        info(replica, "master_link_status").is_some_and(|status| status == "up")
    });
}
