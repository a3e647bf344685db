//! Acting on schedules: what [`step`] decides is written down, done, and noted as done.
//!
//! Managers act on schedules that are due, and clients on those that a user asks something of. Both write conditionally on the
//! revision that they read, and creations have names of their own, so it does no harm when several act on the same schedule.

use std::collections::HashSet;
use std::sync::Arc;

use dtf_model::flow::NewFlow;
use dtf_model::schedule::{Creation, Plan, ScheduleRow, ScheduleState, ScheduleUpdate, step};
use dtf_model::table::TaskTable;
use dtf_model::{Control, InvalidInput, StoreError, TaskId};
use futures::future::{join_all, try_join_all};
use futures::{StreamExt, stream};
use tracing::{info, warn};

use crate::RoleContext;

/// The creations under way at a time: as many as fill the statements that carry them.
const TOGETHER: usize = 256;
/// The reason of a task that is cancelled for the next one.
const CANCELLED: &str = "cancelled for the next due time of its schedule";

/// A creation with its task, or the reason why it was refused.
type Made = (Creation, Result<TaskId, String>);

/// Acts on schedules.
#[derive(Clone)]
pub struct Schedules {
    table: Arc<dyn TaskTable>,
    context: RoleContext,
}

impl Schedules {
    /// Acts on the schedules of a table.
    pub fn new(table: Arc<dyn TaskTable>, context: RoleContext) -> Self {
        Self { table, context }
    }

    fn now(&self) -> u64 {
        self.context.clock.unix_millis()
    }

    /// Does what is due of these schedules: decides, creates and settles. A schedule that another process changes meanwhile is left
    /// to that one.
    ///
    /// # Errors
    /// The store failed. What was decided is not lost: the schedules still want attention.
    pub async fn act(&self, rows: Vec<ScheduleRow>) -> Result<(), StoreError> {
        let ended = self.ended(&rows).await?;
        let acted = join_all(rows.into_iter().map(|row| self.act_on(row, &ended))).await;
        acted.into_iter().collect()
    }

    async fn act_on(&self, row: ScheduleRow, ended: &HashSet<TaskId>) -> Result<(), StoreError> {
        let calendar = match row.spec.calendar() {
            Ok(calendar) => calendar,
            Err(error) => return self.suspend(&row, &error).await,
        };
        let plan = Plan { row: &row, calendar: &calendar, now: self.now() };
        let decided = step(plan, |task| ended.contains(&task));
        for task in &decided.cancel {
            self.cancel(*task).await?;
        }
        match self.write(&row, decided.state, decided.next_at).await? {
            Some(row) => self.create(row).await.map(drop),
            None => Ok(()),
        }
    }

    /// Makes the creations that are decided, and notes them unless another process did. Returns the tasks or refusals.
    ///
    /// # Errors
    /// The store failed. Asked again, the same tasks are found.
    pub async fn create(&self, row: ScheduleRow) -> Result<Vec<Made>, StoreError> {
        if row.state.creating.is_empty() {
            return Ok(Vec::new());
        }
        let calendar = row.spec.calendar()?;
        let made = stream::iter(row.state.creating.clone()).map(|creation| async {
            let new = row.spec.template.creation(creation.request, &calendar, creation.due, self.now())?;
            let task = self.insert(&new).await?;
            Ok::<_, StoreError>((creation, task))
        });
        let made: Vec<Made> =
            made.buffered(TOGETHER).collect::<Vec<_>>().await.into_iter().collect::<Result<_, _>>()?;
        let (state, next_at) = Plan { row: &row, calendar: &calendar, now: self.now() }.settle(&made);
        for (creation, task) in &made {
            let (schedule, due) = (&row.spec.name, creation.due);
            match task {
                Ok(task) => info!(schedule, due, task_id = %task, "task of a schedule created"),
                Err(reason) => warn!(schedule, due, %reason, "task of a schedule refused"),
            }
        }
        self.write(&row, state, next_at).await?;
        Ok(made)
    }

    /// Creates a task or a flow, or finds it, and returns its first task. A refusal is an answer.
    async fn insert(&self, new: &NewFlow) -> Result<Result<TaskId, String>, StoreError> {
        let created = match new.name {
            // A single task shares the statement of others.
            None => self.table.insert(&new.task(0)).await.map(|task| vec![task]),
            Some(_) => self.table.create_flow(new).await,
        };
        let tasks = match created {
            Ok(tasks) => tasks,
            Err(error @ (StoreError::InvalidInput(_) | StoreError::Refused { .. })) => {
                return Ok(Err(error.to_string()));
            }
            Err(error) => return Err(error),
        };
        for (task, member) in tasks.iter().zip(&new.members) {
            if member.after.is_empty() {
                self.hint(*task);
            }
        }
        Ok(tasks.first().copied().ok_or_else(|| "the flow has no tasks".to_owned()))
    }

