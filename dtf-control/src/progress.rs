//! The progress, the rate and the ETA of a task, computed from its row and its queues.
//!
//! # How rate and ETA are meant
//! The *rate* is how many subtasks come into the books a second, however they end. One look at a task knows its mean only:
//! what is in the books over the time since its start, pauses left out. Whoever [watches](crate::TaskHandle::watch) it is told
//! the rate of the last [`WINDOW`], by a [`Meter`]; until that has seen a second, the mean.
//!
//! The *ETA* is how long the subtasks that are not in the books will take at this rate. There is one only while the task
//! runs, the last subtask has been generated (before, nobody knows how many come; the generator may say how far it is), and
//! something moves. Follow-ups that its collector may add are not foreseen.

use std::collections::VecDeque;
use std::time::Duration;

use dtf_model::TaskStatus;
use dtf_model::queue::TaskState;
use dtf_model::table::TaskRow;
use serde::Serialize;

/// The time over which a [`Meter`] reckons the rate.
pub const WINDOW: Duration = Duration::from_secs(30);
/// The distance between the looks that a meter remembers, in milliseconds: a sixtieth of the window.
const APART: u64 = 500;
/// The least time between two looks that a rate can be reckoned from, in milliseconds.
const ENOUGH: u64 = 1000;

/// The progress of a task. Every subtask that was created is in exactly one of the numbers behind it, but for a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Progress {
    /// Subtasks generated so far.
    pub created: u64,
    /// Subtasks waiting for dispatch.
    pub pending: u64,
    /// Subtasks waiting for their next attempt.
    pub delayed: u64,
    /// Subtasks dispatched and not reported.
    pub running: u64,
    /// Subtasks done.
    pub succeeded: u64,
    /// Subtasks failed for good.
    pub failed: u64,
    /// Subtasks cancelled.
    pub cancelled: u64,
    /// Subtasks that took too long.
    pub timed_out: u64,
    /// True if the last subtask has been generated, so that `created` is the total.
    pub generated: bool,
    /// The generator's share of what is generated, from 0 to 1.
    pub generator: Option<f32>,
}

impl Progress {
    /// Returns the progress by a task's row and, while it has not ended, its queues.
    pub fn of(row: &TaskRow, queues: Option<&TaskState>) -> Self {
        let counts = queues.map_or(row.counts, |queues| queues.counts);
        let mut progress = Self {
            created: counts.created,
            succeeded: counts.succeeded,
            failed: counts.failed,
            cancelled: counts.cancelled,
            timed_out: counts.timed_out,
            generated: row.status.is_terminal(),
            ..Self::default()
        };
        if let Some(queues) = queues {
            progress.pending = queues.pending;
            progress.delayed = queues.delayed;
            progress.running = queues.running;
            progress.generated |= queues.generated;
            progress.generator = queues.progress;
        }
        progress
    }

    /// Subtasks that are in the books.
    pub fn counted(&self) -> u64 {
        self.succeeded + self.failed + self.cancelled + self.timed_out
    }
}

/// The rate and the ETA of a task. The [module](self) defines them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Pace {
    /// Subtasks that come into the books a second; none before the task has started.
    pub rate: Option<f64>,
    /// The time that it will take to its end, in milliseconds.
    pub eta_ms: Option<u64>,
}

impl Pace {
    /// The mean since the task's start. `now` is in milliseconds since the Unix epoch.
    pub fn mean(now: u64, row: &TaskRow, progress: &Progress) -> Self {
        Self::at(mean_rate(now, row, progress.counted()), row.status, progress)
    }

    /// The pace at this rate.
    fn at(rate: Option<f64>, status: TaskStatus, progress: &Progress) -> Self {
        let foreseen = progress.generated && status == TaskStatus::Running;
        let left = progress.created.saturating_sub(progress.counted()) as f64;
        let eta_ms = rate.filter(|rate| foreseen && *rate > 0.0).map(|rate| (1000.0 * left / rate) as u64);
        Self { rate, eta_ms }
    }
}

/// Returns the number of counted subtasks over the time that the task has run.
fn mean_rate(now: u64, row: &TaskRow, counted: u64) -> Option<f64> {
    let started = row.started_at?;
    let until = row.finished_at.or(row.paused_at).unwrap_or(now);
    let ran = until.saturating_sub(started).saturating_sub(row.paused_for);
    // Shorter than a millisecond is not measured.
    Some(1000.0 * counted as f64 / ran.max(1) as f64)
}

/// Reckons the rate of a task from looks at it, one after the other. Its memory is bounded, however often it looks.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    /// The times of looks, and the numbers counted then; the first is the last one from before the window.
    looks: VecDeque<(u64, u64)>,
}

impl Meter {
    /// The pace, as of a look at the task. `now` is in milliseconds since the Unix epoch.
    pub fn note(&mut self, now: u64, row: &TaskRow, progress: &Progress) -> Pace {
        let counted = progress.counted();
        if row.status.is_terminal() {
            return Pace::mean(now, row, progress);
        }
        // The books of a run that is started again begin anew, and clocks may be set.
        if self.looks.back().is_some_and(|last| last.0 > now || last.1 > counted) {
            self.looks.clear();
        }
        let begins = now.saturating_sub(WINDOW.as_millis() as u64);
        while self.looks.get(1).is_some_and(|second| second.0 <= begins) {
            self.looks.pop_front();
        }
        let rate = self.rate(now, counted).or_else(|| mean_rate(now, row, counted));
        if self.looks.back().is_none_or(|last| now - last.0 >= APART) {
            self.looks.push_back((now, counted));
        }
        Pace::at(rate, row.status, progress)
    }

