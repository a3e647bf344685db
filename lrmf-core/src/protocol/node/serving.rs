//! A member while it is one.

use crate::clock::Timestamp;
use crate::coordination::Revision;
use crate::protocol::Now;
use crate::protocol::backoff::Backoff;
use crate::protocol::election::Election;
use crate::protocol::holdings::Holdings;
use crate::protocol::leader::Leader;
use crate::protocol::session::Session;
use crate::records::{Barred, LoadReport};

use super::contact::Contact;

/// The aim of a serving member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Member,
    /// Its tasks are handed over, until then.
    Draining {
        until: Timestamp,
    },
    /// All tasks stop; then.
    Halting(Then),
    /// Nothing runs; the keys go.
    Leaving,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Rejoin,
    Restart,
    Leave,
    /// As an operator wants it; and perhaps come back.
    Evict,
    Die,
}

#[derive(Clone, Debug)]
pub(super) struct Serving {
    pub(super) session: Session,
    /// In a group of mode `available`.
    pub(super) contact: Contact,
    pub(super) holdings: Holdings,
    pub(super) election: Election,
    pub(super) leader: Option<Leader>,
    /// The leader's key that is to be deleted, when, and the pauses where that fails.
    pub(super) resign: Option<Resign>,
    pub(super) mode: Mode,
    /// The session has ended, or is given up: nothing prolongs it any more.
    pub(super) fenced: bool,
    /// Its key is to be created anew afterwards, not taken over.
    pub(super) anew: bool,
    pub(super) keep_alive_at: Timestamp,
    pub(super) keep_alive_backoff: Backoff,
    /// The write of the last acknowledgement, to be found in the store as it is (R7).
    pub(super) acked: Option<Revision>,
    /// An own write is under way.
    pub(super) writing: bool,
    /// The last own write may have been applied: the own keys are read before the next one.
    pub(super) unsure: bool,
    pub(super) write_at: Timestamp,
    pub(super) write_backoff: Backoff,
    /// An operator wants this session ended.
    pub(super) evicted: bool,
    /// The load that the member reported last, in thousandths.
    pub(super) load: Option<u32>,
    /// Why the leader gives it no tasks.
    pub(super) barred: Option<Barred>,
}

/// The deletion of a leader's key that this member has and does not use.
#[derive(Clone, Debug)]
pub(super) struct Resign {
    pub(super) created: Revision,
    pub(super) at: Timestamp,
    pub(super) under_way: bool,
    /// Then the member leads again, if the key is still there.
    pub(super) until: Timestamp,
    pub(super) backoff: Backoff,
}

impl Serving {
    /// The report to write: the first one, and each that differs by a step from the one written last.
    pub(super) fn due_load(&self, step: u32) -> Option<LoadReport> {
        let per_mille = self.load?;
        let written = self.session.record.load;
        let tasks = u32::try_from(self.holdings.held_count()).unwrap_or(u32::MAX);
        let news = written.is_none_or(|written| written.per_mille.abs_diff(per_mille) >= step);
        news.then_some(LoadReport { per_mille, tasks })
    }

    /// What stops already is followed by this, and the process does not come back by itself.
    pub(super) fn leave_for_good(&mut self, then: Then) {
        self.mode = Mode::Halting(then);
        self.evicted = false;
    }

    pub(super) fn next_wake(&self, now: Now) -> Option<Timestamp> {
        let until = match self.mode {
            Mode::Draining { until } => Some(until),
            Mode::Member | Mode::Halting(_) | Mode::Leaving => None,
        };
        let writable = !self.writing && !self.unsure;
        let write = writable.then_some(self.write_at);
        let ack = self.holdings.ack_at().filter(|_| writable).map(|at| at.max(self.write_at));
        let leader = self.leader.as_ref().and_then(|leader| leader.next_wake(now));
        let (deadline, keep_alive) = (Some(self.session.deadline), Some(self.keep_alive_at));
        let revokes = self.holdings.next_wake();
        let contact = self.session.contact.and(self.contact.next_wake());
        let resign = self.resign.as_ref().filter(|resign| !resign.under_way).map(|resign| resign.at);
        [until, resign, write, revokes, contact, ack, leader, self.election.next_wake(), deadline, keep_alive]
            .into_iter()
            .flatten()
            .filter(|at| *at > now.at)
            .min()
    }
}
