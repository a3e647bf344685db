//! Becoming a member.
//!
//! The member key is claimed when nobody has it, when who had it is restarting, or when it is this very process's own
//! from a session that it has stopped everything of (R3). A claim that nobody answered is read back and adopted by its
//! incarnation.
//!
//! Where somebody else is the member, this process registers as the successor, so that the leader leaves the tasks
//! where they are when that session ends, and this one takes them over. There is one successor at a time; others wait
//! for its place.
//!
//! In a group of mode `available` the claim makes the member's *contact* too, a key that is bound to a shorter lease.
//! The two come together, so that nobody ever sees the new session of a member that came back without it.

mod own;

use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::{Conflict, CoordinatorConfig, GroupMode};
use crate::coordination::{Guard, Lease, LeaseId, Op, Txn, TxnOutcome};
use crate::error::CoordinationError;
use crate::ids::{Incarnation, InstanceId};
use crate::keys::Keys;
use crate::records::{ContactRecord, Format, MemberRecord, MemberState, SuccessorRecord, encode};

use super::Now;
use super::backoff::Backoff;

pub use own::{Claimed, OwnKeys};

/// A session that is this process's.
#[derive(Clone, Debug)]
pub struct Session {
    /// The lease that its keys are bound to.
    pub lease: LeaseId,
    /// Its record in the store.
    pub record: MemberRecord,
    /// The time at which all tasks must begin to stop.
    pub deadline: Timestamp,
    /// The lease that its contact is bound to, in a group of mode `available`.
    pub contact: Option<Lease>,
}

/// The requests of a member that joins.
#[derive(Clone, Debug)]
pub enum JoinAction {
    /// Start a lease.
    Grant,
    /// Start a lease for the contact.
    GrantContact,
    /// Claim the member key, or a place as its successor.
    Claim(Txn),
    /// Prolong a lease.
    KeepAlive(LeaseId),
    /// Read the own keys again.
    Reload,
    /// End a lease that is of no use.
    Abandon(LeaseId),
    /// Somebody else is this member.
    Conflict,
    /// The store refuses, and would again.
    Refused(String),
    /// Done.
    Joined(Session),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Granting,
    GrantingContact,
    Claiming {
        successor: bool,
    },
    /// The claim may have been applied.
    Unsure,
}

/// A lease for the session to be.
#[derive(Clone, Copy, Debug)]
struct Held {
    lease: Lease,
    incarnation: Incarnation,
    /// The sending time of the last answered call that prolonged it.
    confirmed: Timestamp,
    keep_alive_at: Timestamp,
    /// A lease for the contact, and when it was asked for. It is made right before the claim; where it is not used, it
    /// ends by itself.
    contact: Option<(Lease, Timestamp)>,
}

impl Held {
    /// The contact's lease, where there is enough left of it.
    fn contact(&self, now: Now) -> Option<Lease> {
        let (lease, since) = self.contact?;
        (now.at.since(since) * 2 < lease.ttl).then_some(lease)
    }
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Joining {
    keys: Keys,
    instance: InstanceId,
    config: CoordinatorConfig,
    assignor: &'static str,
    /// Sessions of this very process, of which nothing runs any more.
    former: Vec<Incarnation>,
    /// This process was this member before.
    again: bool,
    state: State,
    held: Option<Held>,
    not_before: Timestamp,
    backoff: Backoff,
    /// Somebody else is this member, and that was said.
    waiting: bool,
    reported: bool,
}

impl Joining {
    /// Joins under this name; `former` are sessions of this process that have stopped everything.
    pub fn new(
        keys: Keys,
        instance: InstanceId,
        config: CoordinatorConfig,
        assignor: &'static str,
        former: Vec<Incarnation>,
    ) -> Self {
        let backoff = Backoff::new(&instance);
        Self {
            keys,
            instance,
            config,
            assignor,
            backoff,
            again: !former.is_empty(),
            former,
            state: State::Idle,
            held: None,
            not_before: Timestamp::default(),
            waiting: false,
            reported: false,
        }
    }

    /// An operator sent this process away: it does not come back before `until`.
    pub fn stay_away(&mut self, until: Timestamp) {
        self.again = true;
        self.not_before = until;
    }

    /// The sessions of this process so far.
    pub fn former(&self) -> &[Incarnation] {
        &self.former
    }

    /// The lease for the session to be.
    pub fn lease(&self) -> Option<LeaseId> {
        self.held.map(|held| held.lease.id)
    }

    /// The lease for the contact to be.
    #[cfg(test)]
    pub(crate) fn contact(&self) -> Option<LeaseId> {
        self.held.and_then(|held| held.contact).map(|(lease, _)| lease.id)
    }

    /// Returns true where somebody else turns out to be this member, so that this process has to wait; said once.
    pub fn begins_to_wait(&mut self) -> bool {
        let begins = self.waiting && !self.reported;
        self.reported |= begins;
        begins
    }

