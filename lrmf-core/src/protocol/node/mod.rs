//! A member as a whole: joins, serves, stops in time, and comes back.

mod contact;
mod leading;
mod lifecycle;
mod own;
mod replies;
mod serving;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::CoordinatorConfig;
use crate::coordination::{LeaseId, Op, Txn};
use crate::event::Event;
use crate::ids::{InstanceId, Token};
use crate::records::{Barred, LeaderRecord};
use crate::task::Holding;

use super::holdings::Inherited;
use super::leader::{Leader, LeaderConfig, Overview};
use super::session::{Joining, OwnKeys, Session};
use super::{Action, Call, CallId, Command, Exit, FeedId, FeedItem, Input, Now, StopError};
use own::OwnWrite;
use serving::{Mode, Serving, Then};

/// The configuration of a member.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Its name.
    pub instance: InstanceId,
    /// Its settings.
    pub settings: CoordinatorConfig,
    /// Its configuration as a leader.
    pub leader: LeaderConfig,
}

/// The purpose of a call.
#[derive(Clone, Debug)]
enum Purpose {
    Grant {
        sent: Timestamp,
    },
    Claim,
    KeepAlive {
        lease: LeaseId,
        sent: Timestamp,
    },
    Own(OwnWrite),
    Campaign {
        lease: LeaseId,
    },
    /// Deletes the leader's key, which this member has and does not use.
    Resign,
    GrantContact {
        sent: Timestamp,
    },
    KeepContact(LeaseId),
    LeaderTxn,
    /// Nobody waits for it.
    Courtesy,
}

#[derive(Clone, Debug)]
enum Stage {
    Joining(Box<Joining>),
    Serving(Box<Serving>),
    Over,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Node {
    config: NodeConfig,
    stage: Stage,
    own: OwnKeys,
    calls: BTreeMap<CallId, Purpose>,
    next_call: u64,
    epochs: BTreeMap<FeedId, u64>,
    /// The lease of the session before, which may still hold the leader's key.
    former_lease: Option<LeaseId>,
    next_epoch: u64,
    /// The remains of former sessions.
    inherited: Inherited,
    out: Vec<Action>,
}

impl Node {
    /// A member that begins to join.
    pub fn new(config: NodeConfig) -> (Self, Vec<Action>) {
        let mut node = Self {
            config,
            stage: Stage::Over,
            own: OwnKeys::default(),
            calls: BTreeMap::new(),
            next_call: 0,
            epochs: BTreeMap::new(),
            next_epoch: 0,
            former_lease: None,
            inherited: Inherited::default(),
            out: Vec::new(),
        };
        node.join(Vec::new());
        let actions = std::mem::take(&mut node.out);
        (node, actions)
    }

    /// Takes an input in and says what to do.
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Action> {
        self.watch_deadline(now);
        match input {
            Input::Tick => {}
            Input::Reply(id, reply) => self.on_reply(now, id, reply),
            Input::Feed { feed, epoch, item } if self.epochs.get(&feed) == Some(&epoch) => {
                self.on_feed(now, feed, &item);
            }
            Input::Feed { .. } => {}
            Input::Interrupted { feed: FeedId::Group, epoch }
                if self.epochs.get(&FeedId::Group) == Some(&epoch) =>
            {
                if let Some(leader) = self.leader() {
                    leader.on_interrupted(now);
                }
            }
            Input::Interrupted { .. } => {}
            Input::Assigned { key, token, result } => match &mut self.stage {
                Stage::Serving(serving) => {
                    self.out.extend(serving.holdings.on_assigned(now, &key, token, result));
                }
                Stage::Joining(_) => self.out.extend(self.inherited.on_assigned(&key, token, &result)),
                Stage::Over => {}
            },
            Input::Revoked { key, token, result } => self.on_revoked(now, &key, token, result),
            Input::GivenUp { key, token, error } => {
                if let Stage::Serving(serving) = &mut self.stage {
                    self.out.extend(serving.holdings.on_given_up(now, &key, token, error));
                }
            }
            Input::Floor(result) => {
                let actions = self.leader().map(|leader| leader.on_floor(now, result));
                self.lead(now, actions.unwrap_or_default());
            }
            Input::StoreReset => self.on_store_reset(now),
            Input::Tasks(result) => {
                let actions = self.leader().map(|leader| leader.on_tasks(now, result));
                self.lead(now, actions.unwrap_or_default());
            }
            Input::Planned { request, answer } => {
                let actions = self.leader().map(|leader| leader.on_planned(now, &request, answer));
                self.lead(now, actions.unwrap_or_default());
            }
            Input::Command(command) => self.on_command(now, command),
        }
        self.progress(now);
        std::mem::take(&mut self.out)
    }

