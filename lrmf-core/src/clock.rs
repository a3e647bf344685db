//! Time, from outside.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time on a [`Clock`]: the time since the clock's own, arbitrary origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub Duration);

impl Timestamp {
    /// The time from `earlier` to this, or zero where `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, span: Duration) -> Timestamp {
        Timestamp(self.0 + span)
    }
}

/// The two clocks that placement needs.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Never goes back, goes on while the machine is suspended, and has the rate of real time within a small bound.
    fn now(&self) -> Timestamp;

    /// Milliseconds since the Unix epoch. It may jump; only ever a hint or a floor.
    fn unix_millis(&self) -> u64;
}

/// The clock of a real process: `CLOCK_BOOTTIME`, which unlike `std::time::Instant` on Linux counts suspension.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> Timestamp {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
        Timestamp(Duration::new(seconds, nanos))
    }

    fn unix_millis(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Returns true where the time of the runtime that this is called from is paused, as in tests: it stands still while real time
/// passes. Looks for a tenth of a millisecond.
pub(crate) fn is_paused() -> bool {
    let (real, runtime) = (std::time::Instant::now(), tokio::time::Instant::now());
    while real.elapsed() < Duration::from_micros(100) {
        std::hint::spin_loop();
    }
    tokio::time::Instant::now() == runtime
}

/// The clock of the async runtime: real time in production, virtual time under a paused runtime.
///
/// It does not count suspension of the machine, so use it for tests and for members that share one process with
/// their store, where a suspension stops both.
#[derive(Clone, Copy, Debug)]
pub struct RuntimeClock {
    origin: tokio::time::Instant,
}

impl RuntimeClock {
    /// A clock whose origin is now.
    pub fn new() -> Self {
        Self { origin: tokio::time::Instant::now() }
    }
}

impl Default for RuntimeClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for RuntimeClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.origin.elapsed())
    }

    fn unix_millis(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
