//! The budgets of waiting subtasks, so that thousands of tasks do not fill the queues each with its own backlog.
//!
//! A bucket's generator has its part of the cluster's budgets, of all and of each resource group. Tasks have equal shares
//! of that, and as soon as others have less to give, or end, the rest have more. Where a budget is used up every task may
//! still have [`LEAST`] waiting: none waits for another's backlog to drain.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dtf_model::ClusterShape;

/// The number of subtasks that every task may have waiting, whatever the budgets.
pub const LEAST: u64 = 16;

/// The number of subtasks that may wait for dispatch in the whole cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Over all tasks: 500,000 by default.
    pub all: u64,
    /// Over the tasks of a resource group: 250,000 by default.
    pub group: u64,
}

impl Default for Budgets {
    fn default() -> Self {
        Self { all: 500_000, group: 250_000 }
    }
}

/// Some tasks, and what of theirs waits.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    tasks: u64,
    waiting: u64,
}

impl Sum {
    fn change(&mut self, before: u64, now: u64) {
        self.waiting = self.waiting.saturating_sub(before) + now;
    }

    /// Returns the share of one of these tasks, which has so much waiting now.
    fn share(&self, budget: u64, own: u64) -> u64 {
        let others = self.waiting.saturating_sub(own);
        (budget / self.tasks.max(1)).min(budget.saturating_sub(others))
    }
}

#[derive(Debug, Default)]
struct Bucket {
    all: Sum,
    groups: BTreeMap<String, Sum>,
}

/// The division of the budgets among the tasks of this process's buckets.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Those of one bucket.
    budgets: Budgets,
    buckets: Mutex<BTreeMap<u32, Bucket>>,
}

impl Ledger {
    pub(crate) fn new(budgets: Budgets, shape: &ClusterShape) -> Self {
        let parts = u64::from(shape.generation_buckets.max(1));
        let budgets = Budgets { all: budgets.all / parts, group: budgets.group / parts };
        Self { budgets, buckets: Mutex::default() }
    }

    /// Takes a task in, with nothing waiting.
    pub(crate) fn open(&self, bucket: u32, group: &str) -> Share<'_> {
        let share = Share { ledger: self, bucket, group: group.to_owned(), waiting: 0 };
        share.with(|_, all, group| {
            all.tasks += 1;
            group.tasks += 1;
        });
        share
    }

    fn buckets(&self) -> MutexGuard<'_, BTreeMap<u32, Bucket>> {
        // A panic while it is held can only come from an allocation failure.
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task's share of the budgets. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    ledger: &'a Ledger,
    bucket: u32,
    group: String,
    waiting: u64,
}

impl Share<'_> {
    /// So much of the task waits now. Says how much may.
    pub(crate) fn most(&mut self, waiting: u64) -> u64 {
        let before = std::mem::replace(&mut self.waiting, waiting);
        self.with(|budgets, all, group| {
            all.change(before, waiting);
            group.change(before, waiting);
            all.share(budgets.all, waiting).min(group.share(budgets.group, waiting)).max(LEAST)
        })
    }

    fn with<T>(&self, change: impl FnOnce(&Budgets, &mut Sum, &mut Sum) -> T) -> T {
        let mut buckets = self.ledger.buckets();
        let Bucket { all, groups } = buckets.entry(self.bucket).or_default();
        change(&self.ledger.budgets, all, groups.entry(self.group.clone()).or_default())
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let waiting = self.waiting;
        let left = self.with(|_, all, group| {
            for sum in [&mut *all, &mut *group] {
                sum.change(waiting, 0);
                sum.tasks = sum.tasks.saturating_sub(1);
            }
            (all.tasks, group.tasks)
        });
        let mut buckets = self.ledger.buckets();
        if left.0 == 0 {
            buckets.remove(&self.bucket);
        } else if left.1 == 0
            && let Some(bucket) = buckets.get_mut(&self.bucket)
        {
            bucket.groups.remove(&self.group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(all: u64, group: u64) -> Ledger {
        let shape = ClusterShape { generation_buckets: 4, ..ClusterShape::default() };
        Ledger::new(Budgets { all: 4 * all, group: 4 * group }, &shape)
    }

    #[test]
    fn who_is_alone_has_it_all_and_many_share() {
        let ledger = ledger(1000, 600);
        let mut first = ledger.open(0, "a");
        assert_eq!(first.most(0), 600);
        assert_eq!(first.most(600), 600);
        // Another of the group: nothing is left for it, and the first may not add to what it has.
        let mut second = ledger.open(0, "a");
        assert_eq!(second.most(0), LEAST);
        assert_eq!(first.most(600), 300);
        assert_eq!(first.most(100), 300);
        assert_eq!(second.most(0), 300);
        // Other groups, other buckets.
        assert_eq!(ledger.open(0, "b").most(0), 333);
        assert_eq!(ledger.open(1, "a").most(0), 600);
        drop(second);
        assert_eq!(first.most(100), 600);
        drop(first);
        assert!(ledger.buckets().is_empty());
    }

    #[test]
    fn thousands_of_tasks_keep_to_the_budget_but_for_the_least() {
        let ledger = ledger(10_000, 10_000);
        let mut shares: Vec<_> = (0..2000).map(|task| ledger.open(0, ["a", "b"][task % 2])).collect();
        for _ in 0..3 {
            for share in &mut shares {
                let most = share.most(share.waiting);
                let _ = share.most(share.waiting.max(most));
            }
        }
        let waiting: u64 = shares.iter().map(|share| share.waiting).sum();
        assert!(waiting <= 10_000 + 2000 * LEAST, "{waiting}");
        assert!(shares.iter().all(|share| share.waiting >= LEAST));
    }
}
