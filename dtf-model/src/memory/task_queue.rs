//! The queues of one task, in memory. Pure: time comes in, nothing else happens.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use lrmf_core::{Timestamp, Token};

use super::done::DoneSet;
use crate::error::StoreError;
use crate::ids::{EmitEpoch, Seq, Shard, TaskId};
use crate::param::TaskSpec;
use crate::plugin::TaskResult;
use crate::queue::{
    Backlog, CollectorLoad, Commit, Ending, GeneratorLoad, Outcome, PEEK_BYTES, Parcel, ParcelId,
    ParcelReport, Push, RESULTS_WATERMARK, RESULTS_WATERMARK_BYTES, Report, Reported, ResultBatch,
    RunningParcel, SchedulerLoad, Taken, TaskState, WAKE_MOST,
};
use crate::status::{Control, Counts};

/// The highest token seen of each role.
#[derive(Debug, Default)]
struct Tokens {
    generator: Token,
    scheduler: Token,
    collector: Token,
}

/// Numbers given out so far, and which load owns which.
#[derive(Debug)]
struct Stream {
    next: Seq,
    /// Each load that emitted something, and its first number.
    owners: Vec<(EmitEpoch, Seq)>,
}

impl Stream {
    fn from(first: Seq) -> Self {
        Self { next: first, owners: Vec::new() }
    }

    /// From now on `epoch` owns what is emitted.
    fn load(&mut self, epoch: EmitEpoch) {
        let next = self.next;
        self.owners.retain(|(_, first)| *first < next);
        self.owners.push((epoch, next));
    }

    fn owns(&self, epoch: EmitEpoch, seq: Seq) -> bool {
        let owner = self.owners.iter().rev().find(|(_, first)| *first <= seq);
        seq < self.next && owner.is_some_and(|(owner, _)| *owner == epoch)
    }
}

#[derive(Debug)]
struct Running {
    shard: Shard,
    parcel: Parcel,
}

/// Mean run time of a task's subtasks.
#[derive(Debug, Default)]
struct RunTime {
    busy: Duration,
    subtasks: u64,
}

impl RunTime {
    fn add(&mut self, busy: Duration, subtasks: u64) {
        if subtasks == 0 {
            return;
        }
        self.busy += busy;
        self.subtasks += subtasks;
        // Halving now and then lets the mean follow a change.
        if self.subtasks > 100_000 {
            self.busy /= 2;
            self.subtasks /= 2;
        }
    }

    fn mean(&self) -> Option<Duration> {
        (self.subtasks > 0).then(|| self.busy.div_f64(self.subtasks as f64))
    }
}

#[derive(Debug)]
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
    pending: VecDeque<Parcel>,
    pending_subtasks: u64,
    /// By due time, then by a counter that keeps the order of equals.
    delayed: BTreeMap<(Timestamp, u64), Parcel>,
    delays: u64,
    running: HashMap<ParcelId, Running>,
    running_subtasks: u64,
    done: DoneSet,
    run_time: RunTime,
    results: VecDeque<ResultBatch>,
    waiting_results: u64,
    waiting_bytes: u64,
    offset: u64,
    collected: u64,
    collector_saved: Option<Bytes>,
    stop: Option<String>,
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
            pending_subtasks: 0,
            delayed: BTreeMap::new(),
            delays: 0,
            running: HashMap::new(),
            running_subtasks: 0,
            done: DoneSet::default(),
            run_time: RunTime::default(),
            results: VecDeque::new(),
            waiting_results: 0,
            waiting_bytes: 0,
            offset: 0,
            collected: 0,
            collector_saved: None,
            stop: None,
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
            collected: self.collected,
            generated: self.finished,
            progress: self.progress,
            stop: self.stop.clone(),
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

    fn next_epoch(&mut self) -> EmitEpoch {
        self.last_epoch = EmitEpoch(self.last_epoch.0 + 1);
        self.last_epoch
    }

    fn stop(&mut self, reason: &str) {
        self.stop.get_or_insert_with(|| reason.to_owned());
    }
}

