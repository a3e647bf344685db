//! The decision to try again or to give up, from the times of the crashes alone.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::RunnerConfig;

/// The consequence of a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    RestartIn(Duration),
    Quarantine,
}

/// The recent crashes of one task.
#[derive(Debug, Default)]
pub(super) struct Crashes {
    recent: VecDeque<Instant>,
}

impl Crashes {
    /// Notes a crash. `jitter`, 0 to 255, shortens the wait by up to a quarter, so that tasks that fell together do not
    /// rise together.
    pub(super) fn note(&mut self, now: Instant, jitter: u8, config: &RunnerConfig) -> Verdict {
        while self.recent.front().is_some_and(|crash| now - *crash > config.quarantine_window) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        let count = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        if count >= config.quarantine_after {
            return Verdict::Quarantine;
        }
        let doubled = 2_u32.saturating_pow(count - 1);
        let full = config.first_backoff.saturating_mul(doubled).min(config.longest_backoff);
        Verdict::RestartIn(full - full * u32::from(jitter) / 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn config() -> RunnerConfig {
        RunnerConfig {
            first_backoff: secs(1),
            longest_backoff: secs(5),
            quarantine_after: 6,
            quarantine_window: secs(100),
            ..RunnerConfig::default()
        }
    }

    #[test]
    fn waits_double_up_to_the_longest_and_then_it_is_quarantined() {
        let (start, mut crashes) = (Instant::now(), Crashes::default());
        let verdicts: Vec<Verdict> = (0..6).map(|_| crashes.note(start, 0, &config())).collect();
        let mut expected: Vec<Verdict> = [1, 2, 4, 5, 5].map(|wait| Verdict::RestartIn(secs(wait))).into();
        expected.push(Verdict::Quarantine);
        assert_eq!(verdicts, expected);
    }

    #[test]
    fn old_crashes_are_forgotten() {
        let (start, mut crashes) = (Instant::now(), Crashes::default());
        for crash in 0..50 {
            let verdict = crashes.note(start + secs(101 * crash), 0, &config());
            assert_eq!(verdict, Verdict::RestartIn(secs(1)));
        }
    }

    #[test]
    fn jitter_shortens_by_less_than_a_quarter() {
        let Verdict::RestartIn(wait) = Crashes::default().note(Instant::now(), 255, &config()) else {
            panic!()
        };
        assert!(wait > secs(1) * 3 / 4 && wait < secs(1), "{wait:?}");
    }
}
