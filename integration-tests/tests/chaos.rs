//! Faults at random over all roles and servers while tasks of several groups run; then the books are balanced from outside.
//!
//! Which faults come in which order follows from a seed; when they come follows from it and from the machine. A failure
//! names its seed. `DTF_SEED=n` chooses one, `DTF_CHAOS_SECONDS=n` how long the faults go on (45 by default).

#![allow(clippy::unwrap_used, reason = "what fails in a test says where")]

mod stage;

use std::time::{Duration, Instant};

use rustix::process::Signal;
use stage::{Service, Site, Task};

/// Two of each role, some together.
const PROCESSES: [&str; 7] = [
    "manager",
    "generator,collector",
    "scheduler",
    "executor",
    "executor",
    "manager,generator,scheduler",
    "executor,collector",
];
const GROUPS: [&str; 3] = ["default", "gold", "silver"];
/// Tasks that run at a time.
const TASKS: usize = 4;

/// Random numbers (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % most
    }

    /// An index below the length.
    fn choose(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }
}

struct Chaos {
    site: Site,
    services: Vec<Service>,
    tasks: Vec<Task>,
    dice: Dice,
    incarnations: usize,
}

impl Chaos {
    fn new(site: Site, seed: u64) -> Self {
        let mut chaos =
            Self { site, services: Vec::new(), tasks: Vec::new(), dice: Dice(seed), incarnations: 0 };
        for roles in PROCESSES {
            let service = chaos.start(roles);
            chaos.services.push(service);
        }
        for service in &chaos.services {
            service.until_ready();
        }
        for group in &GROUPS[1..] {
            let out = chaos.site.run(&["group", "set-quota", group, "50"]);
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        }
        chaos
    }

    fn start(&mut self, roles: &str) -> Service {
        self.incarnations += 1;
        self.site.start(&format!("p{}", self.incarnations), roles)
    }

    /// Creates a task; the servers are there.
    fn submit(&mut self) {
        let group = GROUPS[self.dice.choose(GROUPS.len())];
        let (count, sleep) = (1 + self.dice.below(2000), self.dice.below(20));
        let task = self.site.submit(count, sleep, &["--group", group]);
        self.tasks.push(task);
    }

    /// For how long a fault lasts: mostly short, sometimes longer than a session.
    fn while_it_lasts(&mut self) {
        let most = if self.dice.below(4) == 0 { 8000 } else { 1500 };
        std::thread::sleep(Duration::from_millis(self.dice.below(most)));
    }

    fn fault(&mut self) {
        let at = self.dice.choose(self.services.len());
        let what = self.dice.below(12);
        println!("fault {what} on {} ({})", self.services[at].instance, self.services[at].roles);
        match what {
            0..=3 => {
                self.services[at].kill();
                self.while_it_lasts();
                self.begin_again(at);
            }
            4..=5 => {
                // A process that has only just begun does not listen to signals yet.
                self.services[at].until_it_answers();
                self.services[at].ends_well();
                self.begin_again(at);
            }
            6..=8 => {
                self.services[at].signal(Signal::STOP);
                self.while_it_lasts();
                self.services[at].signal(Signal::CONT);
            }
            9 => {
                self.site.etcd.kill().unwrap();
                self.while_it_lasts();
                self.site.etcd.restart().unwrap();
            }
            10 => {
                self.site.sql.kill().unwrap();
                self.while_it_lasts();
                self.site.sql.restart().unwrap();
            }
            _ => {
                self.site.redis.kill().unwrap();
                self.while_it_lasts();
                self.site.redis.restart().unwrap();
            }
        }
    }

    fn begin_again(&mut self, at: usize) {
        let roles = self.services[at].roles.clone();
        self.services[at] = self.start(&roles);
    }

    fn run(&mut self, span: Duration) {
        let begin = Instant::now();
        let mut faults = 0;
        while begin.elapsed() < span {
            while self.tasks.iter().filter(|task| task.executed() < task.count).count() < TASKS {
                self.submit();
            }
            self.fault();
            faults += 1;
            for service in &mut self.services {
                assert!(
                    !service.has_ended(),
                    "{} ended by itself: {}",
                    service.instance,
                    service.last_words()
                );
            }
        }
        println!("{faults} faults, {} tasks", self.tasks.len());
    }
}

#[test]
fn whatever_is_killed_or_stopped_the_books_are_right() {
    let number =
        |name: &str, usual| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (seed, seconds) = (number("DTF_SEED", 1), number("DTF_CHAOS_SECONDS", 45));
    println!("DTF_SEED={seed}");
    let Some(site) = Site::to_harm() else { return };
    let mut chaos = Chaos::new(site, seed);
    chaos.run(Duration::from_secs(seconds));
    for service in &chaos.services {
        service.until_ready();
    }
    for task in &chaos.tasks {
        chaos.site.balance(task);
    }
}
