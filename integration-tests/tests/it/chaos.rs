//! Faults at random over all roles and servers while tasks of several groups run; then the books are balanced from outside.
//!
//! Which faults come in which order follows from a seed; when they come follows from it and from the machine. A failure
//! names its seed. `DTF_SEED=n` chooses one, `DTF_CHAOS_SECONDS=n` how long the faults go on (two minutes by default).

use std::time::{Duration, Instant};

use crate::stage::{Network, Service, Site, Task};
use integration_tests::proxy::Passage;
use rustix::process::Signal;

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
/// The ways of a process: to etcd, the database, Redis.
const WAYS: usize = 3;
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
    services: Vec<Service>,
    /// By process.
    networks: Vec<Network>,
    tasks: Vec<Task>,
    dice: Dice,
    incarnations: usize,
    /// Last, as the processes' logs are in it.
    site: Site,
}

impl Chaos {
    fn new(site: Site, seed: u64) -> Self {
        let networks = PROCESSES.iter().map(|_| site.network()).collect();
        let (services, tasks) = (Vec::new(), Vec::new());
        let mut chaos = Self { services, networks, tasks, dice: Dice(seed), incarnations: 0, site };
        for (at, roles) in PROCESSES.iter().enumerate() {
            let service = chaos.start(at, roles);
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

    fn start(&mut self, at: usize, roles: &str) -> Service {
        self.incarnations += 1;
        self.site.start_with(&format!("p{}", self.incarnations), roles, &self.networks[at].settings)
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
        let what = self.dice.below(18);
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
            9 => self.cut(at, 0..WAYS, Passage::Nothing),
            10 => self.cut(at, 0..WAYS, Passage::Questions),
            11 => {
                let way = self.dice.choose(WAYS);
                self.cut(at, way..way + 1, Passage::Nothing);
            }
            _ => self.harm_server(what % 3, what < 15),
        }
    }

    /// Cuts some of a process's ways.
    fn cut(&mut self, at: usize, ways: std::ops::Range<usize>, passage: Passage) {
        self.networks[at].ways[ways].iter().for_each(|way| way.let_pass(passage));
        self.while_it_lasts();
        self.networks[at].let_pass(Passage::Open);
    }

    /// Kills a server and starts it again, or stops it and lets it go on.
    fn harm_server(&mut self, which: u64, kill: bool) {
        macro_rules! harm {
            ($server:ident) => {{
                let server = &mut self.site.$server;
                if kill { server.kill() } else { server.stop() }.unwrap();
                self.while_it_lasts();
                let server = &mut self.site.$server;
                if kill { server.restart() } else { server.cont() }.unwrap();
            }};
        }
        match which {
            0 => harm!(etcd),
            1 => harm!(sql),
            _ => harm!(redis),
        }
    }

    fn begin_again(&mut self, at: usize) {
        let roles = self.services[at].roles.clone();
        self.services[at] = self.start(at, &roles);
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
    let (seed, seconds) = (number("DTF_SEED", 1), number("DTF_CHAOS_SECONDS", 120));
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
