//! The graceful shutdown of a process: running work has more time than when a part is merely handed over.
//!
//! A part is usually given up within the margin of the session, because the session may be about to end. A process that leaves
//! on purpose keeps its session, so running work may finish, and the part stays with the process until then. If the session ends
//! nevertheless, the extra time is over.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// The state of a process that may leave. Clones share it.
#[derive(Clone, Debug)]
pub struct GracefulShutdown(Arc<watch::Sender<State>>);

#[derive(Debug, Default)]
struct State {
    /// The end of the extra time, once the process leaves.
    until: Option<Instant>,
    /// True if the session has ended: no work may go on beyond its margin.
    fenced: bool,
}

impl Default for GracefulShutdown {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::default()))
    }
}

impl GracefulShutdown {
    /// Marks the process as leaving: running work may go on for the time of `grace`.
    pub fn leave(&self, grace: Duration) {
        self.0.send_modify(|state| state.until = Some(Instant::now() + grace));
    }

    /// Returns whether the process is leaving.
    pub fn is_leaving(&self) -> bool {
        self.0.borrow().until.is_some()
    }

    /// Records whether the session has ended.
    pub fn fence(&self, fenced: bool) {
        self.0.send_modify(|state| state.fenced = fenced);
    }

    /// Waits for work to finish, for `drain` or until the end of the extra time of a leaving process. Returns whether it
    /// finished.
    pub async fn wait_for(&self, drain: Duration, work: impl Future<Output = ()>) -> bool {
        let mut states = self.0.subscribe();
        let over = async {
            tokio::time::sleep(drain).await;
            loop {
                let until = match &*states.borrow_and_update() {
                    State { until: Some(until), fenced: false } => *until,
                    _ => return,
                };
                tokio::select! {
                    () = tokio::time::sleep_until(until) => return,
                    // The sender is `self`, so it is there.
                    _ = states.changed() => {}
                }
            }
        };
        tokio::select! {
            biased;
            () = work => true,
            () = over => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAIN: Duration = Duration::from_secs(1);

    async fn waited(shutdown: &GracefulShutdown, work: u64) -> (bool, Duration) {
        let begun = Instant::now();
        let done = shutdown.wait_for(DRAIN, tokio::time::sleep(Duration::from_secs(work))).await;
        (done, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_lets_work_end_and_who_does_not_waits_a_moment() {
        let seconds = Duration::from_secs;
        let shutdown = GracefulShutdown::default();
        assert_eq!(waited(&shutdown, 10).await, (false, DRAIN));
        shutdown.leave(seconds(45));
        assert_eq!(waited(&shutdown, 10).await, (true, seconds(10)));
        // Of the 45 s 10 are gone.
        assert_eq!(waited(&shutdown, 60).await, (false, seconds(35)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_session_is_the_end_of_waiting() {
        let shutdown = GracefulShutdown::default();
        shutdown.leave(Duration::from_secs(45));
        let later = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            shutdown.fence(true);
        };
        let (waited_for, ()) = tokio::join!(waited(&shutdown, 10), later);
        assert_eq!(waited_for, (false, Duration::from_secs(5)));
        assert_eq!(waited(&shutdown, 10).await, (false, DRAIN));
        shutdown.fence(false);
        assert_eq!(waited(&shutdown, 10).await, (true, Duration::from_secs(10)));
    }
}