    /// The own keys were read.
    pub fn on_own(&mut self, now: Now, own: &OwnKeys, loaded: bool) -> Vec<JoinAction> {
        if loaded && self.state == State::Unsure {
            self.state = State::Idle;
        }
        self.tick(now, own)
    }

    /// The lease was granted, or not.
    pub fn on_granted(
        &mut self,
        now: Now,
        own: &OwnKeys,
        sent: Timestamp,
        result: Result<(Lease, Incarnation), CoordinationError>,
    ) -> Vec<JoinAction> {
        self.state = State::Idle;
        match result {
            Ok((lease, incarnation)) => {
                let keep_alive_at = sent + self.config.keep_alive_interval();
                self.held = Some(Held { lease, incarnation, confirmed: sent, keep_alive_at, contact: None });
            }
            Err(error) if error.is_retryable() => self.not_before = now.at + self.backoff.after(&error),
            Err(error) => return vec![JoinAction::Refused(error.to_string())],
        }
        self.tick(now, own)
    }

    /// The lease for the contact was granted, or not.
    pub fn on_contact_granted(
        &mut self,
        now: Now,
        own: &OwnKeys,
        sent: Timestamp,
        result: Result<Lease, CoordinationError>,
    ) -> Vec<JoinAction> {
        self.state = State::Idle;
        match (result, &mut self.held) {
            (Ok(lease), Some(held)) => held.contact = Some((lease, sent)),
            (Ok(_), None) => {}
            (Err(error), _) if error.is_retryable() => self.not_before = now.at + self.backoff.after(&error),
            (Err(error), _) => return vec![JoinAction::Refused(error.to_string())],
        }
        self.tick(now, own)
    }

    /// The lease was prolonged, or not.
    pub fn on_kept_alive(
        &mut self,
        now: Now,
        lease: LeaseId,
        sent: Timestamp,
        result: &Result<Duration, CoordinationError>,
    ) {
        let Some(held) = self.held.as_mut().filter(|held| held.lease.id == lease) else { return };
        match result {
            // What is left of a shared lease may be less than its TTL: as if it had been asked for earlier.
            Ok(left) => {
                let earlier = held.lease.ttl.saturating_sub(*left);
                let confirmed =
                    Timestamp((sent.0 + left.saturating_sub(held.lease.ttl)).saturating_sub(earlier));
                held.confirmed = held.confirmed.max(confirmed);
            }
            Err(CoordinationError::LeaseGone) => drop(self.give_up()),
            Err(error) => held.keep_alive_at = held.keep_alive_at.min(now.at + self.backoff.after(error)),
        }
    }

    /// The outcome of the claim.
    pub fn on_claimed(
        &mut self,
        now: Now,
        own: &mut OwnKeys,
        result: Result<TxnOutcome, CoordinationError>,
    ) -> Vec<JoinAction> {
        let successor = self.state == State::Claiming { successor: true };
        self.state = State::Idle;
        match (result, &self.held) {
            (Ok(TxnOutcome::Applied { revision }), Some(held)) if successor => {
                self.backoff.reset();
                own.wrote_successor(revision, held.incarnation);
                return self.tick(now, own);
            }
            (Ok(TxnOutcome::Applied { revision }), Some(held)) => {
                own.wrote_claim(revision, self.record(held.incarnation));
                if self.config.mode == GroupMode::Available {
                    own.wrote_contact(revision, held.incarnation);
                }
                return self.tick(now, own);
            }
            (Ok(_), _) => {}
            (Err(CoordinationError::LeaseGone), _) => drop(self.give_up()),
            (Err(error), _) if error.is_retryable() => self.not_before = now.at + self.backoff.after(&error),
            (Err(error), _) => return vec![JoinAction::Refused(error.to_string())],
        }
        self.state = State::Unsure;
        vec![JoinAction::Reload]
    }

    /// The time at which [`tick`](Self::tick) is due.
    pub fn next_wake(&self, now: Now) -> Option<Timestamp> {
        let retry = (self.state == State::Idle).then_some(self.not_before);
        let keep_alive = self.held.map(|held| held.keep_alive_at);
        [retry, keep_alive].into_iter().flatten().filter(|at| *at > now.at).min()
    }

