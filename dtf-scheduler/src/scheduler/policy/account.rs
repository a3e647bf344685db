//! The slot-time that tasks have used of the executors, and that their running subtasks are expected to use.
//!
//! Slot-time is known when subtasks have been reported. Until then a task is charged for what it is expected to use: its
//! running subtasks times their mean run time so far, or what is usual for a task of its type as long as none of its own is
//! known. Both parts are levels and not differences, so a reading that was missed, or came twice, does no harm.
//! A task of which nothing has ended yet is charged no less than the time that it has run.
//!
//! What is usual is the mean over the tasks that were measured, the latest counting more. It must be a mean: a guess that
//! is too low lets a group take every slot before the first of its subtasks ends and is charged in full, and the group pays
//! for seconds after that. Guesses that are right on average cancel out.
//!
//! Pure: no clock, no randomness, no IO.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dtf_model::queue::Usage;
use dtf_model::{TaskId, TaskTypeId};
use lrmf_core::Timestamp;

/// The expected slot-time of a subtask when nothing is known of its type.
const UNMEASURED: Duration = Duration::from_millis(10);

/// The period at which subtasks that run longer than was guessed are charged for it.
const ACCRUE: Duration = Duration::from_millis(10);
/// The weight of a measured task in the usual slot-time of its type, when many were measured before.
const NEWEST: f64 = 1.0 / 32.0;

/// The usual slot-time of the tasks of a type.
#[derive(Debug, Default)]
struct Usual {
    mean: Duration,
    tasks: u32,
}

impl Usual {
    fn add(&mut self, mean: Duration) {
        self.tasks = self.tasks.saturating_add(1);
        let part = NEWEST.max(1.0 / f64::from(self.tasks));
        self.mean = self.mean.mul_f64(1.0 - part) + mean.mul_f64(part);
    }
}

#[derive(Debug)]
struct Account {
    task_type: TaskTypeId,
    /// True if the usual slot-time of its type includes it.
    measured: bool,
    /// The total charge, in nanoseconds.
    charged: i128,
    /// The slot-time that it has used, as far as is known.
    used: Duration,
    running: u64,
    /// Since when something of it runs.
    since: Option<Timestamp>,
}

impl Account {
    /// Notes what is known by now.
    fn note(&mut self, usage: &Usage, now: Timestamp) {
        (self.used, self.running) = (usage.used, usage.running);
        self.since = (usage.running > 0).then(|| self.since.unwrap_or(now));
    }

    /// Charges up to what is due, where each of what runs is expected to use this much. Says how much that was.
    fn charge(&mut self, each: Duration) -> i128 {
        let due = nanos(self.used) + nanos(each) * i128::from(self.running);
        due - std::mem::replace(&mut self.charged, due)
    }

    /// Returns the longest time that the first of the running subtasks can have run.
    fn ran(&self, now: Timestamp) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.since(since))
    }
}

/// The accounts of all tasks.
#[derive(Debug, Default)]
pub struct Accounts {
    tasks: BTreeMap<TaskId, Account>,
    /// Tasks that have something running, as far as is known.
    running: BTreeSet<TaskId>,
    /// Those of them of which nothing was measured.
    guessed: BTreeSet<TaskId>,
    accrued: Timestamp,
    usual: BTreeMap<TaskTypeId, Usual>,
}

impl Accounts {
    /// Opens a task's account. What it has used before is nobody's business here.
    pub fn open(&mut self, task: TaskId, task_type: TaskTypeId, usage: &Usage, now: Timestamp) {
        let charged = nanos(usage.used);
        let mut account =
            Account { task_type, measured: false, charged, used: Duration::ZERO, running: 0, since: None };
        account.note(usage, now);
        self.sort(task, usage);
        self.tasks.insert(task, account);
    }

    /// Closes a task's account.
    pub fn close(&mut self, task: TaskId) {
        self.tasks.remove(&task);
        self.running.remove(&task);
        self.guessed.remove(&task);
    }

    /// Returns the charge for a task that has used this much by now, in nanoseconds; below zero where it was charged too
    /// much.
    pub fn settle(&mut self, task: TaskId, usage: &Usage, now: Timestamp) -> i128 {
        let Some(account) = self.tasks.get_mut(&task) else { return 0 };
        if let Some(mean) = usage.mean_run.filter(|_| !account.measured) {
            account.measured = true;
            self.usual.entry(account.task_type).or_default().add(mean);
        }
        account.note(usage, now);
        let usual = self.usual.get(&account.task_type).map_or(UNMEASURED, |usual| usual.mean);
        let charge = account.charge(usage.mean_run.unwrap_or_else(|| usual.max(account.ran(now))));
        self.sort(task, usage);
        charge
    }

