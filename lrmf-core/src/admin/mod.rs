//! For operators and their tools: see a group as its records say it is, and ask for something.
//!
//! ```
//! # use std::sync::Arc;
//! # use lrmf_core::admin::{Admin, AdminError};
//! # use lrmf_core::{GroupId, MemoryStore};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> anyhow::Result<()> {
//! # let store = Arc::new(MemoryStore::new());
//! let admin = Admin::new(store, GroupId::new("mirror", "orders", "default")?);
//! match admin.read().await {
//!     Ok(state) => state.task_views().iter().for_each(|task| println!("{} {}", task.key, task.member)),
//!     Err(AdminError::NoGroup { group }) => println!("nobody ever joined {group}"),
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What is read is one snapshot, so that a task is in one place. What is asked for is written and no more: the leader, or
//! the member that it is about, does it when it sees it. [`control`](crate::control) says what each request means.

mod changes;
mod explain;
mod state;
#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;

use serde::Serialize;

use crate::control::{DrainRecord, EvictionRecord, FreezeRecord, Origin, PinRecord, ReleaseRecord};
use crate::coordination::{Coordination, Guard, KeyValue, Op, Txn, TxnOutcome};
use crate::error::CoordinationError;
use crate::ids::{GroupId, Incarnation, InstanceId, Token};
use crate::keys::{Control, Keys};
use crate::records::{ContactRecord, Format, MemberRecord, Record, RecordError, decode, encode};

pub use changes::Change;
pub use explain::{Explanation, Reason};
pub use state::{GroupState, Place};
pub use view::{MemberPhase, MemberView, TaskPhase, TaskView};

/// The number of reads of a record that changes meanwhile, before that is an error.
const ATTEMPTS: usize = 8;

/// Why something could not be seen or asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AdminError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] CoordinationError),
    /// A record that this needs cannot be read.
    #[error(transparent)]
    Unreadable(#[from] RecordError),
    /// No member ever joined the group.
    #[error("there is no group {group}: no member ever joined it; check protocol, biz and tenancy")]
    NoGroup {
        /// The group.
        group: GroupId,
    },
    /// The member has no session.
    #[error("{member} is no member of the group now; the members command lists them")]
    NoMember {
        /// The member.
        member: InstanceId,
    },
    /// A group that is to be deleted has members.
    #[error("the group {group} has members, {member} among them; stop them all before it is deleted")]
    HasMembers {
        /// The group.
        group: GroupId,
        /// One of the members.
        member: InstanceId,
    },
    /// The task is in no record.
    #[error("nobody has a task {key:?}; the tasks command lists them")]
    NoTask {
        /// The task's key.
        key: String,
    },
    /// The task's holder has no session any more, so that there is nothing to release.
    #[error(
        "the session of {member}, who had the task {key:?}, has ended: the leader gives it to somebody else by itself"
    )]
    NotHeld {
        /// The task's key.
        key: String,
        /// The member that had it.
        member: InstanceId,
    },
    /// The records changed again and again before the request could be written.
    #[error("the group keeps changing meanwhile; try again")]
    Changing,
}

/// A holding that was declared to be over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Released {
    /// The member that held the task.
    pub member: InstanceId,
    /// In which session.
    pub incarnation: Incarnation,
    /// With which token.
    pub token: Token,
}

/// A way to see one group and to ask it for something.
#[derive(Clone, Debug)]
pub struct Admin {
    store: Arc<dyn Coordination>,
    group: GroupId,
    keys: Keys,
    origin: Origin,
}

impl Admin {
    /// Of this group.
    pub fn new(store: Arc<dyn Coordination>, group: GroupId) -> Self {
        let keys = Keys::new(&group);
        Self { store, group, keys, origin: Origin::default() }
    }

