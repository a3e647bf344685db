//! Whose turn it is: weighted fair sharing between resource groups, and between the tasks of a group.
//!
//! # The problem
//! Groups share the executors' time by weight, and within a group tasks share it by priority, without starving anybody;
//! who has nothing pending leaves its share to the others and cannot save it up.
//!
//! # The algorithm
//! Stride scheduling on two levels (Waldspurger and Weihl, 1995). Each group and each task has a *pass*; the smallest
//! pass is next, and being charged for `t` of execution moves a pass on by `t` divided by the weight. Who comes back after
//! a quiet time starts at the pass of whoever is next, or was served last, so nothing was saved up and nothing is owed for
//! the time in which nobody else was there. Ties go to the smaller name or id, so the
//! same history always gives the same order.
//!
//! Pure: no clock, no randomness, no IO.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dtf_model::group::DEFAULT_QUOTA;
use dtf_model::{Priority, TaskId};

/// Passes are kept in units this much finer than a nanosecond at weight 1.
const SCALE: u128 = 1 << 16;

#[derive(Debug)]
struct Group {
    weight: u32,
    pass: u128,
    /// The pass at which one of its tasks was served last.
    served: u128,
    /// Its tasks with something pending: pass, then id.
    ready: BTreeSet<(u128, TaskId)>,
}

#[derive(Debug)]
struct Member {
    group: Arc<str>,
    weight: u32,
    pass: u128,
    ready: bool,
}

/// Which task is next.
#[derive(Debug, Default)]
pub struct Policy {
    groups: BTreeMap<Arc<str>, Group>,
    tasks: BTreeMap<TaskId, Member>,
    /// Groups with something pending: pass, then name.
    ready: BTreeSet<(u128, Arc<str>)>,
    /// The pass at which a group was served last.
    served: u128,
}

/// The share of a task within its group, as the original framework's bonuses have it: low 1, medium 8, high 256, and
/// between them what lies between.
pub fn weight_of(priority: Priority) -> u32 {
    let (low, medium, high) = (Priority::LOW.0, Priority::MEDIUM.0, Priority::HIGH.0);
    let between = |from: u32, to: u32, least: u32, most: u32| {
        least + (most - least) * (priority.0.clamp(from, to) - from) / (to - from)
    };
    if priority.0 <= medium { between(low, medium, 1, 8) } else { between(medium, high, 8, 256) }
}

impl Policy {
    /// Sets the weight of a group, from now on. A group that was never named has the default one.
    pub fn set_weight(&mut self, group: &Arc<str>, weight: u32) {
        self.group(group).weight = weight.max(1);
    }

    fn group(&mut self, name: &Arc<str>) -> &mut Group {
        self.groups.entry(name.clone()).or_insert_with(|| Group {
            weight: DEFAULT_QUOTA,
            pass: 0,
            served: 0,
            ready: BTreeSet::new(),
        })
    }

    /// Makes a task known, with nothing pending. A known one only gets the new priority.
    pub fn add(&mut self, task: TaskId, group: &Arc<str>, priority: Priority) {
        let weight = weight_of(priority);
        self.group(group);
        self.tasks.entry(task).and_modify(|member| member.weight = weight).or_insert_with(|| Member {
            group: group.clone(),
            weight,
            pass: 0,
            ready: false,
        });
    }

    /// Forgets a task.
    pub fn remove(&mut self, task: TaskId) {
        self.quiet(task);
        self.tasks.remove(&task);
    }

    /// The task has something pending.
    pub fn pending(&mut self, task: TaskId) {
        let Some(member) = self.tasks.get_mut(&task) else { return };
        if member.ready {
            return;
        }
        let Some(group) = self.groups.get_mut(&member.group) else { return };
        member.ready = true;
        if group.ready.is_empty() {
            let next = self.ready.first().map_or(self.served, |(pass, _)| *pass);
            group.pass = group.pass.max(next);
            self.ready.insert((group.pass, member.group.clone()));
        }
        let next = group.ready.first().map_or(group.served, |(pass, _)| *pass);
        member.pass = member.pass.max(next);
        group.ready.insert((member.pass, task));
    }

    /// The task has nothing pending.
    pub fn quiet(&mut self, task: TaskId) {
        let Some(member) = self.tasks.get_mut(&task).filter(|member| member.ready) else { return };
        let Some(group) = self.groups.get_mut(&member.group) else { return };
        member.ready = false;
        group.ready.remove(&(member.pass, task));
        if group.ready.is_empty() {
            self.ready.remove(&(group.pass, member.group.clone()));
        }
    }

    /// Whether the task has something pending, as far as was said.
    pub fn is_pending(&self, task: TaskId) -> bool {
        self.tasks.get(&task).is_some_and(|member| member.ready)
    }

    /// The task whose turn it is.
    pub fn next(&self) -> Option<TaskId> {
        let (_, group) = self.ready.first()?;
        self.groups.get(group)?.ready.first().map(|(_, task)| *task)
    }

