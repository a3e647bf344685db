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

use super::{Action, AssignError, FeedItem, Now, Rules};
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

#[derive(Clone, Debug)]
struct Run {
    holding: Holding,
    phase: Phase,
    /// The time from which on the call of the worker that is under way takes too long.
    due: Timestamp,
    /// It does.
    overdue: bool,
    /// Why it is not to begin here again in this holding: the worker gave it up, or its start went wrong.
    given_up: Option<String>,
    /// `Worker::assign` returned well.
    started: bool,
}

/// The remains of former sessions of this process.
#[derive(Clone, Debug, Default)]
pub struct Inherited {
    /// Calls of the worker that have not returned. Calls for one task never overlap, so until they do, those tasks cannot
    /// begin here.
    calls: BTreeMap<Arc<str>, Run>,
    /// The tasks whose revoke panicked: they may run for as long as the process does.
    lost: BTreeSet<Arc<str>>,
}

impl Inherited {
    /// A call to start a task has returned: what began all the same is stopped.
    pub fn on_assigned(
        &mut self,
        key: &Arc<str>,
        token: Token,
        result: &Result<(), AssignError>,
    ) -> Option<Action> {
        let run = self.calls.get_mut(key).filter(|run| run.holding.token == token)?;
        if matches!(result, Err(AssignError::Failed(_))) {
            self.calls.remove(key);
            return None;
        }
        run.phase = Phase::Stopping;
        Some(Action::Revoke(run.holding.clone()))
    }

    /// A call to stop a task has returned. `stopped` is false where it did not return but panicked.
    pub fn on_revoked(&mut self, key: &Arc<str>, token: Token, stopped: bool) {
        let is_it = self.calls.get(key).is_some_and(|run| run.holding.token == token);
        if is_it {
            self.calls.remove(key);
            if !stopped {
                self.lost.insert(key.clone());
            }
        }
    }

    /// The tasks that may still run.
    pub fn remains(&self) -> impl Iterator<Item = &Arc<str>> {
        self.calls.keys().chain(self.lost.iter().filter(|key| !self.calls.contains_key(*key)))
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
    /// The time that an assign may take before it is given up.
    assign_timeout: Duration,
    /// The time that a revoke may take before it is reported.
    revoke_timeout: Duration,
    revision: Revision,
    record: OwnRecord,
    generation: Generation,
    runs: BTreeMap<Arc<str>, Run>,
    /// The number of runs that have started and are not about to stop.
    held: usize,
    /// The time at which each call of the worker that is under way will have taken too long; those that have are taken out.
    calls: BTreeSet<(Timestamp, Arc<str>)>,
    /// The calls that were under way when a former session of this process was given up, and still are.
    inherited: Inherited,
    /// The tasks that are not, or no longer, to run here, and have not ended yet.
    unwanted: BTreeSet<Arc<str>>,
    /// Everything is to stop, whatever the record says.
    halting: bool,
    /// The store as it is now has less than what was applied.
    gone_back: bool,
    report: Report,
}

impl Holdings {
    /// The holdings of a new session: none.
    pub fn new(
        keys: Keys,
        instance: InstanceId,
        incarnation: Incarnation,
        settings: &CoordinatorConfig,
        limits: TxnLimits,
        rules: Rules,
        inherited: Inherited,
    ) -> Self {
        Self {
            keys,
            instance,
            incarnation,
            rules,
            companions: settings.companions,
            assign_timeout: settings.assign_timeout,
            revoke_timeout: settings.revoke_timeout,
            revision: Revision(0),
            record: OwnRecord::default(),
            generation: Generation(0),
            runs: BTreeMap::new(),
            held: 0,
            calls: BTreeSet::new(),
            inherited,
            unwanted: BTreeSet::new(),
            halting: false,
            gone_back: false,
            report: Report::new(incarnation, target_bytes(limits)),
        }
    }

    /// The record changed.
    pub fn on_record(&mut self, now: Now, item: &FeedItem) -> Vec<Action> {
        // A list that is just as new says the same, unless the store has gone back and come as far again since.
        let (revision, gone, is_old): (_, Vec<ChunkId>, _) = match item {
            FeedItem::Loaded(list) => {
                (list.revision, self.record.chunks().collect(), list.revision < self.revision)
            }
            FeedItem::Changed(batch) => (batch.revision, Vec::new(), batch.revision <= self.revision),
        };
        if self.rules.forward_only && is_old && self.revision > Revision(0) {
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
            // A list that is no older than all that was applied, with an older record in it.
            self.gone_back |= matches!((item, &record), (FeedItem::Loaded(_), Some(Ok(record)))
                if record.incarnation == self.incarnation
                    && self.record.generation(chunk).is_some_and(|applied| record.generation < applied));
            match record.transpose() {
                Ok(record) => self.apply(chunk, record.as_ref(), &mut changed),
                Err(error) => actions.push(Action::Emit(Event::Unreadable { error: error.to_string() })),
            }
        }
        self.settle(now, changed, actions)
    }

