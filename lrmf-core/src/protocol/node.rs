//! A member as a whole: joins, serves, stops in time, and comes back.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::config::CoordinatorConfig;
use crate::coordination::{Guard, LeaseId, Op, Revision, Txn, TxnOutcome};
use crate::error::StoreError;
use crate::event::{Event, FenceReason};
use crate::ids::{Incarnation, InstanceId, Token};
use crate::records::{AckRecord, LeaderRecord, MemberRecord, MemberState, encode};
use crate::task::Holding;

use super::election::{Election, Verdict};
use super::holdings::Holdings;
use super::leader::{Leader, LeaderAction, LeaderConfig};
use super::session::{JoinAction, Joining, OwnKeys, RETRY, Session};
use super::{Action, Call, CallId, Command, Exit, FeedId, FeedItem, Input, Now, Reply, StopError};

/// What a member is made with.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Its name.
    pub instance: InstanceId,
    /// Its settings.
    pub settings: CoordinatorConfig,
    /// How it leads, when it does.
    pub leader: LeaderConfig,
}

/// What a call was made for.
#[derive(Debug)]
enum Purpose {
    Grant {
        sent: Timestamp,
    },
    Claim,
    KeepAlive {
        sent: Timestamp,
    },
    Own(OwnWrite),
    Campaign,
    LeaderTxn,
    /// Nobody waits for it.
    Courtesy,
}

/// A write of the member's own keys; one at a time.
#[derive(Clone, Debug)]
enum OwnWrite {
    Ack(AckRecord),
    State(MemberState),
    Leave,
}

/// What a serving member is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
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
enum Then {
    Rejoin,
    Restart,
    Leave,
    Die,
}

#[derive(Debug)]
struct Serving {
    session: Session,
    holdings: Holdings,
    election: Election,
    leader: Option<Leader>,
    mode: Mode,
    keep_alive_at: Timestamp,
    /// An own write is under way.
    writing: bool,
    /// The last own write may have been applied: the own keys are read before the next one.
    unsure: bool,
    write_at: Timestamp,
}

impl Serving {
    fn next_wake(&self, now: Now) -> Option<Timestamp> {
        let until = match self.mode {
            Mode::Draining { until } => Some(until),
            Mode::Member | Mode::Halting(_) | Mode::Leaving => None,
        };
        let writable = !self.writing && !self.unsure;
        let write = writable.then_some(self.write_at);
        let ack = self.holdings.ack_at().filter(|_| writable).map(|at| at.max(self.write_at));
        let leader = self.leader.as_ref().and_then(|leader| leader.next_wake(now));
        let (deadline, keep_alive) = (Some(self.session.deadline), Some(self.keep_alive_at));
        [until, write, ack, leader, self.election.next_wake(), deadline, keep_alive]
            .into_iter()
            .flatten()
            .filter(|at| *at > now.at)
            .min()
    }
}

#[derive(Debug)]
enum Stage {
    Joining(Box<Joining>),
    Serving(Box<Serving>),
    Over,
}

