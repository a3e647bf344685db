//! The books: the leases that the store has, the parts of each, and the keys of each part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::clock::Timestamp;
use crate::coordination::{KeyValue, Lease, LeaseId, Op, Txn};
use crate::error::CoordinationError;

use super::with_lease;

/// A sign of life is used by all that ask within this share of a TTL after it.
const FRESH: u32 = 5;

/// A sign of life that the store has answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sign {
    pub(super) sent: Timestamp,
    pub(super) ttl: Duration,
}

/// A lease of the store.
#[derive(Debug)]
struct Real {
    /// The TTL that was asked for.
    asked: Duration,
    sign: Sign,
    /// The last sign of life that failed, and when it was sent.
    failed: Option<(Timestamp, CoordinationError)>,
    /// Held while it is prolonged: the others wait for the answer, and use it.
    asking: Arc<Mutex<()>>,
    /// It is being ended, as it has no parts any more.
    closing: bool,
}

/// A lease as a member has it.
#[derive(Debug)]
struct Part {
    lease: LeaseId,
    ttl: Duration,
    /// It ends then, unless its member prolongs it.
    ends: Timestamp,
    ended: bool,
    /// Its keys were deleted, as far as they were there.
    cleared: bool,
    keys: BTreeSet<String>,
    /// The number of writes under it whose outcome nobody knows.
    unsettled: u64,
}

/// Keys to be deleted where they are bound to this lease, as their part has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leftover {
    pub(super) part: LeaseId,
    pub(super) lease: LeaseId,
    pub(super) keys: Vec<String>,
    /// It is looked at again, for writes that were late.
    pub(super) again: bool,
}

/// A write that is under way.
#[derive(Debug)]
pub(super) struct Writing {
    /// Of each part that is written under, the lease of the store; for one that has ended, a lease that has too.
    leases: BTreeMap<LeaseId, LeaseId>,
    /// The owner of each key before.
    before: Vec<(String, Option<LeaseId>)>,
}

impl Writing {
    pub(super) fn translate(&self, op: Op) -> Op {
        let lease = match &op {
            Op::Put { lease: Some(part), .. } => self.leases.get(part).copied(),
            Op::Put { lease: None, .. } | Op::Delete { .. } => None,
        };
        match lease {
            Some(lease) => with_lease(op, lease),
            None => op,
        }
    }
}

/// The books.
#[derive(Debug, Default)]
pub(super) struct Parts {
    reals: BTreeMap<LeaseId, Real>,
    parts: BTreeMap<LeaseId, Part>,
    /// The owner of each key.
    owners: BTreeMap<String, LeaseId>,
    /// Parts have negative numbers, which no store gives.
    last: i64,
}

impl Parts {
    /// The lease that parts with this TTL belong to.
    pub(super) fn lease_for(&self, ttl: Duration) -> Option<LeaseId> {
        self.reals.iter().find(|(_, real)| real.asked == ttl && !real.closing).map(|(lease, _)| *lease)
    }

    pub(super) fn granted(&mut self, asked: Duration, lease: Lease, sent: Timestamp) {
        let sign = Sign { sent, ttl: lease.ttl };
        let real = Real { asked, sign, failed: None, asking: Arc::default(), closing: false };
        self.reals.insert(lease.id, real);
    }

    /// The turn to prolong a lease.
    pub(super) fn turn(&self, lease: LeaseId) -> Option<Arc<Mutex<()>>> {
        self.reals.get(&lease).map(|real| real.asking.clone())
    }

    /// The failure of a sign of life that was sent after a time.
    pub(super) fn failure(&self, lease: LeaseId, asked: Timestamp) -> Option<CoordinationError> {
        let (sent, error) = self.reals.get(&lease)?.failed.as_ref()?;
        (*sent >= asked).then(|| error.clone())
    }

    pub(super) fn failed(&mut self, lease: LeaseId, sent: Timestamp, error: CoordinationError) {
        if let Some(real) = self.reals.get_mut(&lease) {
            real.failed = Some((sent, error));
        }
    }

    /// Begins to end a lease, where it has no part that lives.
    pub(super) fn close(&mut self, lease: LeaseId) -> bool {
        let lives = self.parts.values().any(|part| !part.ended && part.lease == lease);
        if let Some(real) = self.reals.get_mut(&lease).filter(|_| !lives) {
            real.closing = true;
        }
        !lives
    }

    /// Returns true where the lease's last sign of life was sent after a time, or shortly before it.
    pub(super) fn is_fresh(&self, lease: LeaseId, asked: Timestamp) -> bool {
        self.reals.get(&lease).is_some_and(|real| asked.since(real.sign.sent) < real.sign.ttl / FRESH)
    }

    pub(super) fn confirmed(&mut self, lease: LeaseId, sign: Sign) {
        if let Some(real) = self.reals.get_mut(&lease) {
            (real.sign, real.failed) = (sign, None);
        }
    }

    /// The store's lease has ended, with everything that was bound to it.
    pub(super) fn gone(&mut self, lease: LeaseId) {
        self.reals.remove(&lease);
        self.parts.retain(|_, part| part.lease != lease);
        let parts = &self.parts;
        self.owners.retain(|_, owner| parts.contains_key(owner));
    }

