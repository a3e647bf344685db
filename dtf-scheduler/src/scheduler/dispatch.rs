//! Dealing the shards' room out to tasks.

use std::time::Duration;

use dtf_model::plugin::Dispatch;
use dtf_model::queue::{Fence, Parcel, TakeRequest, Taken};
use dtf_model::wake::{Hint, Topic};
use dtf_model::{Control, Shard, StoreError, TaskId};
use dtf_runtime::RoleContext;
use futures::future::join_all;

use super::SchedulerPorts;
use super::callback::{Answers, Said};
use super::capacity::Capacity;
use super::credit::StaleCredit;
use super::shipping::{Shipped, Shipping};
use super::tasks::{Known, Tasks};

/// The most turns before the scheduler listens again.
const TURNS: usize = 64;

/// The fewest places that are asked for in a turn, where there are as many.
const LEAST_PLACES: usize = 16;
/// The most places that are asked for in the turn of a task that is alone.
const MOST_PLACES: usize = 256;
/// The places of turns that are taken at once.
const TOGETHER: usize = 64;

/// The wait before a task is served again some of whose parcels were not taken by their shards.
const AFTER_REFUSAL: Duration = Duration::from_millis(20);

/// A task's turn.
struct Turn {
    task: TaskId,
    fence: Fence,
    most: u64,
    hand: TakeRequest,
    /// True if the task counts as having nothing more to give.
    is_quiet: bool,
}

pub(super) struct Dispatcher {
    ports: SchedulerPorts,
    context: RoleContext,
    places: Capacity,
    stale: StaleCredit,
}

impl Dispatcher {
    pub(super) fn new(ports: SchedulerPorts, context: RoleContext) -> Self {
        let shards = context.shape.shards;
        Self { ports, context, places: Capacity::new(shards), stale: StaleCredit::all_of(shards) }
    }

    /// Shards have got room, as a hint says.
    pub(super) fn hear(&mut self, hint: &Hint) {
        self.stale.hear(hint);
    }

    /// The store may have forgotten what it knew of shards: their holders say it again, and all are read.
    pub(super) fn forget(&mut self) {
        for shard in 0..self.context.shape.shards {
            self.context.wake.notify(Topic::Shard(shard), Shard(shard).as_hint());
        }
        self.stale.add_all();
    }

    /// Deals out the room that there is now, and says whether there may be more to deal out. Executors may make room as
    /// fast as it is filled, so the caller listens in between.
    pub(super) async fn deal(&mut self, tasks: &mut Tasks) -> Result<bool, StoreError> {
        tasks.catch_up();
        if tasks.policy.is_idle() && !tasks.is_any_parked() {
            return Ok(false);
        }
        self.stale.read(&*self.ports.shards, &mut self.places).await?;
        if self.places.is_empty() {
            return Ok(false);
        }
        let (ports, wake) = (self.ports.clone(), self.context.wake.clone());
        let mut shipping = Shipping::new(&ports, &*wake);
        let dealt = self.deal_out(tasks, &mut shipping).await;
        let shipped = self.settle(tasks, shipping).await;
        let is_unfinished = dealt?;
        shipped?;
        Ok((is_unfinished || !tasks.policy.is_idle()) && !self.places.is_empty())
    }

    /// Deals out room for some turns. Says whether there may be further ones: tasks may rest that there is room for.
    async fn deal_out(&mut self, tasks: &mut Tasks, shipping: &mut Shipping<'_>) -> Result<bool, StoreError> {
        tasks.unpark(&mut self.places);
        let mut turns = 0;
        while turns < TURNS && !self.places.is_empty() {
            let next = self.next_turns(tasks);
            // It may have been learnt only now what some of them have to give.
            if next.is_empty() && !tasks.unpark(&mut self.places) {
                return Ok(false);
            }
            turns += next.len().max(1);
            self.take(tasks, next, shipping).await?;
        }
        Ok(true)
    }

    /// The tasks whose turns are next. A turn that is expected to take everything that its task has makes room for the next one, so
    /// that both can be taken at once and the order is what it would be one after the other.
    fn next_turns(&mut self, tasks: &mut Tasks) -> Vec<Turn> {
        let (mut next, mut places) = (Vec::new(), 0);
        while places < TOGETHER && !self.places.is_empty() {
            let Some((task, most)) = tasks.next() else { break };
            let Some(hand) = self.hand(tasks, task) else { continue };
            let Some(known) = tasks.get(task) else { continue };
            if known.is_asked() {
                tasks.quiet(task); // until the answers are there
                self.places.give_back(hand, Vec::new());
                continue;
            }
            places += hand.places.len();
            // What has a limit is counted by it before the next one goes.
            let takes_all = most == u64::MAX && known.expected.is_some_and(|most| most <= hand.places.len());
            next.push(Turn { task, fence: tasks.fence(task, known.run), most, hand, is_quiet: takes_all });
            if !takes_all {
                break;
            }
            tasks.quiet(task);
        }
        next
    }

    /// Takes what tasks have for their turns, all at once.
    async fn take(
        &mut self,
        tasks: &mut Tasks,
        turns: Vec<Turn>,
        shipping: &mut Shipping<'_>,
    ) -> Result<(), StoreError> {
        let queues = self.ports.queues.clone();
        let taking = turns.iter().map(|turn| queues.take(turn.fence, &turn.hand, turn.most));
        let taken = shipping.beside(join_all(taking)).await;
        let mut all = Ok(());
        for (turn, taken) in turns.into_iter().zip(taken) {
            match self.turn(tasks, &turn, taken, shipping) {
                Ok(used) => self.places.give_back(turn.hand, used),
                // Parcels may have been taken and not shipped: the task is taken up afresh, and they are found.
                Err(error) => {
                    tasks.forget(turn.task);
                    turn.hand.places.iter().for_each(|place| self.stale.add(place.shard));
                    all = Err(error);
                }
            }
        }
        all
    }

