//! Staying in contact, in a group of mode `available`.
//!
//! The contact is a key that is bound to a lease of its own, a third as long as the session's. While it is gone the
//! leader gives the member's tasks to others; the member makes it anew, with another lease, as soon as it can. What it
//! has lost meanwhile it learns from its record, as always.
//!
//! | what happens | what is left behind | who goes on from there |
//! |---|---|---|
//! | the lease ends while the member lives | a session without a contact | the member: the store says that the lease is gone, it asks for another one and writes the key |
//! | the key is gone and the lease lives | the same | the member: its feed says so, it writes the key again |
//! | the answer to the grant is lost | a lease that nothing is bound to | nobody: it ends by itself, another one is asked for |
//! | the answer to the write is lost | perhaps the key | the member: it reads its own keys before it writes again |
//! | the member dies | both keys | nobody: they end by themselves, the contact first |

use crate::clock::Timestamp;
use crate::config::GroupMode;
use crate::coordination::{Lease, LeaseId};
use crate::error::CoordinationError;
use crate::event::Event;
use crate::protocol::backoff::Backoff;
use crate::protocol::{Action, Call, Now};

use super::{Node, Purpose, Stage};

/// A serving member's contact, as far as it is its own to keep.
#[derive(Clone, Debug)]
pub(super) struct Contact {
    lease: Option<Lease>,
    asking: bool,
    /// The time at which a lease is to be kept alive, or asked for.
    due_at: Timestamp,
    backoff: Backoff,
    /// The member has said that it is out of contact.
    lost: bool,
}

impl Contact {
    /// The one that was made with the session.
    pub(super) fn new(now: Now, lease: Option<Lease>, backoff: Backoff) -> Self {
        let due_at = lease.map_or(now.at, |lease| now.at + lease.ttl / 3);
        Self { lease, asking: false, due_at, backoff, lost: false }
    }

    pub(super) fn lease(&self) -> Option<LeaseId> {
        self.lease.map(|lease| lease.id)
    }

    fn granted(&mut self, now: Now, sent: Timestamp, lease: Option<Lease>) {
        self.asking = false;
        match lease {
            Some(lease) => {
                self.due_at = sent + lease.ttl / 3;
                self.lease = Some(lease);
                self.backoff.reset();
            }
            None => self.due_at = now.at + self.backoff.again(),
        }
    }

    fn kept(&mut self, now: Now, lease: LeaseId, result: &Result<std::time::Duration, CoordinationError>) {
        match result {
            Err(CoordinationError::LeaseGone) => self.forget(now, lease),
            Err(error) if self.lease() == Some(lease) => {
                self.due_at = self.due_at.min(now.at + self.backoff.after(error));
            }
            Ok(_) => self.backoff.reset(),
            Err(_) => {}
        }
    }

    /// The time at which it is to be looked after.
    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        (!self.asking).then_some(self.due_at)
    }

    /// The store says that the lease has ended.
    pub(super) fn forget(&mut self, now: Now, lease: LeaseId) {
        if self.lease() == Some(lease) {
            self.lease = None;
            self.due_at = now.at;
        }
    }
}

impl Node {
    /// What the leader's key is bound to: the contact, where the group has that, so that a leader is missed as soon as
    /// any other member. None while there is no contact.
    pub(super) fn leader_lease(&self) -> Option<LeaseId> {
        let Stage::Serving(serving) = &self.stage else { return None };
        match self.config.settings.mode {
            GroupMode::Exclusive => Some(serving.session.lease),
            GroupMode::Available => serving.contact.lease(),
        }
    }

    pub(super) fn keep_contact(&mut self, now: Now) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        let gives_up = serving.fenced;
        let contact = &mut serving.contact;
        if self.config.settings.mode == GroupMode::Exclusive
            || gives_up
            || contact.asking
            || now.at < contact.due_at
        {
            return;
        }
        let sent = now.at;
        match contact.lease {
            Some(Lease { id, ttl }) => {
                contact.due_at = now.at + ttl / 3;
                self.call(Purpose::KeepContact(id), Call::KeepAlive(id));
            }
            None => {
                contact.asking = true;
                let ttl = self.config.settings.contact_ttl();
                self.call(Purpose::GrantContact { sent }, Call::Grant { ttl });
            }
        }
    }

    pub(super) fn on_contact_granted(&mut self, now: Now, sent: Timestamp, lease: Option<Lease>) {
        if let Stage::Serving(serving) = &mut self.stage {
            serving.contact.granted(now, sent, lease);
        }
    }

    pub(super) fn on_contact_kept(
        &mut self,
        now: Now,
        lease: LeaseId,
        result: &Result<std::time::Duration, CoordinationError>,
    ) {
        if let Stage::Serving(serving) = &mut self.stage {
            serving.contact.kept(now, lease, result);
        }
        self.watch_contact();
    }

    /// The lease to write the contact with, where the store does not have it.
    pub(super) fn due_contact(&self) -> Option<LeaseId> {
        let Stage::Serving(serving) = &self.stage else { return None };
        let there = self.own.contact() == Some(serving.session.record.incarnation);
        serving.contact.lease().filter(|_| !there && self.config.settings.mode == GroupMode::Available)
    }

    /// Says when contact is lost, once until it is there again.
    pub(super) fn watch_contact(&mut self) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        if self.config.settings.mode == GroupMode::Exclusive {
            return;
        }
        let there = self.own.contact() == Some(serving.session.record.incarnation);
        let lost = !there || serving.contact.lease.is_none();
        let news = lost && !std::mem::replace(&mut serving.contact.lost, lost);
        self.out.extend(news.then_some(Action::Emit(Event::OutOfContact)));
    }
}
