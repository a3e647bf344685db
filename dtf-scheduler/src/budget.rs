//! The budgets of waiting subtasks, so that thousands of tasks do not fill the queues each with its own backlog: of their number, and
//! of their bytes.
//!
//! A bucket's generator has its part of the cluster's budgets, of all and of each resource group. Tasks have equal shares
//! of that, and as soon as others have less to give, or end, the rest have more. Where a budget is used up every task may
//! still have [`LEAST`] waiting: none waits for another's backlog to drain.
//!
//! What a task has waiting is told with each answer of its queues, and the sums are kept here: no store has a counter of more than
//! one task, which on a Redis Cluster could not be written together with the task's queues.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dtf_model::ClusterShape;

/// The amount that every task may have waiting, whatever the budgets: 16 subtasks, and 64 KiB.
pub const LEAST: Amount = Amount { subtasks: 16, bytes: 64 << 10 };

/// A number of subtasks, and their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// The number of subtasks.
    pub subtasks: u64,
    /// Their size, in bytes.
    pub bytes: u64,
}

impl Amount {
    fn of_each(self, other: Self, of: impl Fn(u64, u64) -> u64) -> Self {
        Self { subtasks: of(self.subtasks, other.subtasks), bytes: of(self.bytes, other.bytes) }
    }

    pub(crate) fn min(self, other: Self) -> Self {
        self.of_each(other, u64::min)
    }

    fn max(self, other: Self) -> Self {
        self.of_each(other, u64::max)
    }

    fn less(self, other: Self) -> Self {
        self.of_each(other, u64::saturating_sub)
    }

    fn parted(self, parts: u64) -> Self {
        let parts = parts.max(1);
        Self { subtasks: self.subtasks / parts, bytes: self.bytes / parts }
    }
}

/// The amounts that may wait for dispatch in the whole cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Over all tasks: 500,000 subtasks and 1 GiB by default.
    pub all: Amount,
    /// Over the tasks of a resource group: 250,000 subtasks and 512 MiB by default.
    pub group: Amount,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            all: Amount { subtasks: 500_000, bytes: 1 << 30 },
            group: Amount { subtasks: 250_000, bytes: 512 << 20 },
        }
    }
}

/// Some tasks, and what of theirs waits.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    tasks: u64,
    waiting: Amount,
}

impl Sum {
    fn change(&mut self, before: Amount, now: Amount) {
        self.waiting = self.waiting.less(before).of_each(now, u64::saturating_add);
    }

    /// Returns the share of one of these tasks, which has so much waiting now.
    fn share(&self, budget: Amount, own: Amount) -> Amount {
        let others = self.waiting.less(own);
        budget.parted(self.tasks).min(budget.less(others))
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
        let parts = u64::from(shape.generation_buckets);
        let budgets = Budgets { all: budgets.all.parted(parts), group: budgets.group.parted(parts) };
        Self { budgets, buckets: Mutex::default() }
    }

    /// Takes a task in, with nothing waiting.
    pub(crate) fn open(&self, bucket: u32, group: &str) -> Share<'_> {
        let share = Share { ledger: self, bucket, group: group.to_owned(), waiting: Amount::default() };
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
    waiting: Amount,
}

impl Share<'_> {
    /// So much of the task waits now. Says how much may.
    pub(crate) fn most(&mut self, waiting: Amount) -> Amount {
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
                sum.change(waiting, Amount::default());
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

    fn ledger(all: Amount, group: Amount) -> Ledger {
        let shape = ClusterShape { generation_buckets: 4, ..ClusterShape::default() };
        let all_of = |amount: Amount| Amount { subtasks: 4 * amount.subtasks, bytes: 4 * amount.bytes };
        Ledger::new(Budgets { all: all_of(all), group: all_of(group) }, &shape)
    }

    /// Subtasks of 1 KiB.
    fn of(subtasks: u64) -> Amount {
        Amount { subtasks, bytes: subtasks << 10 }
    }

    const ENDLESS: u64 = 1 << 50;

    #[test]
    fn who_is_alone_has_it_all_and_many_share() {
        // Of each of the two, the other one being endless.
        let by_number: fn(u64) -> Amount = |subtasks| Amount { subtasks, bytes: ENDLESS };
        let by_size: fn(u64) -> Amount = |kib| Amount { subtasks: ENDLESS, bytes: kib << 10 };
        let number: fn(Amount) -> u64 = |amount| amount.subtasks;
        let size: fn(Amount) -> u64 = |amount| amount.bytes >> 10;
        for (budget, seen, least) in [(by_number, number, 16), (by_size, size, 64)] {
            let ledger = ledger(budget(1000), budget(600));
            let mut first = ledger.open(0, "a");
            assert_eq!(seen(first.most(of(0))), 600);
            assert_eq!(seen(first.most(of(600))), 600);
            // Another of the group: nothing is left for it, and the first may not add to what it has.
            let mut second = ledger.open(0, "a");
            assert_eq!(seen(second.most(of(0))), least);
            assert_eq!(seen(first.most(of(600))), 300);
            assert_eq!(seen(first.most(of(100))), 300);
            assert_eq!(seen(second.most(of(0))), 300);
            // Other groups, other buckets.
            assert_eq!(seen(ledger.open(0, "b").most(of(0))), 333);
            assert_eq!(seen(ledger.open(1, "a").most(of(0))), 600);
            drop(second);
            assert_eq!(seen(first.most(of(100))), 600);
            drop(first);
            assert!(ledger.buckets().is_empty());
        }
    }

    #[test]
    fn thousands_of_tasks_keep_to_the_budgets_but_for_the_least() {
        // Subtasks of 64 KiB: their bytes are used up long before their number.
        let most = Amount { subtasks: 10_000, bytes: 256 << 20 };
        let ledger = ledger(most, most);
        let mut shares: Vec<_> = (0..2000).map(|task| ledger.open(0, ["a", "b"][task % 2])).collect();
        for _ in 0..3 {
            for share in &mut shares {
                let most = share.most(share.waiting);
                let subtasks = most.subtasks.min(most.bytes >> 16);
                let _ = share.most(share.waiting.max(Amount { subtasks, bytes: subtasks << 16 }));
            }
        }
        let waiting: u64 = shares.iter().map(|share| share.waiting.bytes).sum();
        assert!(waiting <= most.bytes + 2000 * LEAST.bytes, "{waiting}");
        assert!(shares.iter().all(|share| share.waiting.bytes >= LEAST.bytes));
    }
}
