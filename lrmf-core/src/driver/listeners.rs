//! Those who listen to a member's events.
//!
//! The backlog of a listener is most of what a member would cost in memory, and most members of a large process have no
//! listener; so there is none before somebody listens.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::event::Event;

/// The number of events that a listener may be behind before it misses some.
const BACKLOG: usize = 4096;

#[derive(Debug, Default)]
enum State {
    #[default]
    Nobody,
    Somebody(broadcast::Sender<Event>),
    Closed,
}

/// The listeners of one member.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Mutex<State>);

impl Listeners {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The events from now on; none where the member has ended.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Event> {
        let mut state = self.state();
        match &*state {
            State::Somebody(sender) => sender.subscribe(),
            State::Closed => broadcast::channel(1).1,
            State::Nobody => {
                let (sender, receiver) = broadcast::channel(BACKLOG);
                *state = State::Somebody(sender);
                receiver
            }
        }
    }

    pub(super) fn tell(&self, event: Event) {
        let mut state = self.state();
        // An error means that nobody listens any more.
        if let State::Somebody(sender) = &*state
            && sender.send(event).is_err()
        {
            *state = State::Nobody;
        }
    }

    pub(super) fn close(&self) {
        *self.state() = State::Closed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_kept_for_nobody_and_listeners_hear_all_until_the_end() {
        let listeners = Listeners::default();
        listeners.tell(Event::BecameLeader);
        assert!(matches!(*listeners.state(), State::Nobody));
        let mut heard = listeners.listen();
        listeners.tell(Event::LostLeadership);
        listeners.close();
        assert_eq!(heard.recv().await, Ok(Event::LostLeadership));
        assert!(heard.recv().await.is_err());
        assert!(listeners.listen().recv().await.is_err(), "one that comes too late hears the end");
        let listeners = Listeners::default();
        drop(listeners.listen());
        listeners.tell(Event::Ended);
        assert!(matches!(*listeners.state(), State::Nobody));
    }
}
