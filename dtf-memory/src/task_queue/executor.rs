//! The executors' call: counting what they report.

use dtf_model::error::StoreError;
use dtf_model::ids::{Seq, Shard};
use dtf_model::queue::{
    LostParcel, MAX_EXECUTOR_LOSSES, Outcome, Parcel, ParcelId, ParcelReport, Report, Reported, ResultBatch,
};
use lrmf_core::Timestamp;

use super::scheduler::singles;
use super::{Running, TaskQueue};

impl TaskQueue {
    pub(crate) fn complete(&mut self, now: Timestamp, report: ParcelReport) -> Result<Reported, StoreError> {
        if self.ending.is_some() {
            return Ok(self.reported(0));
        }
        let count = report.reports.len() as u64;
        if count == 0 || !self.owns(report.parcel, count) {
            return self.conflict("the reported subtasks are not of this load");
        }
        let settled = self.settle(&report, count);
        let mut results = Vec::with_capacity(report.reports.len());
        let (mut returned, mut under_way) = (Vec::new(), -i64::from(settled.is_some()));
        for (index, each) in report.reports.into_iter().enumerate() {
            let seq = report.parcel.first.plus(index as u64);
            if self.done.contains(seq) {
                continue;
            }
            match each {
                Report::Ended(outcome) => {
                    if settled.is_some() || matches!(outcome, Outcome::Succeeded(_)) {
                        self.count(seq, &outcome);
                        results.push((seq, outcome));
                    }
                }
                Report::Retry { after, .. } => {
                    if let Some(Running { parcel, .. }) = single(settled.as_ref(), index) {
                        let attempt = parcel.attempt + 1;
                        under_way += 1;
                        self.delay(now + after, Parcel { attempt, executor_losses: 0, ..parcel });
                    }
                }
                Report::Returned => returned.extend(single(settled.as_ref(), index)),
                Report::GoesOn => {
                    if let Some(running) = single(settled.as_ref(), index) {
                        under_way += 1;
                        self.running_subtasks += 1;
                        self.running.insert(running.parcel.id, running);
                    }
                }
            }
        }
        let returned = returned.into_iter().map(|running| running.parcel);
        self.return_to_pending(grouped(returned, report.together));
        self.under_way(settled.and_then(|settled| settled.parcel.key), under_way);
        Ok(self.keep(ResultBatch { epoch: report.parcel.epoch, results }))
    }

    /// Takes the reported attempt off those that run, where it is the one that runs.
    fn settle(&mut self, report: &ParcelReport, count: u64) -> Option<Running> {
        let current = self.running.get(&report.parcel).is_some_and(|running| {
            let there = &running.parcel;
            (there.attempt, there.executor_losses, there.count())
                == (report.attempt, report.executor_losses, count)
        });
        let settled = current.then(|| self.running.remove(&report.parcel)).flatten();
        if settled.is_some() {
            self.running_subtasks -= count;
            self.used += report.busy;
            // What was returned did not run, and what goes on is not done.
            let ran = report.reports.iter().filter(|each| !matches!(each, Report::Returned | Report::GoesOn));
            self.run_time.add(report.busy, ran.count() as u64);
        }
        settled
    }

    /// Keeps results for the collector.
    fn keep(&mut self, batch: ResultBatch) -> Reported {
        let counted = batch.results.len() as u64;
        if counted > 0 {
            self.waiting_results += counted;
            self.waiting_bytes += batch.bytes();
            self.results.push_back(batch);
        }
        self.reported(counted)
    }

    pub(crate) fn recover(&mut self, lost: LostParcel) -> Reported {
        if self.ending.is_some() {
            return self.reported(0);
        }
        let (mut back, mut keys) = (Vec::new(), Vec::new());
        for index in 0..lost.count {
            let id = ParcelId { first: lost.id.first.plus(index), ..lost.id };
            let there = self.running.get(&id).is_some_and(|running| {
                running.parcel.attempt == lost.attempt
                    && running.shard == lost.shard
                    && running.shipped_with == lost.id.first
            });
            let Some(running) = there.then(|| self.running.remove(&id)).flatten() else { continue };
            self.running_subtasks -= running.parcel.count();
            let executor_losses = running.parcel.executor_losses + 1;
            let proven = running.marked || executor_losses < lost.max_executor_losses;
            let executor_losses = if proven {
                executor_losses.min(MAX_EXECUTOR_LOSSES)
            } else {
                running.parcel.executor_losses
            };
            keys.push(running.parcel.key);
            back.extend(singles(Parcel { executor_losses, ..running.parcel }));
        }
        back.retain(|parcel| !self.done.contains(parcel.id.first));
        self.lost += back.len() as u64;
        self.return_to_pending(back);
        keys.into_iter().for_each(|key| self.under_way(key, -1));
        self.reported(0)
    }

    pub(crate) fn mark_suspect(&mut self, parcel: ParcelId, attempt: u32) -> bool {
        let running = self.running.get_mut(&parcel).filter(|running| running.parcel.attempt == attempt);
        running.map(|running| running.marked = true).is_some()
    }

    pub(crate) fn runs_on(&self, shard: Shard, parcel: &Parcel) -> bool {
        let same = |running: &Running| {
            let there = &running.parcel;
            (running.shard, there.attempt, there.executor_losses)
                == (shard, parcel.attempt, parcel.executor_losses)
        };
        self.running.get(&parcel.id).is_some_and(same)
    }

    pub(super) fn owns(&self, parcel: ParcelId, count: u64) -> bool {
        let stream = if parcel.first < Seq::FIRST_FOLLOW_UP { &self.generated } else { &self.follow_ups };
        stream.owns(parcel.epoch, parcel.first) && stream.owns(parcel.epoch, parcel.first.plus(count - 1))
    }

    pub(super) fn count(&mut self, seq: Seq, outcome: &Outcome) {
        self.done.insert(seq);
        match outcome {
            Outcome::Succeeded(_) => self.counts.succeeded += 1,
            Outcome::Failed { .. } => self.counts.failed += 1,
            Outcome::TimedOut { .. } => self.counts.timed_out += 1,
            Outcome::Cancelled => self.counts.cancelled += 1,
        }
    }

    pub(super) fn reported(&self, counted: u64) -> Reported {
        Reported {
            counted,
            running: self.running_subtasks,
            pending: self.pending_subtasks,
            control: self.control,
        }
    }
}

/// A subtask of a parcel that ran, as a parcel of its own there.
fn single(running: Option<&Running>, index: usize) -> Option<Running> {
    let Running { shard, shipped_with, parcel: ref whole, .. } = *running?;
    let id = ParcelId { first: whole.id.first.plus(index as u64), ..whole.id };
    let bodies = vec![whole.bodies.get(index)?.clone()];
    let parcel = Parcel { id, bodies, ..*whole };
    Some(Running { shard, shipped_with, marked: false, parcel })
}

/// Parcels of one, those of neighbours together as parcels of at most so many.
fn grouped(singles: impl Iterator<Item = Parcel>, together: usize) -> Vec<Parcel> {
    let mut parcels: Vec<Parcel> = Vec::new();
    for single in singles {
        match parcels.last_mut() {
            Some(last)
                if last.bodies.len() < together && last.id.first.plus(last.count()) == single.id.first =>
            {
                last.bodies.extend(single.bodies);
            }
            _ => parcels.push(single),
        }
    }
    parcels
}
