//! The reports of a member about itself and its group.

use std::sync::Arc;
use std::time::Duration;

use crate::ids::{Generation, Incarnation, InstanceId, Token};
use crate::records::Barred;
use crate::task::Holding;

/// Why a member stopped all its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FenceReason {
    /// The store was not heard from in time; the session may be about to end.
    Deadline,
    /// The store says that the session has ended.
    SessionEnded,
    /// Another process is this member now.
    Superseded,
    /// The store has lost its data, or went back to an older copy of it.
    StoreReset,
    /// The leader cannot read the record of what this member holds.
    Unreadable,
}

/// Something that happened. Events are for people, logs and metrics; nothing needs them to be correct, and a slow
/// listener misses some rather than holding anybody up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// This process is a member now.
    Joined {
        /// Its session.
        incarnation: Incarnation,
    },
    /// Another living process has this instance id; this one waits for it to end.
    Waiting,
    /// This member leads the group now.
    BecameLeader,
    /// This member no longer leads the group.
    LostLeadership,
    /// This member led, got nowhere for one TTL, and leaves the leadership to another member for one TTL.
    LeaderStalled {
        /// The reason.
        why: String,
    },
    /// This member leaves the leadership to others for one TTL, as most members of the group have another assignor.
    Abstains {
        /// The reason.
        why: String,
    },
    /// Seen by the leader: the highest generation outside the store cannot be asked for. Nothing is granted before that is
    /// known; it is asked for again.
    FloorFailed {
        /// The fault.
        error: String,
    },
    /// Seen by the leader: a member joined, or came back in a new session.
    MemberJoined {
        /// The member.
        instance: InstanceId,
    },
    /// Seen by the leader: a member's session ended.
    MemberLost {
        /// The member.
        instance: InstanceId,
    },
    /// Seen by the leader: a change of the assignment was committed.
    Committed {
        /// Its number.
        generation: Generation,
        /// The number of tasks that were given to members.
        granted: usize,
        /// The number of tasks that members were asked to release.
        releasing: usize,
    },
    /// Seen by the leader: a task that was asked back from a living member was granted to another one.
    HandedOver {
        /// The task's key.
        key: Arc<str>,
        /// The time from the one to the other.
        took: Duration,
    },
    /// This member, of a group of mode `available`, was not heard of in time: its tasks go to others. It is about to come
    /// back into contact, and stops what it has lost as soon as it hears of it.
    OutOfContact,
    /// Seen by the leader of a group of mode `available`: a member was not heard of in time; its tasks go to others.
    ContactLost {
        /// The member.
        instance: InstanceId,
    },
    /// The leader gives this member no tasks, although it would take some.
    Barred(Barred),
    /// The leader gives this member tasks again.
    Unbarred,
    /// This member stops all its tasks.
    Fenced {
        /// Why.
        reason: FenceReason,
    },
    /// An operator sends this member away: it stops all its tasks and ends its session.
    Evicted,
    /// A task was started here.
    Assigned(Holding),
    /// A task was stopped here.
    Revoked(Holding),
    /// A task could not be started here; the leader is told and tries elsewhere.
    AssignFailed {
        /// The task's key.
        key: Arc<str>,
        /// Its token.
        token: Token,
        /// The worker's error.
        error: String,
    },
    /// The worker gave a task up that had started here; it is stopped, and the leader tries elsewhere.
    GivenUp {
        /// The task's key.
        key: Arc<str>,
        /// Its token.
        token: Token,
        /// The worker's error.
        error: String,
    },
    /// `Worker::assign` has not returned within `assign_timeout`, and is given up: once its future has ended, the task is
    /// stopped and the leader tries elsewhere.
    AssignOverdue {
        /// The task's key.
        key: Arc<str>,
        /// Its token.
        token: Token,
    },
    /// `Worker::revoke` has not returned within `revoke_timeout`. The task is handed over only when it has, when this
    /// member's session has ended, or when an operator releases it by force.
    RevokeOverdue {
        /// The task's key.
        key: Arc<str>,
        /// Its token.
        token: Token,
    },
    /// Seen by the leader: a member cannot stop a task that it is to release.
    TaskStuck {
        /// The member.
        instance: InstanceId,
        /// The task's key.
        key: Arc<str>,
        /// Its token.
        token: Token,
    },
    /// The worker reported an error from stopping a task (which counts as stopped).
    RevokeFailed {
        /// The task's key.
        key: Arc<str>,
        /// Its token.
        token: Token,
        /// The worker's error.
        error: String,
    },
    /// The worker panicked while stopping a task. Nobody knows whether it has stopped, so it is not handed over
    /// before this member's session ends.
    RevokePanicked {
        /// The task's key.
        key: Arc<str>,
        /// Its token.
        token: Token,
        /// The panic's message.
        error: String,
    },
    /// The provider failed, took too long or gave an invalid list; the last good list stays.
    ProviderFailed {
        /// The fault.
        error: String,
    },
    /// The store refused a change of the assignment for what it is; the leader reads everything again and retries.
    CommitFailed {
        /// The store's message.
        error: String,
    },
    /// The assignor failed or made an invalid plan; the plan before stays.
    PlanRefused {
        /// The fault.
        error: String,
    },
    /// A record cannot be read. One of a newer version keeps this member from leading. One that is no record at all counts as
    /// absent, unless tasks are in it: those move when the session that they are with has ended, which it is told to.
    Unreadable {
        /// The fault.
        error: String,
    },
    /// Seen by the leader: there are more members than may hold tasks. Those that came last wait, and are told so.
    GroupFull {
        /// The number of members.
        members: usize,
        /// The number of them that may hold tasks.
        most: usize,
    },
    /// Seen by the leader: an operator's record could not be read, and has no effect.
    ControlRefused {
        /// The fault.
        error: String,
    },
    /// A task does not fit into the record of any one write and is placed nowhere.
    Oversize {
        /// The task's key.
        key: Arc<str>,
    },
    /// A defect, or a panic in a clock or store that the user supplied, ends this member: all its tasks are told to stop.
    Failed {
        /// The panic's message.
        error: String,
    },
    /// The member has left, or was stopped.
    Ended,
    /// The listener was too slow, and so many events are missing here.
    Missed(u64),
}
