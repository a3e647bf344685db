//! The generator: runs each task's [`TaskGenerator`] in batches, only as fast as the backlog drains.
//!
//! A batch and the checkpoint behind it are one write. A generator that dies between two batches is continued by the
//! next holder of the bucket from the last checkpoint, under a fresh epoch.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::Role;
use dtf_model::plugin::{Generated, NewSubtask, TaskConf, TaskGenerator};
use dtf_model::queue::{Backlog, Fence, GeneratorQueue, MAX_PARCEL, Push, TaskState};
use dtf_model::table::TaskTable;
use dtf_model::{Control, EmitEpoch, RunEpoch, Seq, ShardKey, StoreError};
use dtf_runtime::{
    Again, Attempts, End, Halt, Reconcile, Reconciler, RoleContext, TaskLease, TaskScan, called,
    until_answered,
};

use lrmf_core::runner::{Held, RunTask};
use tracing::warn;

use crate::batch_size::{BatchSize, PARCEL_BYTES};
use crate::budget::{Amount, Budgets, Ledger, Share};
use crate::retries::Retries;

/// The most subtasks a batch.
const BATCH: u64 = 4096;
/// The number of subtasks that may wait as long as no run time is known.
const UNMEASURED: u64 = 1000;
/// The time limit of one call into a generator.
const CALL_LIMIT: Duration = Duration::from_secs(300);
/// The time after which a generator without budget asks for some again.
const BUDGET_PERIOD: Duration = Duration::from_secs(5);
/// The largest checkpoint, in bytes.
pub const MAX_CHECKPOINT_BYTES: usize = 64 * 1024;

/// The stores that the generator works with.
#[derive(Clone)]
pub struct GeneratorPorts {
    /// `tbl_task`.
    pub table: Arc<dyn TaskTable>,
    /// The generator's side of the queues.
    pub queues: Arc<dyn GeneratorQueue>,
}

/// The generator role, for the generation buckets that its member holds.
pub struct Generator(Reconciler<Generate>);

impl Generator {
    /// Creates the role. Plugin code runs on the context's plugin runtime; the subtasks that wait for dispatch keep to the
    /// budgets.
    pub fn new(budgets: Budgets, ports: GeneratorPorts, context: RoleContext) -> Self {
        let (of, on) = (context.clone(), context.plugin_runtime.clone());
        let ledger = Ledger::new(budgets, &context.shape);
        let scan = TaskScan::new(ports.table.clone(), ports.queues.clone());
        Self(Reconciler::new(Role::Generator, scan, &of, on, Generate { ports, context, ledger }))
    }
}

#[async_trait]
impl RunTask for Generator {
    async fn run(&self, held: Held) -> anyhow::Result<()> {
        self.0.run(held).await
    }
}

/// The generator's work on one task.
struct Generate {
    ports: GeneratorPorts,
    context: RoleContext,
    ledger: Ledger,
}

#[async_trait]
impl Reconcile for Generate {
    async fn reconcile(&self, lease: &TaskLease) -> Result<Option<RunEpoch>, StoreError> {
        let mut attempts = Attempts::default();
        loop {
            let Some(state) = self.ports.queues.state(lease.task).await? else { return Ok(None) };
            let run = state.spec.run;
            if state.generated || state.ending.is_some() || state.control.ends() {
                return Ok(Some(run));
            }
            let fence = Fence { task: lease.task, run, token: lease.token };
            let failure = match self.generate(lease, fence, &state, &mut attempts).await {
                Ok(End::Settled) => return Ok(Some(run)),
                Ok(End::Stopped) | Err(Halt::Stopped) => return Ok(None),
                Err(Halt::Store(error)) => return Err(error),
                Err(Halt::Fault(error)) => format!("{error:#}"),
                Err(Halt::Plugin(error)) => {
                    let conf = self.context.plugins.conf(state.spec.task_type)?;
                    match attempts.failed(Role::Generator, conf, &error) {
                        Again::After(wait, reason) => {
                            warn!(task_id = %lease.task, %reason, "a generator failed");
                            self.ports.queues.set_generator_blocked_on(fence, Some(&reason)).await?;
                            let waited = tokio::time::sleep(wait);
                            if lease.stop.run_until_cancelled(waited).await.is_none() {
                                return Ok(None);
                            }
                            continue;
                        }
                        Again::Never(reason) => reason,
                    }
                }
            };
            let reason = format!("the generator failed: {failure}");
            self.ports.queues.stop_by_generator(fence, &reason).await?;
            self.context.wake.notify(self.context.shape.watch(lease.task), lease.task);
            return Ok(Some(run));
        }
    }
}

