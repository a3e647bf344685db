//! The meaning of the store's answers, each to whoever asked.

use crate::error::CoordinationError;
use crate::event::FenceReason;
use crate::protocol::session::JoinAction;
use crate::protocol::{Call, CallId, Exit, FeedId, Now, Reply};

use super::{Node, Purpose, Stage};

impl Node {
    pub(super) fn on_reply(&mut self, now: Now, id: CallId, reply: Reply) {
        let Some(purpose) = self.calls.remove(&id) else { return };
        match (purpose, reply, &mut self.stage) {
            (Purpose::Grant { sent }, Reply::Granted(result), Stage::Joining(joining)) => {
                let actions = joining.on_granted(now, &self.own, sent, result);
                self.joining(now, actions);
            }
            (Purpose::GrantContact { sent }, Reply::Granted(result), Stage::Joining(joining)) => {
                let lease = result.map(|(lease, _)| lease);
                let actions = joining.on_contact_granted(now, &self.own, sent, lease);
                self.joining(now, actions);
            }
            (Purpose::GrantContact { sent }, Reply::Granted(result), Stage::Serving(_)) => {
                self.on_contact_granted(now, sent, result.ok().map(|(lease, _)| lease));
            }
            (Purpose::KeepContact(lease), Reply::KeptAlive(result), Stage::Serving(_)) => {
                self.on_contact_kept(now, lease, &result);
            }
            (Purpose::Claim, Reply::Committed(result), Stage::Joining(joining)) => {
                let actions = joining.on_claimed(now, &mut self.own, result);
                self.joining(now, actions);
            }
            (Purpose::KeepAlive { lease, sent }, Reply::KeptAlive(result), Stage::Joining(joining)) => {
                joining.on_kept_alive(now, lease, sent, &result);
            }
            (Purpose::KeepAlive { lease, .. }, _, Stage::Serving(serving))
                if lease != serving.session.lease => {}
            (Purpose::KeepAlive { sent, .. }, Reply::KeptAlive(result), Stage::Serving(serving)) => {
                match result {
                    Ok(ttl) => {
                        let from = if self.config.leader.rules.sent_time { sent } else { now.at };
                        let deadline = from + ttl.saturating_sub(self.config.settings.margin);
                        serving.session.deadline = serving.session.deadline.max(deadline);
                        serving.keep_alive_backoff.reset();
                    }
                    Err(CoordinationError::LeaseGone) => self.fence(now, FenceReason::SessionEnded),
                    Err(error) => {
                        let again_at = now.at + serving.keep_alive_backoff.after(&error);
                        serving.keep_alive_at = serving.keep_alive_at.min(again_at);
                    }
                }
            }
            (Purpose::Own(write), Reply::Committed(result), Stage::Serving(_)) => {
                self.on_own_write(now, write, &result)
            }
            (
                Purpose::Campaign { lease },
                Reply::Committed(Err(CoordinationError::LeaseGone)),
                Stage::Serving(serving),
            ) if lease == serving.session.lease => {
                self.fence(now, FenceReason::SessionEnded);
            }
            (Purpose::Campaign { .. }, Reply::Committed(result), Stage::Serving(serving)) => {
                let verdict = serving.election.on_campaign(now, result);
                self.elect(now, verdict);
            }
            (Purpose::Resign, Reply::Committed(result), Stage::Serving(_)) => self.on_resigned(now, result),
            (Purpose::LeaderTxn, Reply::Committed(result), Stage::Serving(serving)) => {
                let actions = serving.leader.as_mut().map(|leader| leader.on_committed(now, &result));
                self.lead(now, actions.unwrap_or_default());
            }
            _ => {}
        }
    }

    pub(super) fn joining(&mut self, now: Now, actions: Vec<JoinAction>) {
        for action in actions {
            match action {
                JoinAction::Grant => {
                    let ttl = self.config.settings.ttl;
                    self.call(Purpose::Grant { sent: now.at }, Call::Grant { ttl });
                }
                JoinAction::GrantContact => {
                    let ttl = self.config.settings.contact_ttl();
                    self.call(Purpose::GrantContact { sent: now.at }, Call::Grant { ttl });
                }
                JoinAction::Claim(txn) => self.call(Purpose::Claim, Call::Commit(txn)),
                JoinAction::KeepAlive(lease) => {
                    self.call(Purpose::KeepAlive { lease, sent: now.at }, Call::KeepAlive(lease));
                }
                JoinAction::Reload => self.follow(FeedId::Own),
                JoinAction::Abandon(lease) => self.call(Purpose::Courtesy, Call::Revoke(lease)),
                JoinAction::Conflict => return self.end(Exit::Conflict),
                JoinAction::Refused(why) => return self.end(Exit::Refused(why)),
                JoinAction::Joined(session) => {
                    let Stage::Joining(joining) = &self.stage else { return };
                    let former = joining.former().to_vec();
                    self.serve(now, session, &former);
                    return;
                }
            }
        }
    }
}