    fn rate(&self, now: u64, counted: u64) -> Option<f64> {
        let first = self.looks.front()?;
        let span = now - first.0;
        (span >= ENOUGH).then(|| 1000.0 * (counted - first.1) as f64 / span as f64)
    }
}

#[cfg(test)]
mod tests {
    use dtf_model::table::NewTask;
    use dtf_model::{Counts, TaskParam, TaskTypeId};

    use super::*;

    const START: u64 = 1_800_000_000_000;

    /// The row of a task that started at `START`.
    fn row() -> TaskRow {
        let param = TaskParam::default();
        let task = NewTask { request: uuid::Uuid::nil(), task_type: TaskTypeId(1), param, now: START };
        TaskRow {
            status: TaskStatus::Running,
            started_at: Some(START),
            ..TaskRow::created(dtf_model::TaskId(1), &task)
        }
    }

    fn done(succeeded: u64, created: u64, generated: bool) -> Progress {
        Progress { created, succeeded, generated, ..Progress::default() }
    }

    #[test]
    fn one_look_knows_the_mean_since_the_start_without_pauses() {
        let running = row();
        let paused = TaskRow { paused_at: Some(START + 4_000), status: TaskStatus::Paused, ..row() };
        let resumed = TaskRow { paused_for: 6_000, ..row() };
        let ended = TaskRow { finished_at: Some(START + 5_000), status: TaskStatus::Completed, ..row() };
        let new = TaskRow { started_at: None, status: TaskStatus::Created, ..row() };
        let half = done(200, 400, true);
        // row, when, progress, rate, ETA
        let cases = [
            (&running, 10_000, half, Some(20.0), Some(10_000)),
            (&running, 10_000, done(200, 400, false), Some(20.0), None),
            (&running, 10_000, done(400, 400, true), Some(40.0), Some(0)),
            (&running, 10_000, done(0, 400, true), Some(0.0), None),
            (&running, 0, done(1, 1, true), Some(1000.0), Some(0)),
            (&paused, 10_000, half, Some(50.0), None),
            (&paused, 99_000, half, Some(50.0), None),
            (&resumed, 10_000, half, Some(50.0), Some(4_000)),
            (&ended, 99_000, half, Some(40.0), None),
            (&new, 10_000, done(0, 0, false), None, None),
        ];
        for (row, after, progress, rate, eta_ms) in cases {
            let pace = Pace::mean(START + after, row, &progress);
            assert_eq!(pace, Pace { rate, eta_ms }, "{} after {after} ms, {progress:?}", row.status);
        }
        let books = Counts { created: 9, succeeded: 3, failed: 2, cancelled: 3, timed_out: 1 };
        let ended = TaskRow { counts: books, ..ended };
        assert_eq!(Pace::mean(0, &ended, &Progress::of(&ended, None)).rate, Some(1.8), "all ends count");
    }

    #[test]
    fn whoever_watches_is_told_the_rate_of_the_last_window() {
        let (row, mut meter) = (row(), Meter::default());
        let mut look = |after, counted| meter.note(START + after, &row, &done(counted, 10_000, true)).rate;
        assert_eq!(look(10_000, 100), Some(10.0), "at first the mean");
        assert_eq!(look(10_900, 100), Some(1000.0 * 100.0 / 10_900.0), "as long as nothing is known");
        assert_eq!(look(11_000, 150), Some(50.0));
        assert_eq!(look(20_000, 1_100), Some(100.0));
        assert_eq!(look(40_000, 3_100), Some(100.0), "the whole window");
        assert_eq!(look(70_000, 3_100), Some(0.0), "nothing moves any more");
        assert_eq!(look(70_100, 3_100), Some(0.0));
        assert_eq!(look(71_000, 3_200), Some(100.0 / 31.0));
    }

    #[test]
    fn books_that_begin_anew_are_measured_anew() {
        let (row, mut meter) = (row(), Meter::default());
        let mut look = |after, counted| meter.note(START + after, &row, &done(counted, 10_000, true)).rate;
        assert_eq!((look(1_000, 1_000), look(2_000, 3_000)), (Some(1000.0), Some(2000.0)));
        assert_eq!(look(4_000, 100), Some(25.0), "the mean again");
        assert_eq!(look(5_000, 300), Some(200.0));
        assert_eq!(look(3_000, 300), Some(100.0), "a clock that was put back");
    }

    #[test]
    fn a_meter_remembers_no_more_than_its_window() {
        let (row, mut meter) = (row(), Meter::default());
        for look in 0..100_000_u64 {
            meter.note(START + look * 10, &row, &done(look, 1_000_000, true));
        }
        assert!(meter.looks.len() <= 62, "{}", meter.looks.len());
        let pace = meter.note(START + 1_000_000, &row, &done(100_000, 1_000_000, true));
        let rate = pace.rate.unwrap();
        assert!((99.0..=101.0).contains(&rate), "{rate}");
    }

    #[test]
    fn an_eta_takes_a_task_that_runs_and_a_total() {
        let mut meter = Meter::default();
        meter.note(START, &row(), &done(0, 1_000, true));
        let pace = meter.note(START + 10_000, &row(), &done(250, 1_000, true));
        assert_eq!(pace, Pace { rate: Some(25.0), eta_ms: Some(30_000) });
        let unknown = Progress { generator: Some(0.5), ..done(250, 1_000, false) };
        assert_eq!(meter.note(START + 10_000, &row(), &unknown).eta_ms, None);
        let paused = TaskRow { status: TaskStatus::Paused, paused_at: Some(START + 10_000), ..row() };
        assert_eq!(meter.note(START + 10_000, &paused, &done(250, 1_000, true)).eta_ms, None);
    }
}
