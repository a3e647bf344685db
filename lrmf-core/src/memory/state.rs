//! The contents of the store, as a state machine: every step is given the time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::coordination::{
    Guard, KeyValue, Lease, LeaseId, Op, Revision, Snapshot, Txn, TxnLimits, TxnOutcome, WatchBatch,
    WatchEvent,
};
use crate::error::CoordinationError;

#[derive(Clone, Debug)]
struct LeaseState {
    ttl: Duration,
    deadline: Instant,
    keys: BTreeSet<String>,
}

#[derive(Debug)]
struct Watcher {
    prefix: String,
    /// Every change up to here was delivered, or is none of this watcher's.
    seen: Revision,
    wake: Arc<Notify>,
}

/// The contents of a backup: not the history, and nobody who watches.
#[derive(Clone, Debug)]
pub(super) struct Copied {
    revision: Revision,
    keys: BTreeMap<String, KeyValue>,
    leases: BTreeMap<LeaseId, LeaseState>,
}

/// The history that a watcher still needs is gone.
#[derive(Debug)]
pub(super) struct HistoryGone;

#[derive(Debug)]
pub(super) struct State {
    revision: Revision,
    keys: BTreeMap<String, KeyValue>,
    leases: BTreeMap<LeaseId, LeaseState>,
    deadlines: BTreeSet<(Instant, LeaseId)>,
    last_lease: i64,
    /// The changes after `compacted`, oldest first.
    history: VecDeque<WatchBatch>,
    history_limit: usize,
    compacted: Revision,
    watchers: BTreeMap<u64, Watcher>,
    last_watcher: u64,
}

impl State {
    pub(super) fn new(history_limit: usize) -> Self {
        Self {
            revision: Revision(0),
            keys: BTreeMap::new(),
            leases: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            last_lease: 0,
            history: VecDeque::new(),
            history_limit,
            compacted: Revision(0),
            watchers: BTreeMap::new(),
            last_watcher: 0,
        }
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn copy(&self) -> Copied {
        Copied { revision: self.revision, keys: self.keys.clone(), leases: self.leases.clone() }
    }

    /// Goes back to a copy. The names of leases are not used again: those of a real store are random.
    pub(super) fn restore(&mut self, copy: Copied, now: Instant) {
        (self.revision, self.keys, self.leases) = (copy.revision, copy.keys, copy.leases);
        self.restart_leases(now);
        self.history.clear();
        self.compacted = self.revision;
        std::mem::take(&mut self.watchers).into_values().for_each(|watcher| watcher.wake.notify_one());
    }

    // Leases.

    pub(super) fn grant(&mut self, ttl: Duration, now: Instant) -> Lease {
        self.last_lease += 1;
        let id = LeaseId(self.last_lease);
        let deadline = now + ttl;
        self.leases.insert(id, LeaseState { ttl, deadline, keys: BTreeSet::new() });
        self.deadlines.insert((deadline, id));
        Lease { id, ttl }
    }

    pub(super) fn keep_alive(&mut self, id: LeaseId, now: Instant) -> Result<Duration, CoordinationError> {
        let lease = self.leases.get_mut(&id).ok_or(CoordinationError::LeaseGone)?;
        self.deadlines.remove(&(lease.deadline, id));
        lease.deadline = now + lease.ttl;
        self.deadlines.insert((lease.deadline, id));
        Ok(lease.ttl)
    }

    /// Gives every lease its full TTL again, as a restarted or newly elected etcd does.
    pub(super) fn restart_leases(&mut self, now: Instant) {
        self.deadlines.clear();
        for (id, lease) in &mut self.leases {
            lease.deadline = now + lease.ttl;
            self.deadlines.insert((lease.deadline, *id));
        }
    }

    pub(super) fn end_lease(&mut self, id: LeaseId) {
        let Some(lease) = self.leases.remove(&id) else { return };
        self.deadlines.remove(&(lease.deadline, id));
        if lease.keys.is_empty() {
            return;
        }
        let revision = self.next_revision();
        let mut events = Vec::with_capacity(lease.keys.len());
        for key in lease.keys {
            self.keys.remove(&key);
            events.push(WatchEvent::Delete { key });
        }
        self.record(WatchBatch { revision, events });
    }

    /// Ends the leases whose time has come, and says when the next one ends.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        loop {
            let (deadline, id) = *self.deadlines.first()?;
            if deadline > now {
                return Some(deadline);
            }
            self.end_lease(id);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    // Keys.

    pub(super) fn list(&self, prefix: &str) -> Snapshot {
        let entries = self
            .keys
            .range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(_, entry)| entry.clone())
            .collect();
        Snapshot { revision: self.revision, entries }
    }

