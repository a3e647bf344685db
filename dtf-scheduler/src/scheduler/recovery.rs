//! What a scheduler finds of a task that it takes up, and what an earlier one left undone.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use dtf_model::queue::{Fence, ParcelId, RunningParcel, SchedulerLoad, SchedulerQueue, TaskState};
use dtf_model::shard::{ShardQueue, ShipmentId};
use dtf_model::{StoreError, TaskId};
use futures::{StreamExt, TryStreamExt};
use lrmf_core::Token;

/// The number of shards that are read at a time.
const TOGETHER: usize = 64;

/// A task as it is found.
pub(super) struct Found {
    pub(super) state: TaskState,
    pub(super) load: SchedulerLoad,
}

/// The result of looking whether what a task has running is on its shards.
pub(super) struct Checked {
    pub(super) fence: Fence,
    /// The number of the check, among the hands of this scheduler.
    pub(super) number: u64,
    pub(super) load: Result<SchedulerLoad, StoreError>,
}

/// Finds tasks, and raises their tokens.
pub(super) struct Finder {
    pub(super) queues: Arc<dyn SchedulerQueue>,
    pub(super) shards: Arc<dyn ShardQueue>,
    pub(super) token: Token,
}

impl Finder {
    /// A task that has queues and has not ended.
    pub(super) async fn find(&self, task: TaskId) -> Result<Option<Found>, StoreError> {
        let state = self.queues.state(task).await?;
        let Some(state) = state.filter(|state| state.ending.is_none()) else { return Ok(None) };
        let load = self.load(Fence { task, run: state.spec.run, token: self.token }).await?;
        Ok(Some(Found { state, load }))
    }

    /// Raises the token of a task. What is running but on no shard goes back to pending.
    pub(super) async fn load(&self, fence: Fence) -> Result<SchedulerLoad, StoreError> {
        let load = self.queues.load_scheduler(fence).await?;
        self.recover(fence, &load).await?;
        Ok(load)
    }

    /// An earlier scheduler may have died between taking parcels and shipping them: what is running but on no shard goes
    /// back to pending. What is reported between the two reads is no longer running, and putting it back does nothing.
    async fn recover(&self, fence: Fence, load: &SchedulerLoad) -> Result<(), StoreError> {
        let mut by_shard: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for running in &load.running {
            by_shard.entry(running.shard).or_default().push(*running);
        }
        let reads = by_shard.into_iter().map(|(shard, parcels)| async move {
            let there: HashSet<_> = self.shards.contents(shard).await?.into_iter().collect();
            Ok::<_, StoreError>((parcels, there))
        });
        let read: Vec<_> = futures::stream::iter(reads).buffered(TOGETHER).try_collect().await?;
        let shipment = |running: &RunningParcel| ShipmentId {
            task: fence.task,
            run: fence.run,
            parcel: ParcelId { first: running.shipped_with, ..running.id },
            attempt: running.attempt,
        };
        let is_lost = |running: &&RunningParcel, there: &HashSet<_>| !there.contains(&shipment(running));
        let mut lost = Vec::new();
        for (parcels, there) in &read {
            lost.extend(parcels.iter().filter(|running| is_lost(running, there)).map(|running| running.id));
        }
        if !lost.is_empty() {
            self.queues.put_back(fence, &lost, Duration::ZERO).await?;
        }
        Ok(())
    }
}
