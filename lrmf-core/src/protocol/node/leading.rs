//! Campaigning, and doing what the leader's machine asks for.

use crate::coordination::{Guard, LeaseId, Op, Txn};
use crate::error::StoreError;
use crate::event::Event;
use crate::ids::{Incarnation, InstanceId};
use crate::protocol::election::Verdict;
use crate::protocol::leader::{Leader, LeaderAction};
use crate::protocol::{Action, Call, FeedId, Now};
use crate::records::{Format, LeaderRecord, encode};

use super::{Mode, Node, Purpose, Stage};

impl Node {
    pub(super) fn elect(&mut self, now: Now, verdict: Verdict) {
        let lease = self.leader_lease();
        let Stage::Serving(serving) = &mut self.stage else { return };
        let stays = matches!(serving.mode, Mode::Member | Mode::Draining { .. });
        match verdict {
            Verdict::Nothing => {}
            Verdict::Campaign => {
                if !stays {
                    return;
                }
                match lease {
                    Some(lease) => {
                        let txn = self.campaign(lease);
                        self.call(Purpose::Campaign { lease }, Call::Commit(txn));
                    }
                    // Out of contact, and about to be back.
                    None => drop(serving.election.on_campaign(now, Err(StoreError::LeaseGone))),
                }
            }
            Verdict::Lead(created) if stays => {
                self.stop_leading();
                // The key was bound to a contact that is lost, so it is gone as well: that is about to be heard.
                let Some(lease) = lease else { return };
                let Stage::Serving(serving) = &mut self.stage else { return };
                let record = self.config.instance.clone();
                let assignor = self.config.leader.assignor;
                let record = own_record(record, serving.session.record.incarnation, assignor);
                let (leader, actions) = Leader::new(self.config.leader.clone(), created, record, lease, now);
                serving.leader = Some(leader);
                self.out.push(Action::Emit(Event::BecameLeader));
                self.follow(FeedId::Group);
                self.lead(now, actions);
            }
            Verdict::Lead(_) => {}
            Verdict::Resign => {
                self.stop_leading();
                let Stage::Serving(serving) = &mut self.stage else { return };
                let verdict = serving.election.tick(now);
                self.elect(now, verdict);
            }
            Verdict::Reload => self.follow(FeedId::Leader),
        }
    }

    pub(super) fn campaign(&self, lease: LeaseId) -> Txn {
        let Stage::Serving(serving) = &self.stage else { return Txn::default() };
        let assignor = self.config.leader.assignor;
        let record = own_record(self.config.instance.clone(), serving.session.record.incarnation, assignor);
        let key = self.config.leader.keys.leader();
        Txn {
            guards: vec![Guard::Absent { key: key.clone() }],
            ops: vec![Op::Put { key, value: encode(&record), lease: Some(lease) }],
        }
    }

    pub(super) fn lead(&mut self, now: Now, actions: Vec<LeaderAction>) {
        for action in actions {
            match action {
                LeaderAction::Reload => self.follow(FeedId::Group),
                LeaderAction::Commit(txn) => self.call(Purpose::LeaderTxn, Call::Commit(txn)),
                LeaderAction::AskProvider => self.out.push(Action::AskProvider),
                LeaderAction::Plan(request) => self.out.push(Action::Plan(request)),
                LeaderAction::Emit(event) => self.out.push(Action::Emit(event)),
                LeaderAction::StepDown { abstain } => {
                    self.stop_leading();
                    if abstain {
                        self.abstain(now);
                    }
                }
            }
        }
    }

    /// Leaves the leadership to a member that can read the records and is of the group's mode.
    pub(super) fn abstain(&mut self, now: Now) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        let Some(created) = serving.election.leading() else { return };
        serving.election.abstain(now.at + self.config.settings.ttl);
        let key = self.config.leader.keys.leader();
        let guards = vec![Guard::CreatedAt { key: key.clone(), revision: created }];
        self.call(Purpose::Courtesy, Call::Commit(Txn { guards, ops: vec![Op::Delete { key }] }));
    }
}

/// What the leader's key holds at first.
fn own_record(instance: InstanceId, incarnation: Incarnation, assignor: &str) -> LeaderRecord {
    let assignor = assignor.to_owned();
    LeaderRecord { format: Format, instance, incarnation, candidates: Vec::new(), assignor }
}
