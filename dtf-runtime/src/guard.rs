//! Calls into plugins: a panic or a hang harms only the task whose plugin it is.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;

use super::apart::{apart, beside};
use super::stuck::watch;

/// A call into a plugin that did not return.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginFault {
    /// It panicked.
    #[error("the plugin panicked: {0}")]
    Panicked(String),
    /// It did not return in time. Its future was dropped.
    #[error("the plugin did not return within {0:?}")]
    TimedOut(Duration),
}

/// The calls into a plugin that one future makes one after the other: when the present one began.
#[derive(Clone, Debug)]
pub struct Calls {
    origin: Instant,
    /// In microseconds since the origin.
    begun: Arc<AtomicU64>,
}

impl Default for Calls {
    fn default() -> Self {
        Self { origin: Instant::now(), begun: Arc::default() }
    }
}

impl Calls {
    /// Says that the next call begins.
    pub fn next(&self) {
        let since = u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.begun.store(since, Ordering::Relaxed);
    }

    /// The time that the present call has taken.
    pub(super) fn present_lasts(&self) -> Duration {
        (self.origin + Duration::from_micros(self.begun.load(Ordering::Relaxed))).elapsed()
    }

    /// Waits until a call has taken this long.
    pub(super) async fn last_longer_than(&self, limit: Duration) {
        loop {
            let begun = self.origin + Duration::from_micros(self.begun.load(Ordering::Relaxed));
            if begun.elapsed() >= limit {
                return;
            }
            tokio::time::sleep_until(begun + limit).await;
        }
    }
}

/// Awaits a call into a plugin.
///
/// The time limit works for calls that await now and then. A call that blocks its thread cannot be interrupted; it is reported
/// while it lasts and costs no other work a thread, see [`apart`].
///
/// # Errors
/// The call panicked or did not return within `limit`.
pub async fn guarded<T>(limit: Duration, call: impl Future<Output = T>) -> Result<T, PluginFault> {
    guarded_each(limit, Calls::default(), call).await
}

/// Awaits several calls into a plugin, each of which has the limit to itself.
///
/// # Errors
/// One of them panicked or did not return within `limit`.
pub async fn guarded_each<T>(
    limit: Duration,
    calls: Calls,
    all: impl Future<Output = T>,
) -> Result<T, PluginFault> {
    let _watch = watch(limit, calls.clone());
    tokio::select! {
        biased;
        returned = AssertUnwindSafe(apart(all)).catch_unwind() => {
            returned.map_err(|panic| PluginFault::Panicked(panic_text(panic.as_ref())))
        }
        () = calls.last_longer_than(limit) => Err(PluginFault::TimedOut(limit)),
    }
}

/// Makes a call into a plugin that does not wait. If it blocks its thread nevertheless, it costs no other work a thread.
///
/// # Errors
/// The call panicked.
pub fn caught<T>(call: impl FnOnce() -> T) -> Result<T, PluginFault> {
    let caught = std::panic::catch_unwind(AssertUnwindSafe(|| beside(call)));
    caught.map_err(|panic| PluginFault::Panicked(panic_text(panic.as_ref())))
}

/// Returns the message of a panic.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn panics_and_hangs_are_errors() {
        let limit = Duration::from_secs(1);
        assert_eq!(guarded(limit, async { 7 }).await, Ok(7));
        let panicked = guarded(limit, async { panic!("no {}", 1) }).await;
        assert_eq!(panicked, Err::<(), _>(PluginFault::Panicked("no 1".to_owned())));
        assert_eq!(caught(|| panic!("no 2")), Err::<(), _>(PluginFault::Panicked("no 2".to_owned())));
        let hung = guarded(limit, std::future::pending::<()>()).await;
        assert_eq!(hung, Err(PluginFault::TimedOut(limit)));
    }

    #[tokio::test(start_paused = true)]
    async fn each_of_several_calls_has_the_limit_to_itself() {
        let limit = Duration::from_secs(10);
        let several = async |spans: &[u64]| {
            let calls = Calls::default();
            let all = async {
                for span in spans {
                    calls.next();
                    tokio::time::sleep(Duration::from_secs(*span)).await;
                }
            };
            guarded_each(limit, calls.clone(), all).await
        };
        assert_eq!(several(&[9; 20]).await, Ok(()));
        let begun = Instant::now();
        assert_eq!(several(&[9, 9, 11]).await, Err(PluginFault::TimedOut(limit)));
        assert_eq!(begun.elapsed(), Duration::from_secs(28));
    }
}
