//! A bucket of tasks, held by one process: one future for each task of it that wants attention.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dtf_model::error::StoreError;
use dtf_model::ids::{RunEpoch, TaskId};
use dtf_model::plugin::PluginRegistry;
use dtf_model::role::{Role, part_number};
use dtf_model::table::BucketOf;
use dtf_model::wake::Rung;
use lrmf_core::runner::{Held, RunTask};
use lrmf_core::{Timestamp, Token};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::bell::Bell;
use super::context::RoleContext;
use super::look::{Active, Look, Looker};
use super::peers::Needs;
use super::retry::Backoff;
use super::stuck::on_behalf_of;

/// How often a bucket looks at all of its tasks, in case hints were lost.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// A look costs no more than this part of the time, however many tasks there are, unless that makes them too rare.
const PART_OF_TIME: u32 = 20;
/// The longest time between two looks. One that took long may have met a store that stood still, and not many tasks.
const LOOK_AT_LATEST: Duration = Duration::from_secs(60);
/// Of so many looks, every one wakes another part of the turns that nothing has happened to.
const ALL_WITHIN: u64 = 12;
/// How soon it is looked again whether tasks of unknown types had a turn in vain.
const LOOK_SOON: Duration = Duration::from_secs(1);

/// One task's turn.
#[derive(Clone, Debug)]
pub struct Turn {
    /// The task.
    pub task: TaskId,
    /// The token of the bucket's holding.
    pub token: Token,
    /// Rung when the task may want attention.
    pub bell: Arc<Bell>,
    /// Fires when the turn is to end: the bucket is given up, or the task is to be taken up afresh.
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
///
/// What the store of the queues has forgotten, as a server of it was started again, may be the last writes of any task: also
/// those that a turn relies on, or after which there was nothing more to do. All turns are then ended and taken afresh, which
/// raises their tokens, and nothing counts as settled any more.
pub struct BucketRunner<P> {
    role: Role,
    buckets: u32,
    looker: Looker,
    context: RoleContext,
    on: Handle,
    per_task: Arc<P>,
}

impl<P: PerTask> BucketRunner<P> {
    /// A runner for a role on the tasks that `looker` sees, whose futures run on `on`.
    pub fn new(role: Role, looker: Looker, context: &RoleContext, on: Handle, per_task: P) -> Self {
        let (buckets, context) = (role.parts(&context.shape), context.clone());
        Self { role, buckets, looker, context, on, per_task: Arc::new(per_task) }
    }
}

#[async_trait]
impl<P: PerTask> RunTask for BucketRunner<P> {
    async fn run(&self, held: Held) -> anyhow::Result<()> {
        let bucket = part_number(&held.task)?;
        let mut listener = self.context.wake.listen(self.role.topic(bucket));
        let mut turns = Turns {
            role: self.role,
            token: held.token,
            stop: held.stop.child_token(),
            on: self.on.clone(),
            per_task: self.per_task.clone(),
            going: HashMap::new(),
            settled: HashMap::new(),
            unknown: HashSet::new(),
            has_new_unknown: false,
            seen: HashMap::new(),
            looks: 0,
            running: JoinSet::new(),
        };
        let share = BucketOf { bucket, of: self.buckets };
        let mut look = tokio::time::interval(LOOK_AGAIN);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (held_since, mut declined) = (self.context.clock.now(), None);
        let mut begun = Instant::now();
        // Hints are heeded while the table takes its time to answer, or does not.
        let mut looking = self.looker.rest();
        loop {
            tokio::select! {
                () = held.stop.cancelled() => break,
                _ = look.tick(), if looking.is_resting() => {
                    begun = Instant::now();
                    looking.begin(share);
                }
                seen = looking.next() => match seen {
                    Ok(seen) => {
                        let needs = self.needs(&mut turns, &seen);
                        if self.is_to_be_declined(&held, &needs, held_since).await {
                            declined = Some(needs.declined());
                            break;
                        }
                        turns.attend_all(&seen);
                        match turns.has_new_unknown {
                            true => look.reset_after(LOOK_SOON),
                            false => look.reset_after(until_the_next(begun.elapsed())),
                        }
                    }
                    Err(error) => warn!(role = %self.role, bucket, %error, "tasks not listed"),
                },
                rung = listener.next() => match rung {
                    Rung::Tasks(tasks) => tasks.into_iter().for_each(|task| turns.attend(task)),
                    Rung::Anything => look.reset_immediately(),
                },
                Some(ended) = turns.running.join_next() => turns.ended(ended),
            }
        }
        turns.finish().await;
        declined.map_or(Ok(()), |declined| Err(declined.into()))
    }
}

impl<P: PerTask> BucketRunner<P> {
    /// What the bucket's tasks need to be known here. A manager needs to know none of their types.
    fn needs(&self, turns: &mut Turns<P>, seen: &Look) -> Needs {
        match self.role {
            Role::Manager => Needs::default(),
            _ => turns.needs(seen, &self.context.plugins),
        }
    }

