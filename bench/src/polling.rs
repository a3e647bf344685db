//! Waiting for conditions.

use std::time::Duration;

/// Returns when the condition holds, which is evaluated every 5 ms. No benchmark measures time to a finer degree by this.
pub(crate) async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    while !holds().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
