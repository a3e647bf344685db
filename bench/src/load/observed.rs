//! Observations of the load in this process: executions, their time, and the starts and ends of tasks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dtf::model::TaskId;

use crate::events::now_ns;

static EXECUTED: AtomicU64 = AtomicU64::new(0);
static SLOT_TIME: Mutex<BTreeMap<String, SlotTime>> = Mutex::new(BTreeMap::new());
/// The first start of a subtask of each task.
static STARTED: Mutex<BTreeMap<TaskId, u64>> = Mutex::new(BTreeMap::new());
/// The end of collection of each task.
static COLLECTED: Mutex<BTreeMap<TaskId, u64>> = Mutex::new(BTreeMap::new());

fn lock<T>(of: &'static Mutex<T>) -> MutexGuard<'static, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time that subtasks have run, including those that still run.
#[derive(Clone, Copy, Default)]
struct SlotTime {
    total: Duration,
    running: u32,
    since: Option<Instant>,
}

impl SlotTime {
    /// Adds the time up to now, and changes the number of running subtasks.
    fn change(&mut self, by: i32) -> Duration {
        let now = Instant::now();
        let before = self.since.replace(now).unwrap_or(now);
        self.total += (now - before) * self.running;
        self.running = self.running.saturating_add_signed(by);
        self.total
    }
}

/// Returns the number of subtasks executed, whatever became of them.
pub(crate) fn executed() -> u64 {
    EXECUTED.load(Ordering::Relaxed)
}

/// Returns the time that subtasks of each resource group have run.
pub(crate) fn slot_time() -> BTreeMap<String, Duration> {
    lock(&SLOT_TIME).iter_mut().map(|(group, time)| (group.clone(), time.change(0))).collect()
}

/// Returns the number of subtasks that run now.
pub(crate) fn running() -> u32 {
    lock(&SLOT_TIME).values().map(|time| time.running).sum()
}

/// Returns the time of the first start of a subtask of a task, by the clock that all processes share.
pub(crate) fn started_ns(task: TaskId) -> Option<u64> {
    lock(&STARTED).get(&task).copied()
}

/// Returns the time at which all results of a task had been collected, by the clock that all processes share.
pub(crate) fn collected_ns(task: TaskId) -> Option<u64> {
    lock(&COLLECTED).get(&task).copied()
}

/// Returns the number of tasks whose results have all been collected.
pub(crate) fn collected_tasks() -> usize {
    lock(&COLLECTED).len()
}

/// Forgets the times of tasks: another cluster numbers its tasks from the start.
pub(crate) fn forget_times() {
    lock(&STARTED).clear();
    lock(&COLLECTED).clear();
}

pub(super) fn count_execution() {
    EXECUTED.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn count_collected(task: TaskId) {
    lock(&COLLECTED).insert(task, now_ns());
}

/// A running subtask. Its time ends when this is dropped, cut off or not.
pub(super) struct Running<'a>(&'a str);

impl<'a> Running<'a> {
    pub(super) fn start(task: TaskId, group: &'a str) -> Self {
        change_slot_time(group, 1);
        lock(&STARTED).entry(task).or_insert_with(now_ns);
        Self(group)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        change_slot_time(self.0, -1);
    }
}

fn change_slot_time(group: &str, by: i32) {
    let mut times = lock(&SLOT_TIME);
    if let Some(time) = times.get_mut(group) {
        time.change(by);
    } else {
        times.entry(group.to_owned()).or_default().change(by);
    }
}