    /// The time at which an [`Input::Tick`] is due, at the latest.
    pub fn next_wake(&self, now: Now) -> Option<Timestamp> {
        match &self.stage {
            Stage::Joining(joining) => joining.next_wake(now),
            Stage::Serving(serving) => serving.next_wake(now),
            Stage::Over => None,
        }
    }

    /// The session, while there is one.
    pub fn session(&self) -> Option<&Session> {
        match &self.stage {
            Stage::Serving(serving) => Some(&serving.session),
            Stage::Joining(_) | Stage::Over => None,
        }
    }

    /// The time until which the member may work if it hears nothing more of the store; none while its session is over, or
    /// given up, or about to be ended.
    pub fn may_work_until(&self) -> Option<Timestamp> {
        match &self.stage {
            Stage::Serving(serving) => {
                let stopped = matches!(serving.mode, Mode::Halting(_)) && serving.holdings.is_idle();
                let over = serving.fenced || stopped || serving.mode == Mode::Leaving;
                (!over).then_some(serving.session.deadline)
            }
            Stage::Joining(_) | Stage::Over => None,
        }
    }

    /// The leader, as far as is known.
    pub fn leader_record(&self) -> Option<&LeaderRecord> {
        match &self.stage {
            Stage::Serving(serving) => serving.election.leader(),
            Stage::Joining(_) | Stage::Over => None,
        }
    }

    /// The group as this member sees it, while it leads.
    pub fn overview(&self) -> Option<Overview> {
        match &self.stage {
            Stage::Serving(serving) => serving.leader.as_ref().map(Leader::overview),
            Stage::Joining(_) | Stage::Over => None,
        }
    }

    /// The age of the last sign of life that the store has confirmed, and how long the tasks may run without another one.
    pub fn signs_of_life(&self, now: Now) -> Option<(Duration, Duration)> {
        let deadline = self.session()?.deadline;
        let settings = &self.config.settings;
        let span = settings.ttl.saturating_sub(settings.margin);
        let left = deadline.since(now.at);
        Some((span.saturating_sub(left), left))
    }

    /// Returns true where this member leads.
    pub fn is_leading(&self) -> bool {
        matches!(&self.stage, Stage::Serving(serving) if serving.leader.is_some())
    }

    /// The preference for this member as the leader, while it is one; zero where it had to leave that to others.
    pub fn preference(&self) -> Option<u8> {
        match &self.stage {
            Stage::Serving(serving) if matches!(serving.mode, Mode::Member) => {
                Some(serving.election.preference())
            }
            Stage::Serving(_) | Stage::Joining(_) | Stage::Over => None,
        }
    }

    /// Returns true while all tasks stop, as the session has ended or is given up.
    pub fn is_fenced(&self) -> bool {
        matches!(&self.stage, Stage::Serving(serving) if serving.fenced)
    }

    /// The holdings that run and are not about to stop.
    pub fn held(&self) -> Vec<Holding> {
        match &self.stage {
            Stage::Serving(serving) => serving.holdings.held().cloned().collect(),
            Stage::Joining(_) | Stage::Over => Vec::new(),
        }
    }

    /// Why the leader gives this member no tasks, where it does not.
    pub fn barred(&self) -> Option<Barred> {
        match &self.stage {
            Stage::Serving(serving) => serving.barred,
            Stage::Joining(_) | Stage::Over => None,
        }
    }

    /// All that decides what it does next, for comparing states. Feeds' epochs do not: they only keep an earlier start of
    /// a feed apart from a later one.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> impl std::fmt::Debug + '_ {
        (&self.stage, &self.own, &self.calls, self.former_lease)
    }

