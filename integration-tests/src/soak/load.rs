//! The tasks of the load: their kinds, and what their books must say at the end.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use serde_json::Value;
use uuid::Uuid;

use super::dice::Dice;
use crate::books::{self, BooksParam, Told};

/// The groups that tasks are created in.
pub(super) const GROUPS: [&str; 3] = ["default", "gold", "silver"];

/// A task of the load.
#[derive(Debug)]
pub(super) struct Entry {
    /// The name of its creation: the same for each attempt at it.
    pub(super) request: Uuid,
    /// The task's id, once a creation was answered.
    pub(super) id: Option<u64>,
    pub(super) param: BooksParam,
    group: &'static str,
    priority: u64,
    /// The task whose failed subtasks this one runs again.
    retries: Option<u64>,
    /// A cancellation was asked for, with or without an answer.
    pub(super) cancelled: bool,
    /// A pause was asked for and not yet taken back.
    pub(super) paused: bool,
    /// A process that ran meanwhile was stopped (SIGSTOP): what it writes when it goes on can stand anywhere.
    pub(super) overslept: bool,
}

impl Entry {
    /// Draws a task.
    pub(super) fn draw(dice: &mut Dice, dir: &Path) -> Self {
        let mut param = BooksParam {
            count: 1 + dice.below(2000),
            sleep_ms: dice.below(20),
            file: dir.join(format!("executed-{}", Uuid::new_v4())),
            ..BooksParam::default()
        };
        match dice.below(9) {
            0..=1 => param.count = 1,
            2 => (param.count, param.sleep_ms) = (20_000 + dice.below(20_000), 0),
            3..=4 => param.keys = Some(1 + dice.below(40)),
            5 => param.rounds = 2,
            6 => param.fails = Some(3 + dice.below(50)),
            7 => param.adds = Some(1 + dice.below(param.count)),
            _ => {}
        }
        let group = GROUPS[dice.index(GROUPS.len())];
        let (request, priority) = (Uuid::new_v4(), 2000 + dice.below(7001));
        let (retries, cancelled, paused, overslept) = (None, false, false, false);
        Self { request, id: None, param, group, priority, retries, cancelled, paused, overslept }
    }

    /// The task that runs the failed subtasks of this one again, which then succeed.
    pub(super) fn retry(&self) -> Self {
        File::create(books::mended(&self.param.file)).unwrap();
        Self {
            request: Uuid::new_v4(),
            id: None,
            param: self.param.clone(),
            retries: self.id,
            cancelled: false,
            overslept: false,
            ..*self
        }
    }

    /// Returns true if it runs the failed subtasks of another one again.
    pub(super) fn is_retry(&self) -> bool {
        self.retries.is_some()
    }

    /// The arguments of the command that creates it.
    pub(super) fn creation(&self) -> Vec<String> {
        let request = self.request.to_string();
        let words: Vec<&str> = match &self.retries {
            Some(_) => vec!["task", "retry"],
            None => vec!["task", "submit", "books", "--timeout", "48h", "--group", self.group],
        };
        let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        match self.retries {
            Some(id) => words.push(id.to_string()),
            None => words.extend([
                "--priority".to_owned(),
                self.priority.to_string(),
                "--param".to_owned(),
                serde_json::to_string(&self.param).unwrap(),
            ]),
        }
        words.extend(["--request-id", &request, "-o", "json"].map(str::to_owned));
        words
    }

    /// Says whether its failed subtasks can be run again.
    pub(super) fn has_failures(&self) -> bool {
        self.param.fails.is_some() && self.retries.is_none() && !self.cancelled
    }

    fn fails(&self, number: u64) -> bool {
        self.param.fails.is_some_and(|every| number.is_multiple_of(every))
    }

    /// The numbers of its subtasks.
    fn numbers(&self) -> impl Iterator<Item = u64> {
        (0..self.param.count + self.param.adds.unwrap_or(0))
            .filter(|number| self.retries.is_none() || self.fails(*number))
    }

    /// The numbers that succeed.
    fn good(&self) -> BTreeSet<u64> {
        self.numbers().filter(|number| self.retries.is_some() || !self.fails(*number)).collect()
    }

    /// The number of subtasks that there are to execute.
    pub(super) fn size(&self) -> u64 {
        self.numbers().count() as u64
    }

    /// Checks what is known of the ended task: its row, the executions as they were written down, and the collector's sums.
    ///
    /// # Errors
    /// The books are wrong; the error says in what.
    pub(super) fn check(&self, row: &Value) -> Result<(), String> {
        let executed = books::executed(&self.param.file).map_err(|error| error.to_string())?;
        let executed: BTreeSet<u64> = executed.into_iter().collect();
        if let (Some(keys), false) = (self.param.keys, self.overslept) {
            let faults = books::out_of_order(&self.param.file, keys).unwrap_or_default();
            demand(faults.is_empty(), || format!("out of order: {faults:?}"))?;
        }
        match row["status"].as_str() {
            Some("cancelled") if self.cancelled => {
                let all: BTreeSet<u64> = self.numbers().collect();
                // A retry writes to the file of the task that it retries.
                let foreign: Vec<_> =
                    executed.difference(&all).filter(|_| self.retries.is_none()).take(10).collect();
                demand(foreign.is_empty(), || format!("executed, and never generated: {foreign:?}"))
            }
            Some("completed") => self.check_completed(row, &executed),
            status => Err(format!("it ended as {status:?}")),
        }
    }

    fn check_completed(&self, row: &Value, executed: &BTreeSet<u64>) -> Result<(), String> {
        let good = self.good();
        let lost: Vec<_> = good.difference(executed).take(10).collect();
        demand(lost.is_empty(), || format!("never executed: {lost:?}"))?;
        let foreign =
            executed.difference(&good).filter(|_| self.retries.is_none()).take(10).collect::<Vec<_>>();
        demand(foreign.is_empty(), || format!("executed, and not to be: {foreign:?}"))?;
        let (created, succeeded) = (self.size(), good.len() as u64);
        let counts = ["created", "succeeded", "failed"].map(|name| row["counts"][name].as_u64());
        let right = [created, succeeded, created - succeeded].map(Some);
        demand(counts == right, || format!("created, succeeded, failed should be {right:?}"))?;
        let told: Option<Told> = serde_json::from_value(row["result"]["data"].clone()).ok();
        let right = Told { otherwise: created - succeeded, ..Told::each_of(good) };
        demand(told == Some(right), || format!("the collector should have been told {right:?}"))
    }

    /// The bytes that its executions have written down.
    pub(super) fn written(&self) -> u64 {
        fs::metadata(&self.param.file).map_or(0, |file| file.len())
    }

    /// Deletes the files of its executions.
    pub(super) fn forget(&self) {
        for file in books::files(&self.param.file) {
            // Some are there for some tasks only.
            drop(fs::remove_file(file));
        }
    }
}

fn demand(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
