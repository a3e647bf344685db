//! Slots that do what the policy says, on time of their own: for tests of what comes of it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use dtf_model::queue::Usage;
use dtf_model::{Priority, TaskId, TaskTypeId};
use lrmf_core::Timestamp;

use super::Policy;
use super::account::Accounts;

/// All tasks are of one type: how long one runs says nothing of the next.
const KIND: TaskTypeId = TaskTypeId(1);
struct Task {
    group: Arc<str>,
    /// Parcels that are left, and how long each runs.
    left: u64,
    runs: Duration,
    usage: Usage,
    started: Option<Timestamp>,
}

/// So many slots, and who uses them.
pub(super) struct Slots {
    pub(super) policy: Policy,
    pub(super) now: Timestamp,
    accounts: Accounts,
    free: usize,
    tasks: BTreeMap<TaskId, Task>,
    /// End, task, begin.
    running: BinaryHeap<Reverse<(Timestamp, TaskId, Timestamp)>>,
    /// The users of the stretches of time.
    used: Vec<(TaskId, Timestamp, Timestamp)>,
}

impl Slots {
    pub(super) fn new(slots: usize) -> Self {
        Self {
            policy: Policy::default(),
            now: Timestamp::default(),
            accounts: Accounts::default(),
            free: slots,
            tasks: BTreeMap::new(),
            running: BinaryHeap::new(),
            used: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, task: u64, group: &str, priority: Priority, parcels: u64, runs: Duration) {
        let (id, group): (_, Arc<str>) = (TaskId(task), group.into());
        self.policy.add(id, &group, priority);
        let usage = Usage::default();
        self.accounts.open(id, KIND, &usage, self.now);
        self.tasks.insert(id, Task { group, left: 0, runs, usage, started: None });
        self.give(task, parcels);
    }

    /// Gives a task more to do.
    pub(super) fn give(&mut self, task: u64, parcels: u64) {
        if let Some(known) = self.tasks.get_mut(&TaskId(task)) {
            known.left += parcels;
            self.policy.pending(TaskId(task), self.now);
        }
    }

    /// Takes away what a task has not begun.
    pub(super) fn empty(&mut self, task: u64) {
        if let Some(known) = self.tasks.get_mut(&TaskId(task)) {
            known.left = 0;
            self.policy.quiet(TaskId(task), self.now);
        }
    }

    /// Goes on for so long.
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.fill();
            let Some(Reverse((at, task, begun))) =
                self.running.peek().copied().filter(|next| next.0.0 <= end)
            else {
                self.now = end;
                return;
            };
            self.running.pop();
            self.now = at;
            self.free += 1;
            self.used.push((task, begun, at));
            let Some(known) = self.tasks.get_mut(&task) else { continue };
            known.usage.running -= 1;
            known.usage.used += at.since(begun);
            known.usage.mean_run = Some(known.runs);
            let charge = self.accounts.settle(task, &known.usage, self.now);
            self.policy.charge(task, charge);
        }
    }

    fn fill(&mut self) {
        for (task, nanos) in self.accounts.accrue(self.now) {
            self.policy.charge(task, nanos);
        }
        while self.free > 0 {
            let Some(task) = self.policy.next(self.now) else { return };
            let known = self.tasks.get_mut(&task).expect("only known tasks are next");
            known.left -= 1;
            known.started.get_or_insert(self.now);
            known.usage.running += 1;
            if known.left == 0 {
                self.policy.quiet(task, self.now);
            }
            let charge = self.accounts.settle(task, &known.usage, self.now);
            self.policy.charge(task, charge);
            self.free -= 1;
            self.running.push(Reverse((self.now + known.runs, task, self.now)));
        }
    }

    pub(super) fn started(&self, task: u64) -> Option<Timestamp> {
        self.tasks.get(&TaskId(task)).and_then(|known| known.started)
    }

    /// The slot-time of each group between two times.
    pub(super) fn by_group(&self, from: Timestamp, to: Timestamp) -> BTreeMap<Arc<str>, Duration> {
        let mut shares = BTreeMap::new();
        for (task, span) in self.spans(from, to) {
            *shares.entry(self.tasks[&task].group.clone()).or_default() += span;
        }
        shares
    }

    /// The slot-time of each task between two times.
    pub(super) fn by_task(&self, from: Timestamp, to: Timestamp) -> BTreeMap<TaskId, Duration> {
        let mut shares = BTreeMap::new();
        for (task, span) in self.spans(from, to) {
            *shares.entry(task).or_default() += span;
        }
        shares
    }

    fn spans(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = (TaskId, Duration)> {
        let runs = self.running.iter().map(|Reverse((end, task, begun))| (*task, *begun, *end));
        self.used
            .iter()
            .copied()
            .chain(runs)
            .map(move |(task, begun, end)| (task, end.min(to).since(begun.max(from))))
            .filter(|(_, span)| !span.is_zero())
    }
}
