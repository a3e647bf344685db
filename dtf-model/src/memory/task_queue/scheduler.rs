//! The scheduler's calls: taking parcels and putting them back.

use std::time::Duration;

use lrmf_core::{Timestamp, Token};

use super::{Running, TaskQueue, check, raise};
use crate::error::StoreError;
use crate::ids::Shard;
use crate::queue::{
    Parcel, ParcelId, RESULTS_WATERMARK, RESULTS_WATERMARK_BYTES, RunningParcel, SchedulerLoad, Taken, Usage,
    WAKE_MOST,
};
use crate::status::Control;

impl TaskQueue {
    pub(in crate::memory) fn load_scheduler(&mut self, token: Token) -> Result<SchedulerLoad, StoreError> {
        raise(&mut self.tokens.scheduler, token)?;
        let parcels = self.running.iter();
        let mut running: Vec<_> = parcels
            .map(|(id, running)| {
                let Running { shard, shipped_with, ref parcel, .. } = *running;
                RunningParcel { id: *id, attempt: parcel.attempt, shard, shipped_with }
            })
            .collect();
        running.sort_unstable();
        Ok(SchedulerLoad { pending: self.pending_subtasks, running, usage: self.usage() })
    }

    pub(in crate::memory) fn usage(&self) -> Usage {
        Usage { used: self.used, running: self.running_subtasks, mean_run: self.run_time.mean() }
    }

    pub(in crate::memory) fn take(
        &mut self,
        token: Token,
        now: Timestamp,
        shards: &[Shard],
        most: u64,
    ) -> Result<Taken, StoreError> {
        check(self.tokens.scheduler, token)?;
        self.wake_delayed(now);
        let (mut parcels, mut left) = (Vec::new(), most);
        let may_take = self.control == Control::Run && !self.is_flooded();
        while may_take && parcels.len() < shards.len() && left > 0 {
            let Some(parcel) = self.pending.pop_front() else { break };
            self.pending_subtasks -= parcel.count();
            // A late success of an earlier attempt may have settled it meanwhile.
            if parcel.count() == 1 && self.done.contains(parcel.id.first) {
                continue;
            }
            let (parcel, rest) = split(parcel, left);
            if let Some(rest) = rest {
                self.return_to_pending(rest);
            }
            left -= parcel.count();
            let shard = shards[parcels.len()];
            self.running_subtasks += parcel.count();
            let shipped_with = parcel.id.first;
            self.running
                .insert(parcel.id, Running { shard, shipped_with, accused: false, parcel: parcel.clone() });
            parcels.push((shard, parcel));
        }
        let next_due = self.delayed.first_key_value().map(|((due, _), _)| due.since(now));
        let (pending, usage) = (self.pending_subtasks, self.usage());
        Ok(Taken { parcels, pending, next_due, control: self.control, usage })
    }

    pub(super) fn is_flooded(&self) -> bool {
        self.waiting_results >= RESULTS_WATERMARK || self.waiting_bytes >= RESULTS_WATERMARK_BYTES
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

    pub(in crate::memory) fn put_back(
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

    pub(super) fn delay(&mut self, due: Timestamp, parcel: Parcel) {
        self.delays += 1;
        self.delayed.insert((due, self.delays), parcel);
    }
}

/// The first so many subtasks of a parcel, and the others as one of their own.
fn split(mut parcel: Parcel, most: u64) -> (Parcel, Option<Parcel>) {
    if parcel.count() <= most {
        return (parcel, None);
    }
    let bodies = parcel.bodies.split_off(usize::try_from(most).unwrap_or(usize::MAX));
    let id = ParcelId { first: parcel.id.first.plus(most), ..parcel.id };
    let rest = Parcel { id, bodies, ..parcel };
    (parcel, Some(rest))
}

pub(super) fn singles(parcel: Parcel) -> impl Iterator<Item = Parcel> {
    let Parcel { id, attempt, deaths, bodies } = parcel;
    bodies.into_iter().zip(0..).map(move |(body, index)| Parcel {
        id: ParcelId { first: id.first.plus(index), ..id },
        attempt,
        deaths,
        bodies: vec![body],
    })
}
