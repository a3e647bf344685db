//! The placement protocol as pure state machines: no clock, no IO, no randomness of their own.
//!
//! # The problem
//! Members come and go, stall, and lose sight of the store, and every task must be held by at most one of them at any
//! time, each holding with a higher token than the one before, while nothing that need not move is disturbed.
//!
//! # The machines
//! - [`node`]: a member as a whole; takes [`Input`]s, returns [`Action`]s, and routes both to the others.
//! - [`session`]: becoming a member, staying one, stopping in time.
//! - [`holdings`]: applying the own assignment: revoke, acknowledge, assign.
//! - [`election`]: who leads.
//! - [`leader`]: what the winner does: observe, plan, commit.
//!
//! # The rules
//! Each has a switch in [`Rules`], and a test that shows what breaks without it.
//!
//! | | rule | kept by | without it |
//! |---|---|---|---|
//! | R1 | what is taken away stays in the record until it is granted or dropped | `leader::batch` | a second leader grants what still runs |
//! | R2 | a record is for one session | [`holdings`], `leader::batch` | inherited tasks are started by nobody, or twice |
//! | R3 | a name is taken over only when free, by revision | [`session`] | two processes are one member |
//! | R4 | one transaction, one generation | `leader::batch` | half a handover |
//! | R5 | generations never fall | `leader::batch`, `leader::stall` | a token is given twice |
//! | R6 | what is older than what was applied is ignored | [`holdings`] | a task that was given back starts again |
//! | R7 | acknowledgements name what was released, and never go back | [`holdings`], [`node`] | a task is granted while it is being stopped |
//! | R8 | only who holds the leader's key writes the assignment | `leader::batch`, [`election`] | a deposed leader goes on |
//! | R10 | a changed value is a new holding, in place | `leader::plan`, [`holdings`] | a holder works with an old value |
//! | P2 | a member stops before its session can end | [`node`] | it runs on while another one starts |
//! | P7 | what a restarting member had waits for it | `leader::view` | a restart moves everything twice |
//! | P8 | a member that leaves hands its tasks over first | [`node`] | they stand still until its session ends |
//!
//! # The switches
//! What finds out that a switch of [`Rules`] is off: the simulation (`sim::tests`), the model (`model::tests`), or why nothing
//! has to.
//!
//! | switch | of | found by, as a breach of |
//! |---|---|---|
//! | `releasing` | R1 | simulation P1, model |
//! | `incarnation` | R2 | simulation P6, model |
//! | `fresh_tokens` | R2 | simulation P3 |
//! | `await_ack` | R7 | simulation P1, model |
//! | `ack_lists_tasks` | R7 | simulation P1 |
//! | `ack_guard` | R7 | nothing: equivalent. A holding that an acknowledgement names never runs again, so one that arrives late is still true, and the leader hears each of them in order; what it costs is a further write |
//! | `leader_guard` | R8 | simulation R8 |
//! | `generation_guard` | R4, R8 | simulation P1 |
//! | `leader_key_goes` | R3 | `coordinator::a_leader_that_restarts_…`. For the simulation it is equivalent: the key ends with its lease, within the TTL |
//! | `floor` | R5 | simulation P3, in both modes |
//! | `floor_of_acks` | R5 | nothing: equivalent as long as the clock is right. It counts where the counter is lost, and then the time of day is above all acknowledgements, too |
//! | `forward_only` | R6 | simulation P3 and P4, model |
//! | `values` | R10 | simulation R10 |
//! | `self_fencing` | P2 | simulation P2, of machines and of drivers |
//! | `sent_time` | P2 | simulation P2 |
//! | `awaits_restart` | P7 | simulation P7 |
//! | `hands_over` | P8 | simulation P8 |
//! | (an assignor that is not sticky) | P5 | simulation P5 |
//! | `release_names_token` | forced releases | simulation P1 |
//! | `deposes` | preferred leaders | simulation, at rest |
//! | `contact`, `silence` | mode `available` | model |
//!
//! (R9, about matching keep-alive responses to requests, is for the store's adapter: here each call has its own reply.)
//!
//! Somebody else performs the actions and feeds back what came of them: the coordinator's driver with a real store and
//! a real worker, a simulation with modelled ones.

use std::sync::Arc;
use std::time::Duration;

use crate::assignor::Placement;
use crate::clock::Timestamp;
use crate::coordination::{Lease, LeaseId, Snapshot, Txn, TxnOutcome, WatchBatch};
use crate::error::CoordinationError;
use crate::event::Event;
use crate::ids::{Incarnation, Token};
use crate::task::{Holding, Task};

use leader::{PlanFailure, PlanRequest};

pub mod backoff;
pub mod election;
pub mod holdings;
pub mod leader;
pub mod node;
pub mod session;

/// The time of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// On the clock that deadlines are kept on.
    pub at: Timestamp,
    /// Milliseconds since the Unix epoch; a floor for generations and nothing else.
    pub unix_millis: u64,
}

