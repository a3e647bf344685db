//! Applying the own assignment: revoke what is gone, acknowledge, assign what is new.
//!
//! Each task goes its own way, so that a slow one delays no other. Calls for one task never overlap: while it is being
//! started or stopped, what the record wants next has to wait for that.

mod ack;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::CoordinatorConfig;
use crate::coordination::{Revision, TxnLimits, WatchEvent};
use crate::event::Event;
use crate::ids::{Generation, Incarnation, InstanceId, Token};
use crate::keys::{ChunkId, Keys, Kind};
use crate::records::{AckRecord, ChunkRecord, RecordError, Stuck, StuckBy, decode, target_bytes};
use crate::task::Holding;

use super::{Action, FeedItem, Now, Rules};
use ack::Report;
use record::OwnRecord;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Started,
    Stopping,
    /// Nobody knows whether it has stopped.
    Lost,
}

/// Since when a revoke is under way, and what to say of its task when it has ended.
#[derive(Clone, Debug)]
struct Stopping {
    since: Timestamp,
    /// The worker gave the task up: it is not to begin here again in this holding.
    given_up: Option<String>,
}

#[derive(Clone, Debug)]
struct Run {
    holding: Holding,
    phase: Phase,
    stopping: Option<Stopping>,
}

impl Run {
    fn stop(&mut self, now: Now, given_up: Option<String>) -> Action {
        self.phase = Phase::Stopping;
        self.stopping = Some(Stopping { since: now.at, given_up });
        Action::Revoke(self.holding.clone())
    }
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Holdings {
    keys: Keys,
    instance: InstanceId,
    incarnation: Incarnation,
    rules: Rules,
    companions: Duration,
    /// How long a revoke may take before it is reported.
    revoke_timeout: Duration,
    revision: Revision,
    record: OwnRecord,
    generation: Generation,
    runs: BTreeMap<Arc<str>, Run>,
    /// The number of runs that have started and are not about to stop.
    held: usize,
    /// When each revoke that is under way will have taken too long; those that have are taken out.
    revokes: BTreeSet<(Timestamp, Arc<str>)>,
    /// What is not, or no longer, to run here, and has not ended yet.
    unwanted: BTreeSet<Arc<str>>,
    /// Everything is to stop, whatever the record says.
    halting: bool,
    report: Report,
}

impl Holdings {
    /// What a new session holds: nothing.
    pub fn new(
        keys: Keys,
        instance: InstanceId,
        incarnation: Incarnation,
        settings: &CoordinatorConfig,
        limits: TxnLimits,
        rules: Rules,
    ) -> Self {
        Self {
            keys,
            instance,
            incarnation,
            rules,
            companions: settings.companions,
            revoke_timeout: settings.revoke_timeout,
            revision: Revision(0),
            record: OwnRecord::default(),
            generation: Generation(0),
            runs: BTreeMap::new(),
            held: 0,
            revokes: BTreeSet::new(),
            unwanted: BTreeSet::new(),
            halting: false,
            report: Report::new(incarnation, target_bytes(limits)),
        }
    }

    /// The record changed.
    pub fn on_record(&mut self, now: Now, item: &FeedItem) -> Vec<Action> {
        let (revision, gone): (_, Vec<ChunkId>) = match item {
            FeedItem::Loaded(snapshot) => (snapshot.revision, self.record.chunks().collect()),
            FeedItem::Changed(batch) => (batch.revision, Vec::new()),
        };
        if self.rules.forward_only && revision <= self.revision && self.revision > Revision(0) {
            return Vec::new();
        }
        self.revision = revision;
        let mut records: BTreeMap<ChunkId, Option<Result<ChunkRecord, RecordError>>> =
            gone.into_iter().map(|chunk| (chunk, None)).collect();
        let mut put = |key: &str, value: Option<&[u8]>| {
            if let Some(Kind::Chunk(instance, chunk)) = self.keys.kind(key)
                && instance == self.instance
            {
                records.insert(chunk, value.map(|value| decode(key, value)));
            }
        };
        match item {
            FeedItem::Loaded(snapshot) => {
                snapshot.entries.iter().for_each(|kv| put(&kv.key, Some(&kv.value)))
            }
            FeedItem::Changed(batch) => batch.events.iter().for_each(|event| match event {
                WatchEvent::Put(kv) => put(&kv.key, Some(&kv.value)),
                WatchEvent::Delete { key } => put(key, None),
            }),
        }
        let mut actions = Vec::new();
        let mut changed = BTreeSet::new();
        for (chunk, record) in records {
            match record.transpose() {
                Ok(record) => self.apply(chunk, record.as_ref(), &mut changed),
                Err(error) => actions.push(Action::Emit(Event::Unreadable { error: error.to_string() })),
            }
        }
        self.settle(now, changed, actions)
    }

