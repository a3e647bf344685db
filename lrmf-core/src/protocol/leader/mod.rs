//! The leader: observe, plan, commit; one transaction at a time.
//!
//! # The problem
//! Bring every task to the member that the assignor wants it with, and never let it be with two: take it from the old
//! one (*mark*), wait until that one acknowledged or its session ended, give it to the new one (*grant*). The leader
//! may be deposed at any point without noticing, and its writes may arrive late.
//!
//! # Why it is safe
//! Everything that a later leader needs is in the records: a task that is taken away stays in its old holder's record
//! until the transaction that grants it. Every transaction is guarded by the leader's key and by the generation it
//! builds on, so one that arrives late is refused. What a transaction relies on (a session has ended, something was
//! acknowledged) never becomes untrue again.

#[cfg(test)]
mod available_tests;
mod batch;
mod census;
mod commit;
#[cfg(test)]
mod control_tests;
mod controls;
mod disruption;
mod failures;
mod ledger;
mod listing;
#[cfg(test)]
mod move_tests;
mod notices;
mod observe;
mod plan;
mod planning;
mod ready;
mod seats;
mod situation;
mod stall;
#[cfg(test)]
mod table;
mod tasks;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::GroupMode;
use crate::coordination::{LeaseId, Revision, Txn, TxnLimits, TxnOutcome};
use crate::error::CoordinationError;
use crate::event::Event;
use crate::ids::InstanceId;
use crate::keys::{ChunkId, Control, Keys};
use crate::records::{LeaderRecord, NoticeRecord, RecordError, Troubles};

use super::backoff::Backoff;
use super::{FeedItem, Now, Rules};
use batch::Batch;
use disruption::Disruption;
pub use disruption::MoveLimits;
use failures::Failures;
use ledger::Ledger;
use plan::Goals;
pub use planning::{PlanFailure, PlanRequest};
use ready::Step;
use stall::{OuterFloor, Stall};
use tasks::{Asked, TaskList};
use view::View;

/// The wait before the provider is asked again after it failed.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// No store is taken to allow less than this in one write.
const LEAST_BYTES: usize = 4 * 1024;

/// The configuration of a leader.
#[derive(Clone, Debug)]
pub struct LeaderConfig {
    /// The group's keys.
    pub keys: Keys,
    /// The name of the assignor that plans.
    pub assignor: &'static str,
    /// The limits of a transaction.
    pub limits: TxnLimits,
    /// The settle window at the start of a group.
    pub settle: Duration,
    /// The mode that the group is to have.
    pub mode: GroupMode,
    /// The time that a handover waits for others.
    pub companions: Duration,
    /// The period at which the provider is asked.
    pub provider_period: Duration,
    /// The most tasks that are asked back from living members.
    pub moves: MoveLimits,
    /// The time after which a leader that cannot read, or cannot write, leaves it to another one.
    pub patience: Duration,
    /// True where generations have a floor outside the store, which a new leader asks for.
    pub has_floor: bool,
    /// The rules it obeys.
    pub rules: Rules,
}

/// The requests of a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaderAction {
    /// List and watch the group anew.
    Reload,
    /// Commit a transaction, and say what came of it.
    Commit(Txn),
    /// Ask the provider.
    AskProvider,
    /// Ask for the highest generation that is known outside the store.
    AskFloor,
    /// Ask the assignor for a plan, and say what came of it.
    Plan(Arc<PlanRequest>),
    /// It is no longer the leader, or cannot be.
    StepDown {
        /// It must not campaign again soon, as it cannot read the records, or is not of the group's mode.
        abstain: bool,
    },
    /// Tell listeners.
    Emit(Event),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waits for the records.
    Loading,
    /// Waits for the group to gather.
    Settling { since: Timestamp, until: Timestamp },
    /// Plans and commits.
    Active,
    /// Has stepped down.
    Over,
}

/// The transaction that is under way.
#[derive(Clone, Debug)]
enum InFlight {
    Assignment(Batch),
    /// Rewrites the record of this leader.
    Own(Box<LeaderRecord>),
    /// Deletes the forced releases of these tasks.
    Tidying(Vec<Arc<str>>),
    /// Deletes chunks that cannot be read.
    Clearing(Vec<(InstanceId, ChunkId)>),
    /// Makes this leader's mode the group's.
    Mode,
    /// Tells these members this, or nothing any more.
    Notices(Vec<(InstanceId, Option<NoticeRecord>)>),
}

