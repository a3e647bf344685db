//! The executor's knowledge of the tasks whose subtasks it runs: their executors, and the control that is wanted.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use dtf_model::plugin::{TaskConf, TaskExecutor};
use dtf_model::queue::{ExecutorQueue, MAX_PARCEL};
use dtf_model::shard::SupportedTypes;
use dtf_model::wake::{Hint, Topic};
use dtf_model::{Control, RunEpoch, StoreError, TaskId, TaskSpec};
use dtf_runtime::{RoleContext, guarded};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

/// The period of reading the wanted control of tasks with running subtasks, in case hints were lost.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// After so many of these looks, all tasks are looked up.
const ALL_AFTER: u32 = 30;
/// The time that a plugin may take to make its executor.
const MAKING: Duration = Duration::from_secs(60);

/// A task that subtasks are run for.
pub(crate) struct CachedTask {
    pub(crate) spec: TaskSpec,
    pub(crate) conf: TaskConf,
    /// True if its type is registered here.
    pub(crate) is_known: bool,
    /// The plugin's executor, or why there is none.
    pub(crate) executor: Result<Arc<dyn TaskExecutor>, String>,
    /// The number of a parcel's subtasks that it executes at once.
    pub(crate) at_once: usize,
    /// Fires when the task is to end.
    pub(crate) cancelled: CancellationToken,
    control: AtomicU8,
    /// The mean run time of a subtask of it in this process, in nanoseconds; 0 where none is known.
    mean: AtomicU64,
}

impl CachedTask {
    async fn new(spec: TaskSpec, control: Control, context: &RoleContext) -> Self {
        let conf = context.plugins.conf(spec.task_type).cloned().unwrap_or_default();
        let made = make_executor(&spec, context).await;
        let at_once = made.as_ref().map_or(1, |(_, at_once)| *at_once);
        let executor = made.map(|(executor, _)| executor);
        let (cancelled, mean) = (CancellationToken::new(), AtomicU64::new(0));
        let is_known = context.plugins.able(spec.kind()).is_ok();
        let work =
            Self { spec, conf, is_known, executor, at_once, cancelled, control: AtomicU8::new(0), mean };
        work.set_control(control);
        work
    }

    /// Returns the control that is wanted, as far as is known here.
    pub(crate) fn control(&self) -> Control {
        // Only `set_control` writes it, and it writes codes.
        Control::from_code(self.control.load(Ordering::Acquire)).unwrap_or_default()
    }

    /// A wish that ends the task is never replaced, not even by a late reply that does not know it yet.
    pub(crate) fn set_control(&self, control: Control) {
        if self.control().ends() {
            return;
        }
        self.control.store(control.code(), Ordering::Release);
        if control.ends() {
            self.cancelled.cancel();
        }
    }

    /// So many subtasks took so long.
    pub(crate) fn note(&self, busy: Duration, subtasks: usize) {
        let Some(now) = busy.as_nanos().checked_div(subtasks as u128) else { return };
        let now = u64::try_from(now).unwrap_or(u64::MAX).max(1);
        let before = self.mean.load(Ordering::Relaxed);
        // Two that do this at once lose one of them, which is of no consequence.
        self.mean.store(if before == 0 { now } else { before / 2 + now / 2 }, Ordering::Relaxed);
    }

    /// Returns the number of subtasks that fit into a parcel, as far as is known here.
    pub(crate) fn together(&self) -> usize {
        match u128::from(self.mean.load(Ordering::Relaxed)) {
            0 => 1,
            mean => (self.conf.parcel_work.as_nanos() / mean).clamp(1, u128::from(MAX_PARCEL)) as usize,
        }
    }
}

/// Makes an executor, and asks it how many subtasks it executes at once.
async fn make_executor(
    spec: &TaskSpec,
    context: &RoleContext,
) -> Result<(Arc<dyn TaskExecutor>, usize), String> {
    let registration = context.plugins.able(spec.kind()).map_err(|unknown| unknown.to_string())?;
    let made = async {
        let executor = registration.plugin.executor(spec)?;
        let at_once = executor.at_once();
        anyhow::Ok((executor, at_once))
    };
    match guarded(MAKING, made).await {
        Ok(made) => made.map_err(|error| format!("no executor: {error:#}")),
        Err(fault) => Err(fault.to_string()),
    }
}

/// Returns true if no subtask of a task runs: only the cache has it.
fn is_resting(work: &Arc<CachedTask>) -> bool {
    Arc::strong_count(work) == 1
}

/// The tasks to look up.
enum Which {
    All,
    Running,
    These(HashSet<TaskId>),
}