    /// The time that is left of a lease, from `asked` on.
    fn left(&self, lease: LeaseId, asked: Timestamp) -> Option<Duration> {
        let Sign { sent, ttl } = self.reals.get(&lease)?.sign;
        Some(ttl.saturating_sub(asked.since(sent)))
    }

    /// Makes a part of a lease, for one who asked then.
    pub(super) fn part(&mut self, lease: LeaseId, asked: Timestamp) -> Option<Lease> {
        let open = self.reals.get(&lease).is_some_and(|real| !real.closing);
        let left = self.left(lease, asked).filter(|left| open && !left.is_zero())?;
        self.last -= 1;
        let (id, ends) = (LeaseId(self.last), asked + left);
        let (keys, unsettled) = (BTreeSet::new(), 0);
        self.parts.insert(id, Part { lease, ttl: left, ends, ended: false, cleared: false, keys, unsettled });
        Some(Lease { id, ttl: left })
    }

    /// The lease of a part that has not ended.
    pub(super) fn lease_of(&self, part: LeaseId) -> Option<LeaseId> {
        self.parts.get(&part).filter(|part| !part.ended).map(|part| part.lease)
    }

    /// A part was prolonged by one who asked then; says for how long.
    pub(super) fn prolonged(&mut self, part: LeaseId, asked: Timestamp) -> Option<Duration> {
        let left = self.left(self.lease_of(part)?, asked)?;
        let part = self.parts.get_mut(&part)?;
        (part.ttl, part.ends) = (left, part.ends.max(asked + left));
        Some(left)
    }

    pub(super) fn end(&mut self, part: LeaseId) {
        if let Some(part) = self.parts.get_mut(&part) {
            part.ended = true;
        }
    }

    /// Ends the parts that are due; says when the next one is.
    pub(super) fn end_due(&mut self, now: Timestamp) -> Option<Timestamp> {
        let living = self.parts.values_mut().filter(|part| !part.ended);
        living.filter(|part| part.ends <= now).for_each(|part| part.ended = true);
        self.parts.values().filter(|part| !part.ended).map(|part| part.ends).min()
    }

    /// The time after which keys of late writes are looked for again, where there may be some.
    pub(super) fn look_again(&self) -> Option<Duration> {
        self.parts.values().filter(|part| part.cleared).map(|part| part.ttl).min()
    }

    /// Returns true where a part has ended and its keys are still there.
    pub(super) fn is_due(&self) -> bool {
        self.parts.values().any(|part| part.ended && !part.cleared)
    }

    /// The keys that parts have left behind that have ended.
    pub(super) fn leftovers(&self) -> Vec<Leftover> {
        let ended = self.parts.iter().filter(|(_, part)| part.ended);
        let of = |(id, part): (&LeaseId, &Part)| Leftover {
            part: *id,
            lease: part.lease,
            keys: part.keys.iter().filter(|key| self.owns(*id, key)).cloned().collect(),
            again: part.cleared,
        };
        ended.map(of).collect()
    }

    /// Returns true where the part was the last one that the key was written under.
    pub(super) fn owns(&self, part: LeaseId, key: &str) -> bool {
        self.owners.get(key) == Some(&part)
    }

    /// Nothing is left of a part. One with writes that may still arrive stays in the books.
    pub(super) fn cleared(&mut self, part: LeaseId) {
        match self.parts.get_mut(&part) {
            Some(part) if part.unsettled > 0 => part.cleared = true,
            _ => {
                self.parts.remove(&part);
                self.owners.retain(|_, owner| *owner != part);
            }
        }
    }

    /// A transaction is about to be sent.
    pub(super) fn begin(&mut self, txn: &Txn) -> Writing {
        let mut writing = Writing { leases: BTreeMap::new(), before: Vec::new() };
        for op in &txn.ops {
            let Op::Put { key, lease: Some(id), .. } = op else { continue };
            let Some(lease) = self.lease_of(*id) else { continue };
            let Some(part) = self.parts.get_mut(id) else { continue };
            part.unsettled += u64::from(writing.leases.insert(*id, lease).is_none());
            part.keys.insert(key.clone());
            writing.before.push((key.clone(), self.owners.insert(key.clone(), *id)));
        }
        writing
    }

    /// A transaction has ended: applied, not applied, or nobody knows.
    pub(super) fn settle(&mut self, writing: &mut Writing, applied: Option<bool>) {
        let Some(applied) = applied else { return };
        for id in writing.leases.keys() {
            if let Some(part) = self.parts.get_mut(id) {
                part.unsettled -= 1;
            }
        }
        for (key, before) in writing.before.drain(..).filter(|_| !applied) {
            match before.filter(|before| self.parts.contains_key(before)) {
                Some(before) => drop(self.owners.insert(key, before)),
                None => drop(self.owners.remove(&key)),
            }
        }
    }

    /// Shows the part in place of the store's lease, where the key is one's own.
    pub(super) fn show(&self, kv: &mut KeyValue) {
        let owner = self.owners.get(&kv.key).and_then(|owner| Some((owner, self.parts.get(owner)?)));
        if let Some((owner, part)) = owner
            && kv.lease == Some(part.lease)
        {
            kv.lease = Some(*owner);
        }
    }
}