    /// The lease of the session that it keeps alive.
    #[cfg(test)]
    pub(crate) fn lease(&self) -> Option<LeaseId> {
        match &self.stage {
            Stage::Joining(joining) => joining.lease(),
            Stage::Serving(serving) => Some(serving.session.lease),
            Stage::Over => None,
        }
    }

    /// The lease of the contact that it keeps alive.
    #[cfg(test)]
    pub(crate) fn contact_lease(&self) -> Option<LeaseId> {
        match &self.stage {
            Stage::Joining(joining) => joining.contact(),
            Stage::Serving(serving) => serving.contact.lease(),
            Stage::Over => None,
        }
    }

    fn leader(&mut self) -> Option<&mut Leader> {
        match &mut self.stage {
            Stage::Serving(serving) => serving.leader.as_mut(),
            Stage::Joining(_) | Stage::Over => None,
        }
    }

    // ---- calls and feeds ----

    fn call(&mut self, purpose: Purpose, call: Call) {
        let id = CallId(self.next_call);
        self.next_call += 1;
        self.calls.insert(id, purpose);
        self.out.push(Action::Call(id, call));
    }

    fn follow(&mut self, feed: FeedId) {
        let keys = &self.config.leader.keys;
        let prefix = match feed {
            FeedId::Own => keys.member(&self.config.instance),
            FeedId::Record => keys.assignment(&self.config.instance),
            FeedId::Leader => keys.leader(),
            FeedId::Group => keys.root().to_owned(),
        };
        let epoch = self.next_epoch;
        self.next_epoch += 1;
        self.epochs.insert(feed, epoch);
        self.out.push(Action::Follow { feed, epoch, prefix });
    }

    fn unfollow(&mut self, feed: FeedId) {
        if self.epochs.remove(&feed).is_some() {
            self.out.push(Action::Unfollow(feed));
        }
    }

    // ---- inputs ----

    fn on_command(&mut self, now: Now, command: Command) {
        let until = now.at + self.config.settings.drain_timeout;
        match (&mut self.stage, command) {
            (Stage::Over, _) => {}
            (Stage::Joining(_), Command::Trigger | Command::Hint | Command::Load(_)) => {}
            (Stage::Serving(_), Command::Hint) => {
                let actions = self.leader().map(|leader| leader.on_hint(now));
                self.lead(now, actions.unwrap_or_default());
            }
            (Stage::Serving(serving), Command::Load(per_mille)) => serving.load = Some(per_mille),
            (Stage::Joining(joining), _) => {
                // A place as successor that nobody will take must not keep the tasks waiting.
                if let Some(lease) = joining.lease() {
                    self.call(Purpose::Courtesy, Call::Revoke(lease));
                }
                self.end(Exit::Asked);
            }
            (Stage::Serving(serving), Command::Close) => match serving.mode {
                Mode::Member if self.config.leader.rules.hands_over => {
                    serving.mode = Mode::Draining { until }
                }
                Mode::Member => self.halt(now, Then::Die),
                Mode::Halting(Then::Evict) => serving.leave_for_good(Then::Leave),
                Mode::Halting(Then::Rejoin) => serving.leave_for_good(Then::Die),
                Mode::Leaving => serving.evicted = false,
                Mode::Draining { .. } | Mode::Halting(Then::Leave | Then::Restart | Then::Die) => {}
            },
            (Stage::Serving(serving), Command::Restart) => match serving.mode {
                Mode::Member | Mode::Draining { .. } => self.halt(now, Then::Restart),
                Mode::Halting(Then::Evict) => serving.leave_for_good(Then::Restart),
                Mode::Halting(Then::Rejoin) => serving.leave_for_good(Then::Die),
                Mode::Leaving => serving.evicted = false,
                Mode::Halting(Then::Leave | Then::Restart | Then::Die) => {}
            },
            (Stage::Serving(_), Command::Kill) => self.halt(now, Then::Die),
            (Stage::Serving(serving), Command::Trigger) => {
                if let Some(leader) = &mut serving.leader {
                    let actions = leader.on_trigger(now);
                    self.lead(now, actions);
                } else {
                    let value = serving.session.record.incarnation.to_string().into();
                    let key = self.config.leader.keys.trigger();
                    let txn = Txn { guards: Vec::new(), ops: vec![Op::Put { key, value, lease: None }] };
                    self.call(Purpose::Courtesy, Call::Commit(txn));
                }
            }
        }
    }

