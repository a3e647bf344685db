//! Calls into plugins: a panic or a hang harms only the task whose plugin it is.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;

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

/// Awaits a call into a plugin.
///
/// The time limit works for calls that await now and then. A call that blocks its thread cannot be interrupted; it is reported
/// while it lasts and costs no other work a thread, see [`apart`].
///
/// # Errors
/// The call panicked or did not return within `limit`.
pub async fn guarded<T>(limit: Duration, call: impl Future<Output = T>) -> Result<T, PluginFault> {
    let _watch = watch(limit);
    match tokio::time::timeout(limit, AssertUnwindSafe(apart(call)).catch_unwind()).await {
        Ok(Ok(returned)) => Ok(returned),
        Ok(Err(panic)) => Err(PluginFault::Panicked(panic_text(panic.as_ref()))),
        Err(_) => Err(PluginFault::TimedOut(limit)),
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
}
