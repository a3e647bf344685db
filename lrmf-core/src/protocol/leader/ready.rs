//! From goals to steps: what can be done now, and what has to wait.

use std::sync::Arc;

use crate::config::GroupMode;
use crate::ids::InstanceId;
use crate::keys::path_of;
use crate::protocol::Rules;
use crate::records::MemberState;

use super::disruption::Room;
use super::plan::{Goal, Goals};
use super::tasks::TaskList;
use super::view::{Place, View};

/// One thing that can be done about one task now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Step {
    /// Tasks of one chunk share writes, so they come together.
    pub(super) path: u32,
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

/// The steps that can be taken now.
#[derive(Debug, Default)]
pub(super) struct Ready {
    pub(super) steps: Vec<Step>,
    /// Something is to be done that no other thing to come could share a write with.
    pub(super) urgent: bool,
    /// The number of tasks that wait for an acknowledgement.
    pub(super) waiting: usize,
    /// The number of tasks that nobody runs, though they exist.
    pub(super) unassigned: usize,
    /// Tasks that are where they belong.
    pub(super) settled: Vec<Arc<str>>,
}

/// The next step of one task.
#[derive(Debug)]
pub(super) enum Next {
    /// The task is where it belongs.
    Nothing,
    /// It waits: for a member, or for somebody's word.
    Waits,
    /// It waits for its holder's acknowledgement.
    Acknowledgement,
    /// This, now. `urgent` where nothing to come could share a write with it.
    Now { step: Step, urgent: bool },
    /// This, when not too many others are asked for.
    Mark(Step),
}

/// Returns true where the task runs nowhere any more.
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
    view.acks.get(place.holder).filter(|ack| ack.incarnation == place.incarnation).is_some_and(|ack| {
        if rules.ack_lists_tasks { ack.has_released(place.entry) } else { ack.generation >= marked }
    })
}

/// Decides what is to be done about a task next, towards its goal.
pub(super) fn next(view: &View, tasks: &TaskList, key: &Arc<str>, goal: &Goal, rules: Rules) -> Next {
    let place = view.place(key);
    let step = |kind, from: Option<&InstanceId>, to: Option<&InstanceId>| {
        let (path, key) = (path_of(key), key.clone());
        Step { path, from: from.cloned(), to: to.cloned(), key, kind }
    };
    let Some(place) = place else {
        return match goal {
            Goal::Release | Goal::Drop => Next::Nothing,
            Goal::To { .. } if view.is_obscured(key) => Next::Waits,
            Goal::To { member, .. } if view.holder(member).is_some() => {
                Next::Now { step: step(Kind::Grant, None, Some(member)), urgent: true }
            }
            Goal::To { .. } => Next::Waits,
        };
    };
    match goal {
        Goal::To { member, .. } if place.holder == member => {
            let settled = |task| super::plan::is_settled(view, task, goal, place, rules);
            match tasks.get(key).map(settled) {
                Some(true) => Next::Nothing,
                Some(false) if view.holder(member).is_some() => {
                    Next::Now { step: step(Kind::Renew, None, Some(member)), urgent: true }
                }
                Some(false) | None => Next::Waits,
            }
        }
        _ if is_free(view, place, rules) => match goal {
            Goal::To { member, .. } if view.holder(member).is_some() => Next::Now {
                step: step(Kind::Grant, Some(place.holder), Some(member)),
                urgent: place.entry.releasing.is_none(),
            },
            Goal::Drop => Next::Now { step: step(Kind::Drop, Some(place.holder), None), urgent: false },
            // Free by an operator's word alone, and still wanted by nobody's record but its holder's.
            Goal::Release if place.entry.releasing.is_none() && view.is_released(place, rules) => {
                Next::Mark(step(Kind::Mark, Some(place.holder), None))
            }
            Goal::To { .. } | Goal::Release => Next::Waits,
        },
        _ if place.entry.releasing.is_some() => Next::Acknowledgement,
        _ => Next::Mark(step(Kind::Mark, Some(place.holder), None)),
    }
}

/// Sorts the goals into what can be done, what has to wait and what is done.
pub(super) fn ready(view: &View, tasks: &TaskList, goals: &Goals, room: &mut Room, rules: Rules) -> Ready {
    let mut ready = Ready::default();
    let mut marks = Vec::new();
    for (key, goal) in goals {
        let runs_nowhere = view.place(key).is_none_or(|place| is_free(view, place, rules));
        ready.unassigned += usize::from(runs_nowhere && !matches!(goal, Goal::Drop));
        match next(view, tasks, key, goal, rules) {
            Next::Nothing => ready.settled.push(key.clone()),
            Next::Waits => {}
            // What its holder cannot stop delays its own move alone.
            Next::Acknowledgement => {
                if let Some(place) = view.place(key).filter(|place| !view.is_stuck(*place)) {
                    ready.waiting += 1;
                    room.waits(view, goal, place.holder);
                }
            }
            Next::Now { step, urgent } => {
                ready.urgent |= urgent;
                ready.steps.push(step);
            }
            Next::Mark(step) => marks.extend(step.from.clone().map(|from| (from, goal, step))),
        }
    }
    marks.retain(|(from, goal, _)| room.take(view, goal, from));
    let mut marks: Vec<Step> = marks.into_iter().map(|(_, _, step)| step).collect();
    ready.urgent |= !marks.is_empty();
    // Grants share the writes of the receiving records, which have the same chunks. Marks come member by member, so that
    // each has little to acknowledge.
    ready.steps.sort_unstable();
    marks.sort_unstable_by(|a, b| (&a.from, a.path, &a.key).cmp(&(&b.from, b.path, &b.key)));
    ready.steps.extend(marks);
    ready
}
