//! Waits between repeated failures.

use std::hash::BuildHasher;
use std::time::Duration;

use foldhash::fast::FixedState;

use crate::error::CoordinationError;
use crate::ids::InstanceId;

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait after a failure that may pass by itself: a store that is back is noticed within this.
const LONGEST: Duration = Duration::from_secs(1);
/// The longest wait after a refusal, which people have to do something about.
const LONGEST_REFUSED: Duration = Duration::from_secs(5);

/// Waits that double from failure to failure. Members that fail together do not try again together: each wait is
/// shortened by up to a half, by how much depends on the member's name.
#[derive(Clone, Debug)]
pub struct Backoff {
    seed: u64,
    first: Duration,
    failures: u32,
}

impl Backoff {
    /// For calls of this member.
    pub fn new(instance: &InstanceId) -> Self {
        Self::seeded(FixedState::default().hash_one(instance.as_str()))
    }

    /// For calls of somebody else; the seed tells those apart that may fail together.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { seed, first: FIRST, failures: 0 }
    }

    /// The same with another first wait.
    #[must_use]
    pub fn beginning_with(self, first: Duration) -> Self {
        Self { first, ..self }
    }

    /// The wait after one more failure.
    pub fn after(&mut self, error: &CoordinationError) -> Duration {
        self.wait(if error.is_retryable() { LONGEST } else { LONGEST_REFUSED })
    }

    /// The wait after something that is no failure of the store, and may pass by itself.
    pub fn again(&mut self) -> Duration {
        self.wait(LONGEST)
    }

    /// It went well.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    fn wait(&mut self, longest: Duration) -> Duration {
        let full = self.first.saturating_mul(1 << self.failures).min(longest);
        // Bounded, so that a state with it in it is one of few.
        self.failures = (self.failures + 1).min(8);
        let hash = FixedState::default().hash_one((self.seed, self.failures));
        full - full / 2 * u32::from(hash.to_le_bytes()[0]) / 255
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(name: &str, error: &CoordinationError) -> Vec<Duration> {
        let mut backoff = Backoff::new(&InstanceId::new(name).unwrap());
        (0..20).map(|_| backoff.after(error)).collect()
    }

    #[test]
    fn waits_grow_within_bounds_and_differ_between_members() {
        let passing = CoordinationError::Unreachable(String::new());
        let waits_of_a = waits("a", &passing);
        assert!(waits_of_a[0] >= FIRST / 2 && waits_of_a[0] <= FIRST);
        assert!(waits_of_a[10..].iter().all(|wait| *wait >= LONGEST / 2 && *wait <= LONGEST));
        assert_ne!(waits_of_a, waits("b", &passing));
        let refused = waits("a", &CoordinationError::Refused(String::new()));
        assert!(refused[10..].iter().all(|wait| *wait >= LONGEST_REFUSED / 2 && *wait <= LONGEST_REFUSED));
    }

    #[test]
    fn after_a_success_they_begin_anew() {
        let mut backoff = Backoff::new(&InstanceId::new("a").unwrap()).beginning_with(FIRST / 4);
        let first = backoff.again();
        let later = (0..10).map(|_| backoff.again()).max();
        assert!(later > Some(first));
        backoff.reset();
        assert_eq!(backoff.again(), first);
        assert!(first <= FIRST / 4);
    }
}
