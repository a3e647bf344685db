//! Dealing the shards' room out to tasks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dtf_model::plugin::{Dispatch, TaskScheduler};
use dtf_model::queue::{Fence, Parcel, ParcelId, Taken, Usage};
use dtf_model::roles::{PluginFault, RoleContext, guarded};
use dtf_model::shard::Shipment;
use dtf_model::{Control, Shard, StoreError, SubtaskId, TaskId};
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::tasks::Tasks;

/// The most parcels that one task is given at a time, so that others get their turn.
const HAND: usize = 16;
/// How soon a task is served again some of whose parcels were not taken by their shards.
const AFTER_REFUSAL: Duration = Duration::from_millis(20);
/// How long the plugin's callback may take.
const CALLBACK_LIMIT: Duration = Duration::from_secs(5);
/// How long a subtask waits whose callback failed.
const AFTER_FAULT: Duration = Duration::from_secs(1);

pub(super) struct Dispatcher {
    context: RoleContext,
    shards: Vec<Shard>,
}

impl Dispatcher {
    pub(super) fn new(context: RoleContext) -> Self {
        let shards = (0..context.shape.shards).map(Shard).collect();
        Self { context, shards }
    }

    /// Deals out the room that there is now, and says whether there may be more to deal out. Executors may make room as
    /// fast as it is filled, so the caller listens in between.
    pub(super) async fn deal(&self, tasks: &mut Tasks) -> Result<bool, StoreError> {
        tasks.catch_up();
        if tasks.policy.is_idle() {
            return Ok(false);
        }
        let mut places = self.places().await?;
        if places.is_empty() {
            return Ok(false);
        }
        while !places.is_empty() {
            let Some((task, most)) = tasks.next() else { break };
            let hand = places.len().min(HAND);
            let shards: Vec<_> = places.drain(..hand).collect();
            self.serve(tasks, task, &shards, most).await?;
        }
        Ok(!tasks.policy.is_idle())
    }

    /// A shard for each parcel that there is room for, those with the most room first and each once a round.
    async fn places(&self) -> Result<Vec<Shard>, StoreError> {
        let rooms = self.context.shards.rooms(&self.shards).await?;
        let most = rooms.iter().copied().max().unwrap_or(0);
        let round = |level: u32| {
            self.shards.iter().zip(&rooms).filter(move |(_, room)| **room >= level).map(|(shard, _)| *shard)
        };
        Ok((1..=most).rev().flat_map(round).collect())
    }

    /// Gives one task its turn. Where a store fails in the middle, parcels may have been taken and not shipped: the task is
    /// taken up afresh then, and they are found.
    async fn serve(
        &self,
        tasks: &mut Tasks,
        task: TaskId,
        shards: &[Shard],
        most: u64,
    ) -> Result<(), StoreError> {
        let served = self.turn(tasks, task, shards, most).await;
        if served.is_err() {
            tasks.forget(task);
        }
        served
    }

