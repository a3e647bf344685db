//! The run time of subtasks.

use std::time::Duration;

/// Mean run time of a task's subtasks.
#[derive(Clone, Debug, Default)]
pub(super) struct RunTime {
    busy: Duration,
    subtasks: u64,
}

impl RunTime {
    pub(super) fn add(&mut self, busy: Duration, subtasks: u64) {
        if subtasks == 0 {
            return;
        }
        self.busy += busy;
        self.subtasks += subtasks;
        // Halving now and then lets the mean follow a change.
        if self.subtasks > 100_000 {
            self.busy /= 2;
            self.subtasks /= 2;
        }
    }

    pub(super) fn mean(&self) -> Option<Duration> {
        (self.subtasks > 0).then(|| self.busy.div_f64(self.subtasks as f64))
    }
}
