//! From what is observed to what is wanted: for each task that is not where it belongs, its goal.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::assignor::{Assignor, Candidate, MemberIx, PlanError, Problem};
use crate::ids::{Incarnation, InstanceId, Token};
use crate::protocol::Rules;
use crate::records::MemberRecord;
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

impl Goal {
    fn member(&self) -> Option<&InstanceId> {
        match self {
            Self::To { member, .. } => Some(member),
            Self::Release | Self::Drop => None,
        }
    }
}

/// The goals of the tasks that are not where they belong, in key order.
pub(super) type Goals = BTreeMap<Arc<str>, Goal>;

/// What planning starts from.
struct Situation<'a> {
    members: Vec<Candidate>,
    /// Of each member, its session.
    sessions: Vec<Incarnation>,
    /// The tasks that the assignor is asked about: all but those that wait for a restarting member, are pinned, or stay
    /// with a drained member while the group is frozen.
    tasks: Cow<'a, [Task]>,
    /// Of each of them, its holder to be, as far as there is one.
    holders: Vec<Option<MemberIx>>,
    /// Of each of them, where it is.
    places: Vec<Option<Place<'a>>>,
    /// Which of them stay where they are, as they run and the group is frozen.
    frozen: Vec<usize>,
    /// Tasks that are pinned to a member that is there, and which one.
    pinned: Vec<(&'a Task, MemberIx)>,
    /// How many of all tasks are in a record.
    found: usize,
}

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
    let situation = Situation::new(view, tasks, before, failures, rules);
    let Situation { members, tasks: asked, holders, .. } = &situation;
    let mut targets = targets(&Problem { tasks: asked, members, holders }, assignor)?;
    situation.obey(view, &mut targets, rules);
    avoid_failed(&situation, &mut targets, failures, now);
    let mut goals = Goals::new();
    for ((task, place), target) in asked.iter().zip(&situation.places).zip(targets) {
        let goal = situation.goal(view, task, *place, target, failures, rules);
        goals.extend(goal.map(|goal| (task.key.clone(), goal)));
    }
    for (task, target) in &situation.pinned {
        let place = view.place(&task.key);
        if may_try(failures, task, place, now) {
            let goal = situation.goal(view, task, place, Some(*target), failures, rules);
            goals.extend(goal.map(|goal| (task.key.clone(), goal)));
        }
    }
    if situation.found < view.placed() {
        for place in view.entries().filter(|place| tasks.get(&place.entry.key).is_none()) {
            goals.insert(place.entry.key.clone(), Goal::Drop);
        }
    }
    Ok(goals)
}

impl<'a> Situation<'a> {
    fn new(view: &'a View, tasks: &'a TaskList, before: &Goals, failures: &Failures, rules: Rules) -> Self {
        let candidate = |(instance, record): (&InstanceId, &MemberRecord)| Candidate {
            instance: instance.clone(),
            capacity: record.capacity.max(1),
            zone: record.zone.clone(),
            load: record.load,
        };
        let members: Vec<Candidate> = view.holders().map(candidate).collect();
        let sessions = view.holders().map(|(_, record)| record.incarnation).collect();
        let index: HashMap<&InstanceId, MemberIx, FixedState> =
            members.iter().map(|member| &member.instance).zip(0..).collect();
        let all = tasks.all();
        let (mut holders, mut places) = (Vec::with_capacity(all.len()), Vec::with_capacity(all.len()));
        let (mut skipped, mut pinned, mut frozen, mut found) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for (ix, task) in all.iter().enumerate() {
            let place = view.place(&task.key);
            found += usize::from(place.is_some());
            let rests =
                place.is_some_and(|place| view.is_frozen(place, rules) && !failures.has_failed(place));
            let pin = view.controls.pins.get(&task.key);
            let pin = pin.filter(|pin| !rests && !view.is_barred(&task.key, pin, rules));
            if let Some(member) = pin.and_then(|pin| index.get(pin)) {
                pinned.push((task, *member));
                skipped.push(ix);
                continue;
            }
            let goal = before.get(&task.key).and_then(Goal::member).and_then(|member| index.get(member));
            let held_by = place.filter(|place| place.entry.releasing.is_none()).map(|place| place.holder);
            let home = goal.filter(|_| !rests).or_else(|| index.get(held_by?)).copied();
            if home.is_none() && (rests || held_by.is_some_and(|holder| view.is_awaited(holder))) {
                skipped.push(ix);
                continue;
            }
            if rests {
                frozen.push(holders.len());
            }
            holders.push(home);
            places.push(place);
        }
        let tasks = if skipped.is_empty() { Cow::Borrowed(all) } else { Cow::Owned(without(all, skipped)) };
        Self { members, sessions, tasks, holders, places, frozen, pinned, found }
    }

