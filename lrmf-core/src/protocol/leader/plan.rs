//! From what is observed to what is wanted: for each task that is not where it belongs, its goal.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::assignor::{MemberIx, Placement};
use crate::clock::Timestamp;
use crate::ids::{InstanceId, Token};
use crate::protocol::Rules;
use crate::task::Task;

use super::failures::Failures;
use super::ledger::Ledger;
use super::situation::Situation;
use super::tasks::TaskList;
use super::view::{Place, View};

/// The place in which a task is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// With this member.
    To {
        /// The member.
        member: InstanceId,
        /// In a holding newer than this, where one is asked for.
        beyond: Option<Token>,
    },
    /// With nobody for now, as nobody may hold it. It stays in its last holder's record.
    Release,
    /// In no record: it no longer exists.
    Drop,
}

impl Goal {
    pub(super) fn member(&self) -> Option<&InstanceId> {
        match self {
            Self::To { member, .. } => Some(member),
            Self::Release | Self::Drop => None,
        }
    }
}

/// The goals of the tasks that are not where they belong, in key order.
pub(super) type Goals = BTreeMap<Arc<str>, Goal>;

/// The knowledge of the leader, to plan by.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) view: &'a View,
    pub(super) tasks: &'a TaskList,
    pub(super) ledger: &'a Ledger,
    /// The goals so far.
    pub(super) before: &'a Goals,
    pub(super) rules: Rules,
}

/// Makes the goals anew, from the moves that the assignor planned. What rests where it is to be is never looked at by itself.
pub(super) fn goals(
    seen: Seen<'_>,
    situation: &Situation<'_>,
    plan: &[Placement],
    failures: &mut Failures,
    now: Timestamp,
) -> Goals {
    let tasks = &situation.tasks;
    let mut targets = situation.holders.clone();
    let named: Vec<usize> = plan.iter().map(|placement| placement.task as usize).collect();
    for placement in plan {
        targets[placement.task as usize] = Some(placement.to);
    }
    situation.obey(seen, &mut targets, &named);
    avoid_failed(seen, situation, &mut targets, failures, now);
    let mut goals = Goals::new();
    for ix in named.iter().chain(&situation.examined) {
        // A task that came without a holder while the plan was made is in the next one.
        if targets[*ix].is_some() || situation.members.is_empty() {
            let task = &tasks[*ix];
            let goal = situation.goal(seen, task, targets[*ix], failures);
            goals.extend(goal.map(|goal| (task.key.clone(), goal)));
        }
    }
    for (task, target) in &situation.pinned {
        if may_try(failures, task, seen.view.place(&task.key), now) {
            let goal = situation.goal(seen, task, Some(*target), failures);
            goals.extend(goal.map(|goal| (task.key.clone(), goal)));
        }
    }
    goals.extend(seen.ledger.strays().iter().map(|key| (key.clone(), Goal::Drop)));
    goals
}

/// Sends tasks that failed to start to somebody who has not tried yet: first to those whose labels differ from everybody's
/// with whom they failed, as what is lacking there may be here, and among these to the one with the least. What runs elsewhere
/// by now does not go back there, for the sake of balance, as long as the failure is remembered.
fn avoid_failed(
    seen: Seen<'_>,
    situation: &Situation<'_>,
    targets: &mut [Option<MemberIx>],
    failures: &mut Failures,
    now: Timestamp,
) {
    let Situation { members, tasks, .. } = situation;
    if failures.is_empty() || members.is_empty() {
        return;
    }
    let mut loads = situation.loads(targets);
    let labels: BTreeMap<_, _> =
        seen.view.holders().map(|(member, record)| (member, &record.labels)).collect();
    for (key, failed) in failures.all() {
        let Ok(ix) = tasks.binary_search_by(|task| task.key.cmp(key)) else { continue };
        let (Some(place), target) = (seen.view.place(key), &mut targets[ix]) else { continue };
        let chosen = target.map(|ix| &members[ix as usize].instance);
        let goes_back = chosen.is_some_and(|chosen| failed.at.contains(chosen));
        let holder = members.iter().position(|member| member.instance == *place.holder);
        let holder = holder.and_then(|ix| MemberIx::try_from(ix).ok());
        if place.entry.token > failed.token {
            if goes_back && !failed.at.contains(place.holder) {
                *target = holder.or(*target);
            }
            continue;
        }
        if failed.retry && !goes_back {
            continue; // under way
        }
        if failed.until > now {
            // Not yet: it stays where it failed.
            *target = holder.or(*target);
            continue;
        }
        let like_failed =
            |member: &InstanceId| failed.at.iter().any(|at| labels.get(at) == labels.get(member));
        let untried = (0..members.len()).filter(|ix| !failed.at.contains(&members[*ix].instance));
        match untried.min_by_key(|ix| (like_failed(&members[*ix].instance), loads[*ix])) {
            Some(ix) => {
                loads[ix] += 1;
                *target = MemberIx::try_from(ix).ok();
            }
            None => failed.at.clear(),
        }
        failed.retry = true;
    }
}

/// Returns true where a pinned task may be tried now: where it failed, it is tried again, later and later.
fn may_try(failures: &mut Failures, task: &Task, place: Option<Place<'_>>, now: Timestamp) -> bool {
    let Some(failed) = failures.get_mut(&task.key) else { return true };
    if place.is_none_or(|place| place.entry.token > failed.token) {
        return true;
    }
    failed.retry |= failed.until <= now;
    failed.retry
}

/// Returns true where a task is where it belongs, as it is now.
pub(super) fn is_settled(view: &View, task: &Task, goal: &Goal, place: Place<'_>, rules: Rules) -> bool {
    match goal {
        Goal::To { member, beyond } => {
            place.holder == member
                && place.entry.releasing.is_none()
                && (!rules.incarnation || view.is_alive(place.holder, place.incarnation))
                && (!rules.values || place.entry.value == task.value)
                && !view.is_released(place, rules)
                && beyond.is_none_or(|token| place.entry.token > token)
        }
        Goal::Release | Goal::Drop => false,
    }
}