/// The machine.
#[derive(Debug)]
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
            Input::Assigned { key, token, result } => {
                if let Stage::Serving(serving) = &mut self.stage {
                    self.out.extend(serving.holdings.on_assigned(now, &key, token, result));
                }
            }
            Input::Revoked { key, token, result } => self.on_revoked(now, &key, token, result),
            Input::Tasks(result) => {
                let actions = self.leader().map(|leader| leader.on_tasks(now, result));
                self.lead(now, actions.unwrap_or_default());
            }
            Input::Command(command) => self.on_command(now, command),
        }
        self.progress(now);
        std::mem::take(&mut self.out)
    }

    /// When a [`Input::Tick`] is due, at the latest.
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

    /// Who leads, as far as is known.
    pub fn leader_record(&self) -> Option<&LeaderRecord> {
        match &self.stage {
            Stage::Serving(serving) => serving.election.leader(),
            Stage::Joining(_) | Stage::Over => None,
        }
    }

    /// Whether this member leads.
    pub fn is_leading(&self) -> bool {
        matches!(&self.stage, Stage::Serving(serving) if serving.leader.is_some())
    }

    /// What is running and not about to stop.
    pub fn held(&self) -> Vec<Holding> {
        match &self.stage {
            Stage::Serving(serving) => serving.holdings.held().cloned().collect(),
            Stage::Joining(_) | Stage::Over => Vec::new(),
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

    // ---- stages ----

    fn join(&mut self, former: Vec<Incarnation>) {
        self.calls.clear();
        for feed in [FeedId::Group, FeedId::Leader, FeedId::Record] {
            self.unfollow(feed);
        }
        self.own = OwnKeys::default();
        let (keys, instance) = (self.config.leader.keys.clone(), self.config.instance.clone());
        self.stage =
            Stage::Joining(Box::new(Joining::new(keys, instance, self.config.settings.clone(), former)));
        self.follow(FeedId::Own);
    }

    fn serve(&mut self, now: Now, session: Session, former: &[Incarnation]) {
        let settings = &self.config.settings;
        let (incarnation, instance) = (session.record.incarnation, self.config.instance.clone());
        let LeaderConfig { keys, rules, .. } = self.config.leader.clone();
        let serving = Serving {
            holdings: Holdings::new(keys.clone(), instance.clone(), incarnation, settings.companions, rules),
            election: Election::new(instance, incarnation, keys.leader(), settings.ttl / 2),
            leader: None,
            mode: Mode::Member,
            keep_alive_at: now.at + settings.keep_alive_interval(),
            writing: false,
            unsure: false,
            write_at: now.at,
            session,
        };
        tracing::debug!(member = %self.config.instance, %incarnation, former = former.len(), "joined");
        self.stage = Stage::Serving(Box::new(serving));
        self.out.push(Action::Emit(Event::Joined { incarnation }));
        self.follow(FeedId::Record);
        self.follow(FeedId::Leader);
        if let Some(lease) = self.former_lease.take() {
            self.call(Purpose::Courtesy, Call::Revoke(lease));
        }
    }

    fn end(&mut self, exit: Exit) {
        self.stage = Stage::Over;
        self.calls.clear();
        for feed in [FeedId::Group, FeedId::Leader, FeedId::Record, FeedId::Own] {
            self.unfollow(feed);
        }
        self.out.push(Action::Emit(Event::Ended));
        self.out.push(Action::Done(exit));
    }

    // ---- stopping ----

    fn watch_deadline(&mut self, now: Now) {
        if let Stage::Serving(serving) = &self.stage
            && self.config.leader.rules.self_fencing
            && now.at >= serving.session.deadline
        {
            self.fence(now, FenceReason::Deadline);
        }
    }

    fn fence(&mut self, now: Now, reason: FenceReason) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        let then = match serving.mode {
            Mode::Halting(Then::Rejoin | Then::Die) => return,
            Mode::Member => Then::Rejoin,
            Mode::Draining { .. } | Mode::Halting(_) | Mode::Leaving => Then::Die,
        };
        self.out.push(Action::Emit(Event::Fenced { reason }));
        self.halt(now, then);
    }

    fn halt(&mut self, now: Now, then: Then) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        serving.mode = Mode::Halting(then);
        self.out.extend(serving.holdings.halt(now));
        if then != Then::Leave {
            self.stop_leading();
        }
    }

    fn stop_leading(&mut self) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        if serving.leader.take().is_some() {
            self.out.push(Action::Emit(Event::LostLeadership));
            self.unfollow(FeedId::Group);
        }
    }

    // ---- inputs ----

    fn on_command(&mut self, now: Now, command: Command) {
        let until = now.at + self.config.settings.drain_timeout;
        match (&mut self.stage, command) {
            (Stage::Over, _) => {}
            (Stage::Joining(_), Command::Trigger) => {}
            (Stage::Joining(_), _) => self.end(Exit::Asked),
            (Stage::Serving(serving), Command::Close) => {
                if serving.mode == Mode::Member {
                    serving.mode = Mode::Draining { until };
                }
            }
            (Stage::Serving(serving), Command::Restart) => {
                if matches!(serving.mode, Mode::Member | Mode::Draining { .. }) {
                    self.halt(now, Then::Restart);
                }
            }
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
        let Stage::Serving(serving) = &mut self.stage else { return };
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
        self.out.extend(serving.holdings.on_revoked(now, key, token, stopped));
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
                self.check_own(now);
            }
            (FeedId::Record, Stage::Serving(serving)) => {
                self.out.extend(serving.holdings.on_record(now, item))
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

    /// The session key, as the store has it, must still be this session's.
    fn check_own(&mut self, now: Now) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        let incarnation = serving.session.record.incarnation;
        match self.own.session() {
            None if serving.mode == Mode::Leaving => self.end(Exit::Asked),
            None => self.fence(now, FenceReason::SessionEnded),
            Some(claimed) => match &claimed.record {
                Some(record) if record.incarnation == incarnation => {
                    serving.session.record = record.clone();
                    let parted = serving.mode == Mode::Halting(Then::Restart);
                    if parted && record.state == MemberState::Restarting {
                        self.end(Exit::Asked);
                    }
                }
                _ => self.fence(now, FenceReason::Superseded),
            },
        }
    }

    fn on_reply(&mut self, now: Now, id: CallId, reply: Reply) {
        let Some(purpose) = self.calls.remove(&id) else { return };
        match (purpose, reply, &mut self.stage) {
            (Purpose::Grant { sent }, Reply::Granted(result), Stage::Joining(joining)) => {
                let actions = joining.on_granted(now, &self.own, sent, result);
                self.joining(now, actions);
            }
            (Purpose::Claim, Reply::Committed(result), Stage::Joining(joining)) => {
                let actions = joining.on_claimed(now, &mut self.own, result);
                self.joining(now, actions);
            }
            (Purpose::KeepAlive { sent }, Reply::KeptAlive(result), Stage::Serving(serving)) => {
                match result {
                    Ok(ttl) => {
                        let deadline = sent + ttl.saturating_sub(self.config.settings.margin);
                        serving.session.deadline = serving.session.deadline.max(deadline);
                    }
                    Err(StoreError::LeaseGone) => self.fence(now, FenceReason::SessionEnded),
                    Err(_) => serving.keep_alive_at = serving.keep_alive_at.min(now.at + RETRY),
                }
            }
            (Purpose::Own(write), Reply::Committed(result), Stage::Serving(_)) => {
                self.on_own_write(now, write, &result)
            }
            (Purpose::Campaign, Reply::Committed(result), Stage::Serving(serving)) => {
                let verdict = serving.election.on_campaign(now, result);
                self.elect(now, verdict);
            }
            (Purpose::LeaderTxn, Reply::Committed(result), Stage::Serving(serving)) => {
                let actions = serving.leader.as_mut().map(|leader| leader.on_committed(now, &result));
                self.lead(now, actions.unwrap_or_default());
            }
            _ => {}
        }
    }

    fn joining(&mut self, now: Now, actions: Vec<JoinAction>) {
        for action in actions {
            match action {
                JoinAction::Grant => {
                    let ttl = self.config.settings.ttl;
                    self.call(Purpose::Grant { sent: now.at }, Call::Grant { ttl });
                }
                JoinAction::Claim(txn) => self.call(Purpose::Claim, Call::Commit(txn)),
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

    // ---- leading ----

    fn elect(&mut self, now: Now, verdict: Verdict) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        let stays = matches!(serving.mode, Mode::Member | Mode::Draining { .. });
        match verdict {
            Verdict::Nothing => {}
            Verdict::Campaign => {
                if stays {
                    let txn = self.campaign();
                    self.call(Purpose::Campaign, Call::Commit(txn));
                }
            }
            Verdict::Lead(created) if stays => {
                self.stop_leading();
                let (leader, actions) = Leader::new(self.config.leader.clone(), created, now);
                if let Stage::Serving(serving) = &mut self.stage {
                    serving.leader = Some(leader);
                }
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

    fn campaign(&self) -> Txn {
        let Stage::Serving(serving) = &self.stage else { return Txn::default() };
        let record = LeaderRecord {
            format: crate::records::Format,
            instance: self.config.instance.clone(),
            incarnation: serving.session.record.incarnation,
            candidates: Vec::new(),
        };
        let key = self.config.leader.keys.leader();
        Txn {
            guards: vec![Guard::Absent { key: key.clone() }],
            ops: vec![Op::Put { key, value: encode(&record), lease: Some(serving.session.lease) }],
        }
    }

    fn lead(&mut self, now: Now, actions: Vec<LeaderAction>) {
        for action in actions {
            match action {
                LeaderAction::Reload => self.follow(FeedId::Group),
                LeaderAction::Commit(txn) => self.call(Purpose::LeaderTxn, Call::Commit(txn)),
                LeaderAction::AskProvider => self.out.push(Action::AskProvider),
                LeaderAction::Emit(event) => self.out.push(Action::Emit(event)),
                LeaderAction::StepDown { unreadable } => {
                    self.stop_leading();
                    if unreadable {
                        self.abstain(now);
                    }
                }
            }
        }
    }

    /// Leaves the leadership to a member that can read the records.
    fn abstain(&mut self, now: Now) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        let Some(created) = serving.election.leading() else { return };
        serving.election.abstain(now.at + self.config.settings.ttl);
        let key = self.config.leader.keys.leader();
        let guards = vec![Guard::CreatedAt { key: key.clone(), revision: created }];
        self.call(Purpose::Courtesy, Call::Commit(Txn { guards, ops: vec![Op::Delete { key }] }));
    }

    // ---- what is due ----

    fn progress(&mut self, now: Now) {
        match &mut self.stage {
            Stage::Joining(joining) => {
                let reported = joining.waiting;
                let actions = joining.tick(now, &self.own);
                if !reported && joining.waiting {
                    self.out.push(Action::Emit(Event::Waiting));
                }
                self.joining(now, actions);
            }
            Stage::Serving(serving) => {
                let verdict = serving.election.tick(now);
                let actions = serving.leader.as_mut().map(|leader| leader.tick(now)).unwrap_or_default();
                self.elect(now, verdict);
                self.lead(now, actions);
                self.keep_alive(now);
                self.change_mode(now);
                self.write_own(now);
            }
            Stage::Over => {}
        }
    }

    fn keep_alive(&mut self, now: Now) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        let gives_up = matches!(serving.mode, Mode::Halting(Then::Rejoin | Then::Die));
        if gives_up || now.at < serving.keep_alive_at {
            return;
        }
        serving.keep_alive_at = now.at + self.config.settings.keep_alive_interval();
        let lease = serving.session.lease;
        self.call(Purpose::KeepAlive { sent: now.at }, Call::KeepAlive(lease));
    }

    fn change_mode(&mut self, now: Now) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        let (idle, stopped) = (serving.holdings.is_idle(), serving.holdings.is_stopped());
        match serving.mode {
            Mode::Draining { until } => {
                let known = serving.session.record.state == MemberState::Draining;
                if known && idle && serving.holdings.wants_nothing() {
                    serving.mode = Mode::Leaving;
                } else if now.at >= until {
                    self.halt(now, Then::Leave);
                    self.change_mode(now);
                }
            }
            Mode::Halting(Then::Rejoin) if stopped => {
                let lease = serving.session.lease;
                let former = vec![serving.session.record.incarnation];
                // Ending the lease now would end the session key and move the tasks; the claim takes that key over.
                self.former_lease = Some(lease);
                self.join(former);
            }
            Mode::Halting(Then::Die) if stopped => self.end(Exit::Asked),
            Mode::Halting(Then::Leave) if idle => serving.mode = Mode::Leaving,
            // Something may still run: the session has to end by itself.
            Mode::Halting(Then::Leave | Then::Restart) if stopped && !idle => self.end(Exit::Asked),
            Mode::Member | Mode::Halting(_) | Mode::Leaving => {}
        }
    }

    fn write_own(&mut self, now: Now) {
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
            Mode::Draining { .. } if state == MemberState::Active => OwnWrite::State(MemberState::Draining),
            Mode::Halting(Then::Rejoin | Then::Die) => return,
            Mode::Member | Mode::Draining { .. } | Mode::Halting(_) => match serving.holdings.due_ack(now) {
                Some(ack) => OwnWrite::Ack(ack),
                None => return,
            },
        };
        serving.writing = true;
        let Some(txn) = self.own_txn(&write) else { return };
        self.call(Purpose::Own(write), Call::Commit(txn));
    }

    fn own_txn(&self, write: &OwnWrite) -> Option<Txn> {
        let Stage::Serving(serving) = &self.stage else { return None };
        let keys = &self.config.leader.keys;
        let (session, ack) = (keys.session(&self.config.instance), keys.ack(&self.config.instance));
        let lease = Some(serving.session.lease);
        let revision = self.own.session()?.revision;
        let mut guards = vec![Guard::ModifiedAt { key: session.clone(), revision }];
        let mut ops = Vec::new();
        match write {
            OwnWrite::Ack(record) => {
                guards.push(match self.own.ack() {
                    Some(revision) => Guard::ModifiedAt { key: ack.clone(), revision },
                    None => Guard::Absent { key: ack.clone() },
                });
                ops.push(Op::Put { key: ack, value: encode(record), lease });
            }
            OwnWrite::State(state) => {
                let record = MemberRecord { state: *state, ..serving.session.record.clone() };
                ops.push(Op::Put { key: session, value: encode(&record), lease });
            }
            OwnWrite::Leave => ops.extend([Op::Delete { key: session }, Op::Delete { key: ack }]),
        }
        let goes = matches!(write, OwnWrite::Leave | OwnWrite::State(MemberState::Restarting));
        if let (true, Some(created)) = (goes, serving.election.leading()) {
            guards.push(Guard::CreatedAt { key: keys.leader(), revision: created });
            ops.push(Op::Delete { key: keys.leader() });
        }
        Some(Txn { guards, ops })
    }

    fn on_own_write(&mut self, now: Now, write: OwnWrite, result: &Result<TxnOutcome, StoreError>) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        serving.writing = false;
        match result {
            Ok(TxnOutcome::Applied { revision }) => self.own_written(now, write, *revision),
            Err(StoreError::LeaseGone) => self.fence(now, FenceReason::SessionEnded),
            Ok(TxnOutcome::Refused) | Err(_) => {
                let leads = serving.election.leading().is_some();
                serving.unsure = true;
                serving.write_at = now.at + RETRY / 4;
                self.follow(FeedId::Own);
                if leads {
                    self.follow(FeedId::Leader);
                }
            }
        }
    }

    fn own_written(&mut self, now: Now, write: OwnWrite, revision: Revision) {
        let Stage::Serving(serving) = &mut self.stage else { return };
        match write {
            OwnWrite::Ack(record) => {
                self.own.wrote_ack(revision);
                serving.holdings.on_acked(now, record);
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
            OwnWrite::Leave => {
                // The keys are gone; the lease ends now, or by itself.
                let lease = serving.session.lease;
                self.call(Purpose::Courtesy, Call::Revoke(lease));
                self.end(Exit::Asked);
            }
        }
    }
}
