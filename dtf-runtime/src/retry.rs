//! Retries of failed calls.

use std::time::Duration;

use dtf_model::error::StoreError;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Calls a store again and again until it answers. If `stop` is cancelled first, returns the last error; the effect of the call is
/// then unknown.
///
/// # Errors
/// The error that the store answers, or a retryable one after `stop` was cancelled.
pub async fn until_answered<T, F>(stop: &CancellationToken, call: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut backoff = Backoff::default();
    loop {
        match call().await {
            Err(error) if error.is_retryable() => {
                warn!(%error, "a store does not answer");
                if !backoff.wait(stop).await {
                    return Err(error);
                }
            }
            answered => return answered,
        }
    }
}

/// An exponential backoff: 50 ms, doubled each time, at most 2 s.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(50);
    const MOST: Duration = Duration::from_secs(2);

    /// Waits, longer each time. Returns false if `stop` was cancelled first.
    pub(super) async fn wait(&mut self, stop: &CancellationToken) -> bool {
        let span = Self::FIRST.saturating_mul(1 << self.failures.min(10)).min(Self::MOST);
        self.failures += 1;
        tokio::select! {
            () = stop.cancelled() => false,
            () = tokio::time::sleep(span) => true,
        }
    }
}
