//! Creating tasks, saying what is wanted of them, and seeing how they are.

use std::sync::Arc;

use dtf_model::audit::Note;
use dtf_model::failure::{Failure, FailureKey};
use dtf_model::group::{ResourceGroup, all_groups};
use dtf_model::plugin::{PluginRegistry, TaskPluginRegistration};
use dtf_model::queue::{QueueReader, TaskState};
use dtf_model::result::NumberedResult;
use dtf_model::shard::ShardQueue;
use dtf_model::table::{NewTask, TaskFilter, TaskRow, TaskTable};
use dtf_model::unique::Unique;
use dtf_model::wake::{Listener, Topic};
use dtf_model::{ClusterShape, Control, InvalidInput, Shard, TaskId, TaskParam, TaskTypeId};
use dtf_runtime::RoleContext;
use futures::StreamExt;
use uuid::Uuid;

use crate::client_error::ClientError;
use crate::failure_kinds::{FailureKind, kinds};
use crate::handle::TaskHandle;
use crate::progress::{Pace, Progress};

/// The state of a task, as its creator sees it.
#[derive(Clone, Debug)]
pub struct TaskStatusView {
    /// Its row in `tbl_task`.
    pub row: TaskRow,
    /// Its queues, while it has not ended and has any.
    pub queues: Option<TaskState>,
    /// The rate and the ETA: from the mean since its start, or in the course of a [watch](TaskHandle::watch) from the last
    /// moments.
    pub pace: Pace,
}

impl TaskStatusView {
    /// Returns the obstacles that only people can remove, such as a type that no process knows.
    pub fn blocked_on(&self) -> &[String] {
        self.queues.as_ref().map_or(&[], |queues| &queues.blocked_on)
    }

    /// Returns the same obstacles for people: with the names of types in place of their numbers.
    pub fn blocked_on_in_words(&self, types: &PluginRegistry) -> Vec<String> {
        let name = types.name_of(self.row.task_type, &self.row.param);
        let (executing, member) = types.executing_name(&self.row.spec());
        let in_words = |condition: &String| match member.strip_prefix("map:") {
            Some(function)
                if condition.starts_with(&format!("an executor that knows task type {executing}")) =>
            {
                format!("a worker with the function {function}; none that is connected has it")
            }
            _ => {
                condition.replace(&format!("task type {}", self.row.task_type), &format!("task type {name}"))
            }
        };
        self.blocked_on().iter().map(in_words).collect()
    }

    /// Returns the progress.
    pub fn progress(&self) -> Progress {
        Progress::of(&self.row, self.queues.as_ref())
    }
}

/// The number of creations under way at a time when many are asked for.
const CREATED_TOGETHER: usize = 256;

/// Creates tasks, says what is wanted of them, and sees how they are.
#[derive(Clone)]
pub struct Client {
    table: Arc<dyn TaskTable>,
    queues: Arc<dyn QueueReader>,
    context: RoleContext,
    /// The queues of executors, where this process reaches them.
    shards: Option<Arc<dyn ShardQueue>>,
    /// True if the process has all roles to itself, so that results are collected in it.
    alone: bool,
}

impl Client {
    /// A client on these stores, for the types that `context` knows.
    pub fn new(table: Arc<dyn TaskTable>, queues: Arc<dyn QueueReader>, context: RoleContext) -> Self {
        Self { table, queues, context, shards: None, alone: false }
    }

    /// The same, which can tell how busy executors are.
    #[must_use]
    pub fn seeing_shards(self, shards: Arc<dyn ShardQueue>) -> Self {
        Self { shards: Some(shards), ..self }
    }

    /// Returns the number of parcels that each of these shards has, waiting or running, in their order; none where this process does not
    /// reach the queues of executors.
    ///
    /// # Errors
    /// The queues could not be read.
    pub async fn parcels_on(&self, shards: &[Shard]) -> Result<Option<Vec<u64>>, ClientError> {
        let Some(queues) = &self.shards else { return Ok(None) };
        let credits = queues.credits(shards).await?;
        Ok(Some(credits.iter().map(|credit| credit.used.into()).collect()))
    }

    /// The same, in a process that has all roles to itself, so that outputs can be [streamed](crate::Submission::stream).
    #[must_use]
    pub fn collecting_here(self, alone: bool) -> Self {
        Self { alone, ..self }
    }