    /// Returns true where the records show that the store went back to an older copy of itself, unnoticed as it has come as
    /// far as before since.
    pub fn has_gone_back(&self) -> bool {
        self.gone_back
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
        result: Result<(), AssignError>,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        if !self.returned(key, token) {
            return self.inherited.on_assigned(key, token, &result).into_iter().collect();
        }
        let Some(run) = self.runs.get_mut(key) else { return actions };
        match result {
            Ok(()) => {
                (run.phase, run.started) = (Phase::Started, true);
                self.held += 1;
                actions.push(Action::Emit(Event::Assigned(run.holding.clone())));
                // It gave the task up while it was still starting it.
                if run.given_up.is_some() {
                    actions.extend(self.stop(now, key));
                }
            }
            Err(AssignError::Failed(error)) => {
                self.runs.remove(key);
                self.report.note_failure(key, token, &error);
                actions.push(Action::Emit(Event::AssignFailed { key: key.clone(), token, error }));
            }
            Err(AssignError::Unknown(error)) => {
                run.given_up = Some(error.clone());
                actions.extend(self.stop(now, key));
                actions.push(Action::Emit(Event::AssignFailed { key: key.clone(), token, error }));
            }
        }
        self.settle(now, BTreeSet::from([key.clone()]), actions)
    }

    /// A call of the worker has returned; says whether it was for what runs.
    fn returned(&mut self, key: &Arc<str>, token: Token) -> bool {
        let Some(run) = self.runs.get_mut(key).filter(|run| run.holding.token == token) else { return false };
        self.calls.remove(&(run.due, key.clone()));
        run.overdue = false;
        self.report.forget_stuck(key);
        true
    }

    /// Asks the worker to start a task.
    fn start(&mut self, now: Now, holding: Holding) -> Action {
        let (key, due) = (holding.task.key.clone(), now.at + self.assign_timeout);
        self.calls.insert((due, key.clone()));
        let run = Run {
            holding: holding.clone(),
            phase: Phase::Starting,
            due,
            overdue: false,
            given_up: None,
            started: false,
        };
        self.runs.insert(key, run);
        Action::Assign(holding)
    }

    /// Asks the worker to stop a task.
    fn stop(&mut self, now: Now, key: &Arc<str>) -> Option<Action> {
        let run = self.runs.get_mut(key)?;
        self.held -= usize::from(run.phase == Phase::Started);
        (run.phase, run.due) = (Phase::Stopping, now.at + self.revoke_timeout);
        self.calls.insert((run.due, key.clone()));
        Some(Action::Revoke(run.holding.clone()))
    }

    /// `Worker::revoke` has returned. `stopped` is false where it did not return but panicked.
    pub fn on_revoked(&mut self, now: Now, key: &Arc<str>, token: Token, stopped: bool) -> Vec<Action> {
        let mut actions = Vec::new();
        if !self.returned(key, token) {
            self.inherited.on_revoked(key, token, stopped);
            return actions;
        }
        if !stopped {
            self.runs.entry(key.clone()).and_modify(|run| run.phase = Phase::Lost);
            self.report.note_stuck(Stuck { key: key.clone(), token, by: StuckBy::Panicked });
            self.schedule_ack(now);
            return actions;
        }
        if let Some(run) = self.runs.remove(key) {
            if let Some(error) = run.given_up {
                self.report.note_failure(key, token, &error);
            }
            if run.started {
                actions.push(Action::Emit(Event::Revoked(run.holding)));
            }
        }
        self.settle(now, BTreeSet::from([key.clone()]), actions)
    }

    /// The worker gives a task up: it is stopped, and the leader is told as if it had not started.
    pub fn on_given_up(&mut self, now: Now, key: &Arc<str>, token: Token, error: String) -> Vec<Action> {
        let goes_on = |run: &&mut Run| {
            run.holding.token == token && matches!(run.phase, Phase::Starting | Phase::Started)
        };
        let Some(run) = self.runs.get_mut(key).filter(goes_on) else { return Vec::new() };
        run.given_up = Some(error.clone());
        let started = run.phase == Phase::Started;
        let mut actions = vec![Action::Emit(Event::GivenUp { key: key.clone(), token, error })];
        // One that is still being started is stopped as soon as that has ended.
        if started {
            actions.extend(self.stop(now, key));
        }
        actions
    }

