//! The clocks of processes: each has its own rate, and stands still while the process is paused.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{Clock, Timestamp};

/// The clock of one process.
#[derive(Debug)]
pub(super) struct ProcessClock {
    origin: Instant,
    /// Its rate, in millionths of real time.
    rate: u64,
    /// The reading at which it stands still, in microseconds; 0 while it does not.
    stopped: AtomicU64,
}

impl ProcessClock {
    pub(super) fn new(origin: Instant, rate: u64) -> Self {
        Self { origin, rate, stopped: AtomicU64::new(0) }
    }

    fn micros(&self) -> u64 {
        let micros = u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX);
        1_000_000 + micros / 1_000_000 * self.rate + micros % 1_000_000 * self.rate / 1_000_000
    }

    pub(super) fn stop(&self) {
        self.stopped.store(self.micros(), Ordering::SeqCst);
    }

    /// Goes on, at the time that it would have by now.
    pub(super) fn go_on(&self) {
        self.stopped.store(0, Ordering::SeqCst);
    }
}

impl Clock for ProcessClock {
    fn now(&self) -> Timestamp {
        let micros = match self.stopped.load(Ordering::SeqCst) {
            0 => self.micros(),
            stopped => stopped,
        };
        Timestamp(Duration::from_micros(micros))
    }

    fn unix_millis(&self) -> u64 {
        1_000_000 + u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(0)
    }
}
