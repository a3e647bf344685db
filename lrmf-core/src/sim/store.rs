//! A model of the coordination store, without any concurrency: what it does, it does at once.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::coordination::{
    Guard, KeyValue, Lease, LeaseId, Op, Revision, Snapshot, Txn, TxnOutcome, WatchBatch, WatchEvent,
};
use crate::error::CoordinationError;

#[derive(Clone, Copy, Debug)]
struct LeaseState {
    ttl: Duration,
    ends: Duration,
}

/// The store. Time is the simulation's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    revision: u64,
    entries: BTreeMap<String, KeyValue>,
    leases: BTreeMap<i64, LeaseState>,
    next_lease: i64,
    /// The events that were not yet handed out.
    news: Vec<WatchBatch>,
}

impl Store {
    pub(crate) fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    pub(crate) fn take_news(&mut self) -> Vec<WatchBatch> {
        std::mem::take(&mut self.news)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &KeyValue> {
        self.entries.values()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&KeyValue> {
        self.entries.get(key)
    }

    pub(crate) fn is_alive(&self, lease: LeaseId) -> bool {
        self.leases.contains_key(&lease.0)
    }

    pub(crate) fn leases(&self) -> impl Iterator<Item = LeaseId> {
        self.leases.keys().map(|lease| LeaseId(*lease))
    }

    pub(crate) fn next_end(&self) -> Option<Duration> {
        self.leases.values().map(|lease| lease.ends).min()
    }

    pub(crate) fn grant(&mut self, now: Duration, ttl: Duration) -> Lease {
        self.next_lease += 1;
        self.leases.insert(self.next_lease, LeaseState { ttl, ends: now + ttl });
        Lease { id: LeaseId(self.next_lease), ttl }
    }

    pub(crate) fn keep_alive(
        &mut self,
        now: Duration,
        lease: LeaseId,
    ) -> Result<Duration, CoordinationError> {
        let state = self.leases.get_mut(&lease.0).ok_or(CoordinationError::LeaseGone)?;
        state.ends = now + state.ttl;
        Ok(state.ttl)
    }

    pub(crate) fn revoke(&mut self, lease: LeaseId) {
        if self.leases.remove(&lease.0).is_none() {
            return;
        }
        let bound = self.entries.values().filter(|kv| kv.lease == Some(lease)).map(|kv| kv.key.clone());
        let keys: Vec<String> = bound.collect();
        if keys.is_empty() {
            return;
        }
        self.revision += 1;
        for key in &keys {
            self.entries.remove(key);
        }
        let events = keys.into_iter().map(|key| WatchEvent::Delete { key }).collect();
        self.news.push(WatchBatch { revision: Revision(self.revision), events });
    }

    /// Ends the leases that are due.
    pub(crate) fn expire(&mut self, now: Duration) {
        let due: Vec<i64> = self.leases.iter().filter(|(_, l)| l.ends <= now).map(|(id, _)| *id).collect();
        for lease in due {
            self.revoke(LeaseId(lease));
        }
    }

    /// Restarts the store: every lease begins anew.
    pub(crate) fn restart(&mut self, now: Duration) {
        for lease in self.leases.values_mut() {
            lease.ends = now + lease.ttl;
        }
    }

    /// Goes back to a copy. Leases have their full time again; names of leases are not used twice.
    pub(crate) fn restore(&mut self, copy: &Self, now: Duration) {
        let next_lease = self.next_lease;
        *self = Self { next_lease, news: Vec::new(), ..copy.clone() };
        self.restart(now);
    }

    pub(crate) fn list(&self, prefix: &str) -> Snapshot {
        let entries = self.entries.values().filter(|kv| kv.key.starts_with(prefix)).cloned().collect();
        Snapshot { revision: Revision(self.revision), entries }
    }

    pub(crate) fn commit(&mut self, txn: &Txn) -> Result<TxnOutcome, CoordinationError> {
        let dead = |op: &Op| matches!(op, Op::Put { lease: Some(lease), .. } if !self.is_alive(*lease));
        if txn.ops.iter().any(dead) {
            return Err(CoordinationError::LeaseGone);
        }
        let holds = |guard: &Guard| match guard {
            Guard::Absent { key } => !self.entries.contains_key(key),
            Guard::CreatedAt { key, revision } => {
                self.entries.get(key).is_some_and(|kv| kv.create_revision == *revision)
            }
            Guard::ModifiedAt { key, revision } => {
                self.entries.get(key).is_some_and(|kv| kv.mod_revision == *revision)
            }
        };
        if !txn.guards.iter().all(holds) {
            return Ok(TxnOutcome::Refused);
        }
        self.revision += 1;
        let revision = Revision(self.revision);
        let mut events = Vec::new();
        for op in &txn.ops {
            events.extend(self.write(op, revision));
        }
        self.news.push(WatchBatch { revision, events });
        Ok(TxnOutcome::Applied { revision })
    }

    fn write(&mut self, op: &Op, revision: Revision) -> Option<WatchEvent> {
        match op {
            Op::Put { key, value, lease } => {
                let created = self.entries.get(key).map_or(revision, |kv| kv.create_revision);
                let kv = KeyValue {
                    key: key.clone(),
                    value: value.clone(),
                    create_revision: created,
                    mod_revision: revision,
                    lease: *lease,
                };
                self.entries.insert(key.clone(), kv.clone());
                Some(WatchEvent::Put(kv))
            }
            Op::Delete { key } => self.entries.remove(key).map(|kv| WatchEvent::Delete { key: kv.key }),
        }
    }
}
