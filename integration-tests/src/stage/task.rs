//! A task, and whether its books are right.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use crate::books::{BooksParam, Told, begun, executed, let_go};
use serde_json::Value;

use super::{Site, until, until_at_pace};

/// A task that was created.
pub struct Task {
    /// Its id.
    pub id: u64,
    /// The number of its subtasks.
    pub count: u64,
    /// The number of subtasks that are not held.
    free: u64,
    file: PathBuf,
}

impl Task {
    /// One that is there already, and writes to this file.
    pub fn left(id: u64, count: u64, file: PathBuf) -> Self {
        Self { id, count, free: count, file }
    }

    /// Returns the violations of order among the executions, where there are so many keys.
    pub fn out_of_order(&self, keys: u64) -> Vec<String> {
        crate::books::out_of_order(&self.file, keys).unwrap()
    }

    /// Returns the number of executions.
    pub fn executed(&self) -> u64 {
        std::fs::metadata(&self.file).map_or(0, |file| file.len() / 8)
    }

    /// Returns the number of executions that have begun.
    pub fn begun(&self) -> u64 {
        std::fs::metadata(begun(&self.file)).map_or(0, |file| file.len())
    }

    /// From now on it can end, if it was held.
    fn is_let_go(&self) {
        File::create(let_go(&self.file)).unwrap();
    }

    /// Waits until there were so many more executions, or the task cannot have any more.
    pub fn goes_on(&self, by: u64) {
        let goal = (self.executed() + by).min(self.free);
        until(&format!("task {} goes on to {goal}", self.id), || self.executed() >= goal);
    }
}

impl Site {
    /// Creates a task.
    pub fn submit(&self, count: u64, sleep_ms: u64, more: &[&str]) -> Task {
        self.submit_with(count, sleep_ms, |_| {}, more)
    }

    /// Creates a task with other parameters besides.
    pub fn submit_with(
        &self,
        count: u64,
        sleep_ms: u64,
        change: impl FnOnce(&mut BooksParam),
        more: &[&str],
    ) -> Task {
        let file = self.file(&format!("executed-{}", uuid::Uuid::new_v4()));
        let mut param = BooksParam { count, sleep_ms, file: file.clone(), ..BooksParam::default() };
        change(&mut param);
        let held = param.held;
        let param = serde_json::to_string(&param).unwrap();
        let out = self.run(&[&["task", "submit", "books", "--param", &param, "-o", "json"], more].concat());
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let answer: Value = serde_json::from_slice(&out.stdout).unwrap();
        Task { id: answer["task"].as_u64().unwrap(), count, free: count - u64::from(held), file }
    }

    /// Waits for a task's end by looking at it again and again, as watching is a test of its own.
    pub fn until_ended(&self, task: &Task) -> Value {
        self.until_row(task, "it has ended", |row| !row["finished_at"].is_null())
    }

    /// Waits until a task is shown as wanted.
    pub fn until_row(&self, task: &Task, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut row = Value::Null;
        let what = format!("task {} ({} of {} executed): {what}", task.id, task.executed(), task.count);
        until_at_pace(Duration::from_millis(200), &what, || {
            let out = self.run(&["task", "get", &task.id.to_string(), "-o", "json"]);
            row = serde_json::from_slice(&out.stdout).unwrap_or_default();
            holds(&row)
        });
        row
    }

    /// Waits for a task's end and looks whether the books are right: every number executed, told once, counted once.
    pub fn balance(&self, task: &Task) {
        task.is_let_go();
        let row = self.until_ended(task);
        assert_eq!(row["status"], "completed", "{row}");
        let mut numbers = executed(&task.file).unwrap();
        let times = numbers.len() as u64;
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers, (0..task.count).collect::<Vec<_>>(), "{row}");
        let counts = &row["counts"];
        assert_eq!(
            (counts["created"].as_u64(), counts["succeeded"].as_u64()),
            (Some(task.count), Some(task.count)),
            "{row}"
        );
        let told: Told = serde_json::from_value(row["result"]["data"].clone()).unwrap();
        assert_eq!(told, Told::once_each(task.count));
        println!("task {}: {} subtasks, executed {times} times", task.id, task.count);
    }
}
