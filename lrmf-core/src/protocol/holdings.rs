//! Applying the own assignment: revoke what is gone, acknowledge, assign what is new.
//!
//! Each task goes its own way, so that a slow one delays no other. Calls for one task never overlap: while it is being
//! started or stopped, what the record wants next has to wait for that.

mod ack;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::CoordinatorConfig;
use crate::coordination::{Revision, WatchEvent};
use crate::event::Event;
use crate::ids::{Generation, Incarnation, InstanceId, Token};
use crate::keys::{Keys, Kind};
use crate::records::{AckRecord, ChunkRecord, Failure, Format, RecordError, Stuck, StuckBy, decode};
use crate::task::Holding;

use super::{Action, FeedItem, Now, Rules};

/// The longest error text that is passed on to the leader, in bytes.
const LONGEST_ERROR: usize = 256;

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

/// One chunk of the record, as applied.
#[derive(Clone, Debug, Default)]
struct Applied {
    generation: Generation,
    wanted: BTreeMap<Arc<str>, Holding>,
    /// The highest generation that took something away.
    marked: Generation,
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
    /// The revokes that are reported.
    stuck: BTreeMap<Arc<str>, Stuck>,
    revision: Revision,
    chunks: BTreeMap<u8, Applied>,
    generation: Generation,
    runs: BTreeMap<Arc<str>, Run>,
    /// What is not, or no longer, to run here, and has not ended yet.
    unwanted: BTreeMap<Arc<str>, Token>,
    failed: BTreeMap<Arc<str>, Failure>,
    /// Everything is to stop, whatever the record says.
    halting: bool,
    /// The acknowledgement that the store has.
    acked: AckRecord,
    /// When the one that is due stops waiting for revokes to end.
    ack_at: Option<Timestamp>,
}

impl Holdings {
    /// What a new session holds: nothing.
    pub fn new(
        keys: Keys,
        instance: InstanceId,
        incarnation: Incarnation,
        settings: &CoordinatorConfig,
        rules: Rules,
    ) -> Self {
        let acked = AckRecord {
            format: Format,
            incarnation,
            generation: Generation(0),
            releasing: Vec::new(),
            starting: Vec::new(),
            failed: Vec::new(),
            stuck: Vec::new(),
        };
        Self {
            keys,
            instance,
            incarnation,
            rules,
            companions: settings.companions,
            revoke_timeout: settings.revoke_timeout,
            stuck: BTreeMap::new(),
            revision: Revision(0),
            chunks: BTreeMap::new(),
            generation: Generation(0),
            runs: BTreeMap::new(),
            unwanted: BTreeMap::new(),
            failed: BTreeMap::new(),
            halting: false,
            acked,
            ack_at: None,
        }
    }

