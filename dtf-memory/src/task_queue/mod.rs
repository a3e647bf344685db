//! The queues of one task, in memory. Pure: time comes in, nothing else happens.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use lrmf_core::{Timestamp, Token};

mod collector;
mod executor;
mod generator;
mod keyed;
mod numbers;
mod run_time;
mod scheduler;

use self::keyed::Keyed;
use self::numbers::Stream;
use self::run_time::RunTime;
use super::done::DoneSet;
use dtf_model::Role;
use dtf_model::error::StoreError;
use dtf_model::ids::{EmitEpoch, Seq, Shard, TaskId};
use dtf_model::param::TaskSpec;
use dtf_model::queue::{Ending, Parcel, ParcelId, ResultBatch, TaskState};
use dtf_model::status::{Control, Counts};

/// The highest token seen of each role.
#[derive(Clone, Debug, Default)]
struct Tokens {
    generator: Token,
    scheduler: Token,
    collector: Token,
}

#[derive(Clone, Debug)]
struct Running {
    shard: Shard,
    /// The first subtask of the parcel that it was shipped with.
    shipped_with: Seq,
    /// True if it is to blame if its executor is lost now.
    marked: bool,
    parcel: Parcel,
}

#[derive(Clone, Debug)]
pub(super) struct TaskQueue {
    spec: TaskSpec,
    control: Control,
    tokens: Tokens,
    last_epoch: EmitEpoch,
    counts: Counts,
    generated: Stream,
    follow_ups: Stream,
    finished: bool,
    generator_saved: Option<Bytes>,
    progress: Option<f32>,
    /// Those without a key.
    pending: VecDeque<Parcel>,
    keyed: Keyed,
    /// With a key or without.
    pending_subtasks: u64,
    /// Subtasks taken back from executors that are gone, and not given out since.
    lost: u64,
    /// By due time, then by a counter that keeps the order of equals.
    delayed: BTreeMap<(Timestamp, u64), Parcel>,
    delays: u64,
    running: HashMap<ParcelId, Running>,
    running_subtasks: u64,
    done: DoneSet,
    run_time: RunTime,
    /// The slot-time of all reported parcels.
    used: Duration,
    results: VecDeque<ResultBatch>,
    waiting_results: u64,
    waiting_bytes: u64,
    offset: u64,
    collected: u64,
    /// Results that were not the last of their subtask, which then got a further number.
    reopened: u64,
    collector_saved: Option<Bytes>,
    stop: Option<String>,
    /// The obstacle of each role.
    blocked_on: BTreeMap<Role, String>,
    ending: Option<Ending>,
}

fn raise(seen: &mut Token, token: Token) -> Result<(), StoreError> {
    check(*seen, token)?;
    *seen = token;
    Ok(())
}

fn check(seen: Token, token: Token) -> Result<(), StoreError> {
    if token < seen { Err(StoreError::Fenced { seen: seen.0 }) } else { Ok(()) }
}

impl TaskQueue {
    pub(super) fn new(spec: TaskSpec) -> Self {
        Self {
            spec,
            control: Control::Run,
            tokens: Tokens::default(),
            last_epoch: EmitEpoch(0),
            counts: Counts::default(),
            generated: Stream::from(Seq(0)),
            follow_ups: Stream::from(Seq::FIRST_FOLLOW_UP),
            finished: false,
            generator_saved: None,
            progress: None,
            pending: VecDeque::new(),
            keyed: Keyed::default(),
            pending_subtasks: 0,
            lost: 0,
            delayed: BTreeMap::new(),
            delays: 0,
            running: HashMap::new(),
            running_subtasks: 0,
            done: DoneSet::default(),
            run_time: RunTime::default(),
            used: Duration::ZERO,
            results: VecDeque::new(),
            waiting_results: 0,
            waiting_bytes: 0,
            offset: 0,
            collected: 0,
            reopened: 0,
            collector_saved: None,
            stop: None,
            blocked_on: BTreeMap::new(),
            ending: None,
        }
    }

    pub(super) fn spec(&self) -> &TaskSpec {
        &self.spec
    }

    pub(super) fn control(&self) -> Control {
        self.control
    }

    fn task(&self) -> TaskId {
        self.spec.id
    }

    fn conflict<T>(&self, why: &str) -> Result<T, StoreError> {
        Err(StoreError::Conflict { task: self.task(), why: why.to_owned() })
    }

    pub(super) fn state(&self) -> TaskState {
        TaskState {
            spec: self.spec.clone(),
            control: self.control,
            counts: self.counts,
            pending: self.pending_subtasks,
            delayed: self.delayed.len() as u64,
            running: self.running_subtasks,
            used: self.used,
            collected: self.collected,
            generated: self.finished,
            progress: self.progress,
            stop: self.stop.clone(),
            blocked_on: self.blocked_on.values().cloned().collect(),
            ending: self.ending.clone(),
        }
    }

    pub(super) fn set_control(&mut self, control: Control) {
        if !self.control.ends() {
            self.control = control;
        }
    }

    pub(super) fn close(&mut self) -> Counts {
        if self.ending.is_none() {
            if !self.control.ends() {
                self.control = Control::Abort;
            }
            self.counts.cancelled += self.counts.created - self.counts.counted();
            self.pending.clear();
            self.keyed = Keyed::default();
            self.pending_subtasks = 0;
            self.delayed.clear();
            self.running.clear();
            self.running_subtasks = 0;
            self.results.clear();
            self.waiting_results = 0;
            self.waiting_bytes = 0;
            self.ending = Some(Ending::Closed);
        }
        self.counts
    }

    /// Epochs that were drawn are not drawn again, even where it is forgotten that they were.
    pub(super) fn forget_nothing_drawn(&mut self) {
        self.last_epoch.0 += 1 << 16;
    }

    fn next_epoch(&mut self) -> EmitEpoch {
        self.last_epoch = EmitEpoch(self.last_epoch.0 + 1);
        self.last_epoch
    }

    pub(super) fn set_waits(
        &mut self,
        token: Token,
        role: Role,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        let seen = match role {
            Role::Generator => self.tokens.generator,
            Role::Scheduler => self.tokens.scheduler,
            Role::Manager | Role::Executor | Role::Collector => self.tokens.collector,
        };
        check(seen, token)?;
        match reason {
            Some(reason) => drop(self.blocked_on.insert(role, reason.to_owned())),
            None => drop(self.blocked_on.remove(&role)),
        }
        Ok(())
    }

    fn stop(&mut self, reason: &str) {
        self.stop.get_or_insert_with(|| reason.to_owned());
    }
}