/// The generator's side.
impl TaskQueue {
    pub(super) fn stop_by_generator(&mut self, token: Token, reason: &str) -> Result<(), StoreError> {
        check(self.tokens.generator, token)?;
        self.stop(reason);
        Ok(())
    }

    pub(super) fn load_generator(&mut self, token: Token) -> Result<GeneratorLoad, StoreError> {
        raise(&mut self.tokens.generator, token)?;
        let epoch = self.next_epoch();
        self.generated.load(epoch);
        Ok(GeneratorLoad {
            epoch,
            next: self.generated.next,
            saved: self.generator_saved.clone(),
            finished: self.finished,
            backlog: self.backlog(),
        })
    }

    pub(super) fn backlog(&self) -> Backlog {
        Backlog {
            waiting: self.pending_subtasks + self.delayed.len() as u64,
            mean_run: self.run_time.mean(),
            control: self.control,
        }
    }

    pub(super) fn push(&mut self, token: Token, push: Push) -> Result<Backlog, StoreError> {
        check(self.tokens.generator, token)?;
        if self.generated.owners.last().map(|(epoch, _)| *epoch) != Some(push.epoch) {
            return self.conflict("another load of the generator has begun");
        }
        let behind = push.first.plus(push.bodies.len() as u64);
        if self.ending.is_some() {
            return Ok(self.backlog());
        }
        let again = push.first < behind || (self.finished && push.finished);
        if behind == self.generated.next && again {
            return Ok(self.backlog());
        }
        if push.first != self.generated.next || self.finished {
            return self.conflict("the batch does not follow the last one");
        }
        if push.parcels.iter().sum::<usize>() != push.bodies.len() {
            return self.conflict("the parcels do not cover the batch");
        }
        let mut bodies = push.bodies.into_iter();
        for size in push.parcels.into_iter().filter(|size| *size > 0) {
            let id = ParcelId { epoch: push.epoch, first: self.generated.next };
            self.generated.next = id.first.plus(size as u64);
            self.add_pending(Parcel { id, attempt: 0, bodies: bodies.by_ref().take(size).collect() });
        }
        self.counts.created = self.created();
        self.generator_saved = push.saved;
        self.progress = push.progress;
        self.finished = push.finished;
        Ok(self.backlog())
    }

    fn created(&self) -> u64 {
        self.generated.next.0 + (self.follow_ups.next.0 - Seq::FIRST_FOLLOW_UP.0)
    }

    fn add_pending(&mut self, parcel: Parcel) {
        self.pending_subtasks += parcel.count();
        self.pending.push_back(parcel);
    }

    fn return_to_pending(&mut self, parcel: Parcel) {
        self.pending_subtasks += parcel.count();
        self.pending.push_front(parcel);
    }
}

/// The scheduler's side.
impl TaskQueue {
    pub(super) fn load_scheduler(&mut self, token: Token) -> Result<SchedulerLoad, StoreError> {
        raise(&mut self.tokens.scheduler, token)?;
        let parcels = self.running.iter();
        let mut running: Vec<_> = parcels
            .map(|(id, running)| {
                let (attempt, shard) = (running.parcel.attempt, running.shard);
                RunningParcel { id: *id, attempt, shard }
            })
            .collect();
        running.sort_unstable();
        Ok(SchedulerLoad { pending: self.pending_subtasks, running })
    }

    pub(super) fn take(
        &mut self,
        token: Token,
        now: Timestamp,
        shards: &[Shard],
    ) -> Result<Taken, StoreError> {
        check(self.tokens.scheduler, token)?;
        self.wake_delayed(now);
        let mut parcels = Vec::new();
        let flooded =
            self.waiting_results >= RESULTS_WATERMARK || self.waiting_bytes >= RESULTS_WATERMARK_BYTES;
        let may_take = self.control == Control::Run && !flooded;
        while may_take && parcels.len() < shards.len() {
            let Some(parcel) = self.pending.pop_front() else { break };
            self.pending_subtasks -= parcel.count();
            // A late success of an earlier attempt may have settled it meanwhile.
            if parcel.count() == 1 && self.done.contains(parcel.id.first) {
                continue;
            }
            let shard = shards[parcels.len()];
            self.running_subtasks += parcel.count();
            self.running.insert(parcel.id, Running { shard, parcel: parcel.clone() });
            parcels.push((shard, parcel));
        }
        let next_due = self.delayed.first_key_value().map(|((due, _), _)| due.since(now));
        Ok(Taken { parcels, pending: self.pending_subtasks, next_due, control: self.control })
    }

