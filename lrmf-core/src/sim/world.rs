//! The simulated world: processes, the store, and what happens between them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crate::assignor::Assignor;
use crate::config::{CoordinatorConfig, GroupMode};
use crate::coordination::Op;
use crate::ids::{GroupId, Incarnation, InstanceId, Token};
use crate::keys::{Keys, chunk_of};
use crate::protocol::{Call, CallId, FeedId, Input, Rules};
use crate::replicas::key_of;
use crate::task::Task;

use super::oracle::{Observed, Oracle, Violation};
use super::process::Process;
use super::rng::Rng;
use super::store::Store;

/// The longest that a revoke takes; the margin covers it.
pub(super) const LONGEST_REVOKE: u64 = 1000;

/// Far more than any run needs.
const MOST_STEPS: u64 = 200_000;

/// Something that is going to happen.
#[derive(Debug)]
pub(super) enum Happening {
    Deliver { process: usize, input: Input },
    Exec { by: Option<Incarnation>, process: usize, id: CallId, call: Call, answers: bool },
    List { process: usize, feed: FeedId, epoch: u64 },
    Tick { process: usize },
    Resume { process: usize },
    Start { instance: InstanceId },
    Expire,
    Fault,
    Operator,
    Operated { op: Op },
}

/// A world.
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) rng: Rng,
    pub(super) now: Duration,
    pub(super) agenda: BTreeMap<(Duration, u64), Happening>,
    pub(super) next_seq: u64,
    pub(super) store: Store,
    pub(super) processes: Vec<Process>,
    pub(super) oracle: Oracle,
    pub(super) keys: Keys,
    pub(super) rules: Rules,
    pub(super) mode: GroupMode,
    pub(super) exclusive: bool,
    pub(super) restores: bool,
    pub(super) instances: Vec<InstanceId>,
    pub(super) tasks: Vec<Task>,
    pub(super) next_incarnation: u128,
    /// A task could not be started, at some time.
    pub(super) has_failed: bool,
    pub(super) assignor: Arc<dyn Assignor>,
    /// The highest token that any worker was given.
    pub(super) highest_token: Token,
    /// The highest token of each task that a worker was given.
    pub(super) given: BTreeMap<Arc<str>, Token>,
    /// A copy of the store, to go back to, and when that happened last.
    pub(super) backup: Option<Store>,
    pub(super) restored_at: Option<Duration>,
    pub(super) next_expiry: Option<Duration>,
    pub(super) faulty: bool,
    pub(super) steps: u64,
    /// The number of calls that were made that are no signs of life.
    pub(super) calls: u64,
    pub(super) trace: Option<Vec<String>>,
    /// The states that were reached, as far as they are told apart, where they are counted.
    pub(super) states: Option<HashSet<u64>>,
    /// The number of misfortunes that the seed has had in store so far, and which of them happen; all where none is named.
    pub(super) misfortunes: u32,
    pub(super) only: Option<BTreeSet<u32>>,
}

/// The plan of a run.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) rules: Rules,
    pub(super) assignor: Arc<dyn Assignor>,
    pub(super) mode: GroupMode,
    /// True where the store may go back to a copy of itself.
    pub(super) restores: bool,
    /// True where P1 is asked for on the processes too, which a group of mode `available` gives up.
    pub(super) exclusive: bool,
    pub(super) faulty_for: Duration,
    /// Of the misfortunes that the seed has in store, numbered as they come, those that happen; all where none is named.
    pub(super) only: Option<BTreeSet<u32>>,
    /// The smallest group that there can be, whatever the seed says.
    pub(super) small: bool,
    pub(super) traced: bool,
    /// The drivers run, not the machines alone.
    pub(super) driven: bool,
    /// The number of replicas of each task, where tasks have some.
    pub(super) replicas: Option<u32>,
}

/// A run in which a property did not hold.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) violation: Violation,
    pub(super) at: Duration,
    pub(super) steps: u64,
    pub(super) misfortunes: u32,
    pub(super) trace: Vec<String>,
}

pub(super) fn settings() -> CoordinatorConfig {
    CoordinatorConfig {
        ttl: Duration::from_secs(4),
        margin: Duration::from_millis(1500),
        settle: Duration::from_millis(100),
        provider_period: Duration::from_secs(5),
        drain_timeout: Duration::from_secs(5),
        ..CoordinatorConfig::default()
    }
}