    /// The task has been given this much execution time.
    pub fn charge(&mut self, task: TaskId, time: Duration) {
        let Some(member) = self.tasks.get_mut(&task) else { return };
        let Some(group) = self.groups.get_mut(&member.group) else { return };
        let cost = time.as_nanos().max(1) * SCALE;
        group.served = group.served.max(member.pass);
        self.served = self.served.max(group.pass);
        if member.ready {
            group.ready.remove(&(member.pass, task));
            self.ready.remove(&(group.pass, member.group.clone()));
        }
        member.pass += cost / u128::from(member.weight);
        group.pass += cost / u128::from(group.weight);
        if member.ready {
            group.ready.insert((member.pass, task));
            self.ready.insert((group.pass, member.group.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Duration = Duration::from_millis(1);

    fn name(group: &str) -> Arc<str> {
        group.into()
    }

    /// Gives out so many slots of equal length and says how many each task got.
    fn deal(policy: &mut Policy, slots: usize) -> BTreeMap<TaskId, usize> {
        let mut got = BTreeMap::new();
        for _ in 0..slots {
            let Some(task) = policy.next() else { break };
            policy.charge(task, SLOT);
            *got.entry(task).or_default() += 1;
        }
        got
    }

    fn policy(tasks: &[(u64, &str, Priority)]) -> Policy {
        let mut policy = Policy::default();
        for (task, group, priority) in tasks {
            policy.add(TaskId(*task), &name(group), *priority);
            policy.pending(TaskId(*task));
        }
        policy
    }

    #[test]
    fn groups_share_by_weight_however_many_tasks_they_have() {
        let medium = Priority::MEDIUM;
        let mut policy = policy(&[(1, "a", medium), (2, "b", medium), (3, "b", medium), (4, "b", medium)]);
        policy.set_weight(&name("a"), 3 * DEFAULT_QUOTA);
        let got = deal(&mut policy, 4000);
        assert!((2998..=3002).contains(&got[&TaskId(1)]), "{got:?}");
        let others: Vec<_> = [2, 3, 4].iter().map(|task| got[&TaskId(*task)]).collect();
        assert!(others.iter().all(|slots| (330..=336).contains(slots)), "{got:?}");
    }

    #[test]
    fn priorities_share_within_a_group_and_nobody_starves() {
        let mut policy =
            policy(&[(1, "a", Priority::LOW), (2, "a", Priority::MEDIUM), (3, "a", Priority::HIGH)]);
        let got = deal(&mut policy, 265 * 4);
        assert_eq!(got[&TaskId(1)], 4);
        assert!((31..=33).contains(&got[&TaskId(2)]), "{got:?}");
    }

    #[test]
    fn who_was_quiet_saved_nothing_up_and_is_next_at_once() {
        let mut policy = policy(&[(1, "a", Priority::MEDIUM), (2, "b", Priority::MEDIUM)]);
        policy.quiet(TaskId(2));
        deal(&mut policy, 10_000);
        policy.pending(TaskId(2));
        let got = deal(&mut policy, 10);
        assert_eq!((got[&TaskId(1)], got[&TaskId(2)]), (5, 5));
        // A small task beside a huge one of its own group.
        policy.add(TaskId(3), &name("a"), Priority::MEDIUM);
        policy.pending(TaskId(3));
        let got = deal(&mut policy, 4);
        assert!(got.contains_key(&TaskId(3)), "{got:?}");
    }

    #[test]
    fn who_had_it_all_while_nobody_else_was_there_owes_nothing() {
        let mut policy = policy(&[(1, "a", Priority::MEDIUM)]);
        deal(&mut policy, 10_000);
        policy.quiet(TaskId(1));
        for (task, group) in [(2, "a"), (3, "b")] {
            policy.add(TaskId(task), &name(group), Priority::MEDIUM);
            policy.pending(TaskId(task));
        }
        policy.pending(TaskId(1));
        let got = deal(&mut policy, 400);
        assert!(
            [(1, 100), (2, 100), (3, 200)].iter().all(|(task, fair)| got[&TaskId(*task)].abs_diff(*fair) < 5),
            "{got:?}"
        );
    }

    #[test]
    fn the_quiet_and_the_removed_are_never_next() {
        let mut policy = policy(&[(1, "a", Priority::LOW), (2, "a", Priority::LOW)]);
        policy.quiet(TaskId(1));
        policy.remove(TaskId(2));
        assert_eq!(policy.next(), None);
        policy.charge(TaskId(2), SLOT);
        policy.pending(TaskId(2));
        assert_eq!(policy.next(), None);
    }

    #[test]
    fn weights_follow_the_priorities() {
        assert_eq!([2000, 6000, 9000].map(|priority| weight_of(Priority(priority))), [1, 8, 256]);
        assert!(
            (2000..9000).all(|priority| weight_of(Priority(priority)) <= weight_of(Priority(priority + 1)))
        );
    }
}