    pub(super) fn commit(&mut self, txn: Txn, limits: TxnLimits) -> Result<TxnOutcome, CoordinationError> {
        txn.check(limits)?;
        if !txn.guards.iter().all(|guard| self.holds(guard)) {
            return Ok(TxnOutcome::Refused);
        }
        let names_ended_lease = |op: &Op| match op {
            Op::Put { lease: Some(lease), .. } => !self.leases.contains_key(lease),
            _ => false,
        };
        if txn.ops.iter().any(names_ended_lease) {
            return Err(CoordinationError::LeaseGone);
        }
        let changes = |op: &Op| matches!(op, Op::Put { .. }) || self.keys.contains_key(op.key());
        let ops: Vec<Op> = txn.ops.into_iter().filter(changes).collect();
        if !ops.is_empty() {
            let revision = self.next_revision();
            let events = ops.into_iter().map(|op| self.apply(op, revision)).collect();
            self.record(WatchBatch { revision, events });
        }
        Ok(TxnOutcome::Applied { revision: self.revision })
    }

    fn holds(&self, guard: &Guard) -> bool {
        let found = self.keys.get(guard.key());
        match guard {
            Guard::Absent { .. } => found.is_none(),
            Guard::CreatedAt { revision, .. } => {
                found.is_some_and(|entry| entry.create_revision == *revision)
            }
            Guard::ModifiedAt { revision, .. } => found.is_some_and(|entry| entry.mod_revision == *revision),
        }
    }

    fn apply(&mut self, op: Op, revision: Revision) -> WatchEvent {
        let before = self.keys.remove(op.key());
        if let Some(lease) = before.as_ref().and_then(|entry| self.leases.get_mut(&entry.lease?)) {
            lease.keys.remove(op.key());
        }
        match op {
            Op::Delete { key } => WatchEvent::Delete { key },
            Op::Put { key, value, lease } => {
                if let Some(lease) = lease.and_then(|id| self.leases.get_mut(&id)) {
                    lease.keys.insert(key.clone());
                }
                let create_revision = before.map_or(revision, |entry| entry.create_revision);
                let entry =
                    KeyValue { key: key.clone(), value, create_revision, mod_revision: revision, lease };
                self.keys.insert(key, entry.clone());
                WatchEvent::Put(entry)
            }
        }
    }

    fn next_revision(&mut self) -> Revision {
        self.revision = Revision(self.revision.0 + 1);
        self.revision
    }

    // History and watchers.

    fn record(&mut self, batch: WatchBatch) {
        let before = Revision(batch.revision.0 - 1);
        for watcher in self.watchers.values_mut() {
            if batch.events.iter().any(|event| event.key().starts_with(&watcher.prefix)) {
                watcher.wake.notify_one();
            } else if watcher.seen == before {
                watcher.seen = batch.revision;
            }
        }
        self.history.push_back(batch);
        while self.history.len() > self.history_limit {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(batch) = self.history.pop_front() {
            self.compacted = batch.revision;
        }
    }

    /// Forgets the history. Watchers that still need it end with an error.
    pub(super) fn compact(&mut self) {
        self.history.clear();
        self.compacted = self.revision;
        for watcher in self.watchers.values() {
            watcher.wake.notify_one();
        }
    }

    pub(super) fn add_watcher(&mut self, prefix: &str, after: Revision, wake: Arc<Notify>) -> u64 {
        self.last_watcher += 1;
        self.watchers.insert(self.last_watcher, Watcher { prefix: prefix.to_owned(), seen: after, wake });
        self.last_watcher
    }

    pub(super) fn remove_watcher(&mut self, id: u64) {
        self.watchers.remove(&id);
    }

    /// The next changes for a watcher, or none for now.
    pub(super) fn next_batch(&mut self, id: u64) -> Result<Option<WatchBatch>, HistoryGone> {
        // One that was there before the store went back.
        let Some(watcher) = self.watchers.get_mut(&id) else { return Err(HistoryGone) };
        if watcher.seen < self.compacted {
            return Err(HistoryGone);
        }
        let start = self.history.partition_point(|batch| batch.revision <= watcher.seen);
        for batch in self.history.range(start..) {
            watcher.seen = batch.revision;
            let of_prefix = |event: &&WatchEvent| event.key().starts_with(&watcher.prefix);
            let events: Vec<WatchEvent> = batch.events.iter().filter(of_prefix).cloned().collect();
            if !events.is_empty() {
                return Ok(Some(WatchBatch { revision: batch.revision, events }));
            }
        }
        Ok(None)
    }
}
