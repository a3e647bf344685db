//! Campaigning, and doing what the leader's machine asks for.

use crate::coordination::{Guard, LeaseId, Op, Txn, TxnOutcome};
use crate::error::CoordinationError;
use crate::event::Event;
use crate::protocol::backoff::Backoff;
use crate::protocol::election::Verdict;
use crate::protocol::leader::{Leader, LeaderAction};
use crate::protocol::{Action, Call, FeedId, Now};
use crate::records::{LeaderRecord, encode};

use super::serving::{Resign, Serving};
use super::{Mode, Node, NodeConfig, Purpose, Stage};

/// The record of this member as the leader.
fn own_record(config: &NodeConfig, serving: &Serving) -> LeaderRecord {
    let incarnation = serving.session.record.incarnation;
    let record = LeaderRecord::new(config.instance.clone(), incarnation, config.leader.assignor);
    LeaderRecord { preference: serving.election.preference(), ..record }
}

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
                    None => drop(serving.election.on_campaign(now, Err(CoordinationError::LeaseGone))),
                }
            }
            Verdict::Lead(created) if stays => {
                self.stop_leading();
                // The key was bound to a contact that is lost, so it is gone as well: that is about to be heard.
                let Some(lease) = lease else { return };
                let Stage::Serving(serving) = &mut self.stage else { return };
                let record = own_record(&self.config, serving);
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
            Verdict::Clear(revision) => {
                let key = self.config.leader.keys.leader();
                self.delete(Guard::ModifiedAt { key: key.clone(), revision }, key);
            }
            // One that is about to leave takes nothing over.
            Verdict::Depose(revision)
                if matches!(serving.mode, Mode::Member) && self.config.leader.rules.deposes =>
            {
                let key = self.config.leader.keys.leader();
                self.delete(Guard::CreatedAt { key: key.clone(), revision }, key);
            }
            Verdict::Depose(_) => {}
        }
    }

    fn delete(&mut self, guard: Guard, key: String) {
        self.call(
            Purpose::Courtesy,
            Call::Commit(Txn { guards: vec![guard], ops: vec![Op::Delete { key }] }),
        );
    }

    pub(super) fn campaign(&self, lease: LeaseId) -> Txn {
        let Stage::Serving(serving) = &self.stage else { return Txn::default() };
        let record = own_record(&self.config, serving);
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
                LeaderAction::AskFloor => self.out.push(Action::AskFloor),
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

    /// Leaves the leadership to a member that can do what this one cannot.
    pub(super) fn abstain(&mut self, now: Now) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        let Some(created) = serving.election.leading() else { return };
        let until = now.at + self.config.settings.ttl;
        serving.election.abstain(until);
        let backoff = Backoff::new(&self.config.instance);
        serving.resign = Some(Resign { created, at: now.at, under_way: false, until, backoff });
        self.resign(now);
    }

    /// Deletes the leader's key that this member has and does not use, again and again until that is done.
    pub(super) fn resign(&mut self, now: Now) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        let Some(resign) = &mut serving.resign else { return };
        if now.at >= resign.until {
            serving.resign = None;
            return;
        }
        if resign.under_way || now.at < resign.at {
            return;
        }
        resign.under_way = true;
        let (key, revision) = (self.config.leader.keys.leader(), resign.created);
        let guards = vec![Guard::CreatedAt { key: key.clone(), revision }];
        self.call(Purpose::Resign, Call::Commit(Txn { guards, ops: vec![Op::Delete { key }] }));
    }

    pub(super) fn on_resigned(&mut self, now: Now, result: Result<TxnOutcome, CoordinationError>) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        match (result, &mut serving.resign) {
            (Err(error), Some(resign)) => {
                (resign.under_way, resign.at) = (false, now.at + resign.backoff.after(&error));
            }
            (Ok(_), _) | (_, None) => serving.resign = None,
        }
    }
}