    fn apply(&mut self, chunk: ChunkId, record: Option<&ChunkRecord>, changed: &mut BTreeSet<Arc<str>>) {
        let mine = record.filter(|record| !self.rules.incarnation || record.incarnation == self.incarnation);
        let applied = self.record.generation(chunk).unwrap_or_default();
        if self.rules.forward_only && mine.is_some_and(|record| record.generation < applied) {
            return;
        }
        self.record.replace(chunk, mine, changed);
        self.generation = self.generation.max(mine.map_or(Generation(0), |record| record.generation));
    }

    /// `Worker::assign` has returned.
    pub fn on_assigned(
        &mut self,
        now: Now,
        key: &Arc<str>,
        token: Token,
        result: Result<(), String>,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        let Some(run) = self.runs.get_mut(key).filter(|run| run.holding.token == token) else {
            return actions;
        };
        match result {
            Ok(()) => {
                run.phase = Phase::Started;
                self.held += 1;
                actions.push(Action::Emit(Event::Assigned(run.holding.clone())));
            }
            Err(error) => {
                self.runs.remove(key);
                self.report.note_failure(key, token, &error);
                actions.push(Action::Emit(Event::AssignFailed { key: key.clone(), token, error }));
            }
        }
        self.settle(now, BTreeSet::from([key.clone()]), actions)
    }

    /// `Worker::revoke` has returned. `stopped` is false where it did not return but panicked.
    pub fn on_revoked(&mut self, now: Now, key: &Arc<str>, token: Token, stopped: bool) -> Vec<Action> {
        let mut actions = Vec::new();
        let Some(run) = self.runs.get_mut(key).filter(|run| run.holding.token == token) else {
            return actions;
        };
        let overdue = run.stopping.as_ref().map(|stopping| stopping.since + self.revoke_timeout);
        overdue.map(|at| self.revokes.remove(&(at, key.clone())));
        if !stopped {
            run.phase = Phase::Lost;
            self.report.note_stuck(Stuck { key: key.clone(), token, by: StuckBy::Panicked });
            self.schedule_ack(now);
            return actions;
        }
        self.report.forget_stuck(key);
        if let Some(run) = self.runs.remove(key) {
            if let Some(error) = run.stopping.and_then(|stopping| stopping.given_up) {
                self.report.note_failure(key, token, &error);
            }
            actions.push(Action::Emit(Event::Revoked(run.holding)));
        }
        self.settle(now, BTreeSet::from([key.clone()]), actions)
    }

    /// The worker gives a task up: it is stopped, and the leader is told as if it had not started.
    pub fn on_given_up(&mut self, now: Now, key: &Arc<str>, token: Token, error: String) -> Vec<Action> {
        let started = |run: &&mut Run| run.holding.token == token && run.phase == Phase::Started;
        let Some(run) = self.runs.get_mut(key).filter(started) else { return Vec::new() };
        self.held -= 1;
        self.revokes.insert((now.at + self.revoke_timeout, key.clone()));
        let revoke = run.stop(now, Some(error.clone()));
        vec![Action::Emit(Event::GivenUp { key: key.clone(), token, error }), revoke]
    }

    /// Reports the revokes that take too long.
    pub fn tick(&mut self, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        while self.revokes.first().is_some_and(|(at, _)| *at <= now.at) {
            let Some((_, key)) = self.revokes.pop_first() else { break };
            let Some(token) = self.runs.get(&key).map(|run| run.holding.token) else { continue };
            self.report.note_stuck(Stuck { key: key.clone(), token, by: StuckBy::Overdue });
            actions.push(Action::Emit(Event::RevokeOverdue { key, token }));
        }
        if !actions.is_empty() {
            self.schedule_ack(now);
        }
        actions
    }