    /// The places for a task, where there are any now. A task without any rests.
    fn hand(&mut self, tasks: &mut Tasks, task: TaskId) -> Option<TakeRequest> {
        let alone = tasks.policy.share_of_turns(MOST_PLACES).max(LEAST_PLACES);
        let Some(known) = tasks.get(task) else {
            tasks.policy.remove(task);
            return None;
        };
        let (kind, wanted) = (known.executing, known.wanted.clone());
        let mut hand = self.places.hand(kind, &wanted, known.expected.unwrap_or(usize::MAX).min(alone));
        hand.results_bytes = tasks.results.limit(task);
        if !hand.places.is_empty() {
            return Some(hand);
        }
        if wanted.is_keyed() && self.places.is_room_for_kind(kind) {
            tasks.park_keyed(task);
            return None;
        }
        tasks.park(task);
        if !self.places.is_anybody_capable(kind) {
            let reason =
                format!("an executor that knows task type {kind}; none of those that are there does");
            tasks.tell_blocked(task, Some(&reason.into()));
        }
        None
    }

    /// Ships what was taken of a task. Says which places were used.
    fn turn(
        &mut self,
        tasks: &mut Tasks,
        turn: &Turn,
        taken: Result<Taken, StoreError>,
        shipping: &mut Shipping<'_>,
    ) -> Result<Vec<Shard>, StoreError> {
        let (task, fence) = (turn.task, turn.fence);
        let Some(known) = tasks.get(task) else { return Ok(Vec::new()) };
        let callback = known.callback.clone();
        let taken = match taken {
            Ok(taken) => taken,
            Err(StoreError::Gone { .. } | StoreError::Fenced { .. }) => {
                tasks.forget(task);
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        tasks.tell_blocked(task, None);
        self.note(tasks, turn, &taken);
        tasks.charge(task, &taken.usage);
        let subtasks = count(&taken.parcels);
        if let Some(callback) = callback.filter(|_| subtasks > 0) {
            // They may be asked about for long: others use the places meanwhile.
            tasks.ask(fence, callback, taken.parcels);
            return Ok(Vec::new());
        }
        let used = taken.parcels.iter().map(|(shard, _)| *shard).collect();
        tasks.spend(task, subtasks);
        shipping.send(fence, taken.parcels);
        Ok(used)
    }

    /// Waits until everything shipped has arrived. A task some of whose parcels came back is served again a little later, and
    /// not charged for them.
    async fn settle(&mut self, tasks: &mut Tasks, shipping: Shipping<'_>) -> Result<(), StoreError> {
        let (mut settled, mut came_back) = (Ok(()), Vec::new());
        for Shipped { task, shard, back } in shipping.all().await {
            match back {
                Ok(0) => {}
                Ok(_) => {
                    self.stale.add(shard);
                    came_back.push(task);
                }
                Err(error) => {
                    self.stale.add(shard);
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

    fn note(&self, tasks: &mut Tasks, turn: &Turn, taken: &Taken) {
        let task = turn.task;
        tasks.note_wanted(task, taken);
        tasks.results.note(task, taken.results_bytes);
        let has_some = taken.pending > 0 && (taken.anywhere || !taken.lanes.is_empty());
        if !has_some || taken.control != Control::Run {
            tasks.quiet(task);
        } else if taken.parcels.is_empty() {
            match taken.lanes.is_empty() {
                true => tasks.quiet(task),
                false => tasks.park_keyed(task),
            }
        } else if turn.is_quiet {
            tasks.goes_on(task);
        }
        tasks.due_in(task, taken.next_due);
        let subtasks = count(&taken.parcels);
        let rings = |known: &mut Known| known.bell.rings(subtasks, taken.pending, known.backlog);
        if !taken.generated && tasks.known.get_mut(&task).is_some_and(rings) {
            self.context.wake.notify(self.context.shape.generation(task), task);
        }
    }

    /// Ships what the plugin's callback lets pass; the rest goes back, to be asked about again.
    pub(super) async fn heard(&mut self, tasks: &mut Tasks, answers: Answers) -> Result<(), StoreError> {
        let fence = answers.fence;
        if !tasks.heard(fence.task, answers.number) {
            return Ok(()); // it was taken up afresh meanwhile, and what ran on no shard was put back
        }
        let admitted = self.admitted(fence, answers.said).await.inspect_err(|_| tasks.forget(fence.task))?;
        tasks.spend(fence.task, count(&admitted));
        tasks.pending(fence.task);
        let (ports, wake) = (self.ports.clone(), self.context.wake.clone());
        let mut shipping = Shipping::new(&ports, &*wake);
        shipping.send(fence, admitted);
        self.settle(tasks, shipping).await
    }

    async fn admitted(&mut self, fence: Fence, said: Vec<Said>) -> Result<Vec<(Shard, Parcel)>, StoreError> {
        let mut admitted = Vec::new();
        for (shard, parcel, said) in said {
            match said {
                Dispatch::Now => {
                    self.stale.add(shard);
                    admitted.push((shard, parcel));
                }
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