    /// Whether another member is to have the bucket.
    async fn is_to_be_declined(&self, held: &Held, needs: &Needs, held_since: Timestamp) -> bool {
        if needs.lacking.is_empty() {
            return false;
        }
        tokio::select! {
            () = held.stop.cancelled() => false,
            others = self.context.peers.others(self.role) => {
                needs.are_better_met_by(&others, held_since, self.context.clock.now())
            }
        }
    }
}

/// How long after a look that took so long the next one is.
fn until_the_next(took: Duration) -> Duration {
    took.saturating_mul(PART_OF_TIME).clamp(LOOK_AGAIN, LOOK_AT_LATEST)
}

/// A turn that is being taken.
struct Going {
    bell: Arc<Bell>,
    stop: CancellationToken,
    /// Whether the task is to be taken up afresh when it has ended.
    afresh: bool,
}

struct Turns<P> {
    role: Role,
    token: Token,
    stop: CancellationToken,
    on: Handle,
    per_task: Arc<P>,
    going: HashMap<TaskId, Going>,
    /// The run for which a task wants no more attention.
    settled: HashMap<TaskId, RunEpoch>,
    /// Those of types that are not known here, as of the latest look.
    unknown: HashSet<TaskId>,
    /// Whether some of them were not among those of the look before.
    has_new_unknown: bool,
    /// How tasks stood at the look before.
    seen: HashMap<TaskId, Active>,
    /// How often it was looked.
    looks: u64,
    running: JoinSet<(TaskId, Option<RunEpoch>)>,
}

impl<P: PerTask> Turns<P> {
    /// Attends to every task of the bucket that is not settled: begins a turn where there is none, and wakes those of tasks that
    /// do not stand as they did, as a hint may have been lost. That a turn rests for a reason that nobody can see is not
    /// expected; now and then each of them is woken all the same.
    fn attend_all(&mut self, seen: &Look) {
        if seen.store_may_have_forgotten {
            self.take_up_afresh();
        }
        let before = std::mem::take(&mut self.seen);
        self.looks += 1;
        let settled = std::mem::take(&mut self.settled);
        for row in &seen.active {
            match settled.get(&row.id) {
                Some(run) if *run == row.run => {
                    self.settled.insert(row.id, row.run);
                }
                _ => {
                    let is_its_time = (row.id.0 + self.looks).is_multiple_of(ALL_WITHIN);
                    if is_its_time || before.get(&row.id) != Some(row) || !self.going.contains_key(&row.id) {
                        self.attend(row.id);
                    }
                    self.seen.insert(row.id, *row);
                }
            }
        }
    }

    /// What has wanted attention since the last look, and what has had a turn in vain since then, as its type is not known here.
    fn needs(&mut self, seen: &Look, plugins: &PluginRegistry) -> Needs {
        let (mut needs, mut unknown) = (Needs::default(), HashSet::new());
        for row in seen.active.iter().filter(|row| self.settled.get(&row.id) != Some(&row.run)) {
            if plugins.able(row.kind).is_ok() {
                needs.known.insert(row.kind);
                continue;
            }
            unknown.insert(row.id);
            if self.unknown.contains(&row.id) && !self.going.contains_key(&row.id) {
                needs.lacking.insert(row.kind);
            }
        }
        self.has_new_unknown = !unknown.is_subset(&self.unknown);
        self.unknown = unknown;
        needs
    }

    fn take_up_afresh(&mut self) {
        self.settled.clear();
        for going in self.going.values_mut() {
            going.afresh = true;
            going.stop.cancel();
        }
    }

    fn attend(&mut self, task: TaskId) {
        if let Some(going) = self.going.get(&task) {
            going.bell.ring();
            return;
        }
        let (bell, stop) = (Arc::<Bell>::default(), self.stop.child_token());
        let turn = Turn { task, token: self.token, bell: bell.clone(), stop: stop.clone() };
        self.going.insert(task, Going { bell, stop, afresh: false });
        let turn = on_behalf_of(self.role, task, take_turn(self.per_task.clone(), turn));
        self.running.spawn_on(turn, &self.on);
    }

    fn ended(&mut self, ended: Result<(TaskId, Option<RunEpoch>), tokio::task::JoinError>) {
        let (task, settled) = match ended {
            Ok(ended) => ended,
            // A role's own code panicked. Its entry in `going` stays, so the task rests until the bucket moves: loud and
            // contained, where trying again at once would spin.
            Err(error) => {
                tracing::error!(%error, "a turn panicked");
                return;
            }
        };
        let Some(going) = self.going.remove(&task) else { return };
        if going.afresh {
            return self.attend(task);
        }
        if let Some(run) = settled {
            self.settled.insert(task, run);
        }
        if going.bell.take() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_take_a_part_of_the_time_and_are_never_rare() {
        let until = |millis| until_the_next(Duration::from_millis(millis)).as_millis();
        assert_eq!([0, 250, 500, 3000, 60_000].map(until), [5000, 5000, 10_000, 60_000, 60_000]);
        assert_eq!(until_the_next(Duration::MAX), LOOK_AT_LATEST);
    }
}
