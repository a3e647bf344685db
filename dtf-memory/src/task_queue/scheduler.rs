//! The scheduler's calls: taking parcels and putting them back.

use std::time::Duration;

use dtf_model::error::StoreError;
use dtf_model::key::ShardKey;
use dtf_model::queue::{
    Parcel, ParcelId, RESULTS_WATERMARK, RunningParcel, SchedulerLoad, Slot, TakeRequest, Taken,
    TaskProgress, Usage, WAKE_MOST,
};
use dtf_model::status::Control;
use lrmf_core::{Timestamp, Token};

use super::keyed::rank;
use super::{Running, TaskQueue, check, raise};

impl TaskQueue {
    pub(crate) fn load_scheduler(&mut self, token: Token) -> Result<SchedulerLoad, StoreError> {
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

    pub(crate) fn progress(&self) -> TaskProgress {
        TaskProgress {
            run: self.spec.run,
            usage: self.usage(),
            pending: self.pending_subtasks,
            lost: self.lost.min(self.pending_subtasks),
            delayed: self.delayed.len() as u64,
            results: self.waiting_results,
            results_bytes: self.waiting_bytes,
            generated: self.finished,
            control: self.control,
            is_over: self.stop.is_some() || self.ending.is_some(),
        }
    }

    fn usage(&self) -> Usage {
        Usage { used: self.used, running: self.running_subtasks, mean_run: self.run_time.mean() }
    }

    pub(crate) fn take(
        &mut self,
        token: Token,
        now: Timestamp,
        hand: &TakeRequest,
        most: u64,
    ) -> Result<Taken, StoreError> {
        check(self.tokens.scheduler, token)?;
        self.keyed.set_lanes(hand.lanes);
        self.wake_delayed(now);
        let (mut parcels, mut left) = (Vec::new(), most);
        let may_take = self.control == Control::Run && !self.is_flooded(hand.results_bytes);
        for Slot { shard, lanes } in hand.places.iter().filter(|_| may_take) {
            if parcels.len() == hand.parcels || left == 0 {
                break;
            }
            let Some(parcel) = self.next_for(lanes, left) else { continue };
            left -= parcel.count();
            self.running_subtasks += parcel.count();
            let (shard, shipped_with) = (*shard, parcel.id.first);
            self.running
                .insert(parcel.id, Running { shard, shipped_with, marked: false, parcel: parcel.clone() });
            parcels.push((shard, parcel));
        }
        // What became settled meanwhile was not given out, so this may be too many.
        self.lost = self.lost.saturating_sub(most - left).min(self.pending_subtasks);
        let next_due = self.delayed.first_key_value().map(|((due, _), _)| due.since(now));
        let anywhere = may_take && !self.pending.is_empty();
        let lanes = if may_take { self.keyed.lanes_in_line() } else { Vec::new() };
        let TaskProgress { pending, lost, generated, control, usage, results_bytes, .. } = self.progress();
        Ok(Taken {
            parcels,
            pending,
            lost,
            generated,
            anywhere,
            lanes,
            next_due,
            control,
            usage,
            results_bytes,
        })
    }

    /// Takes the parcel whose turn it is at a place that serves these lanes, with at most so many subtasks.
    fn next_for(&mut self, lanes: &[u32], most: u64) -> Option<Parcel> {
        loop {
            let without = self.pending.front().map(rank);
            let with = self.keyed.first(lanes).filter(|(_, rank)| without.is_none_or(|other| *rank < other));
            let key = with.map(|(key, _)| key);
            let parcel = match key {
                Some(key) => self.keyed.pop(key)?,
                None => self.pending.pop_front()?,
            };
            self.pending_subtasks -= parcel.count();
            // A late success of an earlier attempt may have settled it meanwhile.
            if parcel.count() == 1 && self.done.contains(parcel.id.first) {
                key.into_iter().for_each(|key| self.keyed.settled(key));
                continue;
            }
            let (parcel, rest) = split(parcel, most);
            self.pending_subtasks += rest.as_ref().map_or(0, Parcel::count);
            match key {
                Some(key) => self.keyed.given(key, rest),
                None => rest.into_iter().for_each(|rest| self.pending.push_front(rest)),
            }
            return Some(parcel);
        }
    }

    /// So many more parcels of a key are under way, or fewer: they run or are delayed.
    pub(super) fn under_way(&mut self, key: Option<ShardKey>, more: i64) {
        if let Some(key) = key {
            self.keyed.under_way(key, more);
        }
    }

    pub(super) fn is_flooded(&self, most_bytes: u64) -> bool {
        self.waiting_results >= RESULTS_WATERMARK || self.waiting_bytes >= most_bytes
    }

    fn wake_delayed(&mut self, now: Timestamp) {
        let mut due = Vec::new();
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now || due.len() == WAKE_MOST {
                break;
            }
            due.push(entry.remove());
        }
        let keys: Vec<_> = due.iter().map(|parcel| parcel.key).collect();
        self.return_to_pending(due);
        keys.into_iter().for_each(|key| self.under_way(key, -1));
    }

    pub(crate) fn put_back(
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
        let keys: Vec<_> = back.iter().map(|parcel| (parcel.key, parcel.bodies.len() as i64)).collect();
        if after.is_zero() {
            self.return_to_pending(back);
            keys.into_iter().for_each(|(key, _)| self.under_way(key, -1));
        } else {
            for single in back.into_iter().flat_map(singles) {
                self.delay(now + after, single);
            }
            keys.into_iter().for_each(|(key, singles)| self.under_way(key, singles - 1));
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
    let Parcel { id, attempt, executor_losses, key, bodies } = parcel;
    bodies.into_iter().zip(0..).map(move |(body, index)| Parcel {
        id: ParcelId { first: id.first.plus(index), ..id },
        attempt,
        executor_losses,
        key,
        bodies: vec![body],
    })
}
