//! The budget of the results that wait for collectors, over all tasks.
//!
//! # The problem
//! Each task's results have a watermark of their own; thousands of tasks whose collectors are behind would fill the store all the
//! same. So nothing more is dispatched of those that have more than their share, once half of the budget is used up: their
//! collectors catch up first. A task without results that wait may always run, so none waits for the collectors of others.
//!
//! A partition's scheduler has its part of the cluster's budget, and is told with each answer what a task has waiting. Pure: no
//! clock, no IO.

use std::collections::HashMap;

use dtf_model::TaskId;
use dtf_model::queue::RESULTS_WATERMARK_BYTES;

/// The sizes of waiting results, by task.
#[derive(Debug)]
pub(super) struct ResultsBudget {
    /// The part of this partition.
    budget: u64,
    /// Of those that have any.
    waiting: HashMap<TaskId, u64>,
    sum: u64,
}

impl ResultsBudget {
    pub(super) fn new(budget: u64, partitions: u32) -> Self {
        Self { budget: budget / u64::from(partitions.max(1)), waiting: HashMap::new(), sum: 0 }
    }

    /// So many bytes of a task's results wait now.
    pub(super) fn note(&mut self, task: TaskId, bytes: u64) {
        let before = match bytes {
            0 => self.waiting.remove(&task),
            _ => self.waiting.insert(task, bytes),
        };
        self.sum = self.sum - before.unwrap_or(0) + bytes;
    }

    /// The size of a task's waiting results from which on nothing more of it is dispatched.
    pub(super) fn limit(&self, task: TaskId) -> u64 {
        let own = self.waiting.get(&task).copied();
        if self.sum <= self.budget / 2 {
            return RESULTS_WATERMARK_BYTES;
        }
        let tasks = self.waiting.len() as u64 + u64::from(own.is_none());
        let left = self.budget.saturating_sub(self.sum - own.unwrap_or(0));
        (self.budget / tasks).min(left).clamp(1, RESULTS_WATERMARK_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn those_with_more_than_their_share_wait_for_their_collectors_once_half_is_used_up() {
        let mut results = ResultsBudget::new(400 * MIB, 4);
        (0..10).for_each(|task| results.note(TaskId(task), 5 * MIB));
        assert_eq!(results.limit(TaskId(0)), RESULTS_WATERMARK_BYTES);
        results.note(TaskId(0), 6 * MIB);
        assert_eq!((results.limit(TaskId(0)), results.limit(TaskId(1))), (10 * MIB, 10 * MIB));
        // Whoever has none may go on, and gets less the more the others have.
        assert_eq!(results.limit(TaskId(10)), 100 * MIB / 11);
        results.note(TaskId(0), 60 * MIB);
        assert_eq!((results.limit(TaskId(1)), results.limit(TaskId(10))), (1, 1));
        assert_eq!(results.limit(TaskId(0)), 10 * MIB);
        (0..10).for_each(|task| results.note(TaskId(task), 0));
        assert_eq!((results.sum, results.limit(TaskId(0))), (0, RESULTS_WATERMARK_BYTES));
    }
}