/// Names a call to the store until its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// A call to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Start a lease.
    Grant {
        /// The time that it is to live.
        ttl: Duration,
    },
    /// Prolong a lease.
    KeepAlive(LeaseId),
    /// End a lease.
    Revoke(LeaseId),
    /// Commit a transaction.
    Commit(Txn),
}

/// A [`Call`] without its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CallKind {
    Grant,
    KeepAlive,
    Revoke,
    Commit,
}

impl Call {
    pub(crate) fn kind(&self) -> CallKind {
        match self {
            Self::Grant { .. } => CallKind::Grant,
            Self::KeepAlive(_) => CallKind::KeepAlive,
            Self::Revoke(_) => CallKind::Revoke,
            Self::Commit(_) => CallKind::Commit,
        }
    }
}

impl CallKind {
    /// The reply that says that the call failed.
    pub(crate) fn failed(self, error: CoordinationError) -> Reply {
        match self {
            Self::Grant => Reply::Granted(Err(error)),
            Self::KeepAlive => Reply::KeptAlive(Err(error)),
            Self::Revoke => Reply::Revoked(Err(error)),
            Self::Commit => Reply::Committed(Err(error)),
        }
    }
}

/// The outcome of a [`Call`].
#[derive(Clone, Debug)]
pub enum Reply {
    /// Of a grant: the lease, and an incarnation that was never used before.
    Granted(Result<(Lease, Incarnation), CoordinationError>),
    /// Of a keep-alive.
    KeptAlive(Result<Duration, CoordinationError>),
    /// Of ending a lease.
    Revoked(Result<(), CoordinationError>),
    /// Of a transaction.
    Committed(Result<TxnOutcome, CoordinationError>),
}

impl Reply {
    /// The kind of the call that it is of.
    pub(crate) fn kind(&self) -> CallKind {
        match self {
            Self::Granted(_) => CallKind::Grant,
            Self::KeptAlive(_) => CallKind::KeepAlive,
            Self::Revoked(_) => CallKind::Revoke,
            Self::Committed(_) => CallKind::Commit,
        }
    }

    /// The error, where there is one.
    pub(crate) fn error(&self) -> Option<&CoordinationError> {
        match self {
            Self::Granted(result) => result.as_ref().err(),
            Self::KeptAlive(result) => result.as_ref().err(),
            Self::Revoked(result) => result.as_ref().err(),
            Self::Committed(result) => result.as_ref().err(),
        }
    }
}

/// The keys that are followed: listed, then watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FeedId {
    /// The keys that this member writes: its session and its acknowledgement.
    Own,
    /// This member's assignment.
    Record,
    /// The leader's key.
    Leader,
    /// The whole group; only followed by the leader.
    Group,
}

/// What a feed delivers: first a snapshot, then the changes after it. When the watch is lost or its history was
/// compacted, whoever performs the feed lists again and delivers another snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedItem {
    /// All there is.
    Loaded(Snapshot),
    /// The changes.
    Changed(WatchBatch),
}

/// The requests of the user to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Hand all tasks over, then leave.
    Close,
    /// Stop all tasks, leave them reserved for the process that comes back under this name.
    Restart,
    /// Stop all tasks and nothing else, as a crash does.
    Kill,
    /// Ask the provider again and plan anew.
    Trigger,
    /// Ask the provider again: it says that its tasks may have changed.
    Hint,
    /// It is this busy, in thousandths of what it can bear.
    Load(u32),
}

/// The way in which `Worker::assign` went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssignError {
    /// It returned an error, which means that the task has not started.
    Failed(String),
    /// It panicked, or was given up as it did not return: nobody knows what it left behind, so the task is revoked before
    /// it counts as not started.
    Unknown(String),
}

/// The way in which `Worker::revoke` went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopError {
    /// It returned an error, which means that the task has stopped.
    Failed(String),
    /// It panicked, so that nobody knows.
    Panicked(String),
}

/// The inputs of a member.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// A call to the store has ended.
    Reply(CallId, Reply),
    /// A feed delivered something.
    Feed {
        /// The feed.
        feed: FeedId,
        /// The start of it; what an earlier start delivers is ignored.
        epoch: u64,
        /// The delivery.
        item: FeedItem,
    },
    /// A feed delivers nothing for now: its watch has ended, or it cannot be listed. It begins anew by itself.
    Interrupted {
        /// The feed.
        feed: FeedId,
        /// The start of it.
        epoch: u64,
    },
    /// `Worker::assign` has returned.
    Assigned {
        /// The task's key.
        key: Arc<str>,
        /// The holding's token.
        token: Token,
        /// The worker's answer.
        result: Result<(), AssignError>,
    },
    /// `Worker::revoke` has returned.
    Revoked {
        /// The task's key.
        key: Arc<str>,
        /// The holding's token.
        token: Token,
        /// The worker's answer.
        result: Result<(), StopError>,
    },
    /// The worker cannot go on with a task.
    GivenUp {
        /// The task's key.
        key: Arc<str>,
        /// The holding's token.
        token: Token,
        /// The worker's answer.
        error: String,
    },
    /// The highest generation that is known outside the store, or why it cannot be known.
    Floor(Result<u64, String>),
    /// The store has lost its data, or went back to an older copy: what follows has lower revisions than what came before.
    StoreReset,
    /// The provider has answered, or failed to.
    Tasks(Result<Vec<Task>, String>),
    /// The assignor has answered, or failed to.
    Planned {
        /// The question.
        request: Arc<PlanRequest>,
        /// The answer.
        answer: Result<Vec<Placement>, PlanFailure>,
    },
    /// The user asks for something.
    Command(Command),
}

