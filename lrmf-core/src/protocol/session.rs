//! Becoming a member.
//!
//! The member key is claimed when nobody has it, when who had it is restarting, or when it is this very process's own
//! from a session that it has stopped everything of (R3). A claim that nobody answered is read back and adopted by its
//! incarnation.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::{Conflict, CoordinatorConfig};
use crate::coordination::{Guard, KeyValue, Lease, LeaseId, Op, Revision, Txn, TxnOutcome, WatchEvent};
use crate::error::StoreError;
use crate::ids::{Incarnation, InstanceId};
use crate::keys::{Keys, Kind};
use crate::records::{Format, MemberRecord, MemberState, decode, encode};

use super::{FeedItem, Now};

/// How long a call that failed is not repeated.
pub(crate) const RETRY: Duration = Duration::from_millis(100);

/// What the store has of this member: its session and its acknowledgement.
#[derive(Clone, Debug, Default)]
pub struct OwnKeys {
    revision: Option<Revision>,
    session: Option<Claimed>,
    ack: Option<Revision>,
}

/// A session key as found.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The write that last changed it.
    pub revision: Revision,
    /// Its record; none where it cannot be read.
    pub record: Option<MemberRecord>,
}

impl OwnKeys {
    /// Takes a delivery of the feed in; says whether it was news.
    pub fn on_feed(&mut self, keys: &Keys, item: &FeedItem) -> bool {
        let revision = match item {
            FeedItem::Loaded(snapshot) => snapshot.revision,
            FeedItem::Changed(batch) => batch.revision,
        };
        if self.revision.is_some_and(|seen| revision < seen) {
            return false;
        }
        self.revision = Some(revision);
        match item {
            FeedItem::Loaded(snapshot) => {
                (self.session, self.ack) = (None, None);
                snapshot.entries.iter().for_each(|kv| self.put(keys, kv));
            }
            FeedItem::Changed(batch) => batch.events.iter().for_each(|event| match event {
                WatchEvent::Put(kv) => self.put(keys, kv),
                WatchEvent::Delete { key } => match keys.kind(key) {
                    Some(Kind::Session(_)) => self.session = None,
                    Some(Kind::Ack(_)) => self.ack = None,
                    _ => {}
                },
            }),
        }
        true
    }

    fn put(&mut self, keys: &Keys, kv: &KeyValue) {
        match keys.kind(&kv.key) {
            Some(Kind::Session(_)) => {
                self.session =
                    Some(Claimed { revision: kv.mod_revision, record: decode(&kv.key, &kv.value).ok() });
            }
            Some(Kind::Ack(_)) => self.ack = Some(kv.mod_revision),
            _ => {}
        }
    }

    /// The session key.
    pub fn session(&self) -> Option<&Claimed> {
        self.session.as_ref()
    }

    /// The write that last changed the acknowledgement.
    pub fn ack(&self) -> Option<Revision> {
        self.ack
    }

    /// Takes an own committed write of the session in.
    pub fn wrote_session(&mut self, revision: Revision, record: MemberRecord) {
        if self.revision.is_none_or(|seen| seen < revision) {
            self.revision = Some(revision);
            self.session = Some(Claimed { revision, record: Some(record) });
        }
    }

    /// Takes an own committed write of the acknowledgement in.
    pub fn wrote_ack(&mut self, revision: Revision) {
        if self.revision.is_none_or(|seen| seen < revision) {
            self.revision = Some(revision);
            self.ack = Some(revision);
        }
    }
}

/// A session that is this process's.
#[derive(Clone, Debug)]
pub struct Session {
    /// What its keys are bound to.
    pub lease: LeaseId,
    /// Its record in the store.
    pub record: MemberRecord,
    /// When all tasks must begin to stop.
    pub deadline: Timestamp,
}

/// What joining asks for.
#[derive(Clone, Debug)]
pub enum JoinAction {
    /// Start a lease.
    Grant,
    /// Claim the member key.
    Claim(Txn),
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
    Claiming,
    /// The claim may have been applied.
    Unsure,
}

/// The machine.
#[derive(Debug)]
pub struct Joining {
    keys: Keys,
    instance: InstanceId,
    config: CoordinatorConfig,
    /// Sessions of this very process, of which nothing runs any more.
    former: Vec<Incarnation>,
    /// This process was this member before.
    again: bool,
    state: State,
    lease: Option<(Lease, Incarnation, Timestamp)>,
    not_before: Timestamp,
    /// Whether somebody else is this member and has been reported.
    pub waiting: bool,
}

impl Joining {
    /// Joins under this name; `former` are sessions of this process that have stopped everything.
    pub fn new(
        keys: Keys,
        instance: InstanceId,
        config: CoordinatorConfig,
        former: Vec<Incarnation>,
    ) -> Self {
        Self {
            keys,
            instance,
            config,
            again: !former.is_empty(),
            former,
            state: State::Idle,
            lease: None,
            not_before: Timestamp::default(),
            waiting: false,
        }
    }