/// A group at a glance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// The number of members that have a session.
    pub members: usize,
    /// The number of tasks that there are.
    pub tasks: usize,
    /// The number of them that run nowhere.
    pub unassigned: usize,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Leader {
    config: LeaderConfig,
    created: Revision,
    /// The record in the leader's key, and the lease that it is bound to.
    record: LeaderRecord,
    lease: LeaseId,
    phase: Phase,
    view: View,
    tasks: Option<TaskList>,
    /// The place of each of them.
    ledger: Ledger,
    /// The list is another one than the ledger has.
    relisted: bool,
    goals: Goals,
    /// The steps that can be taken for them, as of the last look, and were not begun yet.
    queue: VecDeque<Step>,
    failures: Failures,
    /// The tasks that the assignor was asked about last.
    asked: Asked,
    /// The tasks that were asked back from living members, and when.
    under_way: BTreeMap<Arc<str>, Timestamp>,
    unassigned: usize,
    in_flight: Option<InFlight>,
    /// The goals are out of date.
    stale: bool,
    /// Members may have to be told something else than before.
    notices_due: bool,
    /// The plan that is being made.
    planning: Option<Arc<PlanRequest>>,
    /// The time at which it was asked for.
    planned_at: Timestamp,
    /// A plan was adopted while a transaction for the goals before it was under way.
    overtaken: bool,
    /// The last plan was refused.
    refused: bool,
    /// The last answers of the provider and of the assignor, where they were errors.
    troubles: Troubles,
    /// The provider is being asked; and is to be asked once more after that.
    asking: bool,
    ask_again: bool,
    ask_at: Timestamp,
    /// The time at which the handovers that are due stop waiting for others.
    companions_until: Option<Timestamp>,
    disruption: Disruption,
    /// The time at which the limits have room again for what is to be asked back.
    room_at: Option<Timestamp>,
    /// Nothing is committed before, after the store failed.
    not_before: Timestamp,
    backoff: Backoff,
    /// Since when it gets nowhere.
    stall: Stall,
    /// The highest generation that is known outside the store.
    outer_floor: OuterFloor,
    /// Nothing is given to anybody before, as the store has gone back.
    hold_until: Option<Timestamp>,
    out: Vec<LeaderAction>,
}

impl Leader {
    /// A leader whose key was created at `created`. The caller lists and watches the group for it.
    pub fn new(
        config: LeaderConfig,
        created: Revision,
        record: LeaderRecord,
        lease: LeaseId,
        now: Now,
    ) -> (Self, Vec<LeaderAction>) {
        let mut view = View::new(config.keys.clone(), config.mode);
        view.count_acks = config.rules.floor_of_acks;
        view.awaits_restart = config.rules.awaits_restart;
        let backoff = Backoff::new(&record.instance);
        let mut leader = Self {
            config,
            created,
            record,
            lease,
            phase: Phase::Loading,
            view,
            tasks: None,
            ledger: Ledger::default(),
            relisted: true,
            goals: Goals::new(),
            queue: VecDeque::new(),
            failures: Failures::default(),
            asked: Asked::default(),
            under_way: BTreeMap::new(),
            unassigned: 0,
            in_flight: None,
            stale: true,
            notices_due: true,
            planning: None,
            planned_at: Timestamp::default(),
            overtaken: false,
            refused: false,
            troubles: Troubles::default(),
            asking: false,
            ask_again: false,
            ask_at: now.at,
            companions_until: None,
            disruption: Disruption::default(),
            room_at: None,
            not_before: now.at,
            backoff,
            stall: Stall::new(now.at),
            outer_floor: OuterFloor::Unknown { ask_at: now.at },
            hold_until: None,
            out: Vec::new(),
        };
        leader.ask(now);
        leader.ask_floor(now);
        let actions = std::mem::take(&mut leader.out);
        (leader, actions)
    }

    /// Something in the group changed.
    pub fn on_feed(&mut self, now: Now, item: &FeedItem) -> Vec<LeaderAction> {
        let loaded = matches!(item, FeedItem::Loaded(_));
        if self.phase == Phase::Over || (self.phase == Phase::Loading && !loaded) {
            return Vec::new();
        }
        let changes = match item {
            FeedItem::Loaded(snapshot) => self.view.load(snapshot),
            FeedItem::Changed(batch) => self.view.apply(batch),
        };
        match changes {
            Ok(changes) => self.changed(now, loaded, changes),
            Err(error) => self.unreadable(&error),
        }
        self.advance(now)
    }