/// The actions that a member wants performed, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Call the store and feed the reply back.
    Call(CallId, Call),
    /// List a prefix, then watch it, for as long as it is not followed anew or unfollowed.
    Follow {
        /// The feed.
        feed: FeedId,
        /// Goes back with every item.
        epoch: u64,
        /// The prefix to list and watch.
        prefix: String,
    },
    /// Stop a feed.
    Unfollow(FeedId),
    /// Call `Worker::assign`, without waiting for it.
    Assign(Holding),
    /// Give up the call of `Worker::assign` for this holding, which takes too long; what comes of it is still awaited.
    AbandonAssign(Holding),
    /// Call `Worker::revoke`, without waiting for it.
    Revoke(Holding),
    /// Ask the provider for its tasks.
    AskProvider,
    /// Ask for the highest generation that is known outside the store.
    AskFloor,
    /// Ask the assignor for a plan, and feed it back with the question.
    Plan(Arc<PlanRequest>),
    /// Tell listeners.
    Emit(Event),
    /// The member is done; nothing of it runs any more, and no further input is expected.
    Done(Exit),
}

/// The end of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It was asked to.
    Asked,
    /// It was asked to, or its session ended, and these tasks could not be stopped: `Worker::revoke` panicked or did not
    /// return in time, so that they may run on. The session ends by itself within the TTL, and they go to other members
    /// then. A process that cannot tell that they have ended aborts before.
    StillRunning(Vec<Arc<str>>),
    /// A defect, or a panic in a clock or store that the user supplied: all tasks were told to stop.
    Failed(String),
    /// Another living process is this member, and this one is not to wait.
    Conflict,
    /// An operator sent it away, and it is not to come back by itself.
    Evicted,
    /// The store refuses to have it as a member, and would refuse again.
    Refused(String),
}

/// The rules of the protocol, each with a switch, so that tests can show that each is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// R1: what is taken from a member stays in its record until it is granted or dropped.
    pub(crate) releasing: bool,
    /// R2: nothing is started from the record of another session, and inherited tasks get new tokens.
    pub(crate) incarnation: bool,
    /// A task goes to its new holder only after the old one acknowledged its release.
    pub(crate) await_ack: bool,
    /// Only a holding that an acknowledgement names was released (R7).
    pub(crate) ack_lists_tasks: bool,
    /// Every write of the leader is guarded by its leadership.
    pub(crate) leader_guard: bool,
    /// Every write of the leader is guarded by the generation it builds on.
    pub(crate) generation_guard: bool,
    /// R5: the generation never falls below a stored record.
    pub(crate) floor: bool,
    /// R6: what is older than what was applied is ignored.
    pub(crate) forward_only: bool,
    /// P2: a member stops its tasks before its session can end.
    pub(crate) self_fencing: bool,
    /// An operator's forced release is about the holding that it names and no later one.
    pub(crate) release_names_token: bool,
    /// P2: a session is reckoned from the sending of a sign of life, not from the receipt of the answer.
    pub(crate) sent_time: bool,
    /// R2: what a member inherits from its session before gets new tokens.
    pub(crate) fresh_tokens: bool,
    /// R3: a leader that restarts deletes its key.
    pub(crate) leader_key_goes: bool,
    /// R7: an acknowledgement never replaces a newer one.
    pub(crate) ack_guard: bool,
    /// R5: acknowledgements count for the floor of generations.
    pub(crate) floor_of_acks: bool,
    /// R10: a task with another value than in its holding is held anew.
    pub(crate) values: bool,
    /// P7: what a member that restarts had waits for it.
    pub(crate) awaits_restart: bool,
    /// P8: a member that leaves hands its tasks over.
    pub(crate) hands_over: bool,
    /// A member with a higher preference deposes the leader.
    pub(crate) deposes: bool,
    /// In mode `available`, only who is out of contact loses tasks without having released them.
    pub(crate) contact: bool,
    /// In mode `available`, who is out of contact loses its tasks while its session lives.
    pub(crate) silence: bool,
}

impl Rules {
    /// All of them: the only choice outside of tests.
    pub const ALL: Self = Self {
        releasing: true,
        incarnation: true,
        await_ack: true,
        ack_lists_tasks: true,
        leader_guard: true,
        generation_guard: true,
        floor: true,
        forward_only: true,
        self_fencing: true,
        release_names_token: true,
        sent_time: true,
        fresh_tokens: true,
        leader_key_goes: true,
        ack_guard: true,
        floor_of_acks: true,
        values: true,
        awaits_restart: true,
        hands_over: true,
        deposes: true,
        contact: true,
        silence: true,
    };
}
