//! The in-memory store as the model: a random history has the same replies and the same states in any other store.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dtf_memory::MemoryQueues;
use dtf_model::error::StoreError;
use dtf_model::ids::{EmitEpoch, RunEpoch, Seq, Shard, TaskId, TaskTypeId};
use dtf_model::key::ShardKey;
use dtf_model::param::{TaskParam, TaskSpec};
use dtf_model::plugin::{NewSubtask, TaskResult};
use dtf_model::queue::{
    Backlog, Commit, CountedAs, Fence, LostParcel, Outcome, Parcel, ParcelId, ParcelReport, Push, QueueStore,
    Report, ResultBatch, STORED_WITH, Slot, StillOpen, TakeRequest, Taken, TaskProgress,
};
use dtf_model::status::Control;
use lrmf_core::Token;
use lrmf_core::clock::RuntimeClock;
use uuid::Uuid;

use super::{body, must, push, success, unique_number};

const SEEDS: u64 = 12;
const STEPS: u32 = 150;

/// Random histories, always the same ones, are as in memory.
pub async fn a_random_history_is_as_in_memory(store: &Arc<dyn QueueStore>) {
    for seed in 0..SEEDS {
        run(store, seed, STEPS).await;
    }
}

/// One random history of so many calls.
///
/// # Panics
/// A reply or a state differs; the message names the seed, the step and the call.
pub async fn run(store: &Arc<dyn QueueStore>, seed: u64, steps: u32) {
    let mut pair = Pair::new(store, seed);
    pair.open().await;
    for step in 0..steps {
        pair.step = step;
        pair.next().await;
        pair.same_state().await;
    }
    must(store.purge(pair.task, pair.run).await);
}

/// SplitMix64: a history depends on its seed and nothing else.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}

/// Both stores, and what is known of the task. Epochs are the model's; each store draws its own.
struct Pair<'a> {
    real: &'a Arc<dyn QueueStore>,
    model: Arc<dyn QueueStore>,
    /// Of each load: the model's epoch, and the store's.
    epochs: Vec<(EmitEpoch, EmitEpoch)>,
    task: TaskId,
    run: RunEpoch,
    token: u64,
    dice: Dice,
    seed: u64,
    step: u32,
    generator: EmitEpoch,
    next: Seq,
    last_push: Option<Push>,
    collector: EmitEpoch,
    next_follow_up: Seq,
    offset: u64,
    last_commit: Option<Commit>,
    /// Everything that was ever given out.
    parcels: Vec<Parcel>,
}

type Reply<T> = Result<T, StoreError>;

/// Returns the part that two equal failures have in common.
fn kind(error: &StoreError) -> String {
    match error {
        StoreError::Conflict { .. } => "conflict".into(),
        other => format!("{other:?}"),
    }
}

impl<'a> Pair<'a> {
    fn new(real: &'a Arc<dyn QueueStore>, seed: u64) -> Self {
        Self {
            real,
            model: Arc::new(MemoryQueues::new(Arc::new(RuntimeClock::new()))),
            epochs: vec![(EmitEpoch(0), EmitEpoch(0))],
            task: TaskId(unique_number()),
            run: RunEpoch(1),
            token: 5,
            dice: Dice(seed),
            seed,
            step: 0,
            generator: EmitEpoch(0),
            next: Seq(0),
            last_push: None,
            collector: EmitEpoch(0),
            next_follow_up: Seq::FIRST_FOLLOW_UP,
            offset: 0,
            last_commit: None,
            parcels: Vec::new(),
        }
    }

    fn same<T: PartialEq + Debug>(&self, call: &str, model: &Reply<T>, real: &Reply<T>) {
        let same = match (model, real) {
            (Ok(model), Ok(real)) => model == real,
            (Err(model), Err(real)) => kind(model) == kind(real),
            _ => false,
        };
        let (seed, step) = (self.seed, self.step);
        assert!(same, "seed {seed}, step {step}, {call}: the model says {model:?}, the store {real:?}");
    }

    /// Subtasks have the size in a store that it has them in: within what is allowed, one is as good as the other.
    fn same_size(&self, model: &Backlog, real: &mut Backlog) {
        let most = model.bytes + model.waiting * STORED_WITH;
        let (seed, step) = (self.seed, self.step);
        assert!(
            (model.bytes..=most).contains(&real.bytes),
            "seed {seed}, step {step}: {} to {most} bytes wait, the store says {}",
            model.bytes,
            real.bytes
        );
        real.bytes = model.bytes;
    }

