//! How long to wait before a failed call is made again.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Waits of 50 ms, doubled each time, at most 2 s.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);
    const MOST: Duration = Duration::from_secs(2);

    /// Forgets the failures.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Waits, longer each time. Says false where `stop` fired first.
    pub async fn wait(&mut self, stop: &CancellationToken) -> bool {
        let span = Self::FIRST.saturating_mul(1 << self.failures.min(10)).min(Self::MOST);
        self.failures += 1;
        tokio::select! {
            () = stop.cancelled() => false,
            () = tokio::time::sleep(span) => true,
        }
    }
}