    /// The same for one change, which is written together with an entry of the audit: see [`NotingTable`](dtf_model::audit::NotingTable).
    #[must_use]
    pub fn noting(&self, note: &Note) -> Self {
        Self { table: self.table.noting(note), ..self.clone() }
    }

    /// Checks that outputs of this type can be read here.
    pub(crate) fn check_streams(&self, streamed: &TaskPluginRegistration) -> Result<(), ClientError> {
        let known = self.context.plugins.by_name(&streamed.name)?;
        let why = if !self.alone {
            "in a process that has all roles to itself, such as Dtf::embedded()"
        } else if !Arc::ptr_eq(&known.plugin, &streamed.plugin) {
            "of a type that was registered with this process; this one was built anew"
        } else {
            return Ok(());
        };
        let name = &streamed.name;
        Err(InvalidInput::TypeParam(format!("outputs of {name} cannot be streamed: that works only {why}"))
            .into())
    }

    /// The types of task that this process knows.
    pub fn types(&self) -> &PluginRegistry {
        &self.context.plugins
    }

    pub(crate) fn table(&self) -> &Arc<dyn TaskTable> {
        &self.table
    }

    pub(crate) fn context(&self) -> &RoleContext {
        &self.context
    }

    /// The division of the cluster's work.
    pub fn shape(&self) -> ClusterShape {
        self.context.shape
    }

    /// Returns true if a task has queues.
    ///
    /// # Errors
    /// The queues could not be read.
    pub async fn has_queues(&self, id: TaskId) -> Result<bool, ClientError> {
        Ok(self.queues.state(id).await?.is_some())
    }

    /// The time, in milliseconds since the Unix epoch.
    pub fn now(&self) -> u64 {
        self.context.clock.unix_millis()
    }

    /// The row of a task.
    pub(crate) async fn row(&self, id: TaskId) -> Result<TaskRow, ClientError> {
        self.table.get(id).await?.ok_or(ClientError::NoSuchTask(id))
    }

    /// Hears of what becomes of a task.
    pub(crate) fn listen(&self, id: TaskId) -> Box<dyn Listener> {
        self.context.wake.listen(Topic::Row(id))
    }

    /// Creates a task. Once this has returned, the task will come to an end, whatever is killed.
    ///
    /// # Errors
    /// The type or the group is unknown, a parameter is not allowed (and nothing was created), or the store failed.
    pub async fn create_task(
        &self,
        task_type: TaskTypeId,
        param: TaskParam,
    ) -> Result<TaskHandle, ClientError> {
        self.create_task_once(Uuid::new_v4(), task_type, param).await
    }

    /// Creates a task under the creation's own name: asking again with the same one finds the task made before.
    ///
    /// # Errors
    /// As [`create_task`](Self::create_task). After [`ClientError::Unavailable`], ask again with the same name.
    pub async fn create_task_once(
        &self,
        request: Uuid,
        task_type: TaskTypeId,
        param: TaskParam,
    ) -> Result<TaskHandle, ClientError> {
        let id = self.table.insert(&self.checked(request, task_type, param)?).await?;
        self.context.wake.notify(self.context.shape.watch(id), id);
        Ok(self.task(id))
    }

    /// Creates a task unless there is one with its key, which is returned then, as it is.
    ///
    /// # Errors
    /// As [`create_task_once`](Self::create_task_once); the key is not allowed.
    pub async fn create_task_unique(
        &self,
        request: Uuid,
        task_type: TaskTypeId,
        param: TaskParam,
        unique: &Unique,
    ) -> Result<TaskHandle, ClientError> {
        let id = self.table.insert_unique(&self.checked(request, task_type, param)?, unique).await?;
        self.context.wake.notify(self.context.shape.watch(id), id);
        Ok(self.task(id))
    }

    /// Returns a task as it is inserted, once everything about it is allowed.
    fn checked(
        &self,
        request: Uuid,
        task_type: TaskTypeId,
        mut param: TaskParam,
    ) -> Result<NewTask, ClientError> {
        let registration = self.context.plugins.get(task_type)?;
        param.type_version = param.type_version.max(self.context.plugins.conf(task_type)?.version);
        param.check()?;
        registration.plugin.check(&param)?;
        let task_type = self.context.plugins.number_for(registration, &param);
        Ok(NewTask { request, task_type, param, now: self.now() })
    }

