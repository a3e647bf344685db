//! The course of a fleet: subtasks that run, those that a death cut off, and figures read off them.

use std::collections::{HashMap, HashSet};

use crate::events::{Event, EventKind};

/// The state of all slots at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) at_ns: u64,
    /// The number of subtasks that run.
    pub(super) running: usize,
    /// The number of executions begun so far.
    pub(super) started: u64,
}

/// The events of a fleet's executors, taken in.
#[derive(Default)]
pub(super) struct Timeline {
    /// The start of each running subtask, by process and input.
    running: HashMap<(usize, u64), u64>,
    started: u64,
    /// The time that the ended executions took.
    ended_ns: u64,
    /// The inputs that a death cut off and that have not started again.
    cut_off: HashSet<u64>,
    /// The time of the last start of one of those.
    started_again_ns: u64,
    samples: Vec<Sample>,
}

impl Timeline {
    /// Takes events in, those of each process in their order.
    pub(super) fn apply(&mut self, events: &[Event]) {
        for event in events {
            let key = (event.process, event.number.0);
            match event.kind {
                EventKind::Started => {
                    self.started += 1;
                    self.running.insert(key, event.at_ns);
                    if self.cut_off.remove(&event.number.0) {
                        self.started_again_ns = self.started_again_ns.max(event.at_ns);
                    }
                }
                EventKind::Ended => {
                    if let Some(began) = self.running.remove(&key) {
                        self.ended_ns += event.at_ns - began;
                    }
                }
            }
        }
    }

    /// Cuts off what runs in a process that died at this time.
    pub(super) fn die(&mut self, process: usize, at_ns: u64) {
        let (died, living) =
            std::mem::take(&mut self.running).into_iter().partition(|(key, _)| key.0 == process);
        let died: HashMap<(usize, u64), u64> = died;
        self.running = living;
        for ((_, input), began) in died {
            self.ended_ns += at_ns.saturating_sub(began);
            self.cut_off.insert(input);
        }
    }

    /// Records the state of this moment.
    pub(super) fn sample(&mut self, at_ns: u64) {
        self.samples.push(Sample { at_ns, running: self.running(), started: self.started });
    }

    /// Returns the number of subtasks that run.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// Returns the number of executions begun so far.
    pub(super) fn started(&self) -> u64 {
        self.started
    }

    /// Returns the number of inputs that a death cut off and that have not started again.
    pub(super) fn cut_off(&self) -> usize {
        self.cut_off.len()
    }

    /// Returns the time of the last start of an input that a death had cut off.
    pub(super) fn started_again_ns(&self) -> u64 {
        self.started_again_ns
    }

    /// Returns the time that all executions have taken up to now.
    pub(super) fn slot_time_ns(&self, now_ns: u64) -> u64 {
        let running = self.running.values().map(|began| now_ns.saturating_sub(*began));
        self.ended_ns + running.sum::<u64>()
    }

    /// Returns the samples from a time on.
    pub(super) fn since(&self, begin_ns: u64) -> &[Sample] {
        &self.samples[self.samples.partition_point(|sample| sample.at_ns < begin_ns)..]
    }
}

/// Returns the smallest number of running subtasks.
pub(super) fn least_running(samples: &[Sample]) -> usize {
    samples.iter().map(|sample| sample.running).min().unwrap_or(0)
}

/// Returns the time of the first sample with at least `wanted` running subtasks after the one with the least; none if
/// there is no such one.
pub(super) fn refilled_ns(samples: &[Sample], wanted: usize) -> Option<u64> {
    let (least, _) = samples.iter().enumerate().min_by_key(|(_, sample)| sample.running)?;
    samples[least..].iter().find(|sample| sample.running >= wanted).map(|sample| sample.at_ns)
}

/// Returns the longest time in which no subtask was started, in nanoseconds.
pub(super) fn longest_rest_ns(samples: &[Sample]) -> u64 {
    let (mut longest, mut since) = (0, None);
    for sample in samples {
        match since {
            Some((at_ns, started)) if started == sample.started => {
                longest = longest.max(sample.at_ns - at_ns)
            }
            _ => since = Some((sample.at_ns, sample.started)),
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use dtf::model::{Seq, TaskId};

    use super::*;

    fn event(at_ns: u64, process: usize, kind: EventKind, input: u64) -> Event {
        Event { at_ns, process, kind, task: TaskId(1), number: Seq(input) }
    }

    #[test]
    fn what_a_death_cuts_off_is_waited_for() {
        use EventKind::{Ended, Started};
        let mut timeline = Timeline::default();
        timeline.apply(&[event(10, 0, Started, 7), event(10, 0, Started, 8), event(20, 1, Started, 9)]);
        timeline.apply(&[event(30, 0, Ended, 8)]);
        timeline.die(0, 40);
        assert_eq!((timeline.running(), timeline.cut_off()), (1, 1));
        // 30 of the one cut off, 20 of the one that ended, 30 of the one that still runs.
        assert_eq!(timeline.slot_time_ns(50), 30 + 20 + 30);
        timeline.apply(&[event(60, 1, Started, 7)]);
        assert_eq!((timeline.cut_off(), timeline.started_again_ns(), timeline.started()), (0, 60, 4));
    }

    #[test]
    fn figures_are_those_of_the_gap_between_two_busy_times() {
        let numbers = [(10, 10), (4, 10), (2, 10), (9, 17), (10, 18)];
        let sample = |(at_ns, (running, started))| Sample { at_ns, running, started };
        let samples: Vec<Sample> = (0..).zip(numbers).map(sample).collect();
        assert_eq!(least_running(&samples), 2);
        assert_eq!((refilled_ns(&samples, 10), refilled_ns(&samples, 11)), (Some(4), None));
        assert_eq!(longest_rest_ns(&samples), 2);
    }
}
