//! States of a small group, and the events that lead from one to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::coordination::{LeaseId, Op, TxnOutcome, WatchBatch, WatchEvent};
use crate::error::CoordinationError;
use crate::ids::{GroupId, Incarnation, InstanceId, Token};
use crate::keys::Keys;
use crate::protocol::{Call, FeedItem, Input, Now, Reply};
use crate::sim::store::Store;

use super::canon::FIRST_GENERATION;
use super::event::{Event, Order, Scenario};
use super::oracle;
use super::process::{Held, Process, free};
use super::shown::{Shown, show_call, show_item, shown};

/// A property that does not hold.
pub(super) type Violation = String;

pub(super) const NOW: Now = Now { at: Timestamp(Duration::from_secs(100)), unix_millis: FIRST_GENERATION };
/// Past all that a member waits for before it tries something again, and before everything else.
const AHEAD: Now = Now { at: Timestamp(Duration::from_secs(101)), ..NOW };

/// A group at some point.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) scenario: Arc<Scenario>,
    pub(super) store: Arc<Shown<Store>>,
    pub(super) processes: Vec<Process>,
    /// Writes that nobody waits for, and who wrote them.
    pub(super) strays: Vec<(Option<Incarnation>, Call)>,
    pub(super) budget: u8,
    pub(super) sessions: u128,
    /// The highest token of each task so far, and whose it is.
    pub(super) tokens: BTreeMap<Arc<str>, (Token, Incarnation)>,
    /// Sessions of running members that have been out of contact.
    pub(super) missed: BTreeSet<Incarnation>,
}

pub(super) fn keys() -> Keys {
    Keys::new(&GroupId::new("p", "b", "t").unwrap())
}

pub(super) fn name(instance: usize) -> InstanceId {
    InstanceId::new(["a", "b"][instance]).unwrap()
}

impl State {
    /// One member that holds both tasks, and the other one about to start.
    pub(super) fn first(scenario: Scenario) -> Result<Self, Violation> {
        let mut state = Self {
            budget: 0,
            scenario: Arc::new(scenario),
            store: shown(Store::default()),
            processes: Vec::new(),
            strays: Vec::new(),
            sessions: 0,
            tokens: BTreeMap::new(),
            missed: BTreeSet::new(),
        };
        state.start(0)?;
        loop {
            let here = state.fingerprint();
            let events = state.events();
            let alone = events.iter().filter(|event| !matches!(event, Event::Start { .. }));
            let mut next = None;
            for event in alone {
                let after = state.after(*event)?;
                if after.fingerprint() != here {
                    next = Some(after);
                    break;
                }
            }
            match next {
                Some(after) => state = after,
                None => break,
            }
        }
        state.budget = state.scenario.budget;
        Ok(state)
    }

