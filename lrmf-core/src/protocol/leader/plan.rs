//! From what is observed to what is wanted: for each task that is not where it belongs, its goal.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::assignor::{Assignor, Candidate, MemberIx, PlanError, Problem};
use crate::ids::{InstanceId, Token};
use crate::keys::chunk_of;
use crate::protocol::Rules;
use crate::records::MemberState;
use crate::task::Task;

use super::failures::Failures;
use super::tasks::TaskList;
use super::view::{Place, View};
use crate::clock::Timestamp;

/// Where a task is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// With this member.
    To {
        /// Which one.
        member: InstanceId,
        /// In a holding newer than this, where one is asked for.
        beyond: Option<Token>,
    },
    /// With nobody for now, as nobody may hold it. It stays in its last holder's record.
    Release,
    /// In no record: it no longer exists.
    Drop,
}

/// The goals of the tasks that are not where they belong, in key order.
pub(super) type Goals = BTreeMap<Arc<str>, Goal>;

/// Makes the goals anew.
pub(super) fn plan(
    view: &View,
    tasks: &TaskList,
    before: &Goals,
    failures: &mut Failures,
    assignor: &dyn Assignor,
    now: Timestamp,
    rules: Rules,
) -> Result<Goals, PlanError> {
    let members: Vec<Candidate> = view
        .members
        .iter()
        .filter(|(_, record)| record.state == MemberState::Active)
        .map(|(instance, record)| Candidate {
            instance: instance.clone(),
            capacity: record.capacity.max(1),
            zone: record.zone.clone(),
        })
        .collect();
    let (placed, holders) = included(view, tasks, before, &members);
    let problem = Problem { tasks: &placed, members: &members, holders: &holders };
    let mut targets = targets(&problem, assignor)?;
    avoid_failed(view, &placed, &members, &mut targets, failures, now);
    let mut goals = Goals::new();
    for (task, target) in placed.iter().zip(targets) {
        let member = target.map(|ix| members[ix as usize].instance.clone());
        let place = view.place(&task.key, chunk_of(&task.key));
        if let Some(goal) = goal_of(view, task, member, place, failures, rules) {
            goals.insert(task.key.clone(), goal);
        }
    }
    for place in view.entries().filter(|place| tasks.get(&place.entry.key).is_none()) {
        goals.insert(place.entry.key.clone(), Goal::Drop);
    }
    Ok(goals)
}

/// The tasks that the assignor is asked about, with their holders: all but those that wait for a restarting member.
fn included<'a>(
    view: &View,
    tasks: &'a TaskList,
    before: &Goals,
    members: &[Candidate],
) -> (Cow<'a, [Task]>, Vec<Option<MemberIx>>) {
    let index: BTreeMap<&InstanceId, MemberIx> =
        members.iter().map(|member| &member.instance).zip(0..).collect();
    let mut holders = Vec::with_capacity(tasks.all().len());
    let mut skipped = Vec::new();
    for (ix, task) in tasks.all().iter().enumerate() {
        let place = view.place(&task.key, chunk_of(&task.key));
        let goal = before.get(&task.key).and_then(|goal| match goal {
            Goal::To { member, .. } => Some(member),
            Goal::Release | Goal::Drop => None,
        });
        let held_by = place.filter(|place| place.entry.releasing.is_none()).map(|place| place.holder);
        let home = goal.filter(|member| index.contains_key(member)).or(held_by);
        if home.is_some_and(|home| view.is_awaited(home)) {
            skipped.push(ix);
        } else {
            holders.push(home.and_then(|home| index.get(home).copied()));
        }
    }
    if skipped.is_empty() {
        return (Cow::Borrowed(tasks.all()), holders);
    }
    let mut skipped = skipped.into_iter().peekable();
    let kept = tasks.all().iter().enumerate().filter(|(ix, _)| skipped.next_if_eq(ix).is_none());
    (Cow::Owned(kept.map(|(_, task)| task.clone()).collect()), holders)
}

