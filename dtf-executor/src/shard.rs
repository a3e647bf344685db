//! One shard, held by this process: claims parcels as slots become free, runs and reports them.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dtf_model::queue::{ParcelReport, Reported};
use dtf_model::roles::{RoleContext, until_answered};
use dtf_model::shard::{Shipment, ShipmentId};
use dtf_model::wake::Topic;
use dtf_model::{Shard, StoreError, TaskId};
use lrmf_core::Token;
use lrmf_core::runner::Held;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::ExecutorConfig;
use crate::parcel::{self, Stop};
use crate::work::WorkBook;

/// How often a shard is looked at without a hint.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(crate) struct ShardLoop {
    config: ExecutorConfig,
    slots: Arc<Semaphore>,
    stop: CancellationToken,
    desk: Arc<Desk>,
    parcels: JoinSet<()>,
    /// Claimed and waiting for a slot.
    waiting: VecDeque<Shipment>,
    /// Whether the shard may have more.
    more: bool,
}

impl ShardLoop {
    pub(crate) fn new(
        shard: Shard,
        held: &Held,
        config: ExecutorConfig,
        context: RoleContext,
        slots: Arc<Semaphore>,
        book: Arc<WorkBook>,
    ) -> Self {
        let stop = Stop { soon: held.stop.clone(), now: CancellationToken::new() };
        let (token, window) = (held.token, config.window);
        let desk = Arc::new(Desk { shard, token, window, context, book, stop, in_hand: Mutex::default() });
        let (parcels, waiting) = (JoinSet::new(), VecDeque::new());
        Self { config, slots, stop: held.stop.clone(), desk, parcels, waiting, more: true }
    }

    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        let ran = self.work().await;
        self.drain().await;
        Ok(ran?)
    }

    async fn work(&mut self) -> Result<(), StoreError> {
        let mut listener = self.desk.context.wake.listen(Topic::Shard(self.desk.shard.0));
        let Some(left) = self.take_up().await? else { return Ok(()) };
        self.waiting.extend(left);
        let mut look = tokio::time::interval(LOOK_AGAIN);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wanted = self.more || !self.waiting.is_empty();
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                Some(ended) = self.parcels.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(shard = self.desk.shard.0, %error, "a parcel's run panicked");
                    }
                }
                permit = self.slots.clone().acquire_owned(), if wanted => match permit {
                    Ok(permit) => self.use_slot(permit).await?,
                    Err(_) => return Ok(()), // the slots are never closed
                },
                _ = listener.next() => self.more = true,
                _ = look.tick() => self.more = true,
            }
        }
    }

    /// Takes the shard up, again while the store does not answer: none where the shard is given up before.
    async fn take_up(&self) -> Result<Option<Vec<Shipment>>, StoreError> {
        let desk = &self.desk;
        match until_answered(&self.stop, || desk.hold()).await {
            Err(error) if error.is_retryable() => Ok(None),
            answered => {
                // There may be room now that no scheduler has heard of.
                desk.ring_schedulers(TaskId(0));
                answered.map(Some)
            }
        }
    }

    /// Runs the next parcel on a slot, claiming as many as there are slots free.
    async fn use_slot(&mut self, permit: OwnedSemaphorePermit) -> Result<(), StoreError> {
        if self.waiting.is_empty() {
            let most = 1 + self.slots.available_permits();
            let claimed = match self.desk.claim(most).await {
                Err(error) if error.is_retryable() => {
                    warn!(shard = self.desk.shard.0, %error, "nothing claimed");
                    self.more = false; // until the next look
                    return Ok(());
                }
                answered => answered?,
            };
            self.more = !claimed.is_empty();
            self.waiting.extend(claimed);
        }
        if let Some(shipment) = self.waiting.pop_front() {
            let desk = self.desk.clone();
            let on = desk.context.plugin_runtime.clone();
            let run = async move {
                desk.serve(&shipment).await;
                drop(permit);
            };
            self.parcels.spawn_on(run, &on);
        }
        Ok(())
    }

    /// Lets what runs come to its end, for a while, longer where the process leaves, then drops it. What was claimed and not started stays on the shard.
    async fn drain(&mut self) {
        self.desk.stop.soon.cancel();
        let all = async { while self.parcels.join_next().await.is_some() {} };
        if !self.desk.context.departure.wait_for(self.config.drain, all).await {
            self.desk.stop.now.cancel();
            while self.parcels.join_next().await.is_some() {}
        }
    }
}