    fn wake_delayed(&mut self, now: Timestamp) {
        let mut due = Vec::new();
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now || due.len() == WAKE_MOST {
                break;
            }
            due.push(entry.remove());
        }
        for parcel in due.into_iter().rev() {
            self.return_to_pending(parcel);
        }
    }

    pub(super) fn put_back(
        &mut self,
        token: Token,
        now: Timestamp,
        parcels: &[ParcelId],
        after: Duration,
    ) -> Result<(), StoreError> {
        check(self.tokens.scheduler, token)?;
        let mut back = Vec::new();
        for id in parcels {
            let Some(running) = self.running.remove(id) else { continue };
            self.running_subtasks -= running.parcel.count();
            back.push(running.parcel);
        }
        if after.is_zero() {
            for parcel in back.into_iter().rev() {
                self.return_to_pending(parcel);
            }
        } else {
            for single in back.into_iter().flat_map(singles) {
                self.delay(now + after, single);
            }
        }
        Ok(())
    }

    fn delay(&mut self, due: Timestamp, parcel: Parcel) {
        self.delays += 1;
        self.delayed.insert((due, self.delays), parcel);
    }
}

fn singles(parcel: Parcel) -> impl Iterator<Item = Parcel> {
    let (id, attempt) = (parcel.id, parcel.attempt);
    parcel.bodies.into_iter().zip(0..).map(move |(body, index)| Parcel {
        id: ParcelId { first: id.first.plus(index), ..id },
        attempt,
        bodies: vec![body],
    })
}

/// The executors' side.
impl TaskQueue {
    pub(super) fn complete(&mut self, now: Timestamp, report: ParcelReport) -> Result<Reported, StoreError> {
        if self.ending.is_some() {
            return Ok(self.reported(0));
        }
        let count = report.reports.len() as u64;
        if count == 0 || !self.owns(report.parcel, count) {
            return self.conflict("the reported subtasks are not of this load");
        }
        let current = self.running.get(&report.parcel).is_some_and(|running| {
            running.parcel.attempt == report.attempt && running.parcel.count() == count
        });
        let settled = current.then(|| self.running.remove(&report.parcel)).flatten();
        if settled.is_some() {
            self.running_subtasks -= count;
            // What was returned did not run.
            let ran = report.reports.iter().filter(|each| **each != Report::Returned).count();
            self.run_time.add(report.busy, ran as u64);
        }
        let mut results = Vec::with_capacity(report.reports.len());
        let mut returned = Vec::new();
        for (index, each) in report.reports.into_iter().enumerate() {
            let seq = report.parcel.first.plus(index as u64);
            if self.done.contains(seq) {
                continue;
            }
            let single = || -> Option<Parcel> {
                let body = settled.as_ref()?.parcel.bodies.get(index)?.clone();
                let id = ParcelId { epoch: report.parcel.epoch, first: seq };
                Some(Parcel { id, attempt: report.attempt, bodies: vec![body] })
            };
            match each {
                Report::Ended(outcome) => {
                    if current || matches!(outcome, Outcome::Succeeded(_)) {
                        self.count(seq, &outcome);
                        results.push((seq, outcome));
                    }
                }
                Report::Retry { after, .. } => {
                    if let Some(parcel) = single() {
                        self.delay(now + after, Parcel { attempt: report.attempt + 1, ..parcel });
                    }
                }
                Report::Returned => returned.extend(single()),
            }
        }
        for parcel in returned.into_iter().rev() {
            self.return_to_pending(parcel);
        }
        let counted = results.len() as u64;
        if counted > 0 {
            let batch = ResultBatch { epoch: report.parcel.epoch, results };
            self.waiting_results += counted;
            self.waiting_bytes += batch.bytes();
            self.results.push_back(batch);
        }
        Ok(self.reported(counted))
    }