    /// When [`tick`](Self::tick) is due.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.revokes.first().map(|(at, _)| *at)
    }

    /// Stops everything, for good.
    pub fn halt(&mut self, now: Now) -> Vec<Action> {
        self.halting = true;
        let all = self.runs.keys().cloned().collect();
        self.settle(now, all, Vec::new())
    }

    /// Whether nothing runs, is being started or is being stopped.
    pub fn is_idle(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether nothing runs that is known to be able to stop.
    pub fn is_stopped(&self) -> bool {
        self.runs.values().all(|run| run.phase == Phase::Lost)
    }

    /// Whether the record gives this member nothing.
    pub fn wants_nothing(&self) -> bool {
        self.record.wants_nothing()
    }

    /// Brings tasks to what the record wants of them, as far as they are not on their way already.
    fn settle(&mut self, now: Now, keys: BTreeSet<Arc<str>>, mut actions: Vec<Action>) -> Vec<Action> {
        let mut assigns = Vec::new();
        for key in keys {
            let wanted = self.wanted(&key).cloned();
            self.report.forget_failure(&key, wanted.as_ref().map(|wanted| wanted.token));
            match (self.runs.get_mut(&key), wanted) {
                (Some(run), wanted) => {
                    let stays = wanted.is_some_and(|wanted| wanted.token == run.holding.token);
                    if run.phase == Phase::Started && !stays {
                        self.held -= 1;
                        self.revokes.insert((now.at + self.revoke_timeout, key.clone()));
                        actions.push(run.stop(now, None));
                    }
                    if stays {
                        self.unwanted.remove(&key);
                    } else {
                        self.unwanted.insert(key.clone());
                    }
                }
                (None, wanted) => {
                    self.unwanted.remove(&key);
                    if let Some(wanted) = wanted.filter(|_| !self.report.has_failed(&key)) {
                        assigns.push(Action::Assign(wanted.clone()));
                        self.runs.insert(
                            key.clone(),
                            Run { holding: wanted, phase: Phase::Starting, stopping: None },
                        );
                    }
                }
            }
            let released = self.record.releasing(&key).filter(|_| !self.runs.contains_key(&key));
            self.report.set_released(&key, released);
        }
        self.schedule_ack(now);
        actions.extend(assigns);
        actions
    }

    fn wanted(&self, key: &str) -> Option<&Holding> {
        self.record.wanted(key).filter(|_| !self.halting)
    }

    fn schedule_ack(&mut self, now: Now) {
        let stopping = !self.unwanted.is_empty();
        self.report.schedule(self.record.marked(), stopping, now.at, now.at + self.companions);
    }

    /// When the next acknowledgement is to be written.
    pub fn ack_at(&self) -> Option<Timestamp> {
        self.report.at()
    }

    /// The acknowledgement to write, if one is due.
    pub fn due_ack(&mut self, now: Now) -> Option<AckRecord> {
        let generation = self.generation;
        self.report.at().filter(|at| *at <= now.at).map(|_| self.report.write(generation))
    }

    /// The store has this acknowledgement.
    pub fn on_acked(&mut self, now: Now, ack: &AckRecord) {
        self.report.written(ack);
        self.schedule_ack(now);
    }

    /// The store may not have the last acknowledgement; where it is `too_large`, the next one is shorter.
    pub fn on_not_acked(&mut self, now: Now, too_large: bool) {
        if too_large {
            self.report.shorten();
        }
        self.report.not_written();
        self.schedule_ack(now);
    }

    /// What is held: running, and not about to stop.
    pub fn held(&self) -> impl Iterator<Item = &Holding> {
        self.runs.values().filter(|run| run.phase == Phase::Started).map(|run| &run.holding)
    }

    /// The number of tasks that are held.
    pub fn held_count(&self) -> usize {
        self.held
    }
}

#[cfg(test)]
mod tests;
