//! From goals to steps: what can be done now, and what has to wait.

use std::sync::Arc;

use crate::config::GroupMode;
use crate::ids::InstanceId;
use crate::keys::chunk_of;
use crate::protocol::Rules;
use crate::records::MemberState;

use super::plan::{Goal, Goals};
use super::tasks::TaskList;
use super::view::{Place, View};

/// One thing that can be done about one task now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Step {
    /// Tasks of one chunk number share writes, so they come together.
    pub(super) chunk: u8,
    pub(super) from: Option<InstanceId>,
    pub(super) to: Option<InstanceId>,
    pub(super) key: Arc<str>,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Out of the record of `from`, if any, where it no longer runs, and into that of `to`.
    Grant,
    /// A new holding in the record of `to`, which has the task already.
    Renew,
    /// Asked back from `from`.
    Mark,
    /// Out of the record of `from`, where it no longer runs.
    Drop,
}

/// What can be done now.
#[derive(Debug, Default)]
pub(super) struct Ready {
    pub(super) steps: Vec<Step>,
    /// Something is to be done that no other thing to come could share a write with.
    pub(super) urgent: bool,
    /// How many tasks wait for an acknowledgement.
    pub(super) waiting: usize,
    /// How many tasks nobody runs, though they exist.
    pub(super) unassigned: usize,
    /// Tasks that are where they belong.
    pub(super) settled: Vec<Arc<str>>,
}

/// Whether the task runs nowhere any more.
fn is_free(view: &View, place: Place<'_>, rules: Rules) -> bool {
    let Some(member) = view.members.get(place.holder) else { return true };
    if rules.incarnation && member.incarnation != place.incarnation {
        return true;
    }
    // Written after all tasks have stopped (R3); or somebody vouches for it.
    if member.state == MemberState::Restarting || view.is_released(place, rules) {
        return true;
    }
    // In mode `available` its tokens alone keep the old holder from doing harm.
    let silent = !view.is_in_contact(place.holder, member);
    if silent && rules.silence || member.mode == GroupMode::Available && !rules.contact {
        return true;
    }
    let Some(marked) = place.entry.releasing else { return false };
    if !rules.await_ack {
        return true;
    }
    view.acks.get(place.holder).is_some_and(|ack| {
        ack.incarnation == place.incarnation
            && ack.generation >= marked
            && !(rules.ack_lists_tasks && ack.releasing.iter().any(|named| named.key == place.entry.key))
    })
}

/// Sorts the goals into what can be done, what has to wait and what is done.
pub(super) fn ready(view: &View, tasks: &TaskList, goals: &Goals, max_moves: usize, rules: Rules) -> Ready {
    let mut ready = Ready::default();
    let mut marks = Vec::new();
    for (key, goal) in goals {
        let chunk = chunk_of(key);
        let place = view.place(key);
        let runs_nowhere = place.is_none_or(|place| is_free(view, place, rules));
        ready.unassigned += usize::from(runs_nowhere && !matches!(goal, Goal::Drop));
        let step = |kind, from: Option<&InstanceId>, to: Option<&InstanceId>| Step {
            chunk,
            from: from.cloned(),
            to: to.cloned(),
            key: key.clone(),
            kind,
        };
        match (goal, place) {
            (Goal::Release | Goal::Drop, None) => ready.settled.push(key.clone()),
            (Goal::To { member, .. }, None) => {
                if view.holder(member).is_some() {
                    ready.urgent = true;
                    ready.steps.push(step(Kind::Grant, None, Some(member)));
                }
            }
            (Goal::To { member, .. }, Some(place)) if place.holder == member => {
                let Some(task) = tasks.get(key) else { continue };
                if super::plan::is_settled(view, task, goal, place, rules) {
                    ready.settled.push(key.clone());
                } else if view.holder(member).is_some() {
                    ready.urgent = true;
                    ready.steps.push(step(Kind::Renew, None, Some(member)));
                }
            }
            (_, Some(place)) if runs_nowhere => match goal {
                Goal::To { member, .. } if view.holder(member).is_some() => {
                    ready.urgent |= place.entry.releasing.is_none();
                    ready.steps.push(step(Kind::Grant, Some(place.holder), Some(member)));
                }
                Goal::Drop => ready.steps.push(step(Kind::Drop, Some(place.holder), None)),
                // Free by an operator's word alone, and still wanted by nobody's record but its holder's.
                Goal::Release if place.entry.releasing.is_none() && view.is_released(place, rules) => {
                    marks.push(step(Kind::Mark, Some(place.holder), None));
                }
                Goal::To { .. } | Goal::Release => {}
            },
            (_, Some(place)) if place.entry.releasing.is_some() => ready.waiting += 1,
            (_, Some(place)) => marks.push(step(Kind::Mark, Some(place.holder), None)),
        }
    }
    let room = max_moves.saturating_sub(ready.waiting);
    ready.urgent |= room > 0 && !marks.is_empty();
    // Grants share the writes of the receiving records, which have the same chunk numbers. Marks come member by member,
    // so that each has little to acknowledge.
    ready.steps.sort_unstable();
    marks.truncate(room);
    marks.sort_unstable_by(|a, b| (&a.from, a.chunk, &a.key).cmp(&(&b.from, b.chunk, &b.key)));
    ready.steps.extend(marks);
    ready
}