    fn hint(&self, task: TaskId) {
        self.context.wake.notify(self.context.shape.watch(task), task);
    }

    /// Cancels a task, with its flow if it has one.
    async fn cancel(&self, task: TaskId) -> Result<(), StoreError> {
        let tasks = match self.table.get(task).await?.and_then(|row| row.flow) {
            None => vec![task],
            // The last ones first, so that none begins because one before it ends.
            Some(of) => self.table.flow_tasks(of.flow).await?.into_iter().rev().map(|row| row.id).collect(),
        };
        for task in tasks {
            self.table.set_control(task, Control::Cancel, CANCELLED, self.now()).await?;
            self.hint(task);
        }
        Ok(())
    }

    /// Returns true if a task, and its flow if it has one, has ended or is there no more.
    async fn has_ended(&self, task: TaskId) -> Result<bool, StoreError> {
        let Some(row) = self.table.get(task).await? else { return Ok(true) };
        match row.flow {
            Some(of) if row.status.is_terminal() => {
                let tasks = self.table.flow_tasks(of.flow).await?;
                Ok(tasks.iter().all(|task| task.status.is_terminal()))
            }
            _ => Ok(row.status.is_terminal()),
        }
    }

    /// Returns those of the tasks that the schedules watch which have ended.
    async fn ended(&self, rows: &[ScheduleRow]) -> Result<HashSet<TaskId>, StoreError> {
        let backfills = rows.iter().filter_map(|row| row.state.backfill.as_ref());
        let watched: HashSet<TaskId> = rows
            .iter()
            .flat_map(|row| &row.state.running)
            .chain(backfills.flat_map(|backfill| &backfill.running))
            .copied()
            .collect();
        let ended = try_join_all(watched.iter().map(|task| self.has_ended(*task))).await?;
        Ok(watched.iter().zip(ended).filter(|(_, has_ended)| *has_ended).map(|(task, _)| *task).collect())
    }

    /// Changes a schedule on behalf of a user: reads it, lets `change` say how it is to be, and writes that, again where another
    /// process changed it meanwhile. Returns the row as written.
    ///
    /// # Errors
    /// There is no such schedule, `change` refuses, or the store failed.
    pub async fn change(
        &self,
        name: &str,
        change: impl Fn(&Plan<'_>) -> Result<ScheduleState, InvalidInput>,
    ) -> Result<ScheduleRow, StoreError> {
        loop {
            let row = self.table.schedule(name).await?;
            let row = row.ok_or_else(|| InvalidInput::NoSuchSchedule(name.to_owned()))?;
            let calendar = row.spec.calendar()?;
            let plan = Plan { row: &row, calendar: &calendar, now: self.now() };
            let state = change(&plan)?;
            let next_at = plan.next_at(&state);
            if let Some(row) = self.write(&row, state, next_at).await? {
                self.context.wake.notify(self.context.shape.schedules(row.id), row.id.as_hint());
                return Ok(row);
            }
        }
    }

    /// Puts a schedule aside whose expression this program cannot read: a later version wrote it, or the zone is gone.
    async fn suspend(&self, row: &ScheduleRow, error: &InvalidInput) -> Result<(), StoreError> {
        /// The time after which it is tried again.
        const LATER: u64 = 60_000;
        warn!(schedule = row.spec.name, %error, "schedule put aside");
        self.write(row, row.state.clone(), Some(self.now().saturating_add(LATER))).await.map(drop)
    }

    /// Writes a state. Returns the row as it is then; `None` where another process changed it first. What would change nothing is
    /// not written.
    async fn write(
        &self,
        row: &ScheduleRow,
        state: ScheduleState,
        next_at: Option<u64>,
    ) -> Result<Option<ScheduleRow>, StoreError> {
        if state == row.state && next_at == row.next_at {
            return Ok(Some(row.clone()));
        }
        let update = ScheduleUpdate { id: row.id, revision: row.revision, state, next_at };
        if !self.table.update_schedule(&update).await? {
            return Ok(None);
        }
        let (state, revision) = (update.state, row.revision + 1);
        Ok(Some(ScheduleRow { state, next_at, revision, ..row.clone() }))
    }
}