    /// Goes as far as it can.
    pub fn tick(&mut self, now: Now, own: &OwnKeys) -> Vec<JoinAction> {
        let mut actions = self.keep_alive(now);
        if self.state != State::Idle || !own.is_loaded() {
            return actions;
        }
        if let Some(session) = self.adopted(now, own) {
            actions.push(JoinAction::Joined(session));
            return actions;
        }
        if now.at < self.not_before {
            return actions;
        }
        if self.held.is_some_and(|held| now.at.since(held.confirmed) + self.config.margin >= held.lease.ttl) {
            self.abandon(&mut actions);
        }
        let free = own.session().is_none_or(|claimed| {
            claimed.garbage
                || claimed.record.as_ref().is_some_and(|record| {
                    record.state == MemberState::Restarting || self.former.contains(&record.incarnation)
                })
        });
        let mine = self.held.map(|held| held.incarnation);
        let second =
            own.successor().is_some_and(|other| Some(other) != mine && !self.former.contains(&other));
        if !free && self.config.conflict == Conflict::Refuse && !self.again {
            actions.push(JoinAction::Conflict);
            return actions;
        }
        self.waiting = !free || second;
        match self.held {
            // Somebody else is registered and goes first.
            _ if second => self.abandon(&mut actions),
            None => {
                self.state = State::Granting;
                actions.push(JoinAction::Grant);
            }
            Some(held) if free && self.config.mode == GroupMode::Available && held.contact(now).is_none() => {
                self.state = State::GrantingContact;
                actions.push(JoinAction::GrantContact);
            }
            Some(held) if free => {
                self.state = State::Claiming { successor: false };
                actions.push(JoinAction::Claim(self.claim(own, held)));
            }
            Some(held) if own.successor().is_none() => {
                self.state = State::Claiming { successor: true };
                actions.push(JoinAction::Claim(self.register(own, held)));
            }
            Some(_) => {}
        }
        actions
    }

    fn keep_alive(&mut self, now: Now) -> Vec<JoinAction> {
        let interval = self.config.keep_alive_interval();
        let Some(held) = self.held.as_mut().filter(|held| held.keep_alive_at <= now.at) else {
            return Vec::new();
        };
        held.keep_alive_at = now.at + interval;
        vec![JoinAction::KeepAlive(held.lease.id)]
    }

    fn give_up(&mut self) -> Option<LeaseId> {
        let held = self.held.take()?;
        self.former.push(held.incarnation);
        Some(held.lease.id)
    }

    fn abandon(&mut self, actions: &mut Vec<JoinAction>) {
        actions.extend(self.give_up().map(JoinAction::Abandon));
    }

    /// The session, where the store has the claim and it is young enough to be lived in.
    fn adopted(&mut self, now: Now, own: &OwnKeys) -> Option<Session> {
        let held = self.held?;
        let record = own.session()?.record.clone()?;
        let deadline = held.confirmed + held.lease.ttl.saturating_sub(self.config.margin);
        let lives = record.incarnation == held.incarnation && now.at < deadline;
        let contact = held.contact.map(|(lease, _)| lease);
        lives.then_some(Session { lease: held.lease.id, record, deadline, contact })
    }

    fn record(&self, incarnation: Incarnation) -> MemberRecord {
        MemberRecord {
            format: Format,
            incarnation,
            state: MemberState::Active,
            mode: self.config.mode,
            capacity: self.config.capacity,
            zone: self.config.zone.clone(),
            labels: self.config.labels.clone(),
            assignor: self.assignor.to_owned(),
            load: None,
            preference: self.config.leader_preference,
        }
    }

    fn claim(&self, own: &OwnKeys, held: Held) -> Txn {
        let key = self.keys.session(&self.instance);
        let guard = match own.session() {
            None => Guard::Absent { key: key.clone() },
            Some(claimed) => Guard::ModifiedAt { key: key.clone(), revision: claimed.revision },
        };
        let value = encode(&self.record(held.incarnation));
        let mut ops = vec![
            Op::Put { key, value, lease: Some(held.lease.id) },
            Op::Delete { key: self.keys.ack(&self.instance) },
        ];
        if let Some((contact, _)) = held.contact {
            let record = ContactRecord { format: Format, incarnation: held.incarnation };
            let key = self.keys.contact(&self.instance);
            ops.push(Op::Put { key, value: encode(&record), lease: Some(contact.id) });
        }
        if own.successor() == Some(held.incarnation) {
            ops.push(Op::Delete { key: self.keys.successor(&self.instance) });
        }
        Txn { guards: vec![guard], ops }
    }

    /// Registers as who takes over when the session ends: the leader then leaves the tasks where they are. A registration that
    /// arrives late, when this process is the member itself, is refused: whoever comes after it would wait for it.
    fn register(&self, own: &OwnKeys, held: Held) -> Txn {
        let key = self.keys.successor(&self.instance);
        let record = SuccessorRecord { format: Format, incarnation: held.incarnation };
        let op = Op::Put { key: key.clone(), value: encode(&record), lease: Some(held.lease.id) };
        let session = self.keys.session(&self.instance);
        let waited_for =
            own.session().map(|claimed| Guard::ModifiedAt { key: session, revision: claimed.revision });
        Txn { guards: [Guard::Absent { key }].into_iter().chain(waited_for).collect(), ops: vec![op] }
    }
}

#[cfg(test)]
mod tests;