/// Asks the assignor and refuses what is no valid plan.
fn targets(problem: &Problem<'_>, assignor: &dyn Assignor) -> Result<Vec<Option<MemberIx>>, PlanError> {
    let mut targets = problem.holders.to_vec();
    let mut named = vec![false; targets.len()];
    for placement in assignor.plan(problem)? {
        let surplus = || {
            let key = problem.tasks.get(placement.task as usize).map_or("?", |task| task.key.as_ref());
            PlanError::Surplus(key.to_owned())
        };
        let seen = named.get_mut(placement.task as usize).ok_or_else(surplus)?;
        if std::mem::replace(seen, true) {
            return Err(surplus());
        }
        if placement.to as usize >= problem.members.len() {
            return Err(PlanError::Failed(format!(
                "it named member {} of {}",
                placement.to,
                problem.members.len()
            )));
        }
        targets[placement.task as usize] = Some(placement.to);
    }
    match targets.iter().position(Option::is_none) {
        Some(ix) if !problem.members.is_empty() => Err(PlanError::Dropped(problem.tasks[ix].key.to_string())),
        _ => Ok(targets),
    }
}

/// Sends tasks that failed to start to somebody who has not tried yet: the one with the least.
fn avoid_failed(
    view: &View,
    tasks: &[Task],
    members: &[Candidate],
    targets: &mut [Option<MemberIx>],
    failures: &mut Failures,
    now: Timestamp,
) {
    if failures.is_empty() || members.is_empty() {
        return;
    }
    let mut loads = vec![0u64; members.len()];
    for target in targets.iter().flatten() {
        loads[*target as usize] += 1;
    }
    for (task, target) in tasks.iter().zip(targets) {
        let Some(failed) = failures.get_mut(&task.key) else { continue };
        let Some(place) = view.place(&task.key, chunk_of(&task.key)) else { continue };
        let chosen = target.map(|ix| &members[ix as usize].instance);
        let under_way = failed.retry && chosen.is_some_and(|chosen| !failed.at.contains(chosen));
        if place.entry.token > failed.token || under_way {
            continue;
        }
        if failed.until > now {
            // Not yet: it stays where it failed.
            let holder = members.iter().position(|member| member.instance == *place.holder);
            *target = holder.and_then(|ix| MemberIx::try_from(ix).ok()).or(*target);
            continue;
        }
        let untried = (0..members.len()).filter(|ix| !failed.at.contains(&members[*ix].instance));
        match untried.min_by_key(|ix| loads[*ix]) {
            Some(ix) => {
                loads[ix] += 1;
                *target = MemberIx::try_from(ix).ok();
            }
            None => failed.at.clear(),
        }
        failed.retry = true;
    }
}

fn goal_of(
    view: &View,
    task: &Task,
    target: Option<InstanceId>,
    place: Option<Place<'_>>,
    failures: &Failures,
    rules: Rules,
) -> Option<Goal> {
    let Some(member) = target else {
        return place.map(|_| Goal::Release);
    };
    let beyond = failures.get(&task.key).filter(|failed| failed.retry).map(|failed| failed.token);
    let goal = Goal::To { member, beyond };
    let settled = place.is_some_and(|place| is_settled(view, task, &goal, place, rules));
    (!settled).then_some(goal)
}

/// Whether a task is where it belongs, as it is now.
pub(super) fn is_settled(view: &View, task: &Task, goal: &Goal, place: Place<'_>, rules: Rules) -> bool {
    match goal {
        Goal::To { member, beyond } => {
            place.holder == member
                && place.entry.releasing.is_none()
                && (!rules.incarnation || view.is_alive(place.holder, place.incarnation))
                && place.entry.value == task.value
                && beyond.is_none_or(|token| place.entry.token > token)
        }
        Goal::Release | Goal::Drop => false,
    }
}
