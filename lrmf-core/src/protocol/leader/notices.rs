//! The group's mode, and what the leader has to say to members that it gives nothing.

use crate::coordination::{Guard, Op, Txn};
use crate::ids::InstanceId;
use crate::records::{Barred, Format, MemberRecord, ModeRecord, NoticeRecord, encode};

use super::{InFlight, Leader, LeaderAction};

impl Leader {
    /// Makes this leader's mode the group's, before it gives anything to anybody. It leads only where no session of
    /// another mode's members is alive that may hold tasks, so nothing runs by the rules of the mode before. Says
    /// whether there is anything to do.
    pub(super) fn set_mode(&mut self) -> bool {
        if self.view.mode_agrees() {
            return false;
        }
        let key = self.config.keys.mode();
        let guard = match self.view.stored_mode {
            None => Guard::Absent { key: key.clone() },
            Some((_, revision)) => Guard::ModifiedAt { key: key.clone(), revision },
        };
        let guards = vec![Guard::CreatedAt { key: self.config.keys.leader(), revision: self.created }, guard];
        let record = ModeRecord { format: Format, mode: self.config.mode };
        let ops = vec![Op::Put { key, value: encode(&record), lease: None }];
        self.in_flight = Some(InFlight::Mode);
        self.out.push(LeaderAction::Commit(Txn { guards, ops }));
        true
    }

    /// Tells members why they are given nothing, and when that is over. A notice is bound to the session's lease and
    /// guarded by its key: whom it is about is there to read it.
    pub(super) fn tell_members(&mut self) {
        if !self.notices_due {
            return;
        }
        let guards = vec![Guard::CreatedAt { key: self.config.keys.leader(), revision: self.created }];
        let (mut txn, mut told) = (Txn { guards, ops: Vec::new() }, Vec::new());
        let keys = &self.config.keys;
        for (instance, member) in &self.view.members {
            let due = self.due_notice(instance, member);
            let Some(session) = self.view.sessions.get(instance) else { continue };
            if self.view.notices.get(instance) == due.as_ref() {
                continue;
            }
            if txn.guards.len() == self.config.limits.ops {
                break;
            }
            let (key, revision) = (keys.notice(instance), session.modified);
            txn.guards.push(Guard::ModifiedAt { key: keys.session(instance), revision });
            txn.ops.push(match &due {
                Some(notice) => Op::Put { key, value: encode(notice), lease: session.lease },
                None => Op::Delete { key },
            });
            told.push((instance.clone(), due));
        }
        if told.is_empty() {
            self.notices_due = false;
            return;
        }
        self.in_flight = Some(InFlight::Notices(told));
        self.out.push(LeaderAction::Commit(txn));
    }

    fn due_notice(&self, instance: &InstanceId, member: &MemberRecord) -> Option<NoticeRecord> {
        let barred = if self.view.has_unreadable(instance) {
            Barred::Unreadable
        } else if member.mode != self.config.mode {
            Barred::Mode { group: self.config.mode }
        } else if !self.view.has_seat(instance) {
            Barred::Full { most: self.view.seats.most() }
        } else {
            return None;
        };
        Some(NoticeRecord { format: Format, incarnation: member.incarnation, barred })
    }
}