    fn on_revoked(&mut self, now: Now, key: &Arc<str>, token: Token, result: Result<(), StopError>) {
        let stopped = !matches!(&result, Err(StopError::Panicked(_)));
        let key_of_event = Arc::clone(key);
        match result {
            Ok(()) => {}
            Err(StopError::Failed(error)) => {
                self.out.push(Action::Emit(Event::RevokeFailed { key: key_of_event, token, error }));
            }
            Err(StopError::Panicked(error)) => {
                self.out.push(Action::Emit(Event::RevokePanicked { key: key_of_event, token, error }));
            }
        }
        match &mut self.stage {
            Stage::Serving(serving) => self.out.extend(serving.holdings.on_revoked(now, key, token, stopped)),
            Stage::Joining(_) => self.inherited.on_revoked(key, token, stopped),
            Stage::Over => {}
        }
    }

    fn on_feed(&mut self, now: Now, feed: FeedId, item: &FeedItem) {
        let keys = self.config.leader.keys.clone();
        match (feed, &mut self.stage) {
            (FeedId::Own, Stage::Joining(joining)) => {
                if self.own.on_feed(&keys, item) {
                    let actions = joining.on_own(now, &self.own, matches!(item, FeedItem::Loaded(_)));
                    self.joining(now, actions);
                }
            }
            (FeedId::Own, Stage::Serving(serving)) => {
                if !self.own.on_feed(&keys, item) {
                    return;
                }
                if matches!(item, FeedItem::Loaded(_)) {
                    serving.unsure = false;
                }
                let another = !serving.writing
                    && matches!(item, FeedItem::Loaded(_))
                    && serving.acked.is_some_and(|written| self.own.ack() != Some(written));
                if self.own.lost_ack() || another {
                    serving.acked = None;
                    serving.holdings.on_not_acked(now, false);
                }
                self.check_own(now);
            }
            (FeedId::Record, Stage::Serving(serving)) => {
                self.out.extend(serving.holdings.on_record(now, item));
                if serving.holdings.has_gone_back() {
                    self.on_store_reset(now);
                }
            }
            (FeedId::Leader, Stage::Serving(serving)) => {
                let verdict = serving.election.on_feed(now, item);
                self.elect(now, verdict);
            }
            (FeedId::Group, Stage::Serving(serving)) => {
                let actions = serving.leader.as_mut().map(|leader| leader.on_feed(now, item));
                self.lead(now, actions.unwrap_or_default());
            }
            (_, Stage::Joining(_) | Stage::Over) => {}
        }
    }

    // ---- what is due ----

    fn progress(&mut self, now: Now) {
        match &mut self.stage {
            Stage::Joining(joining) => {
                let actions = joining.tick(now, &self.own);
                if joining.begins_to_wait() {
                    self.out.push(Action::Emit(Event::Waiting));
                }
                self.joining(now, actions);
            }
            Stage::Serving(serving) => {
                let verdict = serving.election.tick(now);
                let actions = serving.leader.as_mut().map(|leader| leader.tick(now)).unwrap_or_default();
                self.elect(now, verdict);
                self.lead(now, actions);
                self.resign(now);
                self.keep_alive(now);
                self.keep_contact(now);
                self.report_overdue(now);
                self.change_mode(now);
                self.write_own(now);
            }
            Stage::Over => {}
        }
    }

    fn report_overdue(&mut self, now: Now) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        self.out.extend(serving.holdings.tick(now));
    }

    fn keep_alive(&mut self, now: Now) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        if serving.fenced || now.at < serving.keep_alive_at {
            return;
        }
        serving.keep_alive_at = now.at + self.config.settings.keep_alive_interval();
        let lease = serving.session.lease;
        self.call(Purpose::KeepAlive { lease, sent: now.at }, Call::KeepAlive(lease));
    }
}