    /// The outcome of the transaction.
    pub fn on_committed(
        &mut self,
        now: Now,
        result: &Result<TxnOutcome, CoordinationError>,
    ) -> Vec<LeaderAction> {
        let Some(flight) = self.in_flight.take() else { return Vec::new() };
        self.stall.committed(now.at, result);
        match result {
            Ok(TxnOutcome::Applied { revision }) => {
                self.backoff.reset();
                self.committed(now, *revision, flight);
            }
            // Somebody else wrote, or nobody knows: whatever is true is in the store.
            Ok(TxnOutcome::Refused) => self.reload(now),
            Err(error) => {
                if !error.is_retryable() && !matches!(error, CoordinationError::LeaseGone) {
                    self.out.push(LeaderAction::Emit(Event::CommitFailed { error: error.to_string() }));
                }
                if let CoordinationError::TooLarge(_) = error {
                    // Its limit is below the one that it is said to have.
                    self.config.limits.bytes = (self.config.limits.bytes / 2).max(LEAST_BYTES);
                }
                self.not_before = now.at + self.backoff.after(error);
                self.reload(now);
            }
        }
        self.advance(now)
    }

    fn committed(&mut self, now: Now, revision: Revision, flight: InFlight) {
        match flight {
            InFlight::Own(record) => self.record = *record,
            InFlight::Tidying(tasks) => {
                tasks.into_iter().for_each(|task| self.view.controls.delete(&Control::Release(task)));
            }
            InFlight::Clearing(chunks) => {
                self.view.unreadable.retain(|chunk, _| !chunks.contains(chunk));
                self.stale = true;
            }
            InFlight::Mode => self.view.stored_mode = Some((self.config.mode, revision)),
            InFlight::Notices(notices) => {
                for (instance, notice) in notices {
                    match notice {
                        Some(notice) => drop(self.view.notices.insert(instance, notice)),
                        None => drop(self.view.notices.remove(&instance)),
                    }
                }
            }
            InFlight::Assignment(Batch { generation, chunks, granted, marked, parted, .. }) => {
                self.view.wrote(revision, generation, chunks);
                self.stale |= std::mem::take(&mut self.overtaken);
                let event = Event::Committed { generation, granted, releasing: marked.len() };
                self.out.push(LeaderAction::Emit(event));
                self.under_way.extend(marked.into_iter().map(|key| (key, now.at)));
                for (key, granted) in parted {
                    if let (Some(since), true) = (self.under_way.remove(&key), granted) {
                        let event = Event::HandedOver { key, took: now.at.since(since) };
                        self.out.push(LeaderAction::Emit(event));
                    }
                }
            }
        }
    }

    /// The group as this leader sees it.
    pub fn overview(&self) -> Overview {
        Overview {
            members: self.view.members.len(),
            tasks: self.tasks.as_ref().map_or(0, |tasks| tasks.all().len()),
            unassigned: self.unassigned,
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) -> Vec<LeaderAction> {
        self.advance(now)
    }

    /// The time at which [`tick`](Self::tick) is due. What is due already waits for something else than time.
    pub fn next_wake(&self, now: Now) -> Option<Timestamp> {
        let settled = match self.phase {
            Phase::Settling { until, .. } => Some(until),
            Phase::Active => None,
            Phase::Loading => return self.stall.ends_at(self.config.patience),
            Phase::Over => return None,
        };
        let ask = (!self.asking).then_some(self.ask_at);
        [
            settled,
            ask,
            self.floor_at(),
            self.hold_until,
            self.stall.ends_at(self.config.patience),
            self.companions_until,
            self.room_at,
            self.failures.next_after(now.at),
            Some(self.not_before),
        ]
        .into_iter()
        .flatten()
        .filter(|at| *at > now.at)
        .min()
    }

    fn reload(&mut self, now: Now) {
        self.stall.loading(now.at);
        self.queue.clear();
        self.phase = Phase::Loading;
        self.out.push(LeaderAction::Reload);
    }

    fn unreadable(&mut self, error: &RecordError) {
        self.phase = Phase::Over;
        self.out.push(LeaderAction::Emit(Event::Unreadable { error: error.to_string() }));
        self.out.push(LeaderAction::StepDown { abstain: true });
    }

    /// Goes as far as it can.
    fn advance(&mut self, now: Now) -> Vec<LeaderAction> {
        self.give_up_if_stalled(now);
        if let Phase::Settling { until, .. } = self.phase
            && now.at >= until
        {
            self.phase = Phase::Active;
        }
        if !self.asking && now.at >= self.ask_at && self.phase != Phase::Over {
            self.ask(now);
        }
        self.ask_floor(now);
        if self.phase == Phase::Active && self.in_flight.is_none() && now.at >= self.not_before {
            self.replan(now);
            self.commit(now);
        }
        std::mem::take(&mut self.out)
    }
}
