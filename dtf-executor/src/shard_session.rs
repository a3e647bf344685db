//! What the parcels of a held shard have in common: the stores, and who is told.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dtf_model::queue::{LostParcel, Parcel, ParcelReport, Report, Reported};
use dtf_model::shard::{Capacity, ShardCredit, Shipment, ShipmentId};
use dtf_model::wake::Topic;
use dtf_model::{Shard, StoreError, TaskId};
use dtf_runtime::{RoleContext, until_answered};
use lrmf_core::Token;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};

use crate::ExecutorPorts;
use crate::slots::{ExclusiveSlot, Slots};
use crate::subtask::Stop;
use crate::task_cache::{CachedTask, TaskCache};

/// How soon a store that refuses a report is given it again. What was executed is not thrown away.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);

pub(crate) struct ShardSession {
    pub(crate) shard: Shard,
    pub(crate) token: Token,
    pub(crate) ports: ExecutorPorts,
    pub(crate) context: RoleContext,
    pub(crate) book: Arc<TaskCache>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) stop: Stop,
    /// What was claimed and is not acknowledged.
    pub(crate) in_hand: Mutex<HashSet<ShipmentId>>,
    /// The shard is to be claimed from, though no hint has come.
    pub(crate) claim_again: Notify,
    /// The parcels that have to end, or to be handed back, before the shard is given up.
    pub(crate) ending_with_it: TaskTracker,
    /// Drops also those that may come to their end without the shard.
    pub(crate) end_all: CancellationToken,
}

impl ShardSession {
    /// Takes the shard up. What an earlier holder had in hand is lost with it, and runs again from the task's queues.
    pub(crate) async fn hold(&self) -> Result<(), StoreError> {
        let left = self.ports.shards.hold(self.shard, self.token, &self.offer()).await?;
        for shipment in &left {
            self.recover(shipment).await?;
        }
        let ids: Vec<_> = left.iter().map(Shipment::id).collect();
        self.ports.shards.acknowledge(self.shard, self.token, &ids).await?;
        left.iter().for_each(|shipment| self.hint_scheduler(shipment.task));
        self.hint_room();
        Ok(())
    }

