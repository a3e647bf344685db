//! How much of something may be dispatched now, under limits on what runs and on the rate.
//!
//! Pure: no clock, no randomness, no IO.

use std::time::Duration;

use dtf_model::Limits;
use lrmf_core::Timestamp;

/// How much of a second's rate may go at once.
const BURST: f64 = 0.1;

/// What may be dispatched now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowance {
    /// So many subtasks; at least one.
    UpTo(u64),
    /// Nothing, until this time or, where there is none, until less runs.
    Not(Option<Timestamp>),
}

/// Keeps the limits of a task or a group.
#[derive(Debug, Default)]
pub(super) struct TokenBucket {
    limits: Limits,
    /// Subtasks that run, as far as is known: never fewer than do.
    running: u64,
    /// Subtasks that the rate allows by now, and since when.
    tokens: f64,
    filled: Option<Timestamp>,
}

impl TokenBucket {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Other limits, from now on.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// What runs now.
    pub(super) fn set_running(&mut self, running: u64) {
        self.running = running;
    }

    /// So many more run now, or fewer.
    pub(super) fn add_running(&mut self, more: i64) {
        self.running = self.running.saturating_add_signed(more);
    }

    /// So many were dispatched.
    pub(super) fn spend(&mut self, subtasks: u64) {
        self.tokens -= subtasks as f64;
    }

    /// What may be dispatched now.
    pub(super) fn allowance(&mut self, now: Timestamp) -> Allowance {
        let room = self.limits.running.map_or(u64::MAX, |most| u64::from(most).saturating_sub(self.running));
        if room == 0 {
            return Allowance::Not(None);
        }
        let Some(rate) = self.limits.rate.map(f64::from) else { return Allowance::UpTo(room) };
        self.fill(rate, now);
        if self.tokens < 1.0 {
            let wait = Duration::from_secs_f64((1.0 - self.tokens) / rate) + Duration::from_micros(1);
            return Allowance::Not(Some(now + wait));
        }
        Allowance::UpTo(room.min(self.tokens as u64))
    }

    fn fill(&mut self, rate: f64, now: Timestamp) {
        let most = (rate * BURST).max(1.0);
        let gained = self.filled.map_or(most, |since| now.since(since).as_secs_f64() * rate);
        self.tokens = (self.tokens + gained).min(most);
        self.filled = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp(Duration::from_millis(millis))
    }

    #[test]
    fn without_limits_everything_goes() {
        assert_eq!(TokenBucket::default().allowance(at(0)), Allowance::UpTo(u64::MAX));
    }

    #[test]
    fn not_more_run_than_may() {
        let mut gate = TokenBucket::new(Limits { running: Some(3), rate: None });
        assert_eq!(gate.allowance(at(0)), Allowance::UpTo(3));
        gate.set_running(2);
        assert_eq!(gate.allowance(at(0)), Allowance::UpTo(1));
        gate.add_running(2);
        assert_eq!(gate.allowance(at(0)), Allowance::Not(None));
        gate.add_running(-4);
        assert_eq!(gate.allowance(at(0)), Allowance::UpTo(3));
        gate.set_limits(Limits { running: Some(1), rate: None });
        assert_eq!(gate.allowance(at(0)), Allowance::UpTo(1));
    }

    #[test]
    fn the_rate_is_kept_over_time_however_often_it_is_asked() {
        for step in [1, 7, 450] {
            let mut gate = TokenBucket::new(Limits { running: None, rate: Some(20) });
            let mut sent = 0;
            for now in (0..100_000).step_by(step) {
                if let Allowance::UpTo(most) = gate.allowance(at(now)) {
                    assert!(most <= 2, "{most} at once");
                    gate.spend(most);
                    sent += most;
                }
            }
            // A look every 450 ms may find two each time and no more.
            let most = if step == 450 { 446 } else { 2002 };
            assert!((most - 5..=most).contains(&sent), "{sent} every {step} ms");
        }
    }

    #[test]
    fn what_waits_for_the_rate_knows_how_long() {
        let mut gate = TokenBucket::new(Limits { running: None, rate: Some(1) });
        assert_eq!(gate.allowance(at(0)), Allowance::UpTo(1));
        gate.spend(1);
        let Allowance::Not(Some(until)) = gate.allowance(at(250)) else { panic!("it may") };
        assert!(until > at(1000) && until < at(1001), "{until:?}");
        assert_eq!(gate.allowance(until), Allowance::UpTo(1));
    }
}