    /// Creates many tasks, at a fraction of the cost of one after the other. The answers are in the order of the parameters;
    /// each task is created or refused by itself.
    ///
    /// # Errors
    /// Of each task, those of [`create_task`](Self::create_task).
    pub async fn create_tasks(
        &self,
        task_type: TaskTypeId,
        params: impl IntoIterator<Item = TaskParam>,
    ) -> Vec<Result<TaskHandle, ClientError>> {
        let created = params.into_iter().map(|param| self.create_task(task_type, param));
        // So many are under way that they fill the statements which carry them, and no more.
        futures::stream::iter(created).buffered(CREATED_TOGETHER).collect().await
    }

    /// A handle on a task that exists.
    pub fn task(&self, id: TaskId) -> TaskHandle {
        TaskHandle::new(id, self.clone())
    }

    /// Stops generating and dispatching; what runs may finish.
    ///
    /// # Errors
    /// The task does not exist, or its status does not allow it.
    pub async fn pause_task(&self, id: TaskId) -> Result<(), ClientError> {
        self.set_control(id, Control::Pause, "paused").await
    }

    /// Goes on with a paused task, at its checkpoint.
    ///
    /// # Errors
    /// The task does not exist, or its status does not allow it.
    pub async fn resume_task(&self, id: TaskId) -> Result<(), ClientError> {
        self.set_control(id, Control::Run, "resumed").await
    }

    /// Ends a task before it is done: nothing more is generated or dispatched, what runs is told to stop.
    ///
    /// # Errors
    /// The task does not exist, or has ended.
    pub async fn cancel_task(&self, id: TaskId) -> Result<(), ClientError> {
        self.set_control(id, Control::Cancel, "cancelled").await
    }

    async fn set_control(
        &self,
        id: TaskId,
        control: Control,
        asked: &'static str,
    ) -> Result<(), ClientError> {
        let now = self.now();
        let reason = if control.ends() { "cancelled by a user" } else { "" };
        if !self.table.set_control(id, control, reason, now).await? {
            let row = self.row(id).await?;
            return Err(ClientError::NotAllowed { task: id, status: row.status, asked });
        }
        self.context.wake.notify(self.context.shape.watch(id), id);
        Ok(())
    }

    /// Returns the state of a task.
    ///
    /// # Errors
    /// The task does not exist, or a store failed.
    pub async fn task_status(&self, id: TaskId) -> Result<TaskStatusView, ClientError> {
        self.status_of(self.row(id).await?).await
    }

    /// Returns the row of a task.
    ///
    /// # Errors
    /// The task does not exist, or the store failed.
    pub async fn task_row(&self, id: TaskId) -> Result<TaskRow, ClientError> {
        self.row(id).await
    }

    /// Returns the state of a task whose row was just read.
    ///
    /// # Errors
    /// The queues could not be read.
    pub async fn status_of(&self, row: TaskRow) -> Result<TaskStatusView, ClientError> {
        // The row of an ended task has its books, and nothing else happens to it.
        let queues = match row.status.is_terminal() {
            true => None,
            false => self.queues.state(row.id).await?.filter(|state| state.is_of(&row)),
        };
        let pace = Pace::mean(self.now(), &row, &Progress::of(&row, queues.as_ref()));
        Ok(TaskStatusView { row, queues, pace })
    }

    /// The subtasks of a task that failed for good, with keys above `after`, at most so many: those of its last run, and the
    /// first [`MAX_FAILURES`](dtf_model::failure::MAX_FAILURES) of them.
    ///
    /// # Errors
    /// The task does not exist, or the store failed.
    pub async fn failures(
        &self,
        id: TaskId,
        after: Option<FailureKey>,
        most: u32,
    ) -> Result<Vec<Failure>, ClientError> {
        let row = self.row(id).await?;
        Ok(self.table.failures(id, row.run, after, most).await?)
    }

    /// The failures of a task's last run that are kept, grouped by what went wrong, the largest group first.
    ///
    /// # Errors
    /// The task does not exist, or the store failed.
    pub async fn failure_kinds(&self, id: TaskId) -> Result<Vec<FailureKind>, ClientError> {
        let row = self.row(id).await?;
        Ok(kinds(&self.table.errors(id, row.run).await?))
    }

