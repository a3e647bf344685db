//! The situation that planning starts from: the problem for the assignor, and what of it is not the assignor's to decide.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::assignor::{Candidate, MemberIx};
use crate::ids::{Incarnation, InstanceId};
use crate::records::MemberRecord;
use crate::task::Task;

use super::failures::Failures;
use super::plan::{Goal, Seen, is_settled};
use super::tasks::Asked;
use super::view::Place;

/// The situation that planning starts from.
pub(super) struct Situation<'a> {
    pub(super) members: Vec<Candidate>,
    /// Of each member, its session.
    sessions: Vec<Incarnation>,
    /// The tasks that the assignor is asked about: all but those that wait for a restarting member, are pinned, or stay
    /// with a drained member while the group is frozen.
    pub(super) tasks: Arc<Vec<Task>>,
    /// Of each of them, its holder to be, as far as there is one.
    pub(super) holders: Vec<Option<MemberIx>>,
    /// Those of them that were looked at one by one, in order. The others rest where they are.
    pub(super) examined: Vec<usize>,
    /// Those of them that stay where they are, as they run and the group is frozen.
    frozen: Vec<usize>,
    /// Tasks that are pinned to a member that is there, and which one.
    pub(super) pinned: Vec<(&'a Task, MemberIx)>,
    /// The numbers of the tasks that the assignor is not asked about, in order.
    skipped: Vec<usize>,
}

/// The lot of one task.
enum Lot {
    Pinned(MemberIx),
    Skipped,
    Asked { home: Option<MemberIx>, frozen: bool },
}

type Index<'a> = HashMap<&'a InstanceId, MemberIx, FixedState>;

impl<'a> Situation<'a> {
    pub(super) fn new(seen: Seen<'a>, failures: &Failures, asked: &mut Asked) -> Self {
        let candidate = |(instance, record): (&InstanceId, &MemberRecord)| Candidate {
            instance: instance.clone(),
            capacity: record.capacity.max(1),
            zone: record.zone.clone(),
            load: record.load,
        };
        let (members, sessions): (Vec<_>, Vec<_>) =
            seen.view.holders().map(|member| (candidate(member), member.1.incarnation)).unzip();
        let all = seen.tasks.all();
        let mut situation = Self {
            members: Vec::new(),
            sessions,
            tasks: Arc::default(),
            holders: Vec::with_capacity(all.len()),
            examined: Vec::new(),
            frozen: Vec::new(),
            pinned: Vec::new(),
            skipped: Vec::new(),
        };
        let index: Index<'_> = members.iter().map(|member| &member.instance).zip(0..).collect();
        situation.sort(seen, failures, &index);
        drop(index);
        situation.members = members;
        situation.tasks = asked.without(seen.tasks, &situation.skipped);
        situation
    }

    /// Goes through all tasks: those that rest by number, the others one by one.
    fn sort(&mut self, seen: Seen<'a>, failures: &Failures, index: &Index<'_>) {
        let homes: Vec<_> = seen.ledger.names().iter().map(|name| Home::of(seen, index, name)).collect();
        let mut special = special(seen, failures).into_iter().peekable();
        for ((ix, task), holder) in seen.tasks.all().iter().enumerate().zip(seen.ledger.homes()) {
            if special.next_if(|special| *special as usize == ix).is_none() {
                match homes[*holder as usize] {
                    Home::Member(member) => self.holders.push(Some(member)),
                    Home::Waits => self.skipped.push(ix),
                    Home::Gone => {
                        self.examined.push(self.holders.len());
                        self.holders.push(None);
                    }
                }
                continue;
            }
            match lot(seen, failures, index, task) {
                Lot::Pinned(member) => {
                    self.pinned.push((task, member));
                    self.skipped.push(ix);
                }
                Lot::Skipped => self.skipped.push(ix),
                Lot::Asked { home, frozen } => {
                    self.examined.push(self.holders.len());
                    if frozen {
                        self.frozen.push(self.holders.len());
                    }
                    self.holders.push(home);
                }
            }
        }
    }