    fn owns(&self, parcel: ParcelId, count: u64) -> bool {
        let stream = if parcel.first < Seq::FIRST_FOLLOW_UP { &self.generated } else { &self.follow_ups };
        stream.owns(parcel.epoch, parcel.first) && stream.owns(parcel.epoch, parcel.first.plus(count - 1))
    }

    fn count(&mut self, seq: Seq, outcome: &Outcome) {
        self.done.insert(seq);
        match outcome {
            Outcome::Succeeded(_) => self.counts.succeeded += 1,
            Outcome::Failed { .. } => self.counts.failed += 1,
            Outcome::TimedOut { .. } => self.counts.timed_out += 1,
            Outcome::Cancelled => self.counts.cancelled += 1,
        }
    }

    fn reported(&self, counted: u64) -> Reported {
        Reported {
            counted,
            running: self.running_subtasks,
            pending: self.pending_subtasks,
            control: self.control,
        }
    }
}

/// The collector's side.
impl TaskQueue {
    pub(super) fn stop_by_collector(&mut self, token: Token, reason: &str) -> Result<(), StoreError> {
        check(self.tokens.collector, token)?;
        self.stop(reason);
        Ok(())
    }

    pub(super) fn load_collector(&mut self, token: Token) -> Result<CollectorLoad, StoreError> {
        raise(&mut self.tokens.collector, token)?;
        let epoch = self.next_epoch();
        self.follow_ups.load(epoch);
        Ok(CollectorLoad {
            epoch,
            next: self.follow_ups.next,
            saved: self.collector_saved.clone(),
            offset: self.offset,
        })
    }

    pub(super) fn peek(
        &self,
        token: Token,
        offset: u64,
        most: usize,
    ) -> Result<Vec<ResultBatch>, StoreError> {
        check(self.tokens.collector, token)?;
        if offset != self.offset {
            return self.conflict("the results have been committed further");
        }
        let mut bytes = 0;
        let fits = |batch: &&ResultBatch| {
            let first = bytes == 0;
            bytes += batch.bytes().max(1);
            first || bytes <= PEEK_BYTES
        };
        Ok(self.results.iter().take(most).take_while(fits).cloned().collect())
    }

    pub(super) fn commit(&mut self, token: Token, commit: Commit) -> Result<TaskState, StoreError> {
        check(self.tokens.collector, token)?;
        if self.follow_ups.owners.last().map(|(epoch, _)| *epoch) != Some(commit.epoch) {
            return self.conflict("another load of the collector has begun");
        }
        if self.ending.is_some() || commit.offset + commit.batches == self.offset {
            return Ok(self.state()); // closed meanwhile, or sent again
        }
        let enough = commit.batches <= self.results.len() as u64;
        if commit.offset != self.offset || commit.first != self.follow_ups.next || !enough {
            return self.conflict("the commit does not follow the last one");
        }
        for batch in self.results.drain(..commit.batches as usize) {
            self.waiting_results -= batch.results.len() as u64;
            self.waiting_bytes -= batch.bytes();
            self.collected += batch.results.len() as u64;
        }
        self.offset += commit.batches;
        for body in commit.follow_ups {
            let id = ParcelId { epoch: commit.epoch, first: self.follow_ups.next };
            self.follow_ups.next = id.first.plus(1);
            self.add_pending(Parcel { id, attempt: 0, bodies: vec![body] });
        }
        self.counts.created = self.created();
        self.collector_saved = commit.saved;
        Ok(self.state())
    }

    pub(super) fn conclude(&mut self, token: Token, result: &TaskResult) -> Result<(), StoreError> {
        check(self.tokens.collector, token)?;
        if self.ending.is_some() {
            return Ok(());
        }
        if !self.state().is_complete() {
            return self.conflict("the task is not complete");
        }
        self.ending = Some(Ending::Completed(result.clone()));
        Ok(())
    }
}
