//! A process that leaves gives what runs more time than one that merely hands a part over.
//!
//! A part is given up within the margin of the session, as nobody knows whether the session goes on. Whoever leaves on purpose
//! keeps its session meanwhile, so what runs may come to its end; the part stays with it until then. Should the session end
//! after all, that is over.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Says when the process leaves. Clones say the same.
#[derive(Clone, Debug)]
pub struct Departure(Arc<watch::Sender<State>>);

#[derive(Debug, Default)]
struct State {
    /// Until when what runs may go on, once the process leaves.
    until: Option<Instant>,
    /// Whether the session is at its end: nothing may go on beyond its margin.
    fenced: bool,
}

impl Default for Departure {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::default()))
    }
}

impl Departure {
    /// The process leaves: what runs may go on for so long.
    pub fn leave(&self, grace: Duration) {
        self.0.send_modify(|state| state.until = Some(Instant::now() + grace));
    }

    /// Whether the process leaves.
    pub fn is_leaving(&self) -> bool {
        self.0.borrow().until.is_some()
    }

    /// Whether the session is at its end.
    pub fn fence(&self, fenced: bool) {
        self.0.send_modify(|state| state.fenced = fenced);
    }

    /// Waits for work to come to its end: for `drain`, and longer where the process leaves. Says whether it did.
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

    async fn waited(departure: &Departure, work: u64) -> (bool, Duration) {
        let begun = Instant::now();
        let done = departure.wait_for(DRAIN, tokio::time::sleep(Duration::from_secs(work))).await;
        (done, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_lets_work_end_and_who_does_not_waits_a_moment() {
        let seconds = Duration::from_secs;
        let departure = Departure::default();
        assert_eq!(waited(&departure, 10).await, (false, DRAIN));
        departure.leave(seconds(45));
        assert_eq!(waited(&departure, 10).await, (true, seconds(10)));
        // Of the 45 s 10 are gone.
        assert_eq!(waited(&departure, 60).await, (false, seconds(35)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_session_is_the_end_of_waiting() {
        let departure = Departure::default();
        departure.leave(Duration::from_secs(45));
        let later = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            departure.fence(true);
        };
        let (waited_for, ()) = tokio::join!(waited(&departure, 10), later);
        assert_eq!(waited_for, (false, Duration::from_secs(5)));
        assert_eq!(waited(&departure, 10).await, (false, DRAIN));
        departure.fence(false);
        assert_eq!(waited(&departure, 10).await, (true, Duration::from_secs(10)));
    }
}
