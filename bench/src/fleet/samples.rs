//! Samples of the number of busy slots, and figures read off them.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::load;

/// The time between two samples.
const PERIOD: Duration = Duration::from_millis(20);

/// The state of all slots at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) at: Instant,
    /// The number of subtasks that run.
    pub(super) running: u32,
    /// The number of subtasks that have been started so far.
    pub(super) started: u64,
}

impl Sample {
    pub(super) fn now() -> Self {
        Self { at: Instant::now(), running: load::running(), started: load::executed() }
    }
}

/// The samples of a benchmark, in the order of time.
#[derive(Default)]
pub(super) struct Samples(Mutex<Vec<Sample>>);

impl Samples {
    /// Takes samples for as long as it is polled.
    pub(super) async fn follow(&self) -> Infallible {
        let mut period = tokio::time::interval(PERIOD);
        loop {
            period.tick().await;
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Sample::now());
        }
    }

    /// Returns the samples taken since then.
    pub(super) fn since(&self, begin: Instant) -> Vec<Sample> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().copied().filter(|sample| sample.at >= begin).collect()
    }
}

/// Returns the smallest number of running subtasks.
pub(super) fn least_running(samples: &[Sample]) -> u32 {
    samples.iter().map(|sample| sample.running).min().unwrap_or(0)
}

/// Returns the time from `begin` to the last sample with fewer than `wanted` running subtasks; zero if there is none.
pub(super) fn last_below(samples: &[Sample], begin: Instant, wanted: u32) -> Duration {
    let last = samples.iter().rev().find(|sample| sample.running < wanted);
    last.map_or(Duration::ZERO, |sample| sample.at - begin)
}

/// Returns the longest time in which no subtask was started.
pub(super) fn longest_rest(samples: &[Sample]) -> Duration {
    let (mut longest, mut since) = (Duration::ZERO, None);
    for sample in samples {
        match since {
            Some((at, started)) if started == sample.started => longest = longest.max(sample.at - at),
            _ => since = Some((sample.at, sample.started)),
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples a second apart with these numbers of running and started subtasks.
    fn samples(begin: Instant, numbers: &[(u32, u64)]) -> Vec<Sample> {
        let at = |second| begin + Duration::from_secs(second);
        let sample =
            |(second, &(running, started)): (u64, &(u32, u64))| Sample { at: at(second), running, started };
        (0..).zip(numbers).map(sample).collect()
    }

    #[test]
    fn figures_are_those_of_the_gap_between_two_busy_times() {
        let begin = Instant::now();
        let gap = samples(begin, &[(10, 10), (4, 10), (2, 10), (9, 17), (10, 18)]);
        assert_eq!(least_running(&gap), 2);
        assert_eq!(last_below(&gap, begin, 10), Duration::from_secs(3));
        assert_eq!(last_below(&gap, begin, 2), Duration::ZERO);
        assert_eq!(longest_rest(&gap), Duration::from_secs(2));
    }
}