    /// Reports the calls that take too long, and gives up those that were to start something.
    pub fn tick(&mut self, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        while self.calls.first().is_some_and(|(at, _)| *at <= now.at) {
            let Some((_, key)) = self.calls.pop_first() else { break };
            let Some(run) = self.runs.get_mut(&key) else { continue };
            run.overdue = true;
            let token = run.holding.token;
            self.report.note_stuck(Stuck { key: key.clone(), token, by: StuckBy::Overdue });
            if run.phase == Phase::Starting {
                actions.push(Action::Emit(Event::AssignOverdue { key, token }));
                actions.push(Action::AbandonAssign(run.holding.clone()));
            } else {
                actions.push(Action::Emit(Event::RevokeOverdue { key, token }));
            }
        }
        if !actions.is_empty() {
            self.schedule_ack(now);
        }
        actions
    }

    /// The time at which [`tick`](Self::tick) is due.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.calls.first().map(|(at, _)| *at)
    }

    /// Stops everything, for good. What is being started is given up, as the session may end before that has returned.
    pub fn halt(&mut self, now: Now) -> Vec<Action> {
        self.halting = true;
        let all = self.runs.keys().cloned().collect();
        let starting = self.runs.values().filter(|run| run.phase == Phase::Starting && !run.overdue);
        let given_up = starting.map(|run| Action::AbandonAssign(run.holding.clone())).collect();
        self.settle(now, all, given_up)
    }

    /// Returns true where nothing runs, is being started or is being stopped.
    pub fn is_idle(&self) -> bool {
        self.runs.is_empty() && self.inherited.calls.is_empty()
    }

    /// The remains that the next session of this process has to wait for, task by task.
    pub fn bequeath(self) -> Inherited {
        let under_way = |run: &Run| matches!(run.phase, Phase::Starting | Phase::Stopping);
        let Inherited { mut calls, mut lost } = self.inherited;
        lost.extend(self.runs.iter().filter(|(_, run)| run.phase == Phase::Lost).map(|(key, _)| key.clone()));
        calls.extend(self.runs.into_iter().filter(|(_, run)| under_way(run)));
        Inherited { calls, lost }
    }

    /// Returns true where everything has stopped but what does not: where the worker panicked, or does not return in time.
    pub fn is_stopped(&self) -> bool {
        self.runs.values().all(|run| run.phase == Phase::Lost || run.overdue)
    }

    /// The tasks that may still run, once everything else [is stopped](Self::is_stopped).
    pub fn remains(&self) -> impl Iterator<Item = &Arc<str>> {
        self.runs.keys().chain(self.inherited.remains().filter(|key| !self.runs.contains_key(*key)))
    }

    /// Returns true where the record gives this member nothing.
    pub fn wants_nothing(&self) -> bool {
        self.record.wants_nothing()
    }

    /// Brings tasks to what the record wants of them, as far as they are not on their way already.
    fn settle(&mut self, now: Now, keys: BTreeSet<Arc<str>>, mut actions: Vec<Action>) -> Vec<Action> {
        let mut assigns = Vec::new();
        for key in keys {
            let wanted = self.wanted(&key).cloned();
            self.report.forget_failure(&key, wanted.as_ref().map(|wanted| wanted.token));
            match (self.runs.get(&key), wanted) {
                (Some(run), wanted) => {
                    let stays = wanted.is_some_and(|wanted| wanted.token == run.holding.token);
                    if run.phase == Phase::Started && !stays {
                        actions.extend(self.stop(now, &key));
                    }
                    if stays {
                        self.unwanted.remove(&key);
                    } else {
                        self.unwanted.insert(key.clone());
                    }
                }
                (None, wanted) => {
                    self.unwanted.remove(&key);
                    match wanted.filter(|_| !self.report.has_failed(&key)) {
                        Some(wanted) if self.inherited.calls.contains_key(&key) => {
                            let why = "its run in a former session has not stopped";
                            self.report.note_failure(&key, wanted.token, why);
                        }
                        Some(wanted) => assigns.push(self.start(now, wanted)),
                        None => {}
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

    /// The time at which the next acknowledgement is to be written.
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

    /// The holdings: running, and not about to stop.
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