impl Generate {
    async fn generate(
        &self,
        lease: &TaskLease,
        fence: Fence,
        state: &TaskState,
        attempts: &mut Attempts,
    ) -> Result<End, Halt> {
        let spec = &state.spec;
        let (Ok(found), Ok(conf)) =
            (self.context.plugins.able(spec.kind()), self.context.plugins.conf(spec.task_type))
        else {
            let reason =
                format!("a generator that knows task type {}; the one that it has does not", spec.kind());
            self.ports.queues.set_generator_blocked_on(fence, Some(&reason)).await?;
            return Ok(End::Stopped);
        };
        let plugin = &found.plugin;
        let load = self.ports.queues.load_generator(fence).await?;
        if !state.blocked_on.is_empty() {
            self.ports.queues.set_generator_blocked_on(fence, None).await?;
        }
        if load.finished {
            return Ok(End::Settled);
        }
        let (next, epoch, backlog) = (load.next, load.epoch, load.backlog);
        let begin = async {
            let mut generator: Box<dyn TaskGenerator> = match spec.param.retry_of {
                Some(of) => {
                    Box::new(Retries::new(self.ports.table.clone(), plugin.clone(), spec.clone(), of))
                }
                None => plugin.generator(spec)?,
            };
            generator.begin(load.saved).await?;
            anyhow::Ok((generator, plugin.scheduler(spec).is_some()))
        };
        let (generator, has_callback) = called(&lease.stop, CALL_LIMIT, begin).await?;
        // A scheduler's callback decides about single subtasks, so they travel alone.
        let largest = if has_callback { 1 } else { MAX_PARCEL };
        let bucket = self.context.shape.generation_bucket(fence.task);
        let generation = Generation {
            queues: &*self.ports.queues,
            context: &self.context,
            share: self.ledger.open(bucket, &spec.param.group),
            lease,
            fence,
            conf,
            largest,
            generator,
            next,
            epoch,
            backlog,
            batch_size: BatchSize::default(),
            attempts,
        };
        generation.run().await
    }
}

/// One load of a task's generator at work.
struct Generation<'a> {
    queues: &'a dyn GeneratorQueue,
    context: &'a RoleContext,
    share: Share<'a>,
    lease: &'a TaskLease,
    fence: Fence,
    conf: &'a TaskConf,
    /// The most subtasks a parcel.
    largest: u64,
    generator: Box<dyn TaskGenerator>,
    next: Seq,
    epoch: EmitEpoch,
    backlog: Backlog,
    batch_size: BatchSize,
    attempts: &'a mut Attempts,
}