    /// The results of a task that are [kept](dtf_model::result) with it, of its last run, with numbers from `from`, at most so many.
    ///
    /// # Errors
    /// The task does not exist, or the store failed.
    pub async fn kept_results(
        &self,
        id: TaskId,
        from: u64,
        most: u32,
    ) -> Result<Vec<NumberedResult>, ClientError> {
        let row = self.row(id).await?;
        Ok(self.table.results(id, row.run, from, most).await?)
    }

    /// Runs the failed subtasks of an ended task again, those that are kept: as a new task of the same type and parameters,
    /// whose `retry_of` is the old one.
    ///
    /// # Errors
    /// The task does not exist, has not ended or has no failures that could be run again; else as
    /// [`create_task`](Self::create_task).
    pub async fn retry_failures(&self, id: TaskId) -> Result<TaskHandle, ClientError> {
        self.retry_failures_once(Uuid::new_v4(), id).await
    }

    /// As [`retry_failures`](Self::retry_failures), under the creation's own name: asking again with the same one finds the
    /// task made before.
    ///
    /// # Errors
    /// As [`retry_failures`](Self::retry_failures).
    pub async fn retry_failures_once(&self, request: Uuid, id: TaskId) -> Result<TaskHandle, ClientError> {
        let row = self.row(id).await?;
        if !row.status.is_terminal() {
            return Err(ClientError::NotAllowed { task: id, status: row.status, asked: "retried" });
        }
        let mut after = None;
        loop {
            let page = self.table.failures(id, row.run, after, 100).await?;
            if page.iter().any(|failure| failure.body.is_some()) {
                break;
            }
            after = Some(page.last().ok_or(InvalidInput::NoFailures(id))?.key);
        }
        let param = TaskParam { retry_of: Some(id), start_at: None, ..row.param };
        self.create_task_once(request, row.task_type, param).await
    }

    /// All resource groups, by name.
    ///
    /// # Errors
    /// The store failed.
    pub async fn groups(&self) -> Result<Vec<ResourceGroup>, ClientError> {
        Ok(all_groups(&*self.table).await?)
    }

    /// One resource group; none where there is no such one.
    ///
    /// # Errors
    /// The store failed.
    pub async fn group(&self, name: &str) -> Result<Option<ResourceGroup>, ClientError> {
        Ok(self.table.group(name).await?)
    }

    /// Makes a resource group, or replaces everything that is said of it. Schedulers heed it within a second.
    ///
    /// # Errors
    /// Something of it is out of range (and nothing was written), or the store failed.
    pub async fn set_group(&self, group: &ResourceGroup) -> Result<(), ClientError> {
        let partitions = self.context.shape.partitions;
        let below = |limit: Option<u32>| limit.filter(|limit| *limit < partitions);
        if let Some(got) = below(group.limits.running).or_else(|| below(group.limits.rate)) {
            let allowed = format!("at least {partitions}, one for each scheduling partition");
            return Err(InvalidInput::OutOfRange {
                what: "a limit of the group",
                got: got.to_string(),
                allowed,
            }
            .into());
        }
        Ok(self.table.set_group(group).await?)
    }

    /// Gives a resource group a quota, and makes the group where there is none. Its limits and description stay. Schedulers
    /// heed it within a second.
    ///
    /// # Errors
    /// As [`set_group`](Self::set_group).
    pub async fn set_quota(&self, name: &str, quota: u32) -> Result<(), ClientError> {
        let group = self.group(name).await?.unwrap_or_else(|| ResourceGroup::named(name));
        self.set_group(&ResourceGroup { quota, ..group }).await
    }

    /// The tasks that fit, in the [order](TaskFilter::order) of the filter, at most so many: up to
    /// [`MAX_LIST`](dtf_model::table::MAX_LIST). The next page begins behind the last task of this one.
    ///
    /// # Errors
    /// No task can fit, or they are too many for one page, or the store failed.
    pub async fn list_tasks(
        &self,
        filter: &TaskFilter,
        last: Option<TaskId>,
        most: u32,
    ) -> Result<Vec<TaskRow>, ClientError> {
        Ok(self.table.list(filter, last, most).await?)
    }
}
