//! The executors' call: counting what they report.

use lrmf_core::Timestamp;

use super::TaskQueue;
use crate::error::StoreError;
use crate::ids::Seq;
use crate::queue::{Outcome, Parcel, ParcelId, ParcelReport, Report, Reported, ResultBatch};

impl TaskQueue {
    pub(in crate::memory) fn complete(
        &mut self,
        now: Timestamp,
        report: ParcelReport,
    ) -> Result<Reported, StoreError> {
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
            self.used += report.busy;
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
