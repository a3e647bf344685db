//! The collector's calls: looking at results and taking them off.

use dtf_model::error::StoreError;
use dtf_model::ids::EmitEpoch;
use dtf_model::plugin::{NewSubtask, TaskResult};
use dtf_model::queue::{
    CollectorLoad, Commit, CountedAs, Ending, FIRST_LOOK, PEEK_BYTES, Parcel, ParcelId, ResultBatch,
    StillOpen, TaskState,
};
use dtf_model::status::Counts;
use lrmf_core::{Timestamp, Token};

use super::{TaskQueue, check, raise};

impl TaskQueue {
    pub(crate) fn stop_by_collector(&mut self, token: Token, reason: &str) -> Result<(), StoreError> {
        check(self.tokens.collector, token)?;
        self.stop(reason);
        Ok(())
    }

    pub(crate) fn load_collector(&mut self, token: Token) -> Result<CollectorLoad, StoreError> {
        raise(&mut self.tokens.collector, token)?;
        let epoch = self.next_epoch();
        self.follow_ups.load(epoch);
        Ok(CollectorLoad {
            epoch,
            next: self.follow_ups.next,
            saved: self.collector_saved.clone(),
            offset: self.offset,
            results: self.first_results(FIRST_LOOK),
        })
    }

    pub(crate) fn peek(
        &self,
        token: Token,
        offset: u64,
        most: usize,
    ) -> Result<Vec<ResultBatch>, StoreError> {
        check(self.tokens.collector, token)?;
        if offset != self.offset {
            return self.conflict("the results have been committed further");
        }
        Ok(self.first_results(most))
    }

    fn first_results(&self, most: usize) -> Vec<ResultBatch> {
        let mut bytes = 0;
        let fits = |batch: &&ResultBatch| {
            let first = bytes == 0;
            bytes += batch.bytes().max(1);
            first || bytes <= PEEK_BYTES
        };
        self.results.iter().take(most).take_while(fits).cloned().collect()
    }

    pub(crate) fn commit(
        &mut self,
        token: Token,
        now: Timestamp,
        commit: Commit,
    ) -> Result<TaskState, StoreError> {
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
        let taken = self.results.iter().take(commit.batches as usize);
        let taken: u64 = taken.map(|batch| batch.results.len() as u64).sum();
        let Some(counts) = without(self.counts, &commit.open).filter(|_| commit.open.len() as u64 <= taken)
        else {
            return self.conflict("more stays open than was counted");
        };
        let is_last = self.finished
            && commit.open.is_empty()
            && commit.follow_ups.is_empty()
            && counts.counted() == counts.created
            && self.collected + taken == counts.counted();
        if commit.end.is_some() && !is_last {
            return self.conflict("the task is not complete with these results");
        }
        self.counts = counts;
        for batch in self.results.drain(..commit.batches as usize) {
            self.waiting_results -= batch.results.len() as u64;
            self.waiting_bytes -= batch.bytes();
            self.collected += batch.results.len() as u64;
        }
        self.offset += commit.batches;
        self.collected -= commit.open.len() as u64;
        self.reopened += commit.open.len() as u64;
        let mut front = Vec::new();
        for StillOpen { next, after, .. } in commit.open {
            let parcel = self.follow_up(commit.epoch, next);
            if after.is_zero() {
                front.push(parcel);
            } else {
                self.under_way(parcel.key, 1);
                self.delay(now + after, parcel);
            }
        }
        for next in commit.follow_ups {
            front.push(self.follow_up(commit.epoch, next));
        }
        // Before what the generator emits, so that what iterates does not pile up.
        self.return_to_pending(front);
        self.counts.created = self.created();
        self.collector_saved = commit.saved;
        self.ending = commit.end.map(Ending::Completed);
        Ok(self.state())
    }

    /// The next subtask that the collector adds.
    fn follow_up(&mut self, epoch: EmitEpoch, next: NewSubtask) -> Parcel {
        let id = ParcelId { epoch, first: self.follow_ups.next };
        self.follow_ups.next = id.first.plus(1);
        Parcel { id, attempt: 0, executor_losses: 0, key: next.key, bodies: vec![next.body] }
    }

    pub(crate) fn conclude(&mut self, token: Token, result: &TaskResult) -> Result<(), StoreError> {
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

/// The books without the results of subtasks that stay open; none where not so many are counted.
fn without(mut counts: Counts, open: &[StillOpen]) -> Option<Counts> {
    for one in open {
        let count = match one.counted_as {
            CountedAs::Succeeded => &mut counts.succeeded,
            CountedAs::Failed => &mut counts.failed,
            CountedAs::TimedOut => &mut counts.timed_out,
        };
        *count = count.checked_sub(1)?;
    }
    Some(counts)
}
