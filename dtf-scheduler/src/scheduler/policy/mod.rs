//! The order of turns: fair sharing between resource groups, and a multi-level feedback queue within each.
//!
//! # The problem
//! Groups share the executors by quota, in slot-time and not in subtasks, and nobody's share lies idle while others have
//! work. Within a group the urgent go first and nobody starves; a short task starts at once beside a huge one, and how long
//! a task is, is not known before.
//!
//! # The algorithm
//! - **Groups**: stride scheduling (Waldspurger and Weihl, 1995). Each group has a *pass*; of those with something to run the
//!   smallest is next, and a charge of `t` moves a pass on by `t` divided by the quota. A group that comes back starts at the
//!   pass of whoever is next, or was served last: nothing was saved up, and nothing is owed for the time in which nobody
//!   else was there.
//! - **Tasks of a group**: see [`levels`].
//! - **What was lost** with an executor goes ahead of everything, and is charged as usual: it has had its turn before, and whoever
//!   waits for the task should not wait for a second one. It is not more than executors had in hand.
//!
//! What a task is charged is slot-time. While subtasks run it is only estimated, see [`account`]; a charge may be negative
//! where the estimate was too high.
//!
//! Ties go to the smaller name, or to whoever came first, so the same history always gives the same order. Every step costs
//! the logarithm of the number of tasks.
//!
//! Pure: no clock, no randomness, no IO.

pub mod account;
pub mod levels;
#[cfg(test)]
mod simulation;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dtf_model::group::DEFAULT_QUOTA;
use dtf_model::{Priority, TaskId};
use lrmf_core::Timestamp;

use self::levels::Levels;

/// Passes are kept in units this much finer than a nanosecond at weight 1.
const SCALE: u128 = 1 << 16;

/// Returns the distance that a charge moves a pass. Charges are in nanoseconds.
fn moved(pass: u128, nanos: i128, weight: u32) -> u128 {
    let by = nanos.unsigned_abs().saturating_mul(SCALE) / u128::from(weight.max(1));
    if nanos < 0 { pass.saturating_sub(by) } else { pass.saturating_add(by) }
}

#[derive(Debug)]
struct Group {
    quota: u32,
    pass: u128,
    /// Nothing of it is to be dispatched now, whatever is pending.
    held: bool,
    tasks: Levels,
}

impl Group {
    fn new() -> Self {
        Self { quota: DEFAULT_QUOTA, pass: 0, held: false, tasks: Levels::default() }
    }

    fn is_ready(&self) -> bool {
        !self.held && !self.tasks.is_empty()
    }
}

/// The choice of the next task.
#[derive(Debug, Default)]
pub struct Policy {
    groups: BTreeMap<Arc<str>, Group>,
    /// The group of each task.
    tasks: BTreeMap<TaskId, Arc<str>>,
    /// Groups with something to dispatch: pass, then name.
    ready: BTreeSet<(u128, Arc<str>)>,
    /// The pass at which a group was served last.
    served: u128,
    /// Tasks that go ahead of all others, and with how many subtasks.
    ahead: BTreeMap<TaskId, u64>,
}

impl Policy {
    /// Sets the quota of a group, from now on. A group that was never named has the default one.
    pub fn set_quota(&mut self, group: &Arc<str>, quota: u32) {
        self.groups.entry(group.clone()).or_insert_with(Group::new).quota = quota.max(1);
    }

    /// Keeps a group from being next, or no longer.
    pub fn hold(&mut self, group: &Arc<str>, held: bool) {
        self.change(group, |group| group.held = held);
    }

    /// Makes a task known, with nothing pending. A known one only gets the new priority.
    pub fn add(&mut self, task: TaskId, group: &Arc<str>, priority: Priority) {
        let group = self.tasks.entry(task).or_insert_with(|| group.clone());
        self.groups.entry(group.clone()).or_insert_with(Group::new).tasks.add(task, priority);
    }

    /// Forgets a task.
    pub fn remove(&mut self, task: TaskId) {
        if let Some(group) = self.tasks.remove(&task) {
            self.change(&group, |group| group.tasks.remove(task));
            self.ahead.remove(&task);
        }
    }

    /// So many subtasks of a task go ahead of everything else.
    pub fn ahead(&mut self, task: TaskId, subtasks: u64) {
        match subtasks {
            0 => drop(self.ahead.remove(&task)),
            _ if !self.tasks.contains_key(&task) => {}
            _ => drop(self.ahead.insert(task, subtasks)),
        }
    }

    /// The task has something pending.
    pub fn pending(&mut self, task: TaskId, now: Timestamp) {
        if let Some(group) = self.tasks.get(&task).cloned() {
            self.change(&group, |group| group.tasks.pending(task, now));
        }
    }

    /// The task has nothing pending.
    pub fn quiet(&mut self, task: TaskId, now: Timestamp) {
        if let Some(group) = self.tasks.get(&task).cloned() {
            self.change(&group, |group| group.tasks.quiet(task, now));
        }
    }

    /// Returns true if the task has pending subtasks, as far as the policy was told.
    pub fn is_pending(&self, task: TaskId) -> bool {
        let group = self.tasks.get(&task).and_then(|group| self.groups.get(group));
        group.is_some_and(|group| group.tasks.is_pending(task))
    }

    /// Returns true if no task may be next.
    pub fn is_idle(&self) -> bool {
        self.ready.is_empty()
    }

    /// The part of so many places that is for each task that may be next.
    pub fn share_of_turns(&self, places: usize) -> usize {
        let groups = self.ready.iter().take(places).filter_map(|(_, group)| self.groups.get(group));
        places / groups.map(|group| group.tasks.pending_tasks()).sum::<usize>().max(1)
    }

    /// The group of a task.
    pub fn group_of(&self, task: TaskId) -> Option<&Arc<str>> {
        self.tasks.get(&task)
    }

    /// Returns the number of subtasks of a task that may go when it is its turn.
    pub fn most(&self, task: TaskId) -> u64 {
        self.ahead.get(&task).copied().unwrap_or(u64::MAX)
    }

    /// The task whose turn it is.
    pub fn next(&mut self, now: Timestamp) -> Option<TaskId> {
        if let Some(task) = self.ahead.keys().copied().find(|task| self.may_go(*task)) {
            return Some(task);
        }
        let (_, group) = self.ready.first()?;
        self.groups.get_mut(group)?.tasks.next(now)
    }

    fn may_go(&self, task: TaskId) -> bool {
        let group = self.tasks.get(&task).and_then(|group| self.groups.get(group));
        group.is_some_and(|group| !group.held && group.tasks.is_pending(task))
    }

    /// Charges a task, and its group, with this many nanoseconds of slot-time.
    pub fn charge(&mut self, task: TaskId, nanos: i128) {
        let Some(name) = self.tasks.get(&task).cloned() else { return };
        let Some(group) = self.groups.get_mut(&name) else { return };
        group.tasks.charge(task, nanos);
        let before = group.pass;
        group.pass = moved(before, nanos, group.quota);
        if self.ready.remove(&(before, name.clone())) {
            self.served = self.served.max(before);
            self.ready.insert((group.pass, name));
        }
    }

    /// Changes a group, and keeps the order of those that are ready.
    fn change(&mut self, name: &Arc<str>, change: impl FnOnce(&mut Group)) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let was = group.is_ready();
        change(group);
        match (was, group.is_ready()) {
            (true, false) => {
                self.ready.remove(&(group.pass, name.clone()));
            }
            (false, true) => {
                let next = self.ready.first().map_or(self.served, |(pass, _)| *pass);
                group.pass = group.pass.max(next);
                self.ready.insert((group.pass, name.clone()));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