    fn real(&self, epoch: EmitEpoch) -> EmitEpoch {
        self.epochs.iter().find(|(model, _)| *model == epoch).map_or(EmitEpoch(0), |(_, real)| *real)
    }

    fn modelled(&self, epoch: EmitEpoch) -> EmitEpoch {
        self.epochs.iter().find(|(_, real)| *real == epoch).map_or(EmitEpoch(u32::MAX), |(model, _)| *model)
    }

    fn real_id(&self, id: ParcelId) -> ParcelId {
        ParcelId { epoch: self.real(id.epoch), ..id }
    }

    /// The holder's fence, now and then that of an earlier holder.
    fn fence(&mut self) -> Fence {
        let token = if self.dice.one_in(25) { self.token - 1 } else { self.token };
        Fence { task: self.task, run: self.run, token: Token(token) }
    }

    async fn next(&mut self) {
        match self.dice.below(100) {
            0..2 => self.load_generator().await,
            2..17 => self.push().await,
            17..19 => self.load_scheduler().await,
            19..44 => self.take().await,
            44..52 => self.put_back().await,
            52..76 => self.complete().await,
            76..78 => self.mark_suspect().await,
            78..80 => self.recover().await,
            80..82 => self.load_collector().await,
            82..92 => self.commit().await,
            92..95 => self.control().await,
            95 => self.stop().await,
            96 => self.conclude().await,
            97 if self.dice.one_in(8) => self.close().await,
            98 if self.dice.one_in(3) => self.begin_again().await,
            _ => self.backlog().await,
        }
    }

    async fn open(&mut self) {
        let param = Arc::new(TaskParam::default());
        let spec = TaskSpec {
            id: self.task,
            request: Uuid::from_u128(1),
            run: self.run,
            task_type: TaskTypeId(1),
            param,
        };
        self.same("open", &self.model.open(&spec).await, &self.real.open(&spec).await);
        self.load_generator().await;
        self.load_collector().await;
    }

    /// A later run, or this one again.
    async fn begin_again(&mut self) {
        if self.dice.one_in(2) {
            self.run.0 += 1;
            self.generator = EmitEpoch(0);
            self.collector = EmitEpoch(0);
            self.epochs.truncate(1);
            (self.last_push, self.last_commit) = (None, None);
        }
        self.open().await;
    }

    async fn load_generator(&mut self) {
        self.token += self.dice.below(2);
        let fence = self.fence();
        let (model, mut real) =
            (self.model.load_generator(fence).await, self.real.load_generator(fence).await);
        if let (Ok(model), Ok(real)) = (&model, &mut real) {
            assert!(self.epochs.iter().all(|(_, drawn)| *drawn != real.epoch), "epoch {} again", real.epoch);
            self.epochs.push((model.epoch, real.epoch));
            real.epoch = model.epoch;
            self.same_size(&model.backlog, &mut real.backlog);
            (self.generator, self.next) = (model.epoch, model.next);
        }
        self.same("load_generator", &model, &real);
    }

    async fn push(&mut self) {
        let parcels: Vec<_> = (0..1 + self.dice.below(5)).map(|_| 1 + self.dice.below(4) as usize).collect();
        let mut batch = push(self.generator, self.next.0, &parcels);
        if self.dice.one_in(2) {
            batch.keys = parcels.iter().map(|_| self.some_key()).collect();
        }
        batch.progress = self.dice.one_in(3).then_some(0.5);
        batch.finished = self.dice.one_in(40);
        match self.dice.below(12) {
            0 => batch.first = Seq(self.next.0 + 1),
            1 => batch.epoch = EmitEpoch(self.dice.below(4) as u32),
            2 | 3 => batch = self.last_push.clone().unwrap_or(batch),
            _ => {}
        }
        let fence = self.fence();
        let real = Push { epoch: self.real(batch.epoch), ..batch.clone() };
        let model = self.model.push(fence, batch.clone()).await;
        let mut real = self.real.push(fence, real).await;
        if let (Ok(model), Ok(real)) = (&model, &mut real) {
            self.same_size(model, real);
        }
        self.same("push", &model, &real);
        if model.is_ok() {
            self.next = self.next.max(batch.first.plus(batch.bodies.len() as u64));
            self.last_push = Some(batch);
        }
    }