    /// Returns the charges for tasks that run longer than was guessed, in nanoseconds. It costs as much as there are, and
    /// is done a hundred times a second at most; in between nothing is due.
    pub fn accrue(&mut self, now: Timestamp) -> Vec<(TaskId, i128)> {
        if now.since(self.accrued) < ACCRUE {
            return Vec::new();
        }
        self.accrued = now;
        let (tasks, usual) = (&mut self.tasks, &self.usual);
        let charge = |task: &TaskId| {
            let account = tasks.get_mut(task)?;
            let usual = usual.get(&account.task_type).map_or(UNMEASURED, |usual| usual.mean);
            let ran = account.ran(now);
            (ran > usual).then(|| (*task, account.charge(ran)))
        };
        self.guessed.iter().filter_map(charge).collect()
    }

    /// Returns true if a task has running subtasks, as far as is known.
    pub fn is_running(&self, task: TaskId) -> bool {
        self.running.contains(&task)
    }

    fn sort(&mut self, task: TaskId, usage: &Usage) {
        let keep = |set: &mut BTreeSet<TaskId>, keep| if keep { set.insert(task) } else { set.remove(&task) };
        keep(&mut self.running, usage.running > 0);
        keep(&mut self.guessed, usage.running > 0 && usage.mean_run.is_none());
    }
}

fn nanos(span: Duration) -> i128 {
    span.as_nanos() as i128
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskId = TaskId(1);
    const KIND: TaskTypeId = TaskTypeId(7);

    fn usage(used: u64, running: u64, mean: Option<u64>) -> Usage {
        let millis = Duration::from_millis;
        Usage { used: millis(used), running, mean_run: mean.map(millis) }
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp(Duration::from_millis(millis))
    }

    fn settled(accounts: &mut Accounts, usage: &Usage) -> i128 {
        accounts.settle(TASK, usage, at(0)) / 1_000_000
    }

    #[test]
    fn what_is_charged_in_all_is_what_was_used() {
        let mut accounts = Accounts::default();
        accounts.open(TASK, KIND, &usage(500, 0, None), at(0));
        assert_eq!(settled(&mut accounts, &usage(500, 4, None)), 40);
        // The same again: nothing more is due.
        assert_eq!(settled(&mut accounts, &usage(500, 4, None)), 0);
        assert_eq!(settled(&mut accounts, &usage(600, 3, Some(100))), 360);
        assert_eq!(settled(&mut accounts, &usage(603, 0, Some(2))), -297);
        assert!(!accounts.is_running(TASK));
        assert_eq!(accounts.settle(TaskId(2), &usage(1, 1, None), at(0)), 0);
    }

    #[test]
    fn the_mean_over_the_tasks_of_a_type_is_expected_of_the_next() {
        let mut accounts = Accounts::default();
        for (task, run) in [(2, 1000), (3, 1), (4, 1000), (5, 1)] {
            accounts.open(TaskId(task), KIND, &usage(0, 0, None), at(0));
            accounts.settle(TaskId(task), &usage(run, 0, Some(run)), at(0));
            // Measured already: it has its say only once.
            accounts.settle(TaskId(task), &usage(run, 0, Some(5000)), at(0));
        }
        accounts.open(TASK, KIND, &usage(0, 0, None), at(0));
        assert_eq!(settled(&mut accounts, &usage(0, 2, None)), 1001);
        assert!(accounts.is_running(TASK));
        accounts.close(TASK);
        assert!(!accounts.is_running(TASK));
    }

    #[test]
    fn what_runs_longer_than_was_guessed_is_charged_for_it_as_it_runs() {
        let mut accounts = Accounts::default();
        accounts.open(TASK, KIND, &usage(0, 0, None), at(0));
        assert_eq!(settled(&mut accounts, &usage(0, 2, None)), 20);
        assert_eq!(accounts.accrue(at(10)), []);
        assert_eq!(accounts.accrue(at(19)), []);
        assert_eq!(accounts.accrue(at(500)), [(TASK, 980_000_000)]);
        // Then one ends, and it is known: what was charged too much is given back.
        assert_eq!(accounts.settle(TASK, &usage(500, 1, Some(400)), at(500)), -100_000_000);
        assert_eq!(accounts.accrue(at(900)), []);
    }
}
