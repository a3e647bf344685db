//! Members and tasks as people and scripts are shown them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::config::GroupMode;
use crate::ids::{Generation, Incarnation, InstanceId, Token};
use crate::records::{Barred, Cause, MemberState, StuckBy};

use super::state::{GroupState, Place};

/// A member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberView {
    /// Its name.
    pub member: InstanceId,
    /// Its phase.
    pub state: MemberPhase,
    /// True where it leads.
    pub leads: bool,
    /// True where operators want it empty.
    pub drained: bool,
    /// True where operators sent it away.
    pub evicted: bool,
    /// True where another process waits to become it.
    pub successor: bool,
    /// Its mode, for when it is out of contact: the group's, or it is given nothing.
    pub mode: GroupMode,
    /// True where it is out of contact, in a group of mode `available`.
    pub silent: bool,
    /// Why the leader gives it nothing, although it would take something.
    pub barred: Option<Barred>,
    /// Its session, while that lives.
    pub incarnation: Option<Incarnation>,
    /// The number of tasks that it has.
    pub tasks: usize,
    /// The number of them that it is to release.
    pub releasing: usize,
    /// The number of them that could not be started.
    pub failed: usize,
    /// Its capacity, relative to that of others.
    pub capacity: u32,
    /// Its failure domain.
    pub zone: Option<Arc<str>>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// The phase of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberPhase {
    /// It takes tasks.
    Active,
    /// It is leaving.
    Draining,
    /// It stopped and is about to come back; its tasks wait for it.
    Restarting,
    /// Its session has ended, and its record still has tasks.
    Gone,
}

impl From<MemberState> for MemberPhase {
    fn from(state: MemberState) -> Self {
        match state {
            MemberState::Active => Self::Active,
            MemberState::Draining => Self::Draining,
            MemberState::Restarting => Self::Restarting,
        }
    }
}

/// A task that is in a member's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskView {
    /// The task's key.
    pub key: Arc<str>,
    /// Its value in this holding.
    pub value: Arc<str>,
    /// Its weight.
    pub weight: u32,
    /// Its holder.
    pub member: InstanceId,
    /// The session that it was given to.
    pub incarnation: Incarnation,
    /// The token of the holding, which is the generation that began it.
    pub token: Token,
    /// Its phase.
    pub state: TaskPhase,
    /// The generation that asked for it back.
    pub releasing_since: Option<Generation>,
    /// Why it came to its holder.
    pub cause: Cause,
    /// The member that operators pinned it to.
    pub pinned_to: Option<InstanceId>,
    /// The worker's error, where it did not start.
    pub error: Option<String>,
}

/// The phase of a task on its way between members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskPhase {
    /// It is with its holder.
    Held,
    /// It could not be started there.
    Failed,
    /// Its holder is to stop it.
    Releasing,
    /// Its holder is to stop it, and cannot.
    Stuck,
    /// Its holder has stopped it; nobody may have it now.
    Released,
    /// It waits for its holder to come back.
    Waiting,
    /// Its holder's session has ended.
    Orphaned,
    /// Its holder is out of contact, in a group of mode `available`: it goes to somebody else.
    Unreached,
}

impl GroupState {
    /// All members, by name.
    pub fn member_views(&self) -> Vec<MemberView> {
        let mut views: BTreeMap<&InstanceId, MemberView> =
            self.members().into_iter().map(|member| (member, self.empty_member(member))).collect();
        for place in self.places() {
            let Some(view) = views.get_mut(place.holder) else { continue };
            view.tasks += 1;
            view.releasing += usize::from(place.entry.releasing.is_some());
            view.failed += usize::from(self.failure(place).is_some());
        }
        views.into_values().collect()
    }

    /// All tasks that are in a record, by key.
    pub fn task_views(&self) -> Vec<TaskView> {
        self.places().map(|place| self.task_view(place)).collect()
    }

    /// A task as shown.
    pub fn task_view(&self, place: Place<'_>) -> TaskView {
        let entry = place.entry;
        TaskView {
            key: entry.key.clone(),
            value: entry.value.clone(),
            weight: entry.weight,
            member: place.holder.clone(),
            incarnation: place.incarnation,
            token: entry.token,
            state: self.phase(place),
            releasing_since: entry.releasing,
            cause: entry.cause,
            pinned_to: self.pins.get(&entry.key).map(|pin| pin.member.clone()),
            error: self.failure(place).map(str::to_owned),
        }
    }

    /// Returns the phase of a task.
    pub fn phase(&self, place: Place<'_>) -> TaskPhase {
        let state = self.sessions.get(place.holder).map(|session| session.state);
        if state == Some(MemberState::Restarting) {
            return TaskPhase::Waiting;
        }
        if !self.is_alive(place) {
            let waits = state.is_none() && self.successors.contains(place.holder);
            return if waits { TaskPhase::Waiting } else { TaskPhase::Orphaned };
        }
        if !self.is_in_contact(place.holder) {
            return TaskPhase::Unreached;
        }
        match place.entry.releasing {
            Some(_) if self.has_released(place) => TaskPhase::Released,
            _ if self.stuck(place).is_some() => TaskPhase::Stuck,
            Some(_) => TaskPhase::Releasing,
            None if self.failure(place).is_some() => TaskPhase::Failed,
            None => TaskPhase::Held,
        }
    }

    /// Returns true where the holder acknowledged that nothing of a task that it is to release runs any more.
    pub fn has_released(&self, place: Place<'_>) -> bool {
        let ack = self.acks.get(place.holder).filter(|ack| ack.incarnation == place.incarnation);
        ack.is_some_and(|ack| ack.has_released(place.entry))
    }

    /// Why a task that its holder is to stop does not stop.
    pub fn stuck(&self, place: Place<'_>) -> Option<StuckBy> {
        let ack = self.acks.get(place.holder).filter(|ack| ack.incarnation == place.incarnation)?;
        let found = ack.stuck.iter().find(|stuck| stuck.key == place.entry.key);
        found.map(|stuck| stuck.by)
    }

    /// Returns the error of the holder's worker, where the task did not start.
    pub fn failure(&self, place: Place<'_>) -> Option<&str> {
        let ack = self.acks.get(place.holder).filter(|ack| ack.incarnation == place.incarnation)?;
        let named = |failure: &&crate::records::Failure| {
            failure.key == place.entry.key && failure.token == place.entry.token
        };
        ack.failed.iter().find(named).map(|failure| failure.error.as_str())
    }

    fn empty_member(&self, member: &InstanceId) -> MemberView {
        let session = self.sessions.get(member);
        let leader = self.leader.as_ref();
        let state = session.map_or(MemberPhase::Gone, |session| session.state.into());
        MemberView {
            member: member.clone(),
            state,
            leads: leader.is_some_and(|leader| leader.instance == *member),
            drained: self.drains.contains_key(member),
            evicted: self.evictions.get(member).map(|eviction| eviction.incarnation)
                == session.map(|session| session.incarnation)
                && session.is_some(),
            successor: self.successors.contains(member),
            mode: session.map(|session| session.mode).unwrap_or_default(),
            silent: !self.is_in_contact(member),
            barred: self
                .notices
                .get(member)
                .filter(|notice| session.is_some_and(|session| session.incarnation == notice.incarnation))
                .map(|notice| notice.barred),
            incarnation: session.map(|session| session.incarnation),
            tasks: 0,
            releasing: 0,
            failed: 0,
            capacity: session.map_or(0, |session| session.capacity),
            zone: session.and_then(|session| session.zone.clone()),
            labels: session.map(|session| session.labels.clone()).unwrap_or_default(),
        }
    }
}