    async fn load_scheduler(&mut self) {
        self.token += self.dice.below(2);
        let fence = self.fence();
        let (model, mut real) =
            (self.model.load_scheduler(fence).await, self.real.load_scheduler(fence).await);
        if let Ok(load) = &mut real {
            for running in &mut load.running {
                running.id.epoch = self.modelled(running.id.epoch);
            }
            load.running.sort_unstable();
        }
        self.same("load_scheduler", &model, &real);
    }

    /// One of a few keys, every other one ordered, or none.
    fn some_key(&mut self) -> Option<ShardKey> {
        let key = ShardKey::new([self.dice.below(4) as u8]);
        match self.dice.below(3) {
            0 => None,
            1 => Some(key),
            _ => Some(key.ordered()),
        }
    }

    fn some_subtask(&mut self, number: u64) -> NewSubtask {
        NewSubtask { body: body(number), key: self.some_key() }
    }

    /// Some places, most of which serve a lane or two.
    fn some_hand(&mut self) -> TakeRequest {
        let mut place = || {
            let lanes = (0..self.dice.below(3)).map(|_| self.dice.below(4) as u32).collect();
            Slot { shard: Shard(self.dice.below(9) as u32), lanes }
        };
        let places: Vec<_> = (0..5).map(|_| place()).take(5).collect();
        let count = self.dice.below(6) as usize;
        let parcels = if self.dice.one_in(4) { 1 } else { count };
        let lanes = if self.dice.one_in(20) { 3 } else { 4 };
        let places = places.into_iter().take(count).collect();
        TakeRequest { places, parcels, ..TakeRequest::of(&[], lanes) }
    }

    async fn take(&mut self) {
        let hand = self.some_hand();
        let most = if self.dice.one_in(3) { self.dice.below(6) } else { u64::MAX };
        let fence = self.fence();
        let model = self.model.take(fence, &hand, most).await.map(without_due);
        let mut real = self.real.take(fence, &hand, most).await.map(without_due);
        if let Ok((taken, _)) = &mut real {
            for (_, parcel) in &mut taken.parcels {
                parcel.id.epoch = self.modelled(parcel.id.epoch);
            }
        }
        self.same("take", &model, &real);
        if let Ok((taken, _)) = model {
            self.parcels.extend(taken.parcels.into_iter().map(|(_, parcel)| parcel));
        }
    }

    /// One of those given out, mostly one of the latest.
    fn some_parcel(&mut self) -> Option<Parcel> {
        let count = self.parcels.len() as u64;
        let back = if self.dice.one_in(4) { self.dice.below(count.max(1)) } else { self.dice.below(6) };
        self.parcels.get(count.checked_sub(back + 1)? as usize).cloned()
    }

    async fn put_back(&mut self) {
        let some: Vec<_> = (0..1 + self.dice.below(3)).filter_map(|_| Some(self.some_parcel()?.id)).collect();
        let after = [Duration::ZERO, Duration::from_millis(1), Duration::from_secs(3600)];
        let after = after[self.dice.below(3) as usize];
        let real: Vec<_> = some.iter().map(|id| self.real_id(*id)).collect();
        let fence = self.fence();
        let model = self.model.put_back(fence, &some, after).await;
        self.same("put_back", &model, &self.real.put_back(fence, &real, after).await);
        let_it_be_due().await;
    }

    async fn complete(&mut self) {
        let Some(mut parcel) = self.some_parcel() else { return };
        if self.dice.one_in(30) {
            parcel.id.first = parcel.id.first.plus(1);
        }
        let reports: Vec<_> = (0..parcel.count()).map(|_| self.some_report()).collect();
        self.note_those_that_go_on(&parcel, &reports);
        let busy = Duration::from_millis(self.dice.below(50));
        let together = 1 + self.dice.below(3) as usize;
        let (attempt, executor_losses) = (parcel.attempt, parcel.executor_losses);
        let report = ParcelReport { parcel: parcel.id, attempt, executor_losses, reports, together, busy };
        let real = ParcelReport { parcel: self.real_id(parcel.id), ..report.clone() };
        let model = self.model.complete(self.task, self.run, report).await;
        self.same("complete", &model, &self.real.complete(self.task, self.run, real).await);
        let_it_be_due().await;
    }

