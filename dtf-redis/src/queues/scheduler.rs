//! [`SchedulerQueue`] on Redis.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::queue::{
    Fence, LANES_MOST, Parcel, ParcelId, RESULTS_WATERMARK, RunningParcel, SchedulerLoad, SchedulerQueue,
    Slot, TakeRequest, Taken, WAKE_MOST,
};
use dtf_model::{Shard, StoreError};

use super::RedisQueues;
use crate::codec;
use crate::keys::Of;
use crate::reply::{Malformed, malformed};
use crate::scripts;

#[async_trait]
impl SchedulerQueue for RedisQueues {
    async fn load_scheduler(&self, fence: Fence) -> Result<SchedulerLoad, StoreError> {
        let call = self.fenced(&scripts::LOAD_SCHEDULER, fence, &[Of::Info, Of::Running]);
        let mut reply = self.by_holder(fence, &call).await?;
        let pending = reply.count()?;
        let usage = reply.usage()?;
        let running = reply.rest()?;
        let running =
            running.chunks_exact(4).map(|each| read_running([&each[0], &each[1], &each[2], &each[3]]));
        Ok(SchedulerLoad { pending, running: running.collect::<Result<_, _>>()?, usage })
    }

    async fn take(&self, fence: Fence, hand: &TakeRequest, most: u64) -> Result<Taken, StoreError> {
        let keys = [Of::Info, Of::Pending, Of::Delayed, Of::Running, Of::Settled, Of::Keyed, Of::Turns];
        let mut call = self.fenced(&scripts::TAKE, fence, &keys);
        call.arg(RESULTS_WATERMARK).arg(hand.results_bytes).arg(WAKE_MOST).arg(most);
        call.arg(hand.parcels).arg(LANES_MOST).arg(hand.lanes);
        for Slot { shard, lanes } in &hand.places {
            let separator = if lanes.is_empty() { "" } else { "/" };
            let lanes: Vec<_> = lanes.iter().map(u32::to_string).collect();
            call.arg(format!("{shard}{separator}{}", lanes.join(",")));
        }
        let mut reply = self.by_holder(fence, &call).await?;
        let (pending, lost) = (reply.count()?, reply.count()?);
        let next_due = reply.optional_text()?.map(|micros| micros.parse().map(Duration::from_micros));
        let next_due = next_due.transpose().map_err(malformed)?;
        let control = reply.control()?;
        let usage = reply.usage()?;
        let generated = reply.number::<u8>()? == 1;
        let anywhere = reply.number::<u8>()? == 1;
        let lanes = reply.text()?;
        let named = numbers(&reply.text()?)?;
        let results_bytes = reply.count()?;
        let parcels = reply.rest()?.into_iter().map(codec::read_parcel);
        let parcels = parcels.collect::<Result<Vec<_>, _>>().map_err(Malformed::from)?;
        let parcels: Vec<_> = match named.is_empty() {
            true => hand.places.iter().map(|place| place.shard).zip(parcels).collect(),
            false => named.into_iter().map(Shard).zip(parcels).collect(),
        };
        let lanes = match lanes.as_str() {
            "*" => lanes_but_for_empty_places(hand, &parcels),
            lanes => numbers(lanes)?,
        };
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

    async fn put_back(&self, fence: Fence, parcels: &[ParcelId], after: Duration) -> Result<(), StoreError> {
        let keys = [Of::Info, Of::Pending, Of::Delayed, Of::Running, Of::Keyed, Of::Turns];
        let mut call = self.fenced(&scripts::PUT_BACK, fence, &keys);
        call.arg(micros(after));
        for parcel in parcels {
            call.arg(codec::parcel_name(*parcel));
        }
        self.by_holder(fence, &call).await.map(drop)
    }

    async fn set_scheduler_blocked_on(&self, fence: Fence, reason: Option<&str>) -> Result<(), StoreError> {
        self.set_waits_in(fence, ["stoken", "swaits"], reason).await
    }
}

/// All lanes but for those of places for which there was nothing, although more was wanted.
fn lanes_but_for_empty_places(hand: &TakeRequest, given: &[(Shard, Parcel)]) -> Vec<u32> {
    let got = |shard: Shard| given.iter().any(|(to, _)| *to == shard);
    let was_enough = given.len() >= hand.parcels;
    let empty: HashSet<u32> = hand
        .places
        .iter()
        .filter(|place| !was_enough && !got(place.shard))
        .flat_map(|place| place.lanes.iter().copied())
        .collect();
    (0..hand.lanes).filter(|lane| !empty.contains(lane)).take(LANES_MOST).collect()
}

/// Numbers with commas between them.
fn numbers(text: &str) -> Result<Vec<u32>, StoreError> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts.map(|part| part.parse().map_err(malformed)).collect()
}

/// A delay as the scripts take it, in whole microseconds. One of less is not none.
pub(super) fn micros(span: Duration) -> u64 {
    let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX).min(MOST_MICROS);
    micros.max(u64::from(!span.is_zero()))
}

/// A hundred years. A due time has to be a number that Lua keeps exactly.
const MOST_MICROS: u64 = 100 * 366 * 24 * 3600 * 1_000_000;

fn read_running([name, shard, attempt, with]: [&Bytes; 4]) -> Result<RunningParcel, StoreError> {
    let text = |bytes| std::str::from_utf8(bytes).map_err(malformed);
    let id = codec::read_parcel_name(text(name)?).map_err(Malformed::from)?;
    let attempt = text(attempt)?.parse().map_err(malformed)?;
    let shipped_with = text(with)?.parse().map_err(malformed)?;
    Ok(RunningParcel { id, attempt, shard: text(shard)?.parse().map_err(malformed)?, shipped_with })
}
