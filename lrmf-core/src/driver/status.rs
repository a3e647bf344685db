//! The view that a member gives of itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::event::Event;
use crate::ids::{GroupId, Incarnation, InstanceId};
use crate::protocol::Exit;
use crate::protocol::node::Node;
use crate::records::Barred;
use crate::task::Holding;

use super::listeners::Listeners;

/// The tasks that a member runs now, by key.
pub type HeldTasks = BTreeMap<Arc<str>, Holding>;

/// The stage of a member's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberStage {
    /// It is not a member, or not any more, and tries to become one.
    Joining,
    /// It is a member, in this session.
    Serving(Incarnation),
    /// It has ended.
    Ended(Exit),
}

/// A member at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// The stage of its life.
    pub stage: MemberStage,
    /// Returns to false when it has joined anew: its session has ended, or is given up, and all its tasks stop.
    pub fenced: bool,
    /// True where it leads the group.
    pub leading: bool,
    /// The group's leader, as far as it knows.
    pub leader: Option<InstanceId>,
    /// True where it is one of the few that campaign at once when that leader goes.
    pub candidate: bool,
    /// Why the leader gives it no tasks, where it does not although the member would take some.
    pub barred: Option<Barred>,
}

impl Default for MemberStatus {
    fn default() -> Self {
        Self {
            stage: MemberStage::Joining,
            fenced: false,
            leading: false,
            leader: None,
            candidate: false,
            barred: None,
        }
    }
}

/// The sending side of all that a member shows.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) group: GroupId,
    pub(crate) instance: InstanceId,
    pub(crate) events: Arc<Listeners>,
    pub(crate) held: watch::Sender<HeldTasks>,
    pub(crate) status: watch::Sender<MemberStatus>,
}

impl Board {
    pub(super) fn emit(&self, event: Event) {
        log(&self.instance, &event);
        crate::metrics::record(&self.group, &event);
        if let Event::Assigned(holding) = &event {
            self.held.send_modify(|held| {
                held.insert(holding.task.key.clone(), holding.clone());
            });
        }
        self.events.tell(event);
    }

    pub(super) fn revoking(&self, holding: &Holding) {
        self.held.send_if_modified(|held| held.remove(&holding.task.key).is_some());
    }

    pub(super) fn update(&self, node: &Node) {
        let stage = node
            .session()
            .map_or(MemberStage::Joining, |session| MemberStage::Serving(session.record.incarnation));
        let record = node.leader_record();
        let (leading, leader) = (node.is_leading(), record.map(|record| &record.instance));
        let candidate = record.is_some_and(|record| record.candidates.contains(&self.instance));
        let (barred, fenced) = (node.barred(), node.is_fenced());
        self.status.send_if_modified(|status| {
            let same = status.stage == stage
                && status.fenced == fenced
                && status.leading == leading
                && status.candidate == candidate
                && status.barred == barred;
            if same && status.leader.as_ref() == leader {
                return false;
            }
            let (stage, leader) = (stage.clone(), leader.cloned());
            *status = MemberStatus { stage, fenced, leading, leader, candidate, barred };
            true
        });
    }

    pub(super) fn ended(&self, exit: Exit) {
        self.held.send_if_modified(|held| !std::mem::take(held).is_empty());
        self.status.send_replace(MemberStatus {
            stage: MemberStage::Ended(exit),
            fenced: false,
            leading: false,
            leader: None,
            candidate: false,
            barred: None,
        });
        self.events.close();
    }
}

impl Drop for Board {
    /// Also when the runtime ends.
    fn drop(&mut self) {
        self.events.close();
    }
}

fn log(member: &InstanceId, event: &Event) {
    match event {
        Event::Assigned(holding) => {
            tracing::debug!(%member, task = %holding.task.key, token = %holding.token, "assigned");
        }
        Event::Revoked(holding) => {
            tracing::debug!(%member, task = %holding.task.key, token = %holding.token, "revoked");
        }
        Event::Committed { generation, granted, releasing } => {
            tracing::debug!(%member, %generation, granted, releasing, "committed");
        }
        Event::HandedOver { key, took } => tracing::debug!(%member, task = %key, ?took, "handed over"),
        Event::AssignFailed { key, token, error } => {
            tracing::warn!(%member, task = %key, %token, %error, "assign failed");
        }
        Event::GivenUp { key, token, error } => {
            tracing::warn!(%member, task = %key, %token, %error, "given up");
        }
        Event::AssignOverdue { key, token } => {
            tracing::error!(%member, task = %key, %token, "assign overdue");
        }
        Event::Failed { error } => tracing::error!(%member, %error, "member failed"),
        Event::RevokeOverdue { key, token } => {
            tracing::error!(%member, task = %key, %token, "revoke overdue");
        }
        Event::TaskStuck { instance, key, token } => {
            tracing::error!(%member, holder = %instance, task = %key, %token, "task stuck");
        }
        Event::RevokeFailed { key, token, error } => {
            tracing::warn!(%member, task = %key, %token, %error, "revoke failed");
        }
        Event::RevokePanicked { key, token, error } => {
            tracing::error!(%member, task = %key, %token, %error, "revoke panicked");
        }
        Event::Barred(why) => tracing::error!(%member, %why, "no tasks"),
        Event::OutOfContact => tracing::warn!(%member, "out of contact"),
        Event::ContactLost { instance } => tracing::warn!(%member, %instance, "contact lost"),
        Event::Evicted => tracing::warn!(%member, "evicted"),
        Event::Fenced { reason } => tracing::warn!(%member, ?reason, "fenced"),
        Event::ProviderFailed { error } => tracing::warn!(%member, %error, "provider failed"),
        Event::PlanRefused { error } => tracing::error!(%member, %error, "plan refused"),
        Event::LeaderStalled { why } => tracing::error!(%member, %why, "leader stalled"),
        Event::Abstains { why } => tracing::warn!(%member, %why, "abstains from leading"),
        Event::FloorFailed { error } => tracing::error!(%member, %error, "floor failed"),
        Event::CommitFailed { error } => tracing::error!(%member, %error, "commit failed"),
        Event::Unreadable { error } => tracing::error!(%member, %error, "record unreadable"),
        Event::GroupFull { members, most } => {
            tracing::error!(%member, members, most, "more members than may hold tasks")
        }
        Event::ControlRefused { error } => tracing::error!(%member, %error, "control record refused"),
        Event::Oversize { key } => tracing::error!(%member, task = %key, "task does not fit into a record"),
        other => tracing::info!(%member, event = ?other, "member event"),
    }
}
