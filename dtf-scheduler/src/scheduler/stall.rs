//! The times at which to check that the running parcels of a task are on its shards.
//!
//! # The problem
//! Shards may forget what was shipped to them while the task's own queues do not: a node of a Cluster was emptied, or lost its
//! last writes. The task then waits for reports that nobody will make. A task that gets further has no such trouble, or not
//! only; one whose subtasks take long gets no further either, and to look at it costs some calls. So a task is looked at when
//! it has got no further for a while, and less and less often as long as that stays so.
//!
//! Pure: no clock, no IO.

use std::time::Duration;

use dtf_model::queue::Usage;
use lrmf_core::Timestamp;

/// The time that a task may get no further before it is checked.
const FIRST: Duration = Duration::from_secs(10);
/// The longest time between two looks.
const MOST: Duration = Duration::from_secs(60);

/// The next check of a task.
#[derive(Clone, Copy, Debug)]
pub(super) struct StallCheck {
    /// The slot-time used and the number running when the task got further.
    last: (Duration, u64),
    wait: Duration,
    due: Timestamp,
}

impl StallCheck {
    /// The task was taken up, and looked at, now.
    pub(super) fn begin(now: Timestamp, usage: &Usage) -> Self {
        Self { last: (usage.used, usage.running), wait: FIRST, due: now + FIRST }
    }

    /// Notes the task's use of executors.
    pub(super) fn note(&mut self, now: Timestamp, usage: &Usage) {
        if self.last != (usage.used, usage.running) {
            *self = Self::begin(now, usage);
        }
    }

    /// Returns true if a check is due now. If so, the next one is due after a longer while.
    pub(super) fn is_due(&mut self, now: Timestamp) -> bool {
        if now < self.due {
            return false;
        }
        self.wait = (self.wait * 2).min(MOST);
        self.due = now + self.wait;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(used: u64, running: u64) -> Usage {
        Usage { used: Duration::from_secs(used), running, mean_run: None }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp(Duration::from_secs(seconds))
    }

    #[test]
    fn a_task_that_gets_no_further_is_looked_at_less_and_less_often() {
        let mut audit = StallCheck::begin(at(0), &usage(0, 1));
        let due: Vec<_> = (0..300)
            .filter(|now| {
                audit.note(at(*now), &usage(0, 1));
                audit.is_due(at(*now))
            })
            .collect();
        assert_eq!(due, [10, 30, 70, 130, 190, 250]);
        // It got further: all begins anew.
        audit.note(at(300), &usage(1, 1));
        assert!(!audit.is_due(at(309)) && audit.is_due(at(310)));
    }

    #[test]
    fn a_task_that_gets_further_is_not_looked_at() {
        let mut audit = StallCheck::begin(at(0), &usage(0, 1));
        for now in 0..300 {
            audit.note(at(now), &usage(now, 1));
            assert!(!audit.is_due(at(now)));
        }
    }
}