    /// The same for states that nobody can tell apart.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut parts = self.store.parts.clone();
        for process in &self.processes {
            parts.scope();
            parts.show(&(
                process.instance,
                process.session,
                &process.running,
                &process.stopping,
                process.still,
            ));
            parts.append(&process.node.parts);
            for (feed, state) in &process.feeds {
                parts.show(&(feed, state.listed, state.held, state.delivered.len()));
                state.queue.iter().for_each(|item| parts.append(&item.parts));
            }
            for Held { value: (id, call), held } in &process.calls {
                parts.show(&(id, held));
                show_call(&mut parts, call);
            }
            parts.show(&process.answers);
        }
        for (by, call) in &self.strays {
            parts.show(by);
            show_call(&mut parts, call);
        }
        parts.show(&(self.budget, &self.tokens, &self.missed));
        parts.fingerprint()
    }

    /// All that can happen, in the order in which it most likely does; faults come last.
    pub(super) fn events(&self) -> Vec<Event> {
        let mut events = self.moves();
        let any = events.is_empty() || self.scenario.order == Order::Any;
        if !any {
            events.truncate(1);
        }
        let processes = || self.processes.iter().enumerate();
        if any {
            let up = |instance: usize| processes().any(|(_, state)| state.instance == instance);
            events.extend((0..2).filter(|ix| !up(*ix)).map(|instance| Event::Start { instance }));
        }
        let kept: Vec<_> = self.kept().collect();
        let leases = self.store.value.leases();
        events.extend(leases.filter(|lease| !kept.contains(lease)).map(|lease| Event::Ends { lease }));
        events.extend((0..self.strays.len()).map(|at| Event::Stray { at }));
        let holding = processes().filter(|(_, state)| state.holds_back());
        events.extend(holding.map(|(process, _)| Event::Release { process }));
        if any {
            events.extend(self.ticks());
        }
        if self.budget > 0 {
            for (process, state) in processes() {
                for fault in self.scenario.faults {
                    let places = 0..self.places(state, process, *fault);
                    events.extend(places.map(|at| Event::Fault { fault: *fault, process, at }));
                }
            }
        }
        events
    }

    /// The events that come by themselves.
    fn moves(&self) -> Vec<Event> {
        let mut events = Vec::new();
        let processes = || self.processes.iter().enumerate().filter(|(_, state)| !state.still);
        for (process, state) in processes() {
            events.extend(free(&state.answers).map(|at| Event::Answer { process, at }));
        }
        for (process, state) in processes() {
            events.extend(free(&state.calls).map(|at| Event::Call { process, at }));
        }
        for (process, state) in processes() {
            let feeds = state.feeds.iter().filter(|(_, feed)| feed.due() && !feed.held);
            events.extend(feeds.map(|(feed, _)| Event::Feed { process, feed: *feed }));
            events.extend(free(&state.stopping).map(|at| Event::Stopped { process, at }));
        }
        events
    }

    /// The leases that somebody keeps alive.
    fn kept(&self) -> impl Iterator<Item = LeaseId> {
        self.processes.iter().flat_map(|process| {
            let node = &process.node.value;
            node.lease().into_iter().chain(node.contact_lease())
        })
    }

    /// Returns true where all that could still happen by itself is that members that stand still go on.
    pub(super) fn waits_for_silent_ones(&self) -> bool {
        let in_contact = |process: &Process| !process.still && !process.holds_back();
        let dead = |lease: LeaseId| !self.kept().any(|kept| kept == lease);
        self.processes.iter().any(|process| process.still)
            && self.processes.iter().any(in_contact)
            && self.processes.iter().all(|process| process.still || in_contact(process))
            && self.strays.is_empty()
            && self.moves().is_empty()
            && self.ticks().next().is_none()
            && !self.store.value.leases().any(dead)
    }

    fn ticks(&self) -> impl Iterator<Item = Event> {
        let waits = |process: &Process| process.node.value.next_wake(NOW).is_some_and(|at| at <= AHEAD.at);
        let ticks = self.processes.iter().enumerate().filter(move |(_, state)| !state.still && waits(state));
        ticks.map(|(process, _)| Event::Tick { process })
    }

    /// The state after an event.
    pub(super) fn after(&self, event: Event) -> Result<Self, Violation> {
        let mut next = self.clone();
        next.happen(event)?;
        next.processes.retain(|process| !process.over);
        next.forget_leases();
        if next.store.value.revision() != self.store.value.revision() {
            oracle::check_records(&next.store.value, &mut next.tokens)?;
            next.note_missed();
        }
        next.check_running()?;
        next.check_silent()?;
        Ok(next)
    }

    pub(super) fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Answer { process, at } => {
                let (id, reply) = self.processes[process].answers.remove(at).value;
                self.input(process, NOW, Input::Reply(id, reply))?;
            }
            Event::Call { process, at } => {
                let (id, call) = self.processes[process].calls.remove(at).value;
                let by = self.processes[process].session.map(|(_, incarnation)| incarnation);
                let reply = self.carry_out(by, &call)?;
                self.input(process, NOW, Input::Reply(id, reply))?;
            }
            Event::Stray { at } => {
                let (by, call) = self.strays.remove(at);
                self.carry_out(by, &call)?;
            }
            Event::Feed { process, feed } => {
                self.deliver(process, feed)?;
                let left =
                    |state: &Self| state.processes[process].feeds.get(&feed).map(|feed| feed.queue.len());
                while left(self).is_some_and(|left| left > 0) {
                    self.deliver(process, feed)?;
                }
            }
            Event::Stopped { process, at } => {
                let (key, token) = self.processes[process].stopping.remove(at).value;
                self.processes[process].running.remove(&key);
                self.input(process, NOW, Input::Revoked { key, token, result: Ok(()) })?;
            }
            Event::Start { instance } => self.start(instance)?,
            Event::Ends { lease } => self.change(|store| store.revoke(lease)),
            Event::Release { process } => self.processes[process].release(),
            Event::Tick { process } => self.input(process, AHEAD, Input::Tick)?,
            Event::Fault { fault, process, at } => {
                self.budget -= 1;
                self.fault(fault, process, at)?;
            }
        }
        Ok(())
    }

    pub(super) fn carry_out(&mut self, by: Option<Incarnation>, call: &Call) -> Result<Reply, Violation> {
        let txn = match call {
            Call::Grant { .. } | Call::KeepAlive(_) => return Err("P9: a call that should not be".to_owned()),
            Call::Revoke(lease) => {
                self.change(|store| store.revoke(*lease));
                return Ok(Reply::Revoked(Ok(())));
            }
            Call::Commit(txn) => txn,
        };
        let leader = oracle::leader(&self.store.value);
        let mut result = Err(CoordinationError::LeaseGone);
        self.change(|store| result = store.commit(txn));
        let generation = keys().generation();
        let writes = txn.ops.iter().any(|op| matches!(op, Op::Put { key, .. } if *key == generation));
        if writes && matches!(result, Ok(TxnOutcome::Applied { .. })) && leader != by {
            return Err(format!("R8: {by:?} writes the assignment and does not lead"));
        }
        Ok(Reply::Committed(result))
    }

    /// Changes the store and puts what happened into the feeds.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Store)) {
        let mut store = self.store.value.clone();
        change(&mut store);
        for batch in store.take_news() {
            for feed in self.processes.iter_mut().flat_map(|process| process.feeds.values_mut()) {
                let of_feed = |event: &&WatchEvent| event.key().starts_with(&feed.prefix);
                let events: Vec<_> = batch.events.iter().filter(of_feed).cloned().collect();
                if feed.listed && !events.is_empty() {
                    let batch = WatchBatch { revision: batch.revision, events };
                    feed.queue.push_back(show_item(FeedItem::Changed(batch)));
                }
            }
        }
        self.store = shown(store);
    }

    /// Forgets leases that nothing is bound to and nothing can be.
    fn forget_leases(&mut self) {
        let mut used: BTreeSet<LeaseId> = self.store.value.entries().filter_map(|kv| kv.lease).collect();
        used.extend(self.kept());
        let own = self.processes.iter().flat_map(|process| process.calls.iter().map(|call| &call.value.1));
        for call in self.strays.iter().map(|(_, call)| call).chain(own) {
            if let Call::Commit(txn) = call {
                used.extend(txn.ops.iter().filter_map(|op| match op {
                    Op::Put { lease, .. } => *lease,
                    Op::Delete { .. } => None,
                }));
            }
        }
        let unused: Vec<LeaseId> = self.store.value.leases().filter(|lease| !used.contains(lease)).collect();
        if !unused.is_empty() {
            self.change(|store| unused.into_iter().for_each(|lease| store.revoke(lease)));
        }
    }
}