    /// The record changed.
    pub fn on_record(&mut self, now: Now, item: &FeedItem) -> Vec<Action> {
        let (revision, mut touched) = match item {
            FeedItem::Loaded(snapshot) => (snapshot.revision, self.chunks.keys().copied().collect()),
            FeedItem::Changed(batch) => (batch.revision, BTreeSet::new()),
        };
        if self.rules.forward_only && revision <= self.revision && self.revision > Revision(0) {
            return Vec::new();
        }
        self.revision = revision;
        let mut records: BTreeMap<u8, Option<Result<ChunkRecord, RecordError>>> = BTreeMap::new();
        for chunk in std::mem::take(&mut touched) {
            records.insert(chunk, None);
        }
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

    fn apply(&mut self, chunk: u8, record: Option<&ChunkRecord>, changed: &mut BTreeSet<Arc<str>>) {
        let before = self.chunks.remove(&chunk).unwrap_or_default();
        changed.extend(before.wanted.keys().cloned());
        let Some(record) = record else { return };
        if self.rules.incarnation && record.incarnation != self.incarnation {
            return;
        }
        if self.rules.forward_only && record.generation < before.generation {
            self.chunks.insert(chunk, before);
            return;
        }
        let mut applied = Applied { generation: record.generation, ..Applied::default() };
        for entry in &record.tasks {
            match entry.releasing {
                Some(marked) => applied.marked = applied.marked.max(marked),
                None => {
                    applied.wanted.insert(entry.key.clone(), entry.holding());
                }
            }
        }
        changed.extend(applied.wanted.keys().cloned());
        self.generation = self.generation.max(record.generation);
        self.chunks.insert(chunk, applied);
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
                actions.push(Action::Emit(Event::Assigned(run.holding.clone())));
            }
            Err(error) => {
                self.runs.remove(key);
                self.note_failure(key, token, &error);
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
        if !stopped {
            run.phase = Phase::Lost;
            let stuck = Stuck { key: key.clone(), token, by: StuckBy::Panicked };
            self.stuck.insert(key.clone(), stuck);
            self.schedule_ack(now);
            return actions;
        }
        self.stuck.remove(key);
        if let Some(run) = self.runs.remove(key) {
            if let Some(error) = run.stopping.and_then(|stopping| stopping.given_up) {
                self.note_failure(key, token, &error);
            }
            actions.push(Action::Emit(Event::Revoked(run.holding)));
        }
        self.settle(now, BTreeSet::from([key.clone()]), actions)
    }

    /// The worker gives a task up: it is stopped, and the leader is told as if it had not started.
    pub fn on_given_up(&mut self, now: Now, key: &Arc<str>, token: Token, error: String) -> Vec<Action> {
        let started = |run: &&mut Run| run.holding.token == token && run.phase == Phase::Started;
        let Some(run) = self.runs.get_mut(key).filter(started) else { return Vec::new() };
        run.phase = Phase::Stopping;
        run.stopping = Some(Stopping { since: now.at, given_up: Some(error.clone()) });
        let event = Event::GivenUp { key: key.clone(), token, error };
        vec![Action::Emit(event), Action::Revoke(run.holding.clone())]
    }

    /// Reports the revokes that take too long.
    pub fn tick(&mut self, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        for (key, run) in &self.runs {
            let since = run.stopping.as_ref().map(|stopping| stopping.since);
            if since.is_none_or(|since| now.at < since + self.revoke_timeout) || self.stuck.contains_key(key)
            {
                continue;
            }
            let token = run.holding.token;
            self.stuck.insert(key.clone(), Stuck { key: key.clone(), token, by: StuckBy::Overdue });
            actions.push(Action::Emit(Event::RevokeOverdue { key: key.clone(), token }));
        }
        if !actions.is_empty() {
            self.schedule_ack(now);
        }
        actions
    }

    /// When [`tick`](Self::tick) is due.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let waits = self.runs.iter().filter(|(key, _)| !self.stuck.contains_key(*key));
        waits.filter_map(|(_, run)| Some(run.stopping.as_ref()?.since + self.revoke_timeout)).min()
    }

    fn note_failure(&mut self, key: &Arc<str>, token: Token, error: &str) {
        let shown = Failure { key: key.clone(), token, error: cut(error).to_owned() };
        self.failed.insert(key.clone(), shown);
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
        self.chunks.values().all(|chunk| chunk.wanted.is_empty())
    }

    /// Brings tasks to what the record wants of them, as far as they are not on their way already.
    fn settle(&mut self, now: Now, keys: BTreeSet<Arc<str>>, mut actions: Vec<Action>) -> Vec<Action> {
        let mut assigns = Vec::new();
        for key in keys {
            let wanted = self.wanted(&key).cloned();
            self.note_unwanted(&key, wanted.as_ref());
            self.forget_failure(&key, wanted.as_ref());
            match (self.runs.get_mut(&key), wanted) {
                (Some(run), wanted) => {
                    let stays = wanted.is_some_and(|wanted| wanted.token == run.holding.token);
                    if run.phase == Phase::Started && !stays {
                        run.phase = Phase::Stopping;
                        run.stopping = Some(Stopping { since: now.at, given_up: None });
                        actions.push(Action::Revoke(run.holding.clone()));
                    }
                }
                (None, Some(wanted)) if !self.failed.contains_key(&key) => {
                    self.runs
                        .insert(key, Run { holding: wanted.clone(), phase: Phase::Starting, stopping: None });
                    assigns.push(Action::Assign(wanted));
                }
                (None, _) => {}
            }
        }
        self.schedule_ack(now);
        actions.extend(assigns);
        actions
    }

    fn wanted(&self, key: &str) -> Option<&Holding> {
        if self.halting {
            return None;
        }
        self.chunks.get(&crate::keys::chunk_of(key))?.wanted.get(key)
    }

    fn note_unwanted(&mut self, key: &Arc<str>, wanted: Option<&Holding>) {
        let running = self.runs.get(key).map(|run| run.holding.token);
        match running.filter(|running| wanted.is_none_or(|wanted| wanted.token != *running)) {
            Some(token) => self.unwanted.insert(key.clone(), token),
            None => self.unwanted.remove(key),
        };
    }

    fn forget_failure(&mut self, key: &str, wanted: Option<&Holding>) {
        let current = self
            .failed
            .get(key)
            .is_some_and(|failure| wanted.is_some_and(|wanted| wanted.token == failure.token));
        if !current {
            self.failed.remove(key);
        }
    }

    /// What is held: running, and not about to stop.
    pub fn held(&self) -> impl Iterator<Item = &Holding> {
        self.runs.values().filter(|run| run.phase == Phase::Started).map(|run| &run.holding)
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_ERROR);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests;
