//! What tasks have used of the executors, and what is expected of what runs.
//!
//! Slot-time is known when subtasks have been reported. Until then a task is charged for what it is expected to use: its
//! running subtasks times their mean run time so far, or that of its type as long as none of its own is known. Both parts
//! are levels and not differences, so a reading that was missed, or came twice, does no harm.
//!
//! Pure: no clock, no randomness, no IO.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dtf_model::queue::Usage;
use dtf_model::{TaskId, TaskType};

/// What a subtask is expected to use when nothing is known of its type.
const UNMEASURED: Duration = Duration::from_millis(10);

#[derive(Debug)]
struct Account {
    task_type: TaskType,
    /// What was charged in all, in nanoseconds.
    charged: i128,
}

/// The accounts of all tasks.
#[derive(Debug, Default)]
pub struct Accounts {
    tasks: BTreeMap<TaskId, Account>,
    /// Tasks that have something running, as far as is known.
    running: BTreeSet<TaskId>,
    /// The mean run time that was seen last of each type.
    means: BTreeMap<TaskType, Duration>,
}

impl Accounts {
    /// Opens a task's account. What it has used before is nobody's business here.
    pub fn open(&mut self, task: TaskId, task_type: TaskType, usage: &Usage) {
        self.tasks.insert(task, Account { task_type, charged: nanos(usage.used) });
        self.note_running(task, usage.running);
    }

    /// Closes a task's account.
    pub fn close(&mut self, task: TaskId) {
        self.tasks.remove(&task);
        self.running.remove(&task);
    }

    /// What to charge a task that has used this much by now, in nanoseconds; less than zero where it was charged too much.
    pub fn settle(&mut self, task: TaskId, usage: &Usage) -> i128 {
        let Some(account) = self.tasks.get_mut(&task) else { return 0 };
        if let Some(mean) = usage.mean_run {
            self.means.insert(account.task_type, mean);
        }
        let mean = usage.mean_run.or_else(|| self.means.get(&account.task_type).copied());
        let expected = nanos(mean.unwrap_or(UNMEASURED)) * i128::from(usage.running);
        let due = nanos(usage.used) + expected;
        let charge = due - account.charged;
        account.charged = due;
        self.note_running(task, usage.running);
        charge
    }

    /// Whether a task has something running, as far as is known.
    pub fn is_running(&self, task: TaskId) -> bool {
        self.running.contains(&task)
    }

    /// The tasks that have something running, as far as is known.
    pub fn running(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.running.iter().copied()
    }

    fn note_running(&mut self, task: TaskId, running: u64) {
        if running > 0 {
            self.running.insert(task);
        } else {
            self.running.remove(&task);
        }
    }
}

fn nanos(span: Duration) -> i128 {
    span.as_nanos() as i128
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskId = TaskId(1);
    const KIND: TaskType = TaskType(7);

    fn usage(used: u64, running: u64, mean: Option<u64>) -> Usage {
        let millis = Duration::from_millis;
        Usage { used: millis(used), running, mean_run: mean.map(millis) }
    }

    fn settled(accounts: &mut Accounts, usage: &Usage) -> i128 {
        accounts.settle(TASK, usage) / 1_000_000
    }

    #[test]
    fn what_is_charged_in_all_is_what_was_used() {
        let mut accounts = Accounts::default();
        accounts.open(TASK, KIND, &usage(500, 0, None));
        assert_eq!(settled(&mut accounts, &usage(500, 4, None)), 40);
        // The same again: nothing more is due.
        assert_eq!(settled(&mut accounts, &usage(500, 4, None)), 0);
        assert_eq!(settled(&mut accounts, &usage(600, 3, Some(100))), 360);
        assert_eq!(settled(&mut accounts, &usage(603, 0, Some(2))), -297);
        assert!(!accounts.is_running(TASK));
        assert_eq!(accounts.settle(TaskId(2), &usage(1, 1, None)), 0);
    }

    #[test]
    fn a_type_that_was_seen_is_known_for_the_next_task() {
        let mut accounts = Accounts::default();
        accounts.open(TaskId(2), KIND, &usage(0, 0, None));
        accounts.settle(TaskId(2), &usage(1000, 0, Some(1000)));
        accounts.open(TASK, KIND, &usage(0, 0, None));
        assert_eq!(settled(&mut accounts, &usage(0, 2, None)), 2000);
        assert_eq!(accounts.running().collect::<Vec<_>>(), [TASK]);
        accounts.close(TASK);
        assert!(!accounts.is_running(TASK));
    }
}