impl Generation<'_> {
    async fn run(mut self) -> Result<End, Halt> {
        while !self.lease.stop.is_cancelled() {
            if self.backlog.control.ends() {
                called(&self.lease.stop, CALL_LIMIT, self.generator.cancel()).await?;
                return Ok(End::Settled);
            }
            let most = self.room();
            if most == 0 {
                self.pause(BUDGET_PERIOD).await?;
                continue;
            }
            let (batch, saved, progress) = self.next_batch(most).await?;
            if is_nothing(&batch) {
                self.attempts.got_on();
                self.pause(self.generator.asks_again_after()).await?;
                continue;
            }
            let finished = batch.finished;
            self.push(batch, saved, progress).await?;
            if finished {
                return self.end().await;
            }
        }
        Ok(End::Stopped)
    }

    /// Lets the generator end. Everything is generated, so a failure of this changes nothing.
    async fn end(&mut self) -> Result<End, Halt> {
        match called(&self.lease.stop, CALL_LIMIT, self.generator.end()).await {
            Ok(()) => {}
            Err(Halt::Fault(error)) => {
                warn!(task_id = %self.fence.task, %error, "the generator's end failed")
            }
            Err(halt) => return Err(halt),
        }
        Ok(End::Settled)
    }

    /// The number of subtasks to ask for now; none while the backlog is full or the task paused.
    fn room(&mut self) -> usize {
        let Backlog { waiting, bytes, .. } = self.backlog;
        let own = Amount { subtasks: self.conf.backlog, bytes: self.conf.backlog_bytes };
        let full = self.share.most(Amount { subtasks: waiting, bytes }).min(own);
        room(&self.backlog, full).min(self.batch_size.most(full.bytes.saturating_sub(bytes)))
    }

    /// The next batch, with the status and the progress behind it.
    async fn next_batch(&mut self, most: usize) -> Result<(Generated, Option<Bytes>, Option<f32>), Halt> {
        let generator = &mut self.generator;
        let next = async {
            let batch = generator.next_subtasks(most).await?;
            if is_nothing(&batch) {
                return Ok((batch, None, None));
            }
            let (saved, progress) = (generator.save_status()?, generator.query_progress());
            Ok((batch, saved, progress))
        };
        let (batch, saved, progress) = called(&self.lease.stop, CALL_LIMIT, next).await?;
        let got = batch.subtasks.len();
        if got > most {
            return Err(anyhow::anyhow!("asked for at most {most} subtasks, it gave {got}").into());
        }
        batch.subtasks.iter().try_for_each(NewSubtask::check).map_err(anyhow::Error::from)?;
        self.batch_size.note(got, batch.subtasks.iter().map(|subtask| subtask.body.len()).sum());
        Ok((batch, saved, progress))
    }

    /// Waits for a moment, or for a hint to look at the backlog again. Where one is lost, the bucket's look at all tasks finds
    /// that this one does not stand as it did.
    async fn pause(&mut self, span: Duration) -> Result<(), StoreError> {
        tokio::select! {
            () = self.lease.stop.cancelled() => {}
            () = tokio::time::sleep(span) => {}
            () = self.lease.changed.notified() => {
                self.backlog = self.queues.backlog(self.fence.task, self.fence.run).await?;
            }
        }
        Ok(())
    }

    /// Pushes a batch, again while the store does not answer: a batch that is there already is not pushed twice.
    async fn push(
        &mut self,
        batch: Generated,
        saved: Option<Bytes>,
        progress: Option<f32>,
    ) -> Result<(), Halt> {
        let push = self.packed(batch, saved, progress)?;
        let (count, finished) = (push.bodies.len() as u64, push.finished);
        let (task, shape) = (self.fence.task, &self.context.shape);
        let (queues, fence) = (self.queues, self.fence);
        self.backlog = until_answered(&self.lease.stop, || queues.push(fence, push.clone())).await?;
        self.next = self.next.plus(count);
        self.attempts.got_on();
        self.context.wake.notify(shape.scheduling(task), task);
        if finished && count == 0 {
            // Everything may have been counted and collected, and only the collector can say that the task is complete.
            self.context.wake.notify(shape.collection(task), task);
        }
        Ok(())
    }

    fn packed(&self, batch: Generated, saved: Option<Bytes>, progress: Option<f32>) -> Result<Push, Halt> {
        if let Some(bytes) = saved.as_ref().map(Bytes::len).filter(|bytes| *bytes > MAX_CHECKPOINT_BYTES) {
            let why = format!("its status has {bytes} bytes; at most {MAX_CHECKPOINT_BYTES} are allowed");
            return Err(Halt::Fault(anyhow::Error::msg(why)));
        }
        let size = parcel_size(self.backlog.mean_run, self.conf.parcel_work, self.largest);
        let (parcels, keys) = parcels_of(&batch.subtasks, size);
        Ok(Push {
            epoch: self.epoch,
            first: self.next,
            parcels,
            keys,
            bodies: batch.subtasks.into_iter().map(|subtask| subtask.body).collect(),
            saved,
            progress: progress.filter(|share| (0.0..=1.0).contains(share)),
            finished: batch.finished,
        })
    }
}

/// Returns the number of subtasks to ask for now, where so much may wait. A backlog is filled up when half of it has
/// drained, in number and in bytes, so that batches stay large.
fn room(backlog: &Backlog, full: Amount) -> usize {
    let most = if backlog.mean_run.is_some() { full.subtasks } else { full.subtasks.min(UNMEASURED) };
    let is_full = backlog.waiting > most / 2 || (backlog.waiting > 0 && backlog.bytes > full.bytes / 2);
    if backlog.control != Control::Run || backlog.flooded || is_full {
        return 0;
    }
    usize::try_from((most - backlog.waiting).min(BATCH)).unwrap_or(usize::MAX)
}

/// Returns the number of subtasks that make so much work; one, as long as no run time is known.
fn parcel_size(mean_run: Option<Duration>, work: Duration, largest: u64) -> usize {
    let Some(mean) = mean_run else { return 1 };
    let fitting = work.as_nanos() / mean.as_nanos().max(1);
    usize::try_from(fitting).unwrap_or(usize::MAX).clamp(1, largest as usize)
}