    async fn recover(&self, shipment: &Shipment) -> Result<(), StoreError> {
        let Shipment { task, run, parcel } = shipment;
        let Some(work) = self.book.find(*task, *run).await? else { return Ok(()) };
        let (id, attempt, count) = (parcel.id, parcel.attempt, parcel.count());
        let max_executor_losses = work.conf.max_executor_losses;
        let lost = LostParcel { id, attempt, count, shard: self.shard, max_executor_losses };
        match self.ports.queues.recover(*task, *run, lost).await {
            Ok(_) => {
                warn!(task_id = %task, first = %id.first, count, shard = self.shard.0, "taken back from an executor that is gone");
                Ok(())
            }
            // The task has moved on, and nothing of this is wanted.
            Err(StoreError::Gone { .. } | StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What this process takes.
    fn offer(&self) -> Capacity {
        Capacity { window: self.slots.window(), kinds: self.book.kinds(), credit: self.slots.credit() }
    }

    pub(crate) async fn claim(&self, most: usize) -> Result<Vec<Shipment>, StoreError> {
        let in_hand: Vec<_> = self.in_hand().iter().copied().collect();
        let offer = self.offer();
        let claimed = self.ports.shards.claim(self.shard, self.token, &offer, &in_hand, most).await?;
        let (fresh, again): (Vec<_>, Vec<_>) = {
            let mut in_hand = self.in_hand();
            claimed.into_iter().partition(|shipment| in_hand.insert(shipment.id()))
        };
        for shipment in again {
            self.return_again(&shipment).await;
        }
        Ok(fresh)
    }

    /// Gives a shipment back that was shipped again while the acknowledgement of the one before is still being sent, as its
    /// answer was lost: that would take this one along, which then would run on no shard and be run elsewhere as well.
    async fn return_again(&self, shipment: &Shipment) {
        if self.is_current(shipment).await == Some(true) {
            let (task, run, report) = (shipment.task, shipment.run, all_returned(shipment));
            if let Some(Err(error)) =
                self.insist(|| self.ports.queues.complete(task, run, report.clone())).await
            {
                debug!(task_id = %task, %error, "not wanted any more");
            }
        }
        self.hint_scheduler(shipment.task);
    }

    /// Whether the shard has something that was not claimed, or its store does not know what this process takes.
    pub(crate) fn has_missed(&self, room: &ShardCredit) -> bool {
        let in_hand = u32::try_from(self.in_hand().len()).unwrap_or(u32::MAX);
        room.used > in_hand || room.credit != Some(self.slots.credit()) || room.kinds != self.book.kinds()
    }

    pub(crate) fn stop(&self) -> Stop {
        self.stop.clone()
    }

    fn in_hand(&self) -> MutexGuard<'_, HashSet<ShipmentId>> {
        // A panic while it is held can only come from an allocation failure.
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entry of a shipment's task, or that its run is over; none where the shard is given up before the store answers.
    pub(crate) async fn find(&self, shipment: &Shipment) -> Option<Option<Arc<CachedTask>>> {
        self.insist(|| self.book.find(shipment.task, shipment.run)).await.map(Result::ok).map(Option::flatten)
    }

    /// Waits until no other suspect runs in this process; none where the shard is given up before.
    pub(crate) async fn alone(&self) -> Option<ExclusiveSlot> {
        tokio::select! {
            () = self.stop.soon.cancelled() => None,
            alone = self.slots.alone() => Some(alone),
        }
    }

    /// Whether the shipment runs, and is charged with the death that it may cause.
    pub(crate) async fn mark_suspect(&self, shipment: &Shipment) -> Option<bool> {
        let (task, run, parcel) = (shipment.task, shipment.run, &shipment.parcel);
        let mark_suspect = || self.ports.queues.mark_suspect(task, run, parcel.id, parcel.attempt);
        self.insist(mark_suspect).await.map(|answered| answered.unwrap_or(false))
    }

    /// Whether a shipment is still to be run here. For one that is ordered the task's queues are asked: it may have been
    /// shipped by a scheduler that woke up late, and run and be counted, or run elsewhere. None where the shard is given up
    /// before they answer.
    pub(crate) async fn is_current(&self, shipment: &Shipment) -> Option<bool> {
        let (task, run, parcel) = (shipment.task, shipment.run, &shipment.parcel);
        if !parcel.is_ordered() {
            return Some(true);
        }
        let runs = || self.ports.queues.runs_on(task, run, self.shard, parcel);
        self.insist(runs).await.map(|answered| answered.unwrap_or(false))
    }

    /// Reports, again while the store does not answer or refuses: what is counted already is not counted twice. Says false
    /// where the shard is given up before. Where the task has moved on there is nobody to report to.
    pub(crate) async fn report(
        &self,
        shipment: &Shipment,
        work: &CachedTask,
        report: ParcelReport,
        stop: &CancellationToken,
    ) -> bool {
        let (task, run) = (shipment.task, shipment.run);
        let complete = || self.ports.queues.complete(task, run, report.clone());
        let Some(answered) = insist(stop, complete).await else {
            return false;
        };
        match answered {
            Ok(reported) => {
                work.set_control(reported.control);
                self.hint(task, &reported);
                if report.reports.iter().any(|each| matches!(each, Report::Returned | Report::Retry { .. })) {
                    self.hint_scheduler(task);
                }
            }
            Err(error) => debug!(task_id = %task, %error, "not wanted any more"),
        }
        true
    }

    /// Reports the last of a shipment, and acknowledges it.
    pub(crate) async fn finish(&self, shipment: &Shipment, work: &CachedTask, report: ParcelReport) {
        if self.report(shipment, work, report, &self.stop.now).await {
            self.acknowledge(shipment).await;
        }
    }

    pub(crate) async fn acknowledge(&self, shipment: &Shipment) {
        let id = [shipment.id()];
        let acknowledge = || self.ports.shards.acknowledge(self.shard, self.token, &id);
        if let Some(Err(error)) = self.insist(acknowledge).await {
            debug!(shard = self.shard.0, %error, "not acknowledged");
        }
        self.in_hand().remove(&shipment.id());
        self.hint_scheduler(shipment.task);
        self.hint_room();
    }

    /// Lets nothing more be shipped here, and gives back what was: it would wait for what still runs.
    pub(crate) async fn close(&self) {
        const MOST: usize = 10_000;
        let in_hand: Vec<_> = self.in_hand().iter().copied().collect();
        let nothing = Capacity { window: 0, ..self.offer() };
        match self.ports.shards.claim(self.shard, self.token, &nothing, &in_hand, MOST).await {
            Ok(claimed) => self.give_back(claimed).await,
            // They stay on the shard, for its next holder.
            Err(error) => debug!(shard = self.shard.0, %error, "not closed"),
        }
        self.hint_room(); // there is none any more
    }

    /// Gives back what was claimed and has not begun, so that it need not wait for the next holder, who would take it for lost.
    pub(crate) async fn give_back(&self, shipments: Vec<Shipment>) {
        for shipment in shipments {
            let Shipment { task, run, .. } = shipment;
            match self.is_current(&shipment).await {
                Some(true) => {}
                Some(false) => {
                    self.acknowledge(&shipment).await;
                    continue;
                }
                None => continue,
            }
            let report = all_returned(&shipment);
            let returned = self.insist(|| self.ports.queues.complete(task, run, report.clone())).await;
            if returned.is_some() {
                self.acknowledge(&shipment).await;
            }
        }
    }

    /// Calls until the store answers anything but a refusal; none where the shard is given up before.
    async fn insist<T, F>(&self, call: impl Fn() -> F) -> Option<Result<T, StoreError>>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        insist(&self.stop.now, call).await
    }

    fn hint(&self, task: TaskId, reported: &Reported) {
        let (wake, shape) = (&self.context.wake, &self.context.shape);
        if reported.counted > 0 {
            wake.notify(shape.collection(task), task);
        }
        if reported.control.ends() && reported.running == 0 {
            wake.notify(shape.watch(task), task);
        }
    }

    /// A task has used slot-time, or has something pending.
    fn hint_scheduler(&self, task: TaskId) {
        self.context.wake.notify(self.context.shape.scheduling(task), task);
    }

    /// The shard has room, which concerns the schedulers of all partitions.
    pub(crate) fn hint_room(&self) {
        for partition in 0..self.context.shape.partitions {
            self.context.wake.notify(Topic::Credit(partition), self.shard.as_hint());
        }
    }
}

/// Calls until the store answers anything but a refusal; none where `stop` fires before.
async fn insist<T, F>(stop: &CancellationToken, call: impl Fn() -> F) -> Option<Result<T, StoreError>>
where
    F: Future<Output = Result<T, StoreError>>,
{
    loop {
        match until_answered(stop, &call).await {
            Err(error) if error.is_retryable() => return None,
            Err(error @ StoreError::Refused { .. }) => {
                error!(%error, "a store refuses, it is asked again");
                if !wait(stop, AFTER_REFUSAL).await {
                    return None;
                }
            }
            answered => return Some(answered),
        }
    }
}

/// The report on a shipment of which nothing has begun.
fn all_returned(shipment: &Shipment) -> ParcelReport {
    let Parcel { id, attempt, executor_losses, ref bodies, .. } = shipment.parcel;
    let (reports, together) = (vec![Report::Returned; bodies.len()], bodies.len());
    ParcelReport { parcel: id, attempt, executor_losses, reports, together, busy: Duration::ZERO }
}

/// Waits; says false where `stop` fired first.
async fn wait(stop: &CancellationToken, span: Duration) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(span) => true,
    }
}