/// The same of one member, with the zone, the limits to moves and the preference for it as the leader that the seed stands for.
/// They are no draws, so that what else a seed does is the same with them and without.
pub(super) fn settings_of(seed: u64, instance: &InstanceId) -> CoordinatorConfig {
    let side = instance.as_str().bytes().map(u64::from).sum::<u64>() % 2;
    CoordinatorConfig {
        zone: (!seed.is_multiple_of(4)).then(|| Arc::from(format!("zone-{side}"))),
        max_zone_moves: if seed % 4 == 1 { 1 } else { 100_000 },
        zone_moves_per_minute: (seed % 32 == 2).then_some(6),
        leader_preference: if seed.is_multiple_of(3) { u8::from(side == 1) } else { 0 },
        ..settings()
    }
}

/// Returns true while the store keeps no promise, as it has gone back to an older copy: it may have sessions again that had
/// ended, until they end once more. What was under way then arrives late, and revisions repeat themselves.
pub(super) fn is_reset(now: Duration, restored_at: Option<Duration>) -> bool {
    restored_at.is_some_and(|at| now < at + settings().ttl)
}

impl World {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut rng = Rng::new(plan.seed);
        let name = |name: &str| InstanceId::new(name).unwrap();
        let members = 2 + rng.below(if plan.small { 1 } else { 3 });
        let instances = ["a", "b", "c", "d"][..members as usize].iter().map(|text| name(text)).collect();
        let count = 2 + rng.below(if plan.small { 1 } else { 5 });
        let share_a_chunk = rng.per_mille(500);
        let names = (0..).map(|task| format!("task-{task}"));
        let names = names.filter(|name| !share_a_chunk || chunk_of(name) == chunk_of("task-0"));
        let names = names.take(count as usize);
        let tasks = match plan.replicas {
            None => names.map(|name| Task::new(name, "0")).collect(),
            Some(replicas) => {
                let of =
                    |name: String| (0..replicas).map(move |number| Task::new(key_of(&name, number), "0"));
                names.flat_map(of).collect()
            }
        };
        Self {
            seed: plan.seed,
            rng,
            now: Duration::from_secs(100),
            agenda: BTreeMap::new(),
            next_seq: 0,
            store: Store::default(),
            processes: Vec::new(),
            oracle: Oracle::default(),
            keys: Keys::new(&GroupId::new("p", "b", "t").unwrap()),
            rules: plan.rules,
            mode: plan.mode,
            exclusive: plan.exclusive,
            restores: plan.restores,
            instances,
            tasks,
            next_incarnation: 1,
            has_failed: false,
            assignor: plan.assignor.clone(),
            highest_token: Token(0),
            given: BTreeMap::new(),
            backup: None,
            restored_at: None,
            next_expiry: None,
            faulty: true,
            steps: 0,
            calls: 0,
            trace: plan.traced.then(Vec::new),
            states: None,
            misfortunes: 0,
            only: plan.only.clone(),
        }
    }

    /// Lets faults happen for a while, then heals everything, then waits and sees whether all tasks are held.
    pub(super) fn run(mut self, plan: &Plan) -> Result<u64, Failure> {
        match self.live(plan) {
            Ok(()) => Ok(self.steps),
            Err(violation) => Err(self.failure(violation)),
        }
    }

    fn failure(self, violation: Violation) -> Failure {
        Failure {
            violation,
            at: self.now,
            steps: self.steps,
            misfortunes: self.misfortunes,
            trace: self.trace.unwrap_or_default(),
        }
    }

    /// The same, adding the states that are reached to those that are known.
    pub(super) fn run_counted(mut self, plan: &Plan, states: &mut HashSet<u64>) -> Result<u64, Failure> {
        self.states = Some(std::mem::take(states));
        let outcome = self.live(plan);
        *states = self.states.take().unwrap_or_default();
        match outcome {
            Ok(()) => Ok(self.steps),
            Err(violation) => Err(self.failure(violation)),
        }
    }

    /// Returns true where the misfortune that comes now happens.
    pub(super) fn strikes(&mut self) -> bool {
        let number = self.misfortunes;
        self.misfortunes += 1;
        self.only.as_ref().is_none_or(|only| only.contains(&number))
    }

    /// Everybody starts, and faults begin.
    pub(super) fn begin(&mut self) {
        for instance in self.instances.clone() {
            let after = self.rng.millis(0..300);
            self.later(after, Happening::Start { instance });
        }
        let after = self.rng.millis(300..2000);
        self.later(after, Happening::Fault);
        if self.rng.per_mille(500) {
            self.later(after, Happening::Operator);
        }
    }

    fn live(&mut self, plan: &Plan) -> Result<(), Violation> {
        self.begin();
        let healed = self.now + plan.faulty_for;
        self.until(healed)?;
        self.heal()?;
        // A leader that finds the store behind waits for one TTL.
        let ttls = if self.restored_at.is_some() { 3 } else { 2 };
        let bound = settings().ttl * ttls + Duration::from_secs(3);
        self.until(healed + bound)?;
        self.until(self.now + self.mistrust())?;
        self.all_held()?;
        if !self.is_slowed() {
            self.controls_obeyed()?;
        }
        self.comes_to_rest()?;
        self.values_are_current()?;
        self.controls_obeyed()?;
        self.preferred_one_leads()?;
        self.moves_what_it_must()
    }

    pub(super) fn until(&mut self, end: Duration) -> Result<(), Violation> {
        while let Some((&(at, seq), _)) = self.agenda.first_key_value() {
            if at > end {
                break;
            }
            let Some(happening) = self.agenda.remove(&(at, seq)) else { break };
            self.now = at;
            self.steps += 1;
            if self.steps > MOST_STEPS {
                return Err("P9: it never rests".to_owned());
            }
            self.happen(happening)?;
            self.spread();
            self.schedule_expiry();
            self.check()?;
            self.count_state();
        }
        self.now = end;
        Ok(())
    }

    fn check(&mut self) -> Result<(), Violation> {
        let grace = Duration::from_millis(LONGEST_REVOKE + 200);
        self.oracle.records(&self.keys, &self.store)?;
        let reset = self.is_reset();
        self.oracle.running(&self.processes, self.exclusive && !reset)?;
        self.oracle.one_primary(&self.processes, self.exclusive && !reset)?;
        // A process that has not noticed yet that the store has gone back runs what it held, until its own deadline.
        if reset {
            return Ok(());
        }
        self.oracle.fenced(&self.processes, self.now, grace)
    }

    pub(super) fn is_reset(&self) -> bool {
        is_reset(self.now, self.restored_at)
    }

    /// Counts states by what can be seen from outside: who is up, paused, cut off, in which session, leading and running what,
    /// and what the records say. Names of sessions and numbers do not tell states apart, their order by age does.
    fn count_state(&mut self) {
        let Some(mut states) = self.states.take() else { return };
        let mut hasher = DefaultHasher::new();
        for process in self.processes.iter().filter(|process| process.is_up()) {
            let session = self.oracle.session_lives(process);
            let held = process.node.held();
            let keys: Vec<_> = held.iter().map(|holding| &holding.task.key).collect();
            let runs: Vec<_> = process.running.keys().collect();
            let seen =
                (process.paused, self.now < process.cut_until, process.stopping, process.node.is_leading());
            (&process.instance, seen, session, keys, runs).hash(&mut hasher);
        }
        for (holder, current, entry) in self.oracle.entries() {
            (holder, current, &entry.key, entry.releasing.is_some()).hash(&mut hasher);
        }
        states.insert(hasher.finish());
        self.states = Some(states);
    }

    fn schedule_expiry(&mut self) {
        if self.next_expiry.is_none()
            && let Some(at) = self.store.next_end()
        {
            self.next_expiry = Some(at);
            self.later(at.saturating_sub(self.now), Happening::Expire);
        }
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>10.4} {}", self.now.as_secs_f64(), line()));
        }
    }

    pub(super) fn later(&mut self, after: Duration, what: Happening) {
        self.agenda.insert((self.now + after, self.next_seq), what);
        self.next_seq += 1;
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Deliver { process, input } => self.input(process, input)?,
            Happening::Exec { by, process, id, call, answers } => {
                let needed = self.oracle.needed(&self.keys, &self.store, &call);
                if self.exec(process, id, &call, answers) {
                    needed?;
                    if !self.is_reset() {
                        self.oracle.writes(&self.keys, &self.store, &call, by)?;
                    }
                }
            }
            Happening::List { process, feed, epoch } => self.list(process, feed, epoch),
            Happening::Tick { process } => {
                if self.processes[process].next_tick == Some(self.now) {
                    self.processes[process].next_tick = None;
                    self.input(process, Input::Tick)?;
                }
            }
            Happening::Resume { process } => self.resume(process)?,
            Happening::Start { instance } => self.start(instance)?,
            Happening::Expire => {
                self.store.expire(self.now);
                self.next_expiry = None;
            }
            Happening::Fault => self.fault()?,
            Happening::Operator => self.operate(),
            Happening::Operated { op } => self.operated(op),
        }
        Ok(())
    }
}