/// The sizes of parcels for these subtasks, at most so many each and [`PARCEL_BYTES`], and their keys where any has one. A
/// parcel has one key.
fn parcels_of(subtasks: &[NewSubtask], size: usize) -> (Vec<usize>, Vec<Option<ShardKey>>) {
    let (mut sizes, mut keys): (Vec<usize>, Vec<_>) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    for subtask in subtasks {
        bytes += subtask.body.len();
        let fits = bytes <= PARCEL_BYTES;
        match (sizes.last_mut(), keys.last()) {
            (Some(last), Some(key)) if fits && *last < size && *key == subtask.key => *last += 1,
            _ => {
                bytes = subtask.body.len();
                sizes.push(1);
                keys.push(subtask.key);
            }
        }
    }
    if keys.iter().all(Option::is_none) {
        keys.clear();
    }
    (sizes, keys)
}

/// Whether a generator had nothing to give now.
fn is_nothing(batch: &Generated) -> bool {
    batch.subtasks.is_empty() && !batch.finished
}

#[cfg(test)]
mod tests {
    use dtf_model::queue::PARCEL_WORK;

    use super::*;

    #[test]
    fn a_parcel_has_one_key() {
        let some = |names: &[Option<&str>]| -> Vec<_> {
            names
                .iter()
                .map(|name| NewSubtask { key: name.map(ShardKey::new), ..NewSubtask::new("") })
                .collect()
        };
        assert_eq!(parcels_of(&[], 10), (vec![], vec![]));
        assert_eq!(parcels_of(&some(&[None; 5]), 2), (vec![2, 2, 1], vec![]));
        let (a, b) = (Some("a"), Some("b"));
        let (sizes, keys) = parcels_of(&some(&[a, a, a, b, None, None, a]), 2);
        assert_eq!(sizes, [2, 1, 1, 2, 1]);
        let [a, b] = [a, b].map(|name| name.map(ShardKey::new));
        assert_eq!(keys, [a, a, b, None, a]);
    }

    #[test]
    fn a_parcel_of_several_is_not_large() {
        let of = |kib: &[usize]| -> Vec<_> {
            let subtasks: Vec<_> = kib.iter().map(|kib| NewSubtask::new(vec![0; kib << 10])).collect();
            parcels_of(&subtasks, 100).0
        };
        assert_eq!(of(&[64; 10]), [4, 4, 2]);
        assert_eq!(of(&[1024, 1, 1, 256, 255, 1, 1]), [1, 2, 1, 2, 1]);
    }

    #[test]
    fn parcels_grow_with_the_speed_of_the_work() {
        assert_eq!(parcel_size(None, PARCEL_WORK, MAX_PARCEL), 1);
        assert_eq!(parcel_size(Some(Duration::from_secs(1)), PARCEL_WORK, MAX_PARCEL), 1);
        assert_eq!(parcel_size(Some(Duration::from_millis(1)), PARCEL_WORK, MAX_PARCEL), 25);
        assert_eq!(parcel_size(Some(Duration::ZERO), PARCEL_WORK, MAX_PARCEL), 1000);
        assert_eq!(parcel_size(Some(Duration::ZERO), PARCEL_WORK, 1), 1);
    }

    #[test]
    fn nothing_is_asked_for_while_the_backlog_is_more_than_half_full() {
        let mean_run = Some(Duration::from_millis(1));
        let backlog =
            |waiting| Backlog { waiting, bytes: waiting, mean_run, control: Control::Run, flooded: false };
        let full = |subtasks| Amount { subtasks, bytes: 1 << 30 };
        assert_eq!(room(&backlog(0), full(5000)), 4096);
        assert_eq!(room(&backlog(2500), full(5000)), 2500);
        assert_eq!(room(&backlog(2501), full(5000)), 0);
        assert_eq!(room(&Backlog { control: Control::Pause, ..backlog(0) }, full(5000)), 0);
        assert_eq!(room(&Backlog { mean_run: None, ..backlog(0) }, full(5000)), 1000);
        assert_eq!(room(&Backlog::default(), full(1)), 1);
        // The same by size; what does not wait has none.
        let of = |bytes| room(&Backlog { bytes, ..backlog(10) }, Amount { subtasks: 5000, bytes: 1000 });
        assert_eq!((of(500), of(501)), (4096, 0));
        assert!(room(&Backlog { bytes: 501, ..backlog(0) }, Amount { subtasks: 5000, bytes: 1000 }) > 0);
    }
}
