//! Dealing the shards' room out to tasks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dtf_model::key::Ring;
use dtf_model::plugin::Dispatch;
use dtf_model::queue::{Fence, Hand, Parcel, ParcelId, Taken, Usage};
use dtf_model::roles::RoleContext;
use dtf_model::shard::Shipment;
use dtf_model::{Control, Shard, StoreError, TaskId};
use tracing::warn;

use super::callback::{Answers, Said};
use super::places::Places;
use super::tasks::Tasks;

/// How soon a task is served again some of whose parcels were not taken by their shards.
const AFTER_REFUSAL: Duration = Duration::from_millis(20);

/// How soon a task is looked at again that nobody with room can execute.
const UNTIL_CAPABLE: Duration = Duration::from_millis(100);

pub(super) struct Dispatcher {
    context: RoleContext,
    shards: Vec<Shard>,
    ring: Arc<Ring>,
}

impl Dispatcher {
    pub(super) fn new(context: RoleContext) -> Self {
        let shards = (0..context.shape.shards).map(Shard).collect();
        let ring = Arc::new(Ring::new(context.shape.shards));
        Self { context, shards, ring }
    }

    /// Deals out the room that there is now, and says whether there may be more to deal out. Executors may make room as
    /// fast as it is filled, so the caller listens in between.
    pub(super) async fn deal(&self, tasks: &mut Tasks) -> Result<bool, StoreError> {
        tasks.catch_up();
        if tasks.policy.is_idle() && !tasks.is_any_parked() {
            return Ok(false);
        }
        let mut places = self.places().await?;
        if places.is_empty() {
            return Ok(false);
        }
        tasks.unpark(&mut places);
        while !places.is_empty() {
            match tasks.next() {
                Some((task, most)) => self.serve(tasks, task, &mut places, most).await?,
                None if tasks.unpark(&mut places) => {} // it was learnt only now what they have to give
                None => break,
            }
        }
        Ok(!tasks.policy.is_idle())
    }

    async fn places(&self) -> Result<Places, StoreError> {
        Ok(Places::new(self.ring.clone(), self.context.shards.rooms(&self.shards).await?))
    }

    /// No shard that has room is held by somebody who can execute the task's kind.
    async fn await_capable(&self, tasks: &mut Tasks, task: TaskId, places: &Places) {
        tasks.quiet(task);
        tasks.due_in(task, Some(UNTIL_CAPABLE));
        if let Some(kind) = tasks.kind(task).filter(|kind| !places.is_anybody_capable(*kind)) {
            let reason =
                format!("an executor that knows task type {kind}; none of those that are there does");
            tasks.say_waits(task, Some(&reason)).await;
        }
    }

    /// Gives one task its turn. Where a store fails in the middle, parcels may have been taken and not shipped: the task is
    /// taken up afresh then, and they are found.
    async fn serve(
        &self,
        tasks: &mut Tasks,
        task: TaskId,
        places: &mut Places,
        most: u64,
    ) -> Result<(), StoreError> {
        let Some((kind, wanted)) = tasks.get(task).map(|known| (known.kind, known.wanted.clone())) else {
            tasks.policy.remove(task);
            return Ok(());
        };
        let hand = places.hand(kind, &wanted);
        if hand.places.is_empty() {
            if wanted.is_keyed() && places.is_anybody_capable(kind) {
                tasks.park(task);
            } else {
                self.await_capable(tasks, task, places).await;
            }
            return Ok(());
        }
        let served = self.turn(tasks, task, places, hand, most).await;
        if served.is_err() {
            tasks.forget(task);
        }
        served
    }

    async fn turn(
        &self,
        tasks: &mut Tasks,
        task: TaskId,
        places: &mut Places,
        hand: Hand,
        most: u64,
    ) -> Result<(), StoreError> {
        let Some(known) = tasks.get(task) else { return Ok(()) };
        if known.is_asked() {
            places.give_back(hand, &[]);
            tasks.quiet(task); // until the answers are there
            return Ok(());
        }
        let (fence, waits) = (tasks.fence(task, known.run), known.waits);
        let (callback, backlog) = (known.callback.clone(), known.backlog);
        let taken = match self.context.queues.take(fence, &hand, most).await {
            Ok(taken) => taken,
            Err(StoreError::Gone { .. } | StoreError::Fenced { .. }) => {
                tasks.forget(task);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        places.give_back(hand, &taken.parcels);
        if waits {
            tasks.say_waits(task, None).await;
        }
        self.note(tasks, task, &taken, backlog);
        let all = count(&taken.parcels);
        if let Some(callback) = callback.filter(|_| all > 0) {
            tasks.charge(task, &taken.usage);
            tasks.ask(fence, callback, taken.parcels);
            return Ok(());
        }
        let shipped = self.ship(fence, taken.parcels).await?;
        // What went back is not charged.
        let running = taken.usage.running.saturating_sub(all - shipped);
        tasks.spend(task, shipped);
        tasks.charge(task, &Usage { running, ..taken.usage });
        if shipped < all {
            tasks.quiet(task);
            let soon = taken.next_due.map_or(AFTER_REFUSAL, |due| due.min(AFTER_REFUSAL));
            tasks.due_in(task, Some(soon));
        }
        Ok(())
    }

    fn note(&self, tasks: &mut Tasks, task: TaskId, taken: &Taken, backlog: u64) {
        tasks.note_wanted(task, taken);
        let has_some = taken.pending > 0 && (taken.anywhere || !taken.lanes.is_empty());
        if !has_some || taken.control != Control::Run {
            tasks.quiet(task);
        } else if taken.parcels.is_empty() {
            match taken.lanes.is_empty() {
                true => tasks.quiet(task),
                false => tasks.park(task),
            }
        }
        tasks.due_in(task, taken.next_due);
        if taken.pending <= backlog / 2 {
            self.context.wake.ring(self.context.shape.generation(task), task);
        }
    }

    /// Ships what the plugin's callback lets pass; the rest goes back, to be asked about again.
    pub(super) async fn heard(&self, tasks: &mut Tasks, answers: Answers) -> Result<(), StoreError> {
        let fence = answers.fence;
        if !tasks.heard(fence.task, answers.number) {
            return Ok(()); // it was taken up afresh meanwhile, and what ran on no shard was put back
        }
        let admitted = self.admitted(fence, answers.said).await;
        let count = admitted.as_ref().map_or(0, |parcels| count(parcels));
        let shipped = match admitted {
            Ok(parcels) => self.ship(fence, parcels).await,
            Err(error) => Err(error),
        };
        match shipped {
            Ok(shipped) => {
                tasks.spend(fence.task, shipped);
                if shipped < count {
                    tasks.due_in(fence.task, Some(AFTER_REFUSAL));
                } else {
                    tasks.pending(fence.task);
                }
                Ok(())
            }
            Err(error) => {
                tasks.forget(fence.task);
                Err(error)
            }
        }
    }

    async fn admitted(&self, fence: Fence, said: Vec<Said>) -> Result<Vec<(Shard, Parcel)>, StoreError> {
        let mut admitted = Vec::new();
        for (shard, parcel, said) in said {
            match said {
                Dispatch::Now => admitted.push((shard, parcel)),
                Dispatch::After(span) => {
                    let span = span.max(Duration::from_millis(1));
                    self.context.queues.put_back(fence, &[parcel.id], span).await?;
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
}

fn count(parcels: &[(Shard, Parcel)]) -> u64 {
    parcels.iter().map(|(_, each)| each.count()).sum()
}