/// What the parcels of a shard need to be run and reported.
struct Desk {
    shard: Shard,
    token: Token,
    window: u32,
    context: RoleContext,
    book: Arc<WorkBook>,
    stop: Stop,
    /// What was claimed and is not acknowledged.
    in_hand: Mutex<HashSet<ShipmentId>>,
}

impl Desk {
    async fn hold(&self) -> Result<Vec<Shipment>, StoreError> {
        let left = self.context.shards.hold(self.shard, self.token, self.window).await?;
        self.in_hand().extend(left.iter().map(Shipment::id));
        Ok(left)
    }

    async fn claim(&self, most: usize) -> Result<Vec<Shipment>, StoreError> {
        let in_hand: Vec<_> = self.in_hand().iter().copied().collect();
        let claimed = self.context.shards.claim(self.shard, self.token, self.window, &in_hand, most).await?;
        self.in_hand().extend(claimed.iter().map(Shipment::id));
        Ok(claimed)
    }

    fn in_hand(&self) -> MutexGuard<'_, HashSet<ShipmentId>> {
        // A panic while it is held can only come from an allocation failure.
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a parcel, reports it and acknowledges it.
    async fn serve(&self, shipment: &Shipment) {
        let Some(found) = self.until_answered(|| self.book.find(shipment.task, shipment.run)).await else {
            return;
        };
        if let Ok(Some(work)) = found {
            let report = parcel::run(&work, &shipment.parcel, &self.stop).await;
            let Some(reported) = self.report(shipment, report).await else { return };
            match reported {
                Ok(reported) => {
                    work.set_control(reported.control);
                    self.hint(shipment.task, &reported);
                }
                Err(error) => debug!(task_id = %shipment.task, %error, "report refused"),
            }
        }
        self.acknowledge(shipment).await;
    }

    /// Reports, again while the store does not answer: what is counted already is not counted twice.
    async fn report(
        &self,
        shipment: &Shipment,
        report: ParcelReport,
    ) -> Option<Result<Reported, StoreError>> {
        let (task, run) = (shipment.task, shipment.run);
        self.until_answered(|| self.context.queues.complete(task, run, report.clone())).await
    }

    async fn acknowledge(&self, shipment: &Shipment) {
        let id = [shipment.id()];
        let acknowledge = || self.context.shards.acknowledge(self.shard, self.token, &id);
        if let Some(Err(error)) = self.until_answered(acknowledge).await {
            debug!(shard = self.shard.0, %error, "not acknowledged");
        }
        self.in_hand().remove(&shipment.id());
        self.ring_schedulers(shipment.task);
    }

    /// Calls until the store answers; none where the shard is given up before. The parcel is run again then.
    async fn until_answered<T, F>(&self, call: impl Fn() -> F) -> Option<Result<T, StoreError>>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        match until_answered(&self.stop.now, call).await {
            Err(error) if error.is_retryable() => None,
            answered => Some(answered),
        }
    }

    fn hint(&self, task: TaskId, reported: &Reported) {
        let (wake, shape) = (&self.context.wake, &self.context.shape);
        if reported.counted > 0 {
            wake.ring(shape.collection(task), task);
        }
        if reported.control.ends() && reported.running == 0 {
            wake.ring(shape.watch(task), task);
        }
    }

    /// Room on a shard concerns the schedulers of all partitions.
    fn ring_schedulers(&self, task: TaskId) {
        for partition in 0..self.context.shape.partitions {
            self.context.wake.ring(Topic::Scheduling(partition), task);
        }
    }
}
