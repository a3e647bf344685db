//! The generator's calls: adding subtasks.

use dtf_model::error::StoreError;
use dtf_model::ids::Seq;
use dtf_model::queue::{Backlog, GeneratorLoad, Parcel, ParcelId, Push, RESULTS_WATERMARK_BYTES};
use lrmf_core::Token;

use super::{TaskQueue, check, raise};

impl TaskQueue {
    pub(crate) fn stop_by_generator(&mut self, token: Token, reason: &str) -> Result<(), StoreError> {
        check(self.tokens.generator, token)?;
        self.stop(reason);
        Ok(())
    }

    pub(crate) fn load_generator(&mut self, token: Token) -> Result<GeneratorLoad, StoreError> {
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

    pub(crate) fn backlog(&self) -> Backlog {
        Backlog {
            waiting: self.pending_subtasks + self.delayed.len() as u64,
            bytes: self.pending_bytes(),
            mean_run: self.run_time.mean(),
            control: self.control,
            flooded: self.is_flooded(RESULTS_WATERMARK_BYTES),
        }
    }

    /// The size of what waits. It is added up when it is asked for, as the backlog is short.
    fn pending_bytes(&self) -> u64 {
        let waiting = self.pending.iter().chain(self.keyed.parcels()).chain(self.delayed.values());
        waiting.flat_map(|parcel| &parcel.bodies).map(|body| body.len() as u64).sum()
    }

    pub(crate) fn push(&mut self, token: Token, push: Push) -> Result<Backlog, StoreError> {
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
        if !push.is_covered() {
            return self.conflict("the parcels do not cover the batch");
        }
        let mut bodies = push.bodies.into_iter();
        let keys = push.keys.into_iter().chain(std::iter::repeat(None));
        for (size, key) in push.parcels.into_iter().zip(keys).filter(|(size, _)| *size > 0) {
            let id = ParcelId { epoch: push.epoch, first: self.generated.next };
            self.generated.next = id.first.plus(size as u64);
            self.add_pending(Parcel {
                id,
                attempt: 0,
                executor_losses: 0,
                key,
                bodies: bodies.by_ref().take(size).collect(),
            });
        }
        self.counts.created = self.created();
        self.generator_saved = push.saved;
        self.progress = push.progress;
        self.finished = push.finished;
        Ok(self.backlog())
    }

    pub(super) fn created(&self) -> u64 {
        self.generated.next.0 + (self.follow_ups.next.0 - Seq::FIRST_FOLLOW_UP.0) - self.reopened
    }

    fn add_pending(&mut self, parcel: Parcel) {
        self.pending_subtasks += parcel.count();
        match parcel.key {
            Some(key) => self.keyed.add(key, parcel),
            None => self.pending.push_back(parcel),
        }
    }

    /// In front of all others, in this order; what has a key goes where it belongs.
    pub(super) fn return_to_pending(&mut self, parcels: Vec<Parcel>) {
        let mut front = Vec::new();
        for parcel in parcels {
            self.pending_subtasks += parcel.count();
            match parcel.key {
                Some(key) => self.keyed.add(key, parcel),
                None => front.push(parcel),
            }
        }
        front.into_iter().rev().for_each(|parcel| self.pending.push_front(parcel));
    }
}
