//! Faults for tests: what stands between one process and the store.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::sync::watch;

use super::locked;

/// The failure of calls while the store is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// The call is not sent.
    Unreachable,
    /// The call is sent and applied; its answer is lost.
    UnknownApplied,
    /// The call is sent and lost before it is applied.
    UnknownNotApplied,
}

#[derive(Debug, Default)]
struct Planned {
    lasting: Option<Outage>,
    next: VecDeque<Outage>,
}

/// The connection of one process, with the faults that a test has put into it.
#[derive(Debug)]
pub(super) struct Link {
    planned: Mutex<Planned>,
    /// Counts how often all watches of this connection were broken.
    breaks: watch::Sender<u64>,
}

impl Link {
    pub(super) fn new() -> Self {
        Self { planned: Mutex::default(), breaks: watch::Sender::new(0) }
    }

    pub(super) fn set_outage(&self, outage: Option<Outage>) {
        locked(&self.planned).lasting = outage;
        if outage.is_some() {
            self.break_watches();
        }
    }

    pub(super) fn fail_next(&self, outage: Outage) {
        locked(&self.planned).next.push_back(outage);
    }

    /// The fault that the call now beginning meets.
    pub(super) fn take(&self) -> Option<Outage> {
        let mut planned = locked(&self.planned);
        let once = planned.next.pop_front();
        once.or(planned.lasting)
    }

    pub(super) fn is_out(&self) -> bool {
        locked(&self.planned).lasting.is_some()
    }

    pub(super) fn break_watches(&self) {
        self.breaks.send_modify(|breaks| *breaks += 1);
    }

    pub(super) fn watch_breaks(&self) -> watch::Receiver<u64> {
        self.breaks.subscribe()
    }
}
