//! All that the parts of a simulated world share, behind one lock: nothing waits while it holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use crate::coordination::{WatchBatch, WatchError};
use crate::ids::{GroupId, Incarnation, Token};
use crate::keys::Keys;
use crate::sim::oracle::{Observed, Oracle, Violation};
use crate::sim::rng::Rng;
use crate::sim::store::Store;
use crate::sim::world::{LONGEST_REVOKE, is_reset};
use crate::task::{Holding, Task};

use super::process::{Driven, Stop};

/// A watch, as the store keeps it.
pub(super) struct Watcher {
    pub(super) process: usize,
    pub(super) prefix: String,
    /// The last delivery's time, which the next one does not overtake.
    pub(super) last: Instant,
    pub(super) sender: mpsc::UnboundedSender<(Instant, Result<WatchBatch, WatchError>)>,
}

/// The shared state.
pub(super) struct State {
    pub(super) rng: Rng,
    pub(super) origin: Instant,
    pub(super) store: Store,
    pub(super) watchers: Vec<Watcher>,
    pub(super) oracle: Oracle,
    pub(super) keys: Keys,
    pub(super) processes: Vec<Driven>,
    pub(super) tasks: Vec<Task>,
    next_incarnation: u128,
    /// The highest token that any worker was given, and of each task.
    pub(super) highest_token: Token,
    given: BTreeMap<Arc<str>, Token>,
    pub(super) backup: Option<Store>,
    pub(super) restored_at: Option<Duration>,
    pub(super) faulty: bool,
    /// The bytes that the store takes in one write, whatever it says.
    pub(super) room: Option<usize>,
    pub(super) steps: u64,
    pub(super) misfortunes: u32,
    only: Option<BTreeSet<u32>>,
    pub(super) violation: Option<Violation>,
    pub(super) trace: Option<Vec<String>>,
}

/// The state, as the parts share it.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<State>>);

impl Shared {
    pub(super) fn new(rng: Rng, tasks: Vec<Task>, only: Option<BTreeSet<u32>>, traced: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            rng,
            origin: Instant::now(),
            store: Store::default(),
            watchers: Vec::new(),
            oracle: Oracle::default(),
            keys: Keys::new(&GroupId::new("p", "b", "t").unwrap()),
            processes: Vec::new(),
            tasks,
            next_incarnation: 1,
            highest_token: Token(0),
            given: BTreeMap::new(),
            backup: None,
            restored_at: None,
            faulty: true,
            room: None,
            steps: 0,
            misfortunes: 0,
            only,
            violation: None,
            trace: traced.then(Vec::new),
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a process is not paused.
    pub(super) async fn awake(&self, process: usize) {
        loop {
            let resumed = {
                let state = self.lock();
                let paused = state.processes.get(process).filter(|process| process.paused);
                let Some(process) = paused else { return };
                process.resumed.clone()
            };
            resumed.notified().await;
        }
    }
}

impl State {
    /// The time since the beginning.
    pub(super) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    pub(super) fn incarnation(&mut self) -> Incarnation {
        self.next_incarnation += 1;
        Incarnation(Uuid::from_u128(self.next_incarnation))
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        let now = self.now().as_secs_f64();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{now:>10.4} {}", line()));
        }
    }

    /// Returns true where the misfortune that comes now happens.
    pub(super) fn strikes(&mut self) -> bool {
        let number = self.misfortunes;
        self.misfortunes += 1;
        self.only.as_ref().is_none_or(|only| only.contains(&number))
    }

    /// True in this many of a thousand cases, while there are faults.
    pub(super) fn unlucky(&mut self, cases: u64) -> bool {
        self.faulty && self.rng.per_mille(cases) && self.strikes()
    }

    pub(super) fn violated(&mut self, outcome: Result<(), Violation>) {
        if let Err(violation) = outcome {
            self.note(|| violation.clone());
            self.violation.get_or_insert(violation);
        }
    }

    /// Checks what must hold at any moment.
    pub(super) fn check(&mut self) {
        self.steps += 1;
        for ix in 0..self.processes.len() {
            for event in self.processes[ix].look() {
                self.note(|| format!("process {ix}: {event:?}"));
            }
        }
        let outcome = self.holds();
        self.violated(outcome);
    }