    /// The sessions of this process so far.
    pub fn former(&self) -> &[Incarnation] {
        &self.former
    }

    /// The own keys were read.
    pub fn on_own(&mut self, now: Now, own: &OwnKeys, loaded: bool) -> Vec<JoinAction> {
        if loaded && self.state == State::Unsure {
            self.state = State::Idle;
        }
        self.proceed(now, own)
    }

    /// The lease was granted, or not.
    pub fn on_granted(
        &mut self,
        now: Now,
        own: &OwnKeys,
        sent: Timestamp,
        result: Result<(Lease, Incarnation), StoreError>,
    ) -> Vec<JoinAction> {
        self.state = State::Idle;
        match result {
            Ok((lease, incarnation)) => self.lease = Some((lease, incarnation, sent)),
            Err(error) if error.is_retryable() => self.not_before = now.at + RETRY,
            Err(error) => return vec![JoinAction::Refused(error.to_string())],
        }
        self.proceed(now, own)
    }

    /// What came of the claim.
    pub fn on_claimed(
        &mut self,
        now: Now,
        own: &mut OwnKeys,
        result: Result<TxnOutcome, StoreError>,
    ) -> Vec<JoinAction> {
        self.state = State::Idle;
        match result {
            Ok(TxnOutcome::Applied { revision }) => {
                if let Some((_, incarnation, _)) = self.lease {
                    own.wrote_session(revision, self.record(incarnation));
                }
                return self.proceed(now, own);
            }
            Ok(TxnOutcome::Refused) => {}
            Err(StoreError::LeaseGone) => self.lease = None,
            Err(error) if error.is_retryable() => self.not_before = now.at + RETRY,
            Err(error) => return vec![JoinAction::Refused(error.to_string())],
        }
        self.state = State::Unsure;
        vec![JoinAction::Reload]
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now, own: &OwnKeys) -> Vec<JoinAction> {
        self.proceed(now, own)
    }

    /// When [`tick`](Self::tick) is due.
    pub fn next_wake(&self, now: Now) -> Option<Timestamp> {
        (self.state == State::Idle && self.not_before > now.at).then_some(self.not_before)
    }

    fn proceed(&mut self, now: Now, own: &OwnKeys) -> Vec<JoinAction> {
        if self.state != State::Idle || own.revision.is_none() || now.at < self.not_before {
            return Vec::new();
        }
        let mut actions = Vec::new();
        if let Some(session) = self.adopted(now, own) {
            return vec![JoinAction::Joined(session)];
        }
        let free = own.session().is_none_or(|claimed| {
            claimed.record.as_ref().is_some_and(|record| {
                record.state == MemberState::Restarting || self.former.contains(&record.incarnation)
            })
        });
        let useful =
            |(lease, _, sent): &(Lease, Incarnation, Timestamp)| free && now.at.since(*sent) * 2 < lease.ttl;
        if let Some((lease, incarnation, _)) = self.lease.take_if(|lease| !useful(lease)) {
            self.former.push(incarnation);
            actions.push(JoinAction::Abandon(lease.id));
        }
        match (free, self.lease) {
            (false, _) => {
                self.waiting = true;
                if self.config.conflict == Conflict::Refuse && !self.again {
                    actions.push(JoinAction::Conflict);
                }
            }
            (true, None) => {
                self.state = State::Granting;
                actions.push(JoinAction::Grant);
            }
            (true, Some((lease, incarnation, _))) => {
                self.state = State::Claiming;
                actions.push(JoinAction::Claim(self.claim(own, lease.id, incarnation)));
            }
        }
        actions
    }

    /// The session, where the store has the claim and it is young enough to be lived in.
    fn adopted(&mut self, now: Now, own: &OwnKeys) -> Option<Session> {
        let (lease, incarnation, sent) = self.lease?;
        let record = own.session()?.record.clone()?;
        let deadline = sent + lease.ttl.saturating_sub(self.config.margin);
        (record.incarnation == incarnation && now.at < deadline).then_some(Session {
            lease: lease.id,
            record,
            deadline,
        })
    }

    fn record(&self, incarnation: Incarnation) -> MemberRecord {
        MemberRecord {
            format: Format,
            incarnation,
            state: MemberState::Active,
            capacity: self.config.capacity,
            zone: self.config.zone.clone(),
            labels: self.config.labels.clone(),
        }
    }

    fn claim(&self, own: &OwnKeys, lease: LeaseId, incarnation: Incarnation) -> Txn {
        let key = self.keys.session(&self.instance);
        let guard = match own.session() {
            None => Guard::Absent { key: key.clone() },
            Some(claimed) => Guard::ModifiedAt { key: key.clone(), revision: claimed.revision },
        };
        let value = encode(&self.record(incarnation));
        Txn {
            guards: vec![guard],
            ops: vec![
                Op::Put { key, value, lease: Some(lease) },
                Op::Delete { key: self.keys.ack(&self.instance) },
            ],
        }
    }
}
