//! The manager: takes each task of its watch buckets from step to step of its lifecycle.
//!
//! What the next step is, [`lifecycle::decide`] says. Here it is taken, as a conditional write, and whoever is concerned is
//! hinted at.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dtf_model::hook::Courier;
use dtf_model::lifecycle::{self, Step};
use dtf_model::plugin::TaskConf;
use dtf_model::queue::{TaskControl, TaskState};
use dtf_model::role::{Role, part_number};
use dtf_model::table::{Finish, TaskRow, TaskTable};
use dtf_model::wake::Topic;
use dtf_model::{Control, RunEpoch, StoreError, TaskId, TaskStatus};
use dtf_runtime::{Dependents, Reconcile, Reconciler, RoleContext, TaskLease, TaskScan, until_answered};
use lrmf_core::runner::{Held, RunTask};
use tokio::runtime::Handle;
use tracing::{info, warn};

use crate::history::{History, HistoryPolicy};
use crate::hooks::Hooks;
use crate::retention::Retention;
use crate::schedules::DueSchedules;
use crate::untold::Untold;

/// The time after which the beginning of a run may come too late for its task.
const LATE: Duration = Duration::from_secs(5);

/// Settings of the manager role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagerConfig {
    /// How long the queues of an ended task are kept.
    pub retention: Duration,
    /// How often ended tasks are looked for.
    pub sweep: Duration,
    /// The rows of ended tasks that are kept.
    pub history: HistoryPolicy,
}

impl Default for ManagerConfig {
    fn default() -> Self {
        let history = HistoryPolicy::default();
        Self { retention: Duration::from_secs(60), sweep: Duration::from_secs(5), history }
    }
}

/// The stores that the manager works with, and its way to receivers.
#[derive(Clone)]
pub struct ManagerPorts {
    /// `tbl_task`.
    pub table: Arc<dyn TaskTable>,
    /// The manager's side of the queues.
    pub queues: Arc<dyn TaskControl>,
    /// The way to those who are told of the ends of tasks.
    pub courier: Arc<dyn Courier>,
}

/// Runs the manager role on the watch buckets that its member holds.
pub struct Manager {
    buckets: Reconciler<Steps>,
    retention: Retention,
    history: History,
    schedules: DueSchedules,
    untold: Untold,
    hooks: Hooks,
}

impl Manager {
    /// A manager of the tasks in its table.
    pub fn new(config: ManagerConfig, ports: ManagerPorts, context: RoleContext) -> Self {
        let history = History::new(config.history.clone(), ports.table.clone(), context.clock.clone());
        let retention = Retention::new(config, ports.clone(), context.clone());
        let schedules = DueSchedules::new(ports.clone(), context.clone());
        let dependents = Dependents::new(ports.table.clone(), context.clone());
        let untold = Untold::new(ports.table.clone(), dependents.clone());
        let hooks = Hooks::new(ports.table.clone(), ports.courier.clone(), context.clone());
        let of = context.clone();
        let scan = TaskScan::new(ports.table.clone(), ports.queues.clone());
        let buckets = Reconciler::new(
            Role::Manager,
            scan,
            &of,
            Handle::current(),
            Steps { ports, context, dependents },
        );
        Self { buckets, retention, history, schedules, untold, hooks }
    }
}

#[async_trait]
impl RunTask for Manager {
    async fn run(&self, held: Held) -> anyhow::Result<()> {
        let bucket = part_number(&held.task)?;
        let stop = held.stop.clone();
        let (retention, history) = (self.retention.run(bucket, &stop), self.history.run(bucket, &stop));
        let schedules = self.schedules.run(bucket, &stop);
        let untold = self.untold.run(bucket, &stop);
        let hooks = self.hooks.run(bucket, &stop);
        let (ran, (), (), (), (), ()) =
            tokio::join!(self.buckets.run(held), retention, history, schedules, untold, hooks);
        ran
    }
}

/// Takes the steps.
struct Steps {
    ports: ManagerPorts,
    context: RoleContext,
    dependents: Dependents,
}

#[async_trait]
impl Reconcile for Steps {
    async fn reconcile(&self, lease: &TaskLease) -> Result<Option<RunEpoch>, StoreError> {
        // Before its first run a task has no queues to ask for.
        let mut has_run = false;
        // A run that was begun just now is known without being read.
        let mut begun = None;
        loop {
            let (row, state) = match begun.take() {
                Some((row, state)) => (row, Some(state)),
                None => match self.read(lease.task, has_run).await? {
                    Some(read) => read,
                    None => return Ok(None),
                },
            };
            has_run = true;
            let now = self.context.clock.unix_millis();
            match self.next_step(now, &row, state.as_ref()) {
                Step::Rest => return Ok(Some(row.run)),
                Step::Wait { until } => {
                    let span = until.map(|until| Duration::from_millis(until.saturating_sub(now)));
                    if !wait(lease, span).await {
                        return Ok(None);
                    }
                }
                Step::BeginRun => begun = self.begin(lease, row, now).await?,
                Step::Finish { status, counts, result } => {
                    let finish = Finish { run: row.run, status, counts, reason: String::new(), result, now };
                    let is_ended = self.finish(&row, finish).await?;
                    // Queues that have ended stay as they are, so there is nothing more to be seen. Where there were none,
                    // another manager may just be making some.
                    if is_ended && has_ended(&row, state.as_ref()) {
                        return Ok(Some(row.run));
                    }
                }
                step => self.take(&row, step, now).await?,
            }
            if lease.stop.is_cancelled() {
                return Ok(None);
            }
        }
    }
}

/// Whether the queues of the row's run have ended.
fn has_ended(row: &TaskRow, state: Option<&TaskState>) -> bool {
    state.is_some_and(|state| state.is_of(row) && state.ending.is_some())
}

