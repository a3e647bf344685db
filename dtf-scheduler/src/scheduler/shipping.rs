//! Parcels on their way to the shards that they are recorded for.
//!
//! While some travel the next ones are taken: a turn waits for one answer of the store and not for one more a shard. Whoever
//! ships waits for all of them before it looks at anything else, so nothing is on its way when a task is taken up afresh.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use dtf_model::queue::{Fence, Parcel, ParcelId};
use dtf_model::shard::Shipment;
use dtf_model::wake::{Topic, WakeUp};
use dtf_model::{Shard, StoreError, TaskId};
use futures::stream::{FuturesUnordered, StreamExt};
use tracing::warn;

use super::SchedulerPorts;

/// The result of shipping parcels of one task to one shard.
pub(super) struct Shipped {
    pub(super) task: TaskId,
    pub(super) shard: Shard,
    /// Subtasks that the shard did not take, and that went back to the task; or why they did not, so that they are on no
    /// shard now.
    pub(super) back: Result<u64, StoreError>,
}

pub(super) struct Shipping<'a> {
    ports: &'a SchedulerPorts,
    wake: &'a dyn WakeUp,
    on_way: FuturesUnordered<Pin<Box<dyn Future<Output = Shipped> + Send + 'a>>>,
    ended: Vec<Shipped>,
}

impl<'a> Shipping<'a> {
    pub(super) fn new(ports: &'a SchedulerPorts, wake: &'a dyn WakeUp) -> Self {
        Self { ports, wake, on_way: FuturesUnordered::new(), ended: Vec::new() }
    }

    /// Sends parcels off. They travel while something is awaited [beside](Self::beside) them, or [all](Self::all) are.
    pub(super) fn send(&mut self, fence: Fence, parcels: Vec<(Shard, Parcel)>) {
        let mut by_shard: BTreeMap<Shard, Vec<Shipment>> = BTreeMap::new();
        for (shard, parcel) in parcels {
            by_shard.entry(shard).or_default().push(Shipment { task: fence.task, run: fence.run, parcel });
        }
        for (shard, shipments) in by_shard {
            self.on_way.push(Box::pin(ship(self.ports, self.wake, fence, shard, shipments)));
        }
    }

    /// Awaits a call while parcels travel.
    pub(super) async fn beside<T>(&mut self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        loop {
            tokio::select! {
                biased;
                answer = &mut call => return answer,
                Some(ended) = self.on_way.next() => self.ended.push(ended),
            }
        }
    }

    /// Waits until everything has arrived, or has gone back.
    pub(super) async fn all(mut self) -> Vec<Shipped> {
        while let Some(ended) = self.on_way.next().await {
            self.ended.push(ended);
        }
        self.ended
    }
}

async fn ship(
    ports: &SchedulerPorts,
    wake: &dyn WakeUp,
    fence: Fence,
    shard: Shard,
    shipments: Vec<Shipment>,
) -> Shipped {
    // Where it is not known what was taken, everything goes back: what is on the shard all the same is an attempt that
    // does not count any more.
    let shipped = ports.shards.ship(shard, &shipments).await.unwrap_or_else(|error| {
        warn!(shard = shard.0, %error, "parcels not shipped");
        0
    });
    wake.notify(Topic::Shard(shard.0), fence.task);
    let left = &shipments[shipped..];
    let ids: Vec<ParcelId> = left.iter().map(|each| each.parcel.id).collect();
    let back = match ids.is_empty() {
        true => Ok(()),
        false => ports.queues.put_back(fence, &ids, Duration::ZERO).await.map(drop),
    };
    Shipped {
        task: fence.task,
        shard,
        back: back.map(|()| left.iter().map(|each| each.parcel.count()).sum()),
    }
}
