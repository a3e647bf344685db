//! How much may wait for dispatch in all, whatever each task may have: memory depends on budgets, not on how many tasks there are.
//!
//! A task whose backlog is nearly empty is always given a few subtasks, so that everybody gets on. As long as less than half of a
//! budget is used, a task may have what its type says; from there on no more than an equal share. What a task does not use
//! is there for the others.
//!
//! Pure but for the lock: what waits is told by the stores.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dtf_model::Invalid;

/// What a task is given always.
const FLOOR: u64 = 16;

/// Settings of the generator role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneratorConfig {
    /// How many subtasks of all tasks that this process generates may wait for dispatch; at least 1.
    pub backlog: u64,
    /// How many of those of one resource group; at least 1.
    pub group_backlog: u64,
}

impl Default for GeneratorConfig {
    fn default() -> Self {
        Self { backlog: 2_000_000, group_backlog: 1_000_000 }
    }
}

impl GeneratorConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The first number that is 0.
    pub fn check(&self) -> Result<(), Invalid> {
        let numbers = [("the backlog", self.backlog), ("a group's backlog", self.group_backlog)];
        match numbers.into_iter().find(|(_, number)| *number == 0) {
            None => Ok(()),
            Some((what, _)) => {
                Err(Invalid::OutOfRange { what, got: "0".to_owned(), allowed: "at least 1".to_owned() })
            }
        }
    }
}

/// What waits of some tasks.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    tasks: u64,
    waiting: u64,
}

impl Sum {
    /// What a task that has `own` waiting may add.
    fn room(&self, most: u64, own: u64) -> u64 {
        let left = most.saturating_sub(self.waiting);
        let share = if self.waiting < most / 2 { most } else { most / self.tasks.max(1) };
        left.min(share.saturating_sub(own)).max(FLOOR.saturating_sub(own))
    }
}

#[derive(Debug, Default)]
struct Sums {
    all: Sum,
    groups: HashMap<String, Sum>,
}

/// The budgets of a process.
#[derive(Debug)]
pub(crate) struct Budget {
    config: GeneratorConfig,
    sums: Mutex<Sums>,
}

impl Budget {
    pub(crate) fn new(config: GeneratorConfig) -> Arc<Self> {
        Arc::new(Self { config, sums: Mutex::default() })
    }

    /// A task that is being generated, with nothing waiting yet.
    pub(crate) fn enter(self: &Arc<Self>, group: &str) -> Stake {
        let mut sums = self.sums();
        sums.all.tasks += 1;
        sums.groups.entry(group.to_owned()).or_default().tasks += 1;
        drop(sums);
        Stake { budget: self.clone(), group: group.to_owned(), waiting: 0 }
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        // A panic while it is held can only come from an allocation failure.
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task's part of the budgets, until it is dropped.
#[derive(Debug)]
pub(crate) struct Stake {
    budget: Arc<Budget>,
    group: String,
    waiting: u64,
}

impl Stake {
    /// So much of the task waits now. Says how much may be added.
    pub(crate) fn note(&mut self, waiting: u64) -> u64 {
        let mut sums = self.budget.sums();
        sums.all.waiting = (sums.all.waiting + waiting).saturating_sub(self.waiting);
        let all = sums.all.room(self.budget.config.backlog, waiting);
        let group = sums.groups.entry(self.group.clone()).or_default();
        group.waiting = (group.waiting + waiting).saturating_sub(self.waiting);
        self.waiting = waiting;
        all.min(group.room(self.budget.config.group_backlog, waiting))
    }
}

impl Drop for Stake {
    fn drop(&mut self) {
        let mut sums = self.budget.sums();
        sums.all.waiting = sums.all.waiting.saturating_sub(self.waiting);
        sums.all.tasks = sums.all.tasks.saturating_sub(1);
        let Some(group) = sums.groups.get_mut(&self.group) else { return };
        group.waiting = group.waiting.saturating_sub(self.waiting);
        group.tasks = group.tasks.saturating_sub(1);
        if group.tasks == 0 {
            sums.groups.remove(&self.group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_tasks_together_stay_within_the_budgets() {
        let budget = Budget::new(GeneratorConfig { backlog: 10_000, group_backlog: 4_000 });
        let mut stakes: Vec<_> = (0..1000).map(|task| (budget.enter(&format!("g{}", task % 4)), 0)).collect();
        for _ in 0..5 {
            for (stake, waiting) in &mut stakes {
                *waiting += stake.note(*waiting).min(4096);
                stake.note(*waiting);
            }
        }
        let all: u64 = stakes.iter().map(|(_, waiting)| waiting).sum();
        assert!(all <= 10_000 + 1000 * FLOOR, "{all}");
        assert!(stakes.iter().all(|(_, waiting)| *waiting >= FLOOR));
        for group in 0..4 {
            let of = stakes.iter().skip(group).step_by(4).map(|(_, waiting)| waiting).sum::<u64>();
            assert!(of <= 4_000 + 250 * FLOOR, "{of}");
        }
    }

    #[test]
    fn what_nobody_else_wants_is_there_for_one() {
        let budget = Budget::new(GeneratorConfig { backlog: 10_000, group_backlog: 10_000 });
        let (mut busy, mut idle) = (budget.enter("g"), budget.enter("g"));
        assert_eq!(idle.note(0), 10_000);
        assert_eq!(busy.note(4_000), 6_000);
        // From half of it on, everybody has an equal share.
        assert_eq!(busy.note(5_000), 0);
        assert_eq!(idle.note(0), 5_000);
        idle.note(5_000);
        assert_eq!((busy.note(5_000), busy.note(1_000)), (0, 4_000));
        drop(idle);
        assert_eq!(busy.note(1_000), 9_000);
        drop(busy);
        let sums = budget.sums();
        assert_eq!((sums.all.tasks, sums.all.waiting, sums.groups.len()), (0, 0, 0));
    }
}
