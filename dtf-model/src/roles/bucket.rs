//! A bucket of tasks, held by one process: one future for each task of it that wants attention.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lrmf_core::Token;
use lrmf_core::runner::{Held, RunTask};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::bell::Bell;
use super::part::{Role, part_number};
use super::retry::Backoff;
use super::stuck::on_behalf_of;
use crate::error::StoreError;
use crate::ids::{RunEpoch, TaskId};
use crate::table::{BucketOf, TaskTable};
use crate::wake::{Rung, WakeUp};

/// How often a bucket looks at all of its tasks, in case hints were lost.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Rows a page when looking at all tasks.
const PAGE: u32 = 1000;

/// One task's turn.
#[derive(Clone, Debug)]
pub struct Turn {
    /// The task.
    pub task: TaskId,
    /// The token of the bucket's holding.
    pub token: Token,
    /// Rung when the task may want attention.
    pub bell: Arc<Bell>,
    /// Fires when the bucket is to be given up.
    pub stop: CancellationToken,
}

/// What a role does for one task.
#[async_trait]
pub trait PerTask: Send + Sync + 'static {
    /// Does what there is to do for a task, and returns when there is nothing more to do: with the run for which that
    /// stays so, or none where it may change. Returns soon after `turn.stop` has fired.
    async fn run(&self, turn: &Turn) -> Result<Option<RunEpoch>, StoreError>;
}

/// Runs a role on the buckets that its member holds.
pub struct BucketRunner<P> {
    role: Role,
    buckets: u32,
    table: Arc<dyn TaskTable>,
    wake: Arc<dyn WakeUp>,
    on: Handle,
    per_task: Arc<P>,
}

impl<P: PerTask> BucketRunner<P> {
    /// A runner for a role with so many buckets, whose futures run on `on`.
    pub fn new(
        role: Role,
        buckets: u32,
        table: Arc<dyn TaskTable>,
        wake: Arc<dyn WakeUp>,
        on: Handle,
        per_task: P,
    ) -> Self {
        Self { role, buckets, table, wake, on, per_task: Arc::new(per_task) }
    }
}

#[async_trait]
impl<P: PerTask> RunTask for BucketRunner<P> {
    async fn run(&self, held: Held) -> anyhow::Result<()> {
        let bucket = part_number(&held.task)?;
        let mut listener = self.wake.listen(self.role.topic(bucket));
        let mut turns = Turns {
            role: self.role,
            token: held.token,
            stop: held.stop.child_token(),
            on: self.on.clone(),
            per_task: self.per_task.clone(),
            bells: HashMap::new(),
            settled: HashMap::new(),
            running: JoinSet::new(),
        };
        let share = BucketOf { bucket, of: self.buckets };
        let mut look = tokio::time::interval(LOOK_AGAIN);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = held.stop.cancelled() => break,
                _ = look.tick() => self.look_at_all(share, &mut turns).await,
                rung = listener.next() => match rung {
                    Rung::Tasks(tasks) => tasks.into_iter().for_each(|task| turns.attend(task)),
                    Rung::Anything => look.reset_immediately(),
                },
                Some(ended) = turns.running.join_next() => turns.ended(ended),
            }
        }
        turns.finish().await;
        Ok(())
    }
}

impl<P: PerTask> BucketRunner<P> {
    /// Attends to every task of the bucket that is not settled. An error costs nothing but time: the next look is near.
    async fn look_at_all(&self, share: BucketOf, turns: &mut Turns<P>) {
        let mut after = TaskId(0);
        let mut settled = HashMap::new();
        loop {
            let rows = match self.table.active(share, after, PAGE).await {
                Ok(rows) => rows,
                Err(error) => {
                    warn!(role = %self.role, bucket = share.bucket, %error, "tasks not listed");
                    return;
                }
            };
            for row in &rows {
                match turns.settled.get(&row.id) {
                    Some(run) if *run == row.run => {
                        settled.insert(row.id, row.run);
                    }
                    _ => turns.attend(row.id),
                }
            }
            match rows.last() {
                Some(last) if rows.len() as u32 == PAGE => after = last.id,
                _ => break,
            }
        }
        turns.settled = settled;
    }
}

struct Turns<P> {
    role: Role,
    token: Token,
    stop: CancellationToken,
    on: Handle,
    per_task: Arc<P>,
    bells: HashMap<TaskId, Arc<Bell>>,
    /// The run for which a task wants no more attention.
    settled: HashMap<TaskId, RunEpoch>,
    running: JoinSet<(TaskId, Option<RunEpoch>)>,
}

impl<P: PerTask> Turns<P> {
    fn attend(&mut self, task: TaskId) {
        if let Some(bell) = self.bells.get(&task) {
            bell.ring();
            return;
        }
        let bell = Arc::<Bell>::default();
        self.bells.insert(task, bell.clone());
        let turn = Turn { task, token: self.token, bell, stop: self.stop.child_token() };
        let turn = on_behalf_of(self.role, task, take_turn(self.per_task.clone(), turn));
        self.running.spawn_on(turn, &self.on);
    }

    fn ended(&mut self, ended: Result<(TaskId, Option<RunEpoch>), tokio::task::JoinError>) {
        let (task, settled) = match ended {
            Ok(ended) => ended,
            // A role's own code panicked. Its entry in `bells` stays, so the task rests until the bucket moves: loud and
            // contained, where trying again at once would spin.
            Err(error) => {
                tracing::error!(%error, "a turn panicked");
                return;
            }
        };
        if let Some(run) = settled {
            self.settled.insert(task, run);
        }
        let rung_meanwhile = self.bells.remove(&task).is_some_and(|bell| bell.take());
        if rung_meanwhile {
            self.attend(task);
        }
    }

    async fn finish(mut self) {
        self.stop.cancel();
        while self.running.join_next().await.is_some() {}
    }
}

/// One turn, again and again while the store fails in ways that pass.
async fn take_turn<P: PerTask>(per_task: Arc<P>, turn: Turn) -> (TaskId, Option<RunEpoch>) {
    let mut backoff = Backoff::default();
    loop {
        match per_task.run(&turn).await {
            Ok(settled) => return (turn.task, settled),
            Err(error) if error.is_retryable() => {
                warn!(task_id = %turn.task, %error, "turn interrupted");
                if !backoff.wait(&turn.stop).await {
                    return (turn.task, None);
                }
            }
            Err(error) => {
                // Fenced: somebody else does it now. Gone, conflict: the state has moved on, and a hint will come.
                tracing::debug!(task_id = %turn.task, %error, "turn ended");
                return (turn.task, None);
            }
        }
    }
}