/// The tasks that subtasks are run for in this process.
pub(crate) struct TaskCache {
    queues: Arc<dyn ExecutorQueue>,
    context: RoleContext,
    /// None where they change while the process runs.
    kinds: Option<SupportedTypes>,
    tasks: Mutex<HashMap<TaskId, Arc<CachedTask>>>,
    /// Keeps the book up to date for as long as somebody uses it.
    refresher: OnceLock<AbortOnDropHandle<()>>,
}

impl TaskCache {
    /// The kinds of task that can be executed here.
    pub(crate) fn kinds(&self) -> SupportedTypes {
        self.kinds.clone().unwrap_or_else(|| self.context.plugins.executable())
    }

    pub(crate) fn start(queues: Arc<dyn ExecutorQueue>, context: RoleContext) -> Arc<Self> {
        let kinds = context.plugins.members().is_none().then(|| context.plugins.executable());
        let book =
            Arc::new(Self { queues, context, kinds, tasks: Mutex::default(), refresher: OnceLock::new() });
        let weak = Arc::downgrade(&book);
        let mut listener = book.context.wake.listen(Topic::Control);
        let refresher = tokio::spawn(async move {
            let mut look = tokio::time::interval(LOOK_AGAIN);
            let mut looks = 0;
            loop {
                let which = tokio::select! {
                    hint = listener.next() => match hint {
                        Hint::Tasks(tasks) => Which::These(tasks.into_iter().collect()),
                        Hint::Anything => Which::All,
                    },
                    _ = look.tick() => {
                        looks = (looks + 1) % ALL_AFTER;
                        if looks == 0 { Which::All } else { Which::Running }
                    }
                };
                let Some(book) = weak.upgrade() else { return };
                if let Err(error) = book.refresh(&which).await {
                    warn!(%error, "what is wanted of tasks is not known");
                }
            }
        });
        book.refresher.get_or_init(|| AbortOnDropHandle::new(refresher));
        book
    }

    /// The entry for a run of a task; none where that run is over.
    pub(crate) async fn find(
        &self,
        task: TaskId,
        run: RunEpoch,
    ) -> Result<Option<Arc<CachedTask>>, StoreError> {
        if self.is_resting_and_held(task) {
            self.refresh(&Which::These(HashSet::from([task]))).await?;
        }
        if let Some(work) = self.tasks().get(&task).filter(|work| work.spec.run == run) {
            return Ok(Some(work.clone()));
        }
        let Some(state) = self.queues.state(task).await? else { return Ok(None) };
        if state.spec.run != run || state.ending.is_some() {
            return Ok(None);
        }
        let work = Arc::new(CachedTask::new(state.spec, state.control, &self.context).await);
        Ok(Some(self.tasks().entry(task).and_modify(|old| replace(old, &work)).or_insert(work).clone()))
    }

    /// Returns true if the task was not to run when that was read last, and no subtask of it runs: a hint that it is to run
    /// again may have been lost since.
    fn is_resting_and_held(&self, task: TaskId) -> bool {
        self.tasks().get(&task).is_some_and(|work| work.control() != Control::Run && is_resting(work))
    }

    /// Looks up what is wanted of tasks, and forgets those that nothing runs for and that have ended.
    async fn refresh(&self, which: &Which) -> Result<(), StoreError> {
        let known: HashMap<_, _> = self
            .tasks()
            .iter()
            .filter(|(task, work)| match which {
                Which::All => true,
                Which::Running => !is_resting(work),
                Which::These(tasks) => tasks.contains(task),
            })
            .map(|(task, work)| (*task, work.spec.run))
            .collect();
        if known.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = known.keys().copied().collect();
        let wanted = self.queues.controls(&ids).await?;
        let wanted: HashMap<_, _> =
            wanted.into_iter().map(|(task, run, control)| (task, (run, control))).collect();
        self.tasks().retain(|task, work| match wanted.get(task) {
            // Not asked about, or entered meanwhile: the answer says nothing about it.
            _ if known.get(task) != Some(&work.spec.run) => true,
            Some((run, control)) if *run == work.spec.run => {
                work.set_control(*control);
                !control.ends() || !is_resting(work)
            }
            _ => {
                work.set_control(Control::Abort);
                !is_resting(work)
            }
        });
        Ok(())
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<TaskId, Arc<CachedTask>>> {
        // A panic while it is held can only come from an allocation failure.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Two parcels of one task may make its entry at the same time; the first stays, unless it is of an earlier run.
fn replace(old: &mut Arc<CachedTask>, new: &Arc<CachedTask>) {
    if old.spec.run < new.spec.run {
        old.set_control(Control::Abort);
        *old = new.clone();
    }
}
