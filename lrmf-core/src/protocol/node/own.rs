//! What a member writes about itself: acknowledgements, its state, its end. One write at a time, each guarded by the
//! session key; where nobody answered, the own keys are read before the next one.

use crate::config::GroupMode;
use crate::coordination::{Guard, LeaseId, Op, Revision, Txn, TxnOutcome};
use crate::error::CoordinationError;
use crate::event::{Event, FenceReason};
use crate::ids::Incarnation;
use crate::protocol::{Action, Call, Exit, FeedId, Now};
use crate::records::{
    AckRecord, Barred, ContactRecord, Format, LoadReport, MemberRecord, MemberState, encode,
};

use super::{Mode, Node, Purpose, Stage, Then};

/// A write of the member's own keys; one at a time.
#[derive(Clone, Debug)]
pub(super) enum OwnWrite {
    Ack(AckRecord),
    State(MemberState),
    Load(LoadReport),
    Contact(LeaseId),
    Leave,
}

impl Node {
    /// The session key, as the store has it, must still be this session's.
    pub(super) fn check_own(&mut self, now: Now) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        let incarnation = serving.session.record.incarnation;
        self.watch_contact();
        self.watch_notice(now, incarnation);
        let Stage::Serving(serving) = &mut self.stage else { return };
        match self.own.session() {
            None if serving.mode == Mode::Leaving => self.left(now),
            None => self.fence(now, FenceReason::SessionEnded),
            Some(claimed) => match &claimed.record {
                Some(record) if record.incarnation == incarnation => {
                    serving.session.record = record.clone();
                    let evicted = self.own.evicted() == Some(incarnation) && !serving.evicted;
                    let parted = serving.mode == Mode::Halting(Then::Restart);
                    if parted && record.state == MemberState::Restarting {
                        self.end(Exit::Asked);
                    } else if evicted {
                        self.evict(now);
                    }
                }
                _ => self.fence(now, FenceReason::Superseded),
            },
        }
    }

    /// Says why the leader gives this member no tasks, and when it does again.
    fn watch_notice(&mut self, now: Now, incarnation: Incarnation) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        let notice = self.own.notice().filter(|notice| notice.incarnation == incarnation);
        let barred = notice.map(|notice| notice.barred);
        if barred != std::mem::replace(&mut serving.barred, barred) {
            self.out.push(Action::Emit(barred.map_or(Event::Unbarred, Event::Barred)));
        }
        if barred == Some(Barred::Unreadable) {
            self.fence(now, FenceReason::Unreadable);
        }
    }

    pub(super) fn write_own(&mut self, now: Now) {
        let contact = self.due_contact();
        let Stage::Serving(serving) = &mut self.stage else { return };
        if serving.writing || serving.unsure || now.at < serving.write_at {
            return;
        }
        let state = serving.session.record.state;
        let write = match serving.mode {
            Mode::Leaving => OwnWrite::Leave,
            Mode::Halting(Then::Restart) if serving.holdings.is_idle() => {
                OwnWrite::State(MemberState::Restarting)
            }
            Mode::Draining { .. } | Mode::Halting(Then::Evict) if state == MemberState::Active => {
                OwnWrite::State(MemberState::Draining)
            }
            Mode::Halting(Then::Rejoin | Then::Die) => return,
            Mode::Member | Mode::Draining { .. } | Mode::Halting(_) => {
                let ack = serving.holdings.due_ack(now).map(OwnWrite::Ack);
                let load = || serving.due_load(self.config.settings.load_step).map(OwnWrite::Load);
                match contact.map(OwnWrite::Contact).or(ack).or_else(load) {
                    Some(write) => write,
                    None => return,
                }
            }
        };
        serving.writing = true;
        let Some(txn) = self.own_txn(&write) else { return };
        self.call(Purpose::Own(write), Call::Commit(txn));
    }

    pub(super) fn own_txn(&self, write: &OwnWrite) -> Option<Txn> {
        let Stage::Serving(serving) = &self.stage else { return None };
        let keys = &self.config.leader.keys;
        let (session, ack) = (keys.session(&self.config.instance), keys.ack(&self.config.instance));
        let lease = Some(serving.session.lease);
        let revision = self.own.session()?.revision;
        let mut guards = vec![Guard::ModifiedAt { key: session.clone(), revision }];
        let mut ops = Vec::new();
        match write {
            OwnWrite::Ack(record) => {
                let guard = match self.own.ack() {
                    Some(revision) => Guard::ModifiedAt { key: ack.clone(), revision },
                    None => Guard::Absent { key: ack.clone() },
                };
                guards.extend(self.config.leader.rules.ack_guard.then_some(guard));
                ops.push(Op::Put { key: ack, value: encode(record), lease });
            }
            OwnWrite::State(state) => {
                let record = MemberRecord { state: *state, ..serving.session.record.clone() };
                ops.push(Op::Put { key: session, value: encode(&record), lease });
            }
            OwnWrite::Load(report) => {
                let record = MemberRecord { load: Some(*report), ..serving.session.record.clone() };
                ops.push(Op::Put { key: session, value: encode(&record), lease });
            }
            OwnWrite::Contact(contact) => {
                let incarnation = serving.session.record.incarnation;
                let value = encode(&ContactRecord { format: Format, incarnation });
                ops.push(Op::Put { key: keys.contact(&self.config.instance), value, lease: Some(*contact) });
            }
            OwnWrite::Leave => {
                ops.extend([Op::Delete { key: session }, Op::Delete { key: ack }]);
                if self.config.settings.mode == GroupMode::Available {
                    ops.push(Op::Delete { key: keys.contact(&self.config.instance) });
                }
            }
        }
        let goes = matches!(write, OwnWrite::Leave | OwnWrite::State(MemberState::Restarting))
            && self.config.leader.rules.leader_key_goes;
        if let (true, Some(created)) = (goes, serving.election.leading()) {
            guards.push(Guard::CreatedAt { key: keys.leader(), revision: created });
            ops.push(Op::Delete { key: keys.leader() });
        }
        Some(Txn { guards, ops })
    }

    pub(super) fn on_own_write(
        &mut self,
        now: Now,
        write: OwnWrite,
        result: &Result<TxnOutcome, CoordinationError>,
    ) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        serving.writing = false;
        match result {
            Ok(TxnOutcome::Applied { revision }) => {
                serving.write_backoff.reset();
                self.own_written(now, write, *revision);
            }
            Err(CoordinationError::LeaseGone) => match write {
                OwnWrite::Contact(lease) => serving.contact.forget(now, lease),
                _ => self.fence(now, FenceReason::SessionEnded),
            },
            Ok(TxnOutcome::Refused) | Err(_) => {
                let leads = serving.election.leading().is_some();
                if let OwnWrite::Ack(_) = write {
                    serving.holdings.on_not_acked(now, matches!(result, Err(CoordinationError::TooLarge(_))));
                }
                serving.unsure = true;
                let backoff = &mut serving.write_backoff;
                let wait = match result {
                    Err(error) => backoff.after(error),
                    Ok(_) => backoff.again(),
                };
                serving.write_at = now.at + wait;
                self.follow(FeedId::Own);
                if leads {
                    self.follow(FeedId::Leader);
                }
            }
        }
    }

    pub(super) fn own_written(&mut self, now: Now, write: OwnWrite, revision: Revision) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        match write {
            OwnWrite::Ack(record) => {
                self.own.wrote_ack(revision);
                serving.acked = Some(revision);
                serving.holdings.on_acked(now, &record);
            }
            OwnWrite::State(state) => {
                serving.session.record.state = state;
                self.own.wrote_session(revision, serving.session.record.clone());
                if state == MemberState::Restarting {
                    self.end(Exit::Asked);
                } else {
                    self.change_mode(now);
                }
            }
            OwnWrite::Load(report) => {
                serving.session.record.load = Some(report);
                self.own.wrote_session(revision, serving.session.record.clone());
            }
            OwnWrite::Contact(_) => {
                self.own.wrote_contact(revision, serving.session.record.incarnation);
                self.watch_contact();
            }
            OwnWrite::Leave => {
                // The keys are gone; the lease ends now, or by itself.
                let lease = serving.session.lease;
                self.call(Purpose::Courtesy, Call::Revoke(lease));
                self.left(now);
            }
        }
    }
}