    /// Changes a plan to what operators want: what runs stays while the group is frozen, and what was taken from a
    /// session by force does not go back there while there is anybody else. `named` are those that the plan moves.
    pub(super) fn obey(&self, seen: Seen<'_>, targets: &mut [Option<MemberIx>], named: &[usize]) {
        let view = seen.view;
        for ix in &self.frozen {
            targets[*ix] = self.holders[*ix];
        }
        if view.controls.frozen {
            // What rests with somebody who may hold tasks runs there.
            for ix in named.iter().filter(|ix| self.examined.binary_search(ix).is_err()) {
                targets[*ix] = self.holders[*ix];
            }
        }
        let mut loads = None;
        for key in view.controls.releases.keys() {
            let Ok(ix) = self.tasks.binary_search_by(|task| task.key.cmp(key)) else { continue };
            let instance = |member: &MemberIx| &self.members[*member as usize].instance;
            let is_open = |member: &MemberIx| !view.is_barred(key, instance(member), seen.rules);
            if targets[ix].is_some_and(|target| !is_open(&target)) {
                let loads = loads.get_or_insert_with(|| self.loads(targets));
                let others = (0..).zip(&self.members).map(|(member, _)| member).filter(is_open);
                let other = self.holders[ix].filter(is_open);
                let other = other.or_else(|| others.min_by_key(|member| loads[*member as usize]));
                other.iter().for_each(|member| loads[*member as usize] += 1);
                targets[ix] = other.or(targets[ix]);
            }
        }
    }

    /// The number of tasks that each member is to have.
    pub(super) fn loads(&self, targets: &[Option<MemberIx>]) -> Vec<u64> {
        let mut loads = vec![0; self.members.len()];
        targets.iter().flatten().for_each(|target| loads[*target as usize] += 1);
        loads
    }

    /// The goal of a task that is to be with `target`; none where it is there already.
    pub(super) fn goal(
        &self,
        seen: Seen<'_>,
        task: &Task,
        target: Option<MemberIx>,
        failures: &Failures,
    ) -> Option<Goal> {
        let place = seen.view.place(&task.key);
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
                && !seen.view.is_released(place, seen.rules)
        });
        if at_home && beyond.is_none() {
            return None;
        }
        let goal = Goal::To { member: member.clone(), beyond };
        let settled = place.is_some_and(|place| is_settled(seen.view, task, &goal, place, seen.rules));
        (!settled).then_some(goal)
    }
}

/// The place of tasks that rest with somebody.
#[derive(Clone, Copy)]
enum Home {
    /// With a member that may hold tasks.
    Member(MemberIx),
    /// With one that may not, and they wait there: it is about to come back, or the group is frozen.
    Waits,
    /// With one that may not.
    Gone,
}

impl Home {
    fn of(seen: Seen<'_>, index: &Index<'_>, name: &InstanceId) -> Self {
        match index.get(name) {
            Some(member) => Self::Member(*member),
            None if seen.view.is_awaited(name) || seen.view.runs_frozen(name) => Self::Waits,
            None => Self::Gone,
        }
    }
}

/// The numbers of the tasks that do not simply rest, in order.
fn special(seen: Seen<'_>, failures: &Failures) -> Vec<u32> {
    let (pins, releases) = (&seen.view.controls.pins, &seen.view.controls.releases);
    let keys = seen.before.keys().chain(failures.keys()).chain(pins.keys()).chain(releases.keys());
    let mut special: Vec<u32> = keys.filter_map(|key| seen.tasks.position(key)).collect();
    special.extend(seen.ledger.open());
    special.sort_unstable();
    special.dedup();
    special
}

/// The lot of one task.
fn lot(seen: Seen<'_>, failures: &Failures, index: &Index<'_>, task: &Task) -> Lot {
    let Seen { view, before, rules, .. } = seen;
    let place = view.place(&task.key);
    let rests = place.is_some_and(|place| view.is_frozen(place, rules) && !failures.has_failed(place));
    let pin = view.controls.pins.get(&task.key);
    let pin = pin.filter(|pin| !rests && !view.is_barred(&task.key, pin, rules));
    if let Some(member) = pin.and_then(|pin| index.get(pin)) {
        return Lot::Pinned(*member);
    }
    let goal = before.get(&task.key).and_then(Goal::member).and_then(|member| index.get(member));
    let held = |place: &Place<'_>| place.entry.releasing.is_none();
    let held_by = place.filter(held).map(|place| place.holder);
    let home = goal.filter(|_| !rests).or_else(|| index.get(held_by?)).copied();
    if home.is_none() && (rests || held_by.is_some_and(|holder| view.is_awaited(holder))) {
        return Lot::Skipped;
    }
    Lot::Asked { home, frozen: rests }
}