    async fn turn(
        &self,
        tasks: &mut Tasks,
        task: TaskId,
        shards: &[Shard],
        most: u64,
    ) -> Result<(), StoreError> {
        let Some(known) = tasks.get(task) else {
            tasks.policy.remove(task);
            return Ok(());
        };
        let fence = tasks.fence(task, known.run);
        let (callback, backlog) = (known.callback.clone(), known.backlog);
        let taken = match self.context.queues.take(fence, shards, most).await {
            Ok(taken) => taken,
            Err(StoreError::Gone { .. } | StoreError::Fenced { .. }) => {
                tasks.forget(task);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.note(tasks, task, &taken, backlog);
        let count = |parcels: &[(Shard, Parcel)]| parcels.iter().map(|(_, each)| each.count()).sum::<u64>();
        let all = count(&taken.parcels);
        let parcels = self.admitted(fence, callback, taken.parcels).await?;
        let admitted = count(&parcels);
        let shipped = self.ship(fence, parcels).await?;
        // What went back is not charged.
        let running = taken.usage.running.saturating_sub(all - shipped);
        tasks.spend(task, shipped);
        tasks.charge(task, &Usage { running, ..taken.usage });
        if shipped < admitted {
            tasks.quiet(task);
            let soon = taken.next_due.map_or(AFTER_REFUSAL, |due| due.min(AFTER_REFUSAL));
            tasks.due_in(task, Some(soon));
        }
        Ok(())
    }

    fn note(&self, tasks: &mut Tasks, task: TaskId, taken: &Taken, backlog: u64) {
        if taken.parcels.is_empty() || taken.pending == 0 || taken.control != Control::Run {
            tasks.quiet(task);
        }
        tasks.due_in(task, taken.next_due);
        if taken.pending <= backlog / 2 {
            self.context.wake.ring(self.context.shape.generation(task), task);
        }
    }

    /// What the plugin's callback lets pass; the rest goes back, to be asked about again.
    async fn admitted(
        &self,
        fence: Fence,
        callback: Option<Arc<dyn TaskScheduler>>,
        parcels: Vec<(Shard, Parcel)>,
    ) -> Result<Vec<(Shard, Parcel)>, StoreError> {
        let Some(callback) = callback else { return Ok(parcels) };
        // All at once: one that takes its time delays the others of this hand, but not by its time for each of them.
        let asked: Vec<_> =
            parcels.iter().map(|(_, parcel)| self.ask(fence, callback.clone(), parcel)).collect();
        let mut admitted = Vec::new();
        for ((shard, parcel), asked) in parcels.into_iter().zip(asked) {
            match said(fence.task, asked.await) {
                Dispatch::Now => admitted.push((shard, parcel)),
                Dispatch::After(span) => {
                    let span = span.max(Duration::from_millis(1));
                    self.context.queues.put_back(fence, &[parcel.id], span).await?;
                    self.context.wake.ring(self.context.shape.scheduling(fence.task), fence.task);
                }
            }
        }
        Ok(admitted)
    }

    /// Ships parcels to the shards that they are recorded for; what is not taken there goes back to pending. Says how many
    /// subtasks were taken.
    async fn ship(&self, fence: Fence, parcels: Vec<(Shard, Parcel)>) -> Result<u64, StoreError> {
        let mut subtasks = 0;
        let mut by_shard: BTreeMap<Shard, Vec<Shipment>> = BTreeMap::new();
        for (shard, parcel) in parcels {
            by_shard.entry(shard).or_default().push(Shipment { task: fence.task, run: fence.run, parcel });
        }
        for (shard, shipments) in by_shard {
            let shipped = self.context.shards.ship(shard, &shipments).await.unwrap_or_else(|error| {
                warn!(shard = shard.0, %error, "parcels not shipped");
                0
            });
            self.context.wake.ring(dtf_model::wake::Topic::Shard(shard.0), fence.task);
            subtasks += shipments[..shipped].iter().map(|each| each.parcel.count()).sum::<u64>();
            let left: Vec<ParcelId> = shipments[shipped..].iter().map(|each| each.parcel.id).collect();
            if !left.is_empty() {
                self.context.queues.put_back(fence, &left, Duration::ZERO).await?;
            }
        }
        Ok(subtasks)
    }

    /// Asks the plugin's callback about a parcel of one, on the plugins' runtime.
    fn ask(
        &self,
        fence: Fence,
        callback: Arc<dyn TaskScheduler>,
        parcel: &Parcel,
    ) -> AbortOnDropHandle<Asked> {
        let id = SubtaskId { task: fence.task, run: fence.run, epoch: parcel.id.epoch, seq: parcel.id.first };
        let body = parcel.bodies.first().cloned();
        AbortOnDropHandle::new(self.context.plugin_runtime.spawn(guarded(CALLBACK_LIMIT, async move {
            let Some(body) = body else { return Ok(Dispatch::Now) };
            let said = callback.before_dispatch(id, &body).await?;
            if said == Dispatch::Now {
                callback.after_dispatch(id).await?;
            }
            Ok(said)
        })))
    }
}

/// What came of a call of the callback.
type Asked = Result<anyhow::Result<Dispatch>, PluginFault>;

/// What the callback said. One that failed delays its subtask and nothing else.
fn said(task: TaskId, asked: Result<Asked, JoinError>) -> Dispatch {
    let said = match asked {
        Ok(Ok(said)) => said,
        Ok(Err(fault)) => Err(fault.into()),
        Err(error) => Err(error.into()),
    };
    said.unwrap_or_else(|error: anyhow::Error| {
        warn!(task_id = %task, %error, "the scheduler's callback failed");
        Dispatch::After(AFTER_FAULT)
    })
}
