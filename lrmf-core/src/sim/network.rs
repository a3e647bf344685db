//! The network between processes and the store: calls that are late, lost or unanswered, and watches.

use std::time::Duration;

use uuid::Uuid;

use crate::coordination::{TxnOutcome, WatchBatch, WatchEvent};
use crate::error::CoordinationError;
use crate::ids::Incarnation;
use crate::protocol::{Call, CallId, FeedId, FeedItem, Input, Reply};

use super::oracle::Observed;
use super::process::Feed;
use super::world::{Happening, World};

/// The time after which a caller gives up.
const TIMEOUT: Duration = Duration::from_millis(500);

impl World {
    pub(super) fn is_cut(&self, ix: usize) -> bool {
        self.now < self.processes[ix].cut_until
    }

    pub(super) fn call(&mut self, process: usize, id: CallId, call: Call) {
        self.calls += u64::from(!matches!(call, Call::KeepAlive(_)));
        let there = self.rng.micros(100..3000);
        let by = self.processes[process].session;
        let unknown = call.kind().failed(CoordinationError::Unknown("no answer".into()));
        let answer = |world: &mut Self, after, reply| {
            world.later(after, Happening::Deliver { process, input: Input::Reply(id, reply) });
        };
        if self.is_cut(process) {
            let refused = self.rng.per_mille(500);
            let reply = if refused {
                call.kind().failed(CoordinationError::Unreachable("cut".into()))
            } else {
                unknown
            };
            return answer(self, if refused { there } else { TIMEOUT }, reply);
        }
        let luck = if self.faulty { self.rng.below(100) } else { 99 };
        match if luck < 5 && self.strikes() { luck } else { 99 } {
            0 => answer(self, there, call.kind().failed(CoordinationError::Unreachable("refused".into()))),
            1 => answer(self, TIMEOUT, unknown),
            2 => {
                answer(self, TIMEOUT, unknown);
                self.later(there, Happening::Exec { by, process, id, call, answers: false });
            }
            3 | 4 => {
                answer(self, TIMEOUT, unknown);
                let late = self.rng.millis(0..6000);
                self.later(late, Happening::Exec { by, process, id, call, answers: false });
            }
            _ => self.later(there, Happening::Exec { by, process, id, call, answers: true }),
        }
    }

    /// Carries a call out; says whether it wrote.
    pub(super) fn exec(&mut self, process: usize, id: CallId, call: &Call, answers: bool) -> bool {
        self.store.expire(self.now);
        let reply = match call {
            Call::Grant { ttl } => {
                let incarnation = Incarnation(Uuid::from_u128(self.next_incarnation));
                self.next_incarnation += 1;
                Reply::Granted(Ok((self.store.grant(self.now, *ttl), incarnation)))
            }
            Call::KeepAlive(lease) => Reply::KeptAlive(self.store.keep_alive(self.now, *lease)),
            Call::Revoke(lease) => {
                self.store.revoke(*lease);
                Reply::Revoked(Ok(()))
            }
            Call::Commit(txn) => Reply::Committed(self.store.commit(txn)),
        };
        self.note(|| format!("store: {id:?} of process {process}: {reply:?} for {call:?}"));
        let wrote = matches!(reply, Reply::Committed(Ok(TxnOutcome::Applied { .. })));
        if !answers {
            return wrote;
        }
        // Some answers take as long as a caller may wait for them with a store that has another limit.
        let slow = self.faulty && self.rng.per_mille(20) && self.strikes();
        let back = self.rng.micros(100..if slow { 3_000_000 } else { 3000 });
        let lost = self.is_cut(process);
        let reply =
            if lost { call.kind().failed(CoordinationError::Unknown("no answer".into())) } else { reply };
        let after = if lost { TIMEOUT } else { back };
        self.later(after, Happening::Deliver { process, input: Input::Reply(id, reply) });
        wrote
    }

    pub(super) fn follow(&mut self, ix: usize, feed: FeedId, epoch: u64, prefix: String) {
        let state = Feed { epoch, prefix, watching: None, last: self.now, sent: Vec::new() };
        self.processes[ix].feeds.insert(feed, state);
        let after = self.rng.micros(100..3000);
        self.later(after, Happening::List { process: ix, feed, epoch });
    }

    pub(super) fn list(&mut self, ix: usize, feed: FeedId, epoch: u64) {
        let back = self.rng.micros(100..3000);
        let unlucky = self.faulty && self.rng.per_mille(20) && self.strikes();
        let (fails, now) = (self.is_cut(ix) || unlucky, self.now);
        let process = &mut self.processes[ix];
        let Some(state) = process.feeds.get_mut(&feed).filter(|state| state.epoch == epoch) else { return };
        if fails {
            state.watching = None;
            return self.later(Duration::from_millis(50), Happening::List { process: ix, feed, epoch });
        }
        self.store.expire(now);
        let snapshot = self.store.list(&state.prefix);
        state.watching = Some(snapshot.revision);
        state.last = state.last.max(now + back);
        let (at, item) = (state.last, FeedItem::Loaded(snapshot));
        if feed == FeedId::Own {
            let (before, now_at) = (process.seen, self.store.revision());
            process.seen = now_at;
            if now_at < before {
                self.later(at - now, Happening::Deliver { process: ix, input: Input::StoreReset });
            }
        }
        self.later(at - now, Happening::Deliver { process: ix, input: Input::Feed { feed, epoch, item } });
    }

    /// Sends what the store has done to those who watch it.
    pub(super) fn spread(&mut self) {
        for batch in self.store.take_news() {
            self.note(|| format!("store: {batch:?}"));
            for ix in 0..self.processes.len() {
                if self.processes[ix].is_up() {
                    self.tell(ix, &batch);
                }
            }
        }
    }

    pub(super) fn tell(&mut self, ix: usize, batch: &WatchBatch) {
        let (cut, now) = (self.is_cut(ix), self.now);
        for feed in [FeedId::Own, FeedId::Record, FeedId::Leader, FeedId::Group] {
            let slow = self.faulty && self.rng.per_mille(30) && self.strikes();
            let after = self.rng.micros(100..if slow { 2_000_000 } else { 3000 });
            let Some(state) = self.processes[ix].feeds.get_mut(&feed) else { continue };
            let key_of = |event: &WatchEvent| match event {
                WatchEvent::Put(kv) => kv.key.starts_with(&state.prefix),
                WatchEvent::Delete { key } => key.starts_with(&state.prefix),
            };
            let events: Vec<_> = batch.events.iter().filter(|event| key_of(event)).cloned().collect();
            if state.watching.is_none_or(|seen| seen >= batch.revision) || events.is_empty() {
                continue;
            }
            let epoch = state.epoch;
            if cut {
                state.watching = None;
                self.later(Duration::from_millis(50), Happening::List { process: ix, feed, epoch });
                continue;
            }
            state.watching = Some(batch.revision);
            state.last = state.last.max(now + after);
            let seen = &mut self.processes[ix].seen;
            *seen = batch.revision.max(*seen);
            let Some(state) = self.processes[ix].feeds.get_mut(&feed) else { continue };
            let item = FeedItem::Changed(WatchBatch { revision: batch.revision, events });
            let wait = state.last - now;
            self.later(wait, Happening::Deliver { process: ix, input: Input::Feed { feed, epoch, item } });
        }
    }
}