/// Waits for a hint or for the time to pass; says false when the lease is over.
async fn wait(lease: &TaskLease, span: Option<Duration>) -> bool {
    let pass = async {
        match span {
            Some(span) => tokio::time::sleep(span).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = lease.stop.cancelled() => false,
        () = lease.changed.notified() => true,
        () = pass => true,
    }
}

impl Steps {
    /// The row and the queues: one after the other where a task may not have run yet, else both at once. What is read of the
    /// queues may then be older than the row, and never of an earlier run than the row told of before.
    async fn read(
        &self,
        task: TaskId,
        has_run: bool,
    ) -> Result<Option<(TaskRow, Option<TaskState>)>, StoreError> {
        let (table, queues) = (&self.ports.table, &self.ports.queues);
        if has_run {
            let (row, state) = tokio::try_join!(table.get(task), queues.state(task))?;
            return Ok(row.map(|row| (row, state)));
        }
        let Some(row) = table.get(task).await? else { return Ok(None) };
        let state = match row.run {
            RunEpoch(0) => None,
            RunEpoch(_) => queues.state(task).await?,
        };
        Ok(Some((row, state)))
    }

    fn next_step(&self, now: u64, row: &TaskRow, state: Option<&TaskState>) -> Step {
        match self.context.plugins.conf(row.task_type) {
            Ok(conf) => lifecycle::decide(now, row, state, conf),
            // What the type says besides is not known here; what the task itself says holds.
            Err(_) => {
                let conf = TaskConf { task_type_timeout: Duration::MAX, ..TaskConf::default() };
                lifecycle::decide(now, row, state, &conf)
            }
        }
    }

    async fn take(&self, row: &TaskRow, step: Step, now: u64) -> Result<(), StoreError> {
        let (id, run) = (row.id, row.run);
        match step {
            Step::Rest | Step::Wait { .. } | Step::BeginRun | Step::Finish { .. } => {}
            Step::Abort { reason } => {
                warn!(task_id = %id, %reason, "task aborted");
                self.ports.table.set_control(id, Control::Abort, &reason, now).await?;
            }
            Step::SetControl(control) => {
                self.ports.queues.set_control(id, run, control).await?;
                self.hint(id, &[Topic::Control]);
                self.hint_roles(id);
            }
            Step::Close => {
                self.ports.queues.close(id, run).await?;
                self.hint_roles(id);
            }
        }
        Ok(())
    }

    /// Ends a row. Returns false if another manager did, or the row wants something else by now.
    async fn finish(&self, row: &TaskRow, finish: Finish) -> Result<bool, StoreError> {
        let is_ended = self.ports.table.finish(row.id, &finish).await?;
        if is_ended {
            info!(task_id = %row.id, status = %finish.status, counts = ?finish.counts, "task ended");
        }
        self.hint(row.id, &[Topic::Row(row.id)]);
        if is_ended && !row.hooks.is_empty() {
            self.context.wake.notify(Topic::Hooks, row.id);
        }
        if is_ended && row.has_dependents {
            self.dependents.tell(row.id).await?;
        }
        Ok(is_ended)
    }

    /// Begins the next run of a task. Returns how row and queues stand then; `None` where they are to be read again.
    async fn begin(
        &self,
        lease: &TaskLease,
        mut row: TaskRow,
        now: u64,
    ) -> Result<Option<(TaskRow, TaskState)>, StoreError> {
        // By a clock that nobody sets: it goes on while the process is stopped.
        let begin = self.context.clock.now();
        if !self.ports.table.begin_run(row.id, row.run, now).await? {
            return Ok(None); // another manager did, or the row has ended
        }
        let is_first = row.run == RunEpoch(0);
        row.run = RunEpoch(row.run.0 + 1);
        let state = TaskState::begun(row.spec());
        // The run is not begun in vain because the store of the queues is away: another one would count as having had its turn.
        match until_answered(&lease.stop, || self.ports.queues.open(&state.spec)).await {
            Ok(()) => {}
            // A later run, or another task that had this number in a database that is no more: beyond its runs there is room.
            Err(StoreError::Gone { .. }) => {
                warn!(task_id = %row.id, run = %row.run, "queues of a later run or of another task have its number, the next run discards them");
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        if self.context.clock.now().since(begin) > LATE {
            self.discard_if_late(row.id, row.run).await?;
            return Ok(None);
        }
        info!(task_id = %row.id, run = %row.run, "run begun");
        if is_first {
            // Whoever comes after the generator is told when there is something to do.
            self.hint(row.id, &[self.context.shape.generation(row.id), Topic::Row(row.id)]);
            row.status = TaskStatus::Running;
            row.started_at = Some(now);
            return Ok(Some((row, state)));
        }
        self.hint_roles(row.id);
        self.hint(row.id, &[Topic::Row(row.id)]);
        Ok(None)
    }

    /// Deletes queues that were made so late that the task may have ended meanwhile, and nobody looks for its queues any more.
    async fn discard_if_late(&self, id: TaskId, run: RunEpoch) -> Result<(), StoreError> {
        let row = self.ports.table.get(id).await?;
        if row.is_none_or(|row| row.status.is_terminal() || row.run > run) {
            warn!(task_id = %id, %run, "queues made too late are deleted");
            self.ports.queues.purge(id, run).await?;
        } else {
            self.hint_roles(id);
        }
        Ok(())
    }

    fn hint_roles(&self, id: TaskId) {
        let shape = &self.context.shape;
        self.hint(id, &[shape.generation(id), shape.scheduling(id), shape.collection(id)]);
    }

    fn hint(&self, id: TaskId, topics: &[Topic]) {
        for topic in topics {
            self.context.wake.notify(*topic, id);
        }
    }
}