    fn some_report(&mut self) -> Report {
        let text = format!("{}", self.dice.below(1000));
        match self.dice.below(13) {
            0 => Report::Retry { after: Duration::from_millis(1), error: text },
            1 => Report::Retry { after: Duration::from_secs(3600), error: text },
            2 => Report::Returned,
            3 => Report::Ended(Outcome::Failed { error: text, body: body(1) }),
            4 => Report::Ended(Outcome::TimedOut { body: Bytes::from(text) }),
            5 => Report::Ended(Outcome::Cancelled),
            6 => Report::GoesOn,
            _ => Report::Ended(success(&text)),
        }
    }

    /// Notes the subtasks that go on: each is a parcel of its own.
    fn note_those_that_go_on(&mut self, parcel: &Parcel, reports: &[Report]) {
        for (index, _) in (0..).zip(reports).filter(|(_, report)| **report == Report::GoesOn) {
            let id = ParcelId { first: parcel.id.first.plus(index), ..parcel.id };
            let body = parcel.bodies[index as usize].clone();
            self.parcels.push(Parcel { id, bodies: vec![body], ..*parcel });
        }
    }

    async fn mark_suspect(&mut self) {
        let Some(parcel) = self.some_parcel() else { return };
        let (id, attempt) = (parcel.id, parcel.attempt);
        let model = self.model.mark_suspect(self.task, self.run, id, attempt).await;
        let real = self.real.mark_suspect(self.task, self.run, self.real_id(id), attempt).await;
        self.same("mark_suspect", &model, &real);
        let shard = Shard(self.dice.below(9) as u32);
        let model = self.model.runs_on(self.task, self.run, shard, &parcel).await;
        let real = Parcel { id: self.real_id(id), ..parcel };
        let real = self.real.runs_on(self.task, self.run, shard, &real).await;
        self.same("runs_on", &model, &real);
    }

    async fn recover(&mut self) {
        let Some(parcel) = self.some_parcel() else { return };
        let shard = Shard(self.dice.below(9) as u32);
        let lost = LostParcel {
            id: parcel.id,
            attempt: parcel.attempt,
            count: parcel.count(),
            shard,
            max_executor_losses: 3,
        };
        let real = LostParcel { id: self.real_id(lost.id), ..lost };
        let model = self.model.recover(self.task, self.run, lost).await;
        self.same("recover", &model, &self.real.recover(self.task, self.run, real).await);
        let task = [self.task];
        let model = self.model.progress_of(&task).await.map(without_sizes);
        self.same("progress_of", &model, &self.real.progress_of(&task).await.map(without_sizes));
    }

    async fn load_collector(&mut self) {
        self.token += self.dice.below(2);
        let fence = self.fence();
        let (model, mut real) =
            (self.model.load_collector(fence).await, self.real.load_collector(fence).await);
        if let (Ok(model), Ok(real)) = (&model, &mut real) {
            assert!(self.epochs.iter().all(|(_, drawn)| *drawn != real.epoch), "epoch {} again", real.epoch);
            self.epochs.push((model.epoch, real.epoch));
            real.epoch = model.epoch;
            for batch in &mut real.results {
                batch.epoch = self.modelled(batch.epoch);
            }
            (self.collector, self.next_follow_up, self.offset) = (model.epoch, model.next, model.offset);
        }
        self.same("load_collector", &model, &real);
    }

    async fn commit(&mut self) {
        let Some(batches) = self.peek().await else { return };
        let follow_ups: Vec<_> = (0..self.dice.below(4)).map(|number| self.some_subtask(number)).collect();
        let mut commit = Commit {
            epoch: self.collector,
            offset: self.offset,
            batches: 1 + self.dice.below(batches.len() as u64 + 1),
            first: self.next_follow_up,
            open: self.some_open(),
            follow_ups,
            saved: self.dice.one_in(2).then(|| Bytes::from_static(b"status")),
            end: None,
        };
        match self.dice.below(10) {
            0 => commit.offset += 1,
            1 => commit.first = commit.first.plus(1),
            2 => commit.epoch = EmitEpoch(1),
            5..8 => {
                commit.end = Some(TaskResult::default());
                if self.dice.one_in(2) {
                    (commit.open, commit.follow_ups) = (Vec::new(), Vec::new());
                    commit.batches = batches.len() as u64;
                }
            }
            3 | 4 => commit = self.last_commit.clone().unwrap_or(commit),
            _ => {}
        }
        let fence = self.fence();
        let real = Commit { epoch: self.real(commit.epoch), ..commit.clone() };
        let model = self.model.commit(fence, commit.clone()).await;
        self.same("commit", &model, &self.real.commit(fence, real).await);
        if model.is_ok() {
            self.offset = self.offset.max(commit.offset + commit.batches);
            self.next_follow_up = self
                .next_follow_up
                .max(commit.first.plus((commit.open.len() + commit.follow_ups.len()) as u64));
            self.last_commit = Some(commit);
        }
    }

