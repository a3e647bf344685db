//! Dealing the shards' room out to tasks.

use std::sync::Arc;
use std::time::Duration;

use dtf_model::key::Ring;
use dtf_model::plugin::Dispatch;
use dtf_model::queue::{Fence, Hand, Parcel, Taken};
use dtf_model::{Control, Shard, StoreError, TaskId};
use dtf_runtime::RoleContext;

use super::SchedulerPorts;
use super::callback::{Answers, Said};
use super::places::Places;
use super::shipping::{Shipped, Shipping};
use super::tasks::Tasks;

/// The most turns before the scheduler listens again.
const TURNS: usize = 64;

/// How soon a task is served again some of whose parcels were not taken by their shards.
const AFTER_REFUSAL: Duration = Duration::from_millis(20);

/// How soon a task is looked at again that nobody with room can execute.
const UNTIL_CAPABLE: Duration = Duration::from_millis(100);

pub(super) struct Dispatcher {
    ports: SchedulerPorts,
    context: RoleContext,
    shards: Vec<Shard>,
    ring: Arc<Ring>,
}

impl Dispatcher {
    pub(super) fn new(ports: SchedulerPorts, context: RoleContext) -> Self {
        let shards = (0..context.shape.shards).map(Shard).collect();
        let ring = Arc::new(Ring::new(context.shape.shards));
        Self { ports, context, shards, ring }
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
        let mut shipping = Shipping::new(&self.ports, &*self.context.wake);
        let dealt = self.deal_out(tasks, &mut places, &mut shipping).await;
        let shipped = self.settle(tasks, shipping).await;
        dealt.and(shipped)?;
        Ok(!tasks.policy.is_idle())
    }

    async fn deal_out(
        &self,
        tasks: &mut Tasks,
        places: &mut Places,
        shipping: &mut Shipping<'_>,
    ) -> Result<(), StoreError> {
        tasks.unpark(places);
        for _ in 0..TURNS {
            if places.is_empty() {
                break;
            }
            let Some((task, most)) = tasks.next() else {
                // It may have been learnt only now what some of them have to give.
                if tasks.unpark(places) {
                    continue;
                }
                break;
            };
            let Some(hand) = self.hand(tasks, task, places).await else { continue };
            let taken = self.turn(tasks, task, &hand, most, shipping).await;
            // Where a store fails in the middle, parcels may have been taken and not shipped: the task is taken up afresh
            // then, and they are found.
            let used = taken.inspect_err(|_| tasks.forget(task))?;
            places.give_back(hand, used);
        }
        Ok(())
    }

    /// The places for a task, where there are any now.
    async fn hand(&self, tasks: &mut Tasks, task: TaskId, places: &mut Places) -> Option<Hand> {
        let Some((kind, wanted)) = tasks.get(task).map(|known| (known.kind, known.wanted.clone())) else {
            tasks.policy.remove(task);
            return None;
        };
        let hand = places.hand(kind, &wanted);
        if !hand.places.is_empty() {
            return Some(hand);
        }
        if wanted.is_keyed() && places.is_anybody_capable(kind) {
            tasks.park(task);
        } else {
            self.await_capable(tasks, task, places).await;
        }
        None
    }

    async fn places(&self) -> Result<Places, StoreError> {
        Ok(Places::new(self.ring.clone(), self.ports.shards.rooms(&self.shards).await?))
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

    /// Gives one task its turn. Says which places were used.
    async fn turn(
        &self,
        tasks: &mut Tasks,
        task: TaskId,
        hand: &Hand,
        most: u64,
        shipping: &mut Shipping<'_>,
    ) -> Result<Vec<Shard>, StoreError> {
        let Some(known) = tasks.get(task) else { return Ok(Vec::new()) };
        if known.is_asked() {
            tasks.quiet(task); // until the answers are there
            return Ok(Vec::new());
        }
        let (fence, waits) = (tasks.fence(task, known.run), known.waits);
        let (callback, backlog) = (known.callback.clone(), known.backlog);
        let taken = match shipping.beside(self.ports.queues.take(fence, hand, most)).await {
            Ok(taken) => taken,
            Err(StoreError::Gone { .. } | StoreError::Fenced { .. }) => {
                tasks.forget(task);
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        if waits {
            tasks.say_waits(task, None).await;
        }
        self.note(tasks, task, &taken, backlog);
        tasks.charge(task, &taken.usage);
        let used = taken.parcels.iter().map(|(shard, _)| *shard).collect();
        let subtasks = count(&taken.parcels);
        match callback.filter(|_| subtasks > 0) {
            Some(callback) => tasks.ask(fence, callback, taken.parcels),
            None => {
                tasks.spend(task, subtasks);
                shipping.send(fence, taken.parcels);
            }
        }
        Ok(used)
    }

    /// Waits until everything shipped has arrived. A task some of whose parcels came back is served again a little later, and
    /// not charged for them.
    async fn settle(&self, tasks: &mut Tasks, shipping: Shipping<'_>) -> Result<(), StoreError> {
        let (mut settled, mut came_back) = (Ok(()), Vec::new());
        for Shipped { task, back } in shipping.all().await {
            match back {
                Ok(0) => {}
                Ok(_) => came_back.push(task),
                Err(error) => {
                    tasks.forget(task);
                    settled = Err(error);
                }
            }
        }
        tasks.settle(&came_back).await;
        for task in came_back {
            tasks.quiet(task);
            tasks.due_in(task, Some(AFTER_REFUSAL));
        }
        settled
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
        let admitted = self.admitted(fence, answers.said).await.inspect_err(|_| tasks.forget(fence.task))?;
        tasks.spend(fence.task, count(&admitted));
        tasks.pending(fence.task);
        let mut shipping = Shipping::new(&self.ports, &*self.context.wake);
        shipping.send(fence, admitted);
        self.settle(tasks, shipping).await
    }

    async fn admitted(&self, fence: Fence, said: Vec<Said>) -> Result<Vec<(Shard, Parcel)>, StoreError> {
        let mut admitted = Vec::new();
        for (shard, parcel, said) in said {
            match said {
                Dispatch::Now => admitted.push((shard, parcel)),
                Dispatch::After(span) => {
                    let span = span.max(Duration::from_millis(1));
                    self.ports.queues.put_back(fence, &[parcel.id], span).await?;
                }
            }
        }
        Ok(admitted)
    }
}

fn count(parcels: &[(Shard, Parcel)]) -> u64 {
    parcels.iter().map(|(_, each)| each.count()).sum()
}