    /// Changes a plan to what operators want: what runs stays while the group is frozen, and what was taken from a
    /// session by force does not go back there while there is anybody else.
    fn obey(&self, view: &View, targets: &mut [Option<MemberIx>], rules: Rules) {
        for ix in &self.frozen {
            targets[*ix] = self.holders[*ix];
        }
        for key in view.controls.releases.keys() {
            let Ok(ix) = self.tasks.binary_search_by(|task| task.key.cmp(key)) else { continue };
            let instance = |member: &MemberIx| &self.members[*member as usize].instance;
            let is_open = |member: &MemberIx| !view.is_barred(key, instance(member), rules);
            if targets[ix].is_some_and(|target| !is_open(&target)) {
                let others = (0..).zip(&self.members).map(|(member, _)| member).filter(is_open);
                let least = |member: &MemberIx| targets.iter().filter(|to| **to == Some(*member)).count();
                let other = self.holders[ix].filter(is_open).or_else(|| others.min_by_key(least));
                targets[ix] = other.or(targets[ix]);
            }
        }
    }

    /// The goal of a task that is to be with `target`; none where it is there already.
    fn goal(
        &self,
        view: &View,
        task: &Task,
        place: Option<Place<'_>>,
        target: Option<MemberIx>,
        failures: &Failures,
        rules: Rules,
    ) -> Option<Goal> {
        let Some(member) = target.map(|ix| &self.members[ix as usize].instance) else {
            return place.map(|_| Goal::Release);
        };
        let beyond = failures.get(&task.key).filter(|failed| failed.retry).map(|failed| failed.token);
        let at_home = place.is_some_and(|place| {
            let of_session = target.is_some_and(|ix| self.sessions[ix as usize] == place.incarnation);
            of_session
                && place.holder == member
                && place.entry.releasing.is_none()
                && place.entry.value == task.value
        });
        if at_home && beyond.is_none() {
            return None;
        }
        let goal = Goal::To { member: member.clone(), beyond };
        let settled = place.is_some_and(|place| is_settled(view, task, &goal, place, rules));
        (!settled).then_some(goal)
    }
}

fn without(tasks: &[Task], skipped: Vec<usize>) -> Vec<Task> {
    let mut skipped = skipped.into_iter().peekable();
    let kept = tasks.iter().enumerate().filter(|(ix, _)| skipped.next_if_eq(ix).is_none());
    kept.map(|(_, task)| task.clone()).collect()
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
    situation: &Situation<'_>,
    targets: &mut [Option<MemberIx>],
    failures: &mut Failures,
    now: Timestamp,
) {
    let Situation { members, tasks, places, .. } = situation;
    if failures.is_empty() || members.is_empty() {
        return;
    }
    let mut loads = vec![0u64; members.len()];
    for target in targets.iter().flatten() {
        loads[*target as usize] += 1;
    }
    for ((task, place), target) in tasks.iter().zip(places).zip(targets) {
        let Some(failed) = failures.get_mut(&task.key) else { continue };
        let Some(place) = place else { continue };
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

/// Whether a pinned task may be tried now: where it failed, it is tried again, later and later.
fn may_try(failures: &mut Failures, task: &Task, place: Option<Place<'_>>, now: Timestamp) -> bool {
    let Some(failed) = failures.get_mut(&task.key) else { return true };
    if place.is_none_or(|place| place.entry.token > failed.token) {
        return true;
    }
    failed.retry |= failed.until <= now;
    failed.retry
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