    fn some_open(&mut self) -> Vec<StillOpen> {
        let some = self.dice.below(6).saturating_sub(3);
        let mut open = |number| {
            let counted_as = [CountedAs::Succeeded, CountedAs::Failed, CountedAs::TimedOut];
            let after = [Duration::ZERO, Duration::from_secs(3600)][self.dice.below(2) as usize];
            let counted_as = counted_as[self.dice.below(6).saturating_sub(3) as usize];
            StillOpen { counted_as, next: self.some_subtask(number), after }
        };
        (0..some).map(&mut open).collect()
    }

    async fn peek(&mut self) -> Option<Vec<ResultBatch>> {
        let (fence, most) = (self.fence(), self.dice.below(6) as usize);
        let (model, mut real) =
            (self.model.peek(fence, self.offset, most).await, self.real.peek(fence, self.offset, most).await);
        if let Ok(batches) = &mut real {
            for batch in batches {
                batch.epoch = self.modelled(batch.epoch);
            }
        }
        self.same("peek", &model, &real);
        model.ok()
    }

    async fn control(&mut self) {
        let control = match self.dice.below(20) {
            0 => Control::Cancel,
            1 => Control::Abort,
            2..8 => Control::Pause,
            _ => Control::Run,
        };
        let model = self.model.set_control(self.task, self.run, control).await;
        self.same("set_control", &model, &self.real.set_control(self.task, self.run, control).await);
    }

    async fn stop(&mut self) {
        let (fence, reason) = (self.fence(), format!("at {}", self.step));
        let model = self.model.stop_by_generator(fence, &reason).await;
        self.same("stop_by_generator", &model, &self.real.stop_by_generator(fence, &reason).await);
        let model = self.model.stop_by_collector(fence, &reason).await;
        self.same("stop_by_collector", &model, &self.real.stop_by_collector(fence, &reason).await);
    }

    async fn conclude(&mut self) {
        let (fence, result) = (self.fence(), TaskResult::default());
        let model = self.model.conclude(fence, &result).await;
        self.same("conclude", &model, &self.real.conclude(fence, &result).await);
    }

    async fn close(&mut self) {
        let model = self.model.close(self.task, self.run).await;
        self.same("close", &model, &self.real.close(self.task, self.run).await);
    }

    async fn backlog(&mut self) {
        let model = self.model.backlog(self.task, self.run).await;
        let mut real = self.real.backlog(self.task, self.run).await;
        if let (Ok(model), Ok(real)) = (&model, &mut real) {
            self.same_size(model, real);
        }
        self.same("backlog", &model, &real);
        let earlier = RunEpoch(self.run.0 - 1);
        let model = self.model.backlog(self.task, earlier).await;
        self.same("backlog", &model, &self.real.backlog(self.task, earlier).await);
    }

    async fn same_state(&self) {
        self.same("state", &self.model.state(self.task).await, &self.real.state(self.task).await);
    }
}

/// Two clocks differ a little, so only whether something is due is compared.
fn without_due(taken: Taken) -> (Taken, Option<bool>) {
    let due = taken.next_due.map(|due| due.is_zero());
    (Taken { next_due: None, results_bytes: 0, ..taken }, due)
}

/// Results have the size in a store that it has them in.
fn without_sizes(all: Vec<(TaskId, TaskProgress)>) -> Vec<(TaskId, TaskProgress)> {
    all.into_iter().map(|(task, progress)| (task, TaskProgress { results_bytes: 0, ..progress })).collect()
}

/// Lets the short delays pass in both stores, so that what is due next time does not depend on how fast they are.
async fn let_it_be_due() {
    tokio::time::sleep(Duration::from_millis(3)).await;
}