    pub(super) fn is_reset(&self) -> bool {
        is_reset(self.now(), self.restored_at)
    }

    fn holds(&mut self) -> Result<(), Violation> {
        self.oracle.records(&self.keys, &self.store)?;
        let now = self.now();
        let reset = self.is_reset();
        self.oracle.running(&self.processes, !reset)?;
        if reset {
            return Ok(());
        }
        self.oracle.fenced(&self.processes, now, Duration::from_millis(LONGEST_REVOKE + 200))?;
        for process in self.processes.iter().filter(|process| process.is_up() && !process.paused) {
            if process.tenure.is_valid() && !self.oracle.session_lives(process) {
                return Err(format!(
                    "P2: {} may work, as its tenure says, without a session",
                    process.instance
                ));
            }
        }
        Ok(())
    }

    /// A worker is asked to start a task.
    pub(super) fn begins(&mut self, ix: usize, holding: &Holding) {
        let (key, token) = (holding.task.key.clone(), holding.token);
        self.highest_token = self.highest_token.max(token);
        let highest = self.given.entry(key.clone()).or_default();
        let before = std::mem::replace(highest, token.max(*highest));
        let mut outcome = Ok(());
        if before >= token {
            outcome = Err(format!("P3: a worker is given {key} with token {token}, after {before}"));
        }
        let process = &mut self.processes[ix];
        let name = process.instance.clone();
        drop(process.look());
        if process.left_behind.get(&key) == Some(&Stop::Hangs) {
            outcome = Err(format!("P1: {name} starts {key} ({token}) before its revoke has returned"));
        }
        if let Some(running) = process.running.insert(key.clone(), token) {
            outcome = Err(format!("P1: {name} starts {key} ({token}) while {running} of it runs"));
        }
        self.note(|| format!("{name} starts {key} ({token})"));
        self.violated(outcome);
        self.check();
    }

    /// A worker is asked to stop a task.
    pub(super) fn is_told_to_stop(&mut self, ix: usize, holding: &Holding) {
        self.check();
        let process = &self.processes[ix];
        let (name, key, token) = (process.instance.clone(), holding.task.key.clone(), holding.token);
        let outcome = if process.failed.contains(&(key.clone(), token)) || self.is_reset() {
            Ok(())
        } else {
            self.oracle.undisturbed(&self.keys, &self.store, process, holding)
        };
        self.note(|| format!("{name} is to stop {key} ({token})"));
        self.violated(outcome);
    }

    /// Nothing of a holding runs any more.
    pub(super) fn has_ended(&mut self, ix: usize, holding: &Holding) {
        let process = &mut self.processes[ix];
        let (name, key) = (process.instance.clone(), holding.task.key.clone());
        if process.running.get(&key) == Some(&holding.token) {
            process.running.remove(&key);
        }
        self.note(|| format!("{name} has stopped {key} ({})", holding.token));
        self.check();
    }

    /// Sends what the store has done to those who watch it.
    pub(super) fn spread(&mut self) {
        let now = Instant::now();
        for batch in self.store.take_news() {
            for ix in 0..self.watchers.len() {
                let slow = self.unlucky(30);
                let after = self.rng.micros(100..if slow { 2_000_000 } else { 3000 });
                let cut = self.is_cut(self.watchers[ix].process);
                let watcher = &mut self.watchers[ix];
                let of_prefix =
                    |event: &&crate::coordination::WatchEvent| event.key().starts_with(&watcher.prefix);
                let events: Vec<_> = batch.events.iter().filter(of_prefix).cloned().collect();
                if events.is_empty() {
                    continue;
                }
                watcher.last = watcher.last.max(now + after);
                let batch = WatchBatch { revision: batch.revision, events };
                let item = if cut { Err(WatchError::Lost("cut".into())) } else { Ok(batch) };
                // An error means that nobody watches any more.
                drop(watcher.sender.send((watcher.last, item)));
            }
        }
        self.watchers.retain(|watcher| !watcher.sender.is_closed());
    }

    pub(super) fn is_cut(&self, ix: usize) -> bool {
        self.now() < self.processes[ix].cut_until
    }
}