    /// The same, saying with each request where it comes from.
    #[must_use]
    pub fn asking(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// All records of the group, at one revision.
    ///
    /// # Errors
    /// A group that does not exist, and what the store says.
    pub async fn read(&self) -> Result<GroupState, AdminError> {
        let state = GroupState::new(&self.group, &self.store.list(self.keys.root()).await?);
        if state.exists() { Ok(state) } else { Err(AdminError::NoGroup { group: self.group.clone() }) }
    }

    /// Asks for a member to be emptied and to be given nothing, until it is undrained. It need not be there.
    ///
    /// # Errors
    /// A group that does not exist, and what the store says; this holds for all requests.
    pub async fn drain(&self, member: &InstanceId) -> Result<(), AdminError> {
        let record = DrainRecord { format: Format, origin: self.origin.clone() };
        self.want(&Control::Drain(member.clone()), &record).await
    }

    /// Lets a member have tasks again. Whether it was drained.
    ///
    /// # Errors
    /// As for [`drain`](Self::drain).
    pub async fn undrain(&self, member: &InstanceId) -> Result<bool, AdminError> {
        self.lift(&Control::Drain(member.clone())).await
    }

    /// Asks for a task to be with one member. Neither need be there.
    ///
    /// # Errors
    /// As for [`drain`](Self::drain).
    pub async fn pin(&self, task: &str, member: &InstanceId) -> Result<(), AdminError> {
        let record = PinRecord { format: Format, member: member.clone(), origin: self.origin.clone() };
        self.want(&Control::Pin(task.into()), &record).await
    }

    /// Lets the assignor decide about a task again. Whether it was pinned.
    ///
    /// # Errors
    /// As for [`drain`](Self::drain).
    pub async fn unpin(&self, task: &str) -> Result<bool, AdminError> {
        self.lift(&Control::Pin(task.into())).await
    }

    /// Asks for everything that runs to stay where it runs.
    ///
    /// # Errors
    /// As for [`drain`](Self::drain).
    pub async fn freeze(&self) -> Result<(), AdminError> {
        let record = FreezeRecord { format: Format, origin: self.origin.clone() };
        self.want(&Control::Freeze, &record).await
    }

    /// Lets tasks move again. Whether the group was frozen.
    ///
    /// # Errors
    /// As for [`drain`](Self::drain).
    pub async fn unfreeze(&self) -> Result<bool, AdminError> {
        self.lift(&Control::Freeze).await
    }

    /// Asks the leader to ask the provider again and to plan anew.
    ///
    /// # Errors
    /// As for [`drain`](Self::drain).
    pub async fn trigger(&self) -> Result<(), AdminError> {
        self.check_group().await?;
        let value = self.origin.at.to_string().into();
        self.commit(Vec::new(), Op::Put { key: self.keys.trigger(), value, lease: None }).await.map(drop)
    }

    /// Asks a member to stop all its tasks and to end the session that it has now; returns which. The request ends with
    /// that session.
    ///
    /// # Errors
    /// A member without a session; [`AdminError::Changing`]; as for [`drain`](Self::drain).
    pub async fn evict(&self, member: &InstanceId) -> Result<Incarnation, AdminError> {
        self.check_group().await?;
        for _ in 0..ATTEMPTS {
            let session = self.get(&self.keys.session(member)).await?;
            let Some(session) = session else { return Err(AdminError::NoMember { member: member.clone() }) };
            let incarnation = decode::<MemberRecord>(&session.key, &session.value)?.incarnation;
            let record = EvictionRecord { format: Format, incarnation, origin: self.origin.clone() };
            let op =
                Op::Put { key: self.keys.eviction(member), value: encode(&record), lease: session.lease };
            let guard = Guard::ModifiedAt { key: session.key, revision: session.mod_revision };
            match self.commit(vec![guard], op).await {
                Ok(true) => return Ok(incarnation),
                Ok(false) | Err(AdminError::Store(CoordinationError::LeaseGone)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(AdminError::Changing)
    }

    /// Declares that the process of a member is dead, as somebody knows who can: its session ends now, and its tasks go to
    /// others without waiting for the TTL. Returns which session that was. **Should the process live, its tasks run twice**
    /// until it hears that its session is gone, or until its own deadline where it is cut off (P1 is given up for this
    /// session); only tokens, where stores check them, keep it from doing harm.
    ///
    /// # Errors
    /// A member without a session; [`AdminError::Changing`]; as for [`drain`](Self::drain).
    pub async fn declare_dead(&self, member: &InstanceId) -> Result<Incarnation, AdminError> {
        self.check_group().await?;
        for _ in 0..ATTEMPTS {
            let session = self.get(&self.keys.session(member)).await?;
            let Some(session) = session else { return Err(AdminError::NoMember { member: member.clone() }) };
            let incarnation = decode::<MemberRecord>(&session.key, &session.value)?.incarnation;
            // What else is bound to its lease ends with that, and says nothing without the session.
            if self.delete_with_leadership(session).await? {
                return Ok(incarnation);
            }
        }
        Err(AdminError::Changing)
    }

    /// Says that a member of a group of mode [`available`](crate::GroupMode::Available) is out of contact, before its contact has
    /// run out: its tasks go to others now, under higher tokens, and so does the leadership. Returns false where that session is out
    /// of contact already, has been replaced, or is in a group of mode `exclusive`. **A hint**: a member that lives and is in reach
    /// of the store is in contact again as soon as it hears of it.
    ///
    /// # Errors
    /// [`AdminError::Changing`]; as for [`drain`](Self::drain).
    pub async fn report_silent(
        &self,
        member: &InstanceId,
        incarnation: Incarnation,
    ) -> Result<bool, AdminError> {
        for _ in 0..ATTEMPTS {
            let Some(contact) = self.get(&self.keys.contact(member)).await? else { return Ok(false) };
            if decode::<ContactRecord>(&contact.key, &contact.value)?.incarnation != incarnation {
                return Ok(false);
            }
            if self.delete_with_leadership(contact).await? {
                return Ok(true);
            }
        }
        Err(AdminError::Changing)
    }

    /// Deletes all records of a group that has no members any more, and returns how many there were. A group that is made
    /// anew under this name counts its generations on from the time of day, or from above its floor where it has one.
    ///
    /// # Errors
    /// A group with members, or one whose records are written meanwhile: what was deleted by then is gone, and the group goes
    /// on; as for [`drain`](Self::drain).
    pub async fn delete_group(&self) -> Result<usize, AdminError> {
        let state = self.read().await?;
        if let Some(member) = state.sessions.keys().next() {
            return Err(AdminError::HasMembers { group: self.group.clone(), member: member.clone() });
        }
        let entries = self.store.list(self.keys.root()).await?.entries;
        let most = self.store.limits().ops - 1;
        for some in entries.chunks(most) {
            let nobody_leads = Guard::Absent { key: self.keys.leader() };
            let as_seen =
                |kv: &KeyValue| Guard::ModifiedAt { key: kv.key.clone(), revision: kv.mod_revision };
            let guards = some.iter().map(as_seen).chain([nobody_leads]).collect();
            let ops = some.iter().map(|kv| Op::Delete { key: kv.key.clone() }).collect();
            if !self.commit_all(guards, ops).await? {
                return Err(AdminError::Changing);
            }
        }
        Ok(entries.len())
    }

    /// Declares that the run of a task by its holder is over, although that one has not said so, and returns which holding
    /// that was: the leader gives the task to somebody else. **Should it run on, it runs twice**; only its token, where
    /// stores check it, keeps the old run from doing harm.
    ///
    /// # Errors
    /// A task that nobody has, a holder whose session has ended; as for [`drain`](Self::drain).
    pub async fn force_release(&self, task: &str) -> Result<Released, AdminError> {
        let state = self.read().await?;
        let place = state.place(task).ok_or_else(|| AdminError::NoTask { key: task.to_owned() })?;
        if !state.is_alive(place) {
            return Err(AdminError::NotHeld { key: task.to_owned(), member: place.holder.clone() });
        }
        let (member, incarnation, token) = (place.holder.clone(), place.incarnation, place.entry.token);
        let released = Released { member: member.clone(), incarnation, token };
        let record =
            ReleaseRecord { format: Format, member, incarnation, token, origin: self.origin.clone() };
        self.put(&Control::Release(task.into()), &record).await?;
        Ok(released)
    }

    /// Deletes a record, and the leader's key where it is bound to the same lease. Returns false where the record was written
    /// meanwhile.
    async fn delete_with_leadership(&self, record: KeyValue) -> Result<bool, AdminError> {
        let guard = Guard::ModifiedAt { key: record.key.clone(), revision: record.mod_revision };
        let leader = self.get(&self.keys.leader()).await?;
        let leads = leader.filter(|leader| leader.lease.is_some() && leader.lease == record.lease);
        let keys = [Some(record.key), leads.map(|leader| leader.key)];
        let ops = keys.into_iter().flatten().map(|key| Op::Delete { key }).collect();
        self.commit_all(vec![guard], ops).await
    }

    async fn want(&self, control: &Control, record: &impl Record) -> Result<(), AdminError> {
        self.check_group().await?;
        self.put(control, record).await
    }

    async fn put(&self, control: &Control, record: &impl Record) -> Result<(), AdminError> {
        let op = Op::Put { key: self.keys.control(control), value: encode(record), lease: None };
        self.commit(Vec::new(), op).await.map(drop)
    }

    async fn lift(&self, control: &Control) -> Result<bool, AdminError> {
        self.check_group().await?;
        let key = self.keys.control(control);
        let was_there = self.get(&key).await?.is_some();
        self.commit(Vec::new(), Op::Delete { key }).await?;
        Ok(was_there)
    }

    /// Every group that has a member, or had a leader, has one of these.
    async fn check_group(&self) -> Result<(), AdminError> {
        let there = self.get(&self.keys.generation()).await?.is_some()
            || self.get(&self.keys.leader()).await?.is_some()
            || !self.store.list(&self.keys.members()).await?.entries.is_empty();
        if there { Ok(()) } else { Err(AdminError::NoGroup { group: self.group.clone() }) }
    }

    async fn get(&self, key: &str) -> Result<Option<KeyValue>, AdminError> {
        let found = self.store.list(key).await?.entries;
        Ok(found.into_iter().find(|kv| kv.key == key))
    }

    /// Every one of these can be sent again, so an unanswered one is.
    async fn commit(&self, guards: Vec<Guard>, op: Op) -> Result<bool, AdminError> {
        self.commit_all(guards, vec![op]).await
    }

    async fn commit_all(&self, guards: Vec<Guard>, ops: Vec<Op>) -> Result<bool, AdminError> {
        let txn = Txn { guards, ops };
        let mut last = CoordinationError::Unknown("not sent".into());
        for _ in 0..ATTEMPTS {
            match self.store.commit(txn.clone()).await {
                Ok(outcome) => return Ok(matches!(outcome, TxnOutcome::Applied { .. })),
                Err(error) if error.is_retryable() => last = error,
                Err(error) => return Err(error.into()),
            }
        }
        Err(last.into())
    }
}
