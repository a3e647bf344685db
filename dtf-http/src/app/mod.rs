//! The actions of the API, for JSON handlers, pages and programs alike.

mod audit;
mod bulk;
mod cluster;
mod gateway;
mod groups;
mod items;
mod moves;
mod placement;
mod results;
mod role_groups;
mod timeline;
mod tokens;
mod types;
mod work;

use std::sync::Arc;
use std::time::Duration;

use dtf_api as api;
use dtf_api::BulkAction;
use dtf_control::{Client, ClientError, Pace, TaskStatusView};
use dtf_model::TaskId;
use dtf_model::failure::FailureKey;
use dtf_model::ids::{EmitEpoch, Seq};
use dtf_model::plugin::PluginRegistry;
use dtf_model::table::{TaskFilter, TaskRow};
use lrmf_core::Coordination;
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

pub(crate) use self::audit::Change;
use self::audit::LastForgotten;
pub use self::cluster::Doctor;
pub(crate) use self::cluster::Findings;
use self::cluster::Stores;
use self::gateway::LocalGateway;
pub use self::placement::PlacementAction;
pub use self::role_groups::workers;
pub(crate) use self::role_groups::{Processes, RoleGroups};
use crate::auth::Caller;
use crate::convert;
use crate::history::Recorded;
use crate::problem::Failed;
use crate::watch::{Look, Watch};

/// The most tasks or failures of a page.
const MAX_PAGE: u32 = 1000;
/// The longest that the answer to a creation waits for the queues of the task.
const QUEUES: Duration = Duration::from_secs(1);
/// The most event streams that are open at a time.
const MAX_STREAMS: usize = 1000;

/// The functions of the API, on the stores of a cluster.
#[derive(Clone)]
pub struct App {
    client: Client,
    groups: RoleGroups,
    streams: Arc<Semaphore>,
    caller: Arc<Caller>,
    /// In a process that executes.
    gateway: Option<Arc<LocalGateway>>,
    forgotten: Arc<LastForgotten>,
    audit_kept: Duration,
    watch: Watch,
    recorded: Recorded,
    /// Told when an action on many tasks was added.
    bulk_added: Arc<Notify>,
}

impl App {
    /// The functions on a cluster's stores. `coordination` is where the groups of its roles meet.
    pub fn new(client: Client, coordination: Arc<dyn Coordination>, cluster: &str) -> Self {
        let groups = RoleGroups::new(coordination, cluster, Some(client.clone()));
        let stores = Stores { client: client.clone(), groups: groups.clone() };
        Self {
            watch: Watch::new(client.clone(), groups.clone(), Findings(Arc::new(stores))),
            recorded: Recorded::default(),
            client,
            groups,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            caller: Arc::new(Caller::trusted("program", "")),
            gateway: None,
            forgotten: Arc::default(),
            audit_kept: audit::KEPT,
            bulk_added: Arc::default(),
        }
    }

    /// Keeps entries of the audit for this long. Default 90 days. They are deleted behind changes, at most once an hour.
    #[must_use]
    pub fn keeping_audit(self, audit_kept: Duration) -> Self {
        Self { audit_kept, ..self }
    }

    /// The same functions on behalf of a caller: within its groups, and under its name in the audit.
    #[must_use]
    pub fn acting(&self, caller: Caller) -> Self {
        Self { caller: Arc::new(caller), ..self.clone() }
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the present look at the tasks of the caller's groups that have not ended.
    ///
    /// # Errors
    /// The table of tasks could not be read.
    pub(crate) async fn active(&self) -> Result<Arc<Look>, Failed> {
        self.watch.active(&self.caller.groups).now().await.value
    }

    pub(crate) fn recorded(&self) -> &Recorded {
        &self.recorded
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    pub(crate) fn streams(&self) -> &Arc<Semaphore> {
        &self.streams
    }

    pub(crate) fn registry(&self) -> &PluginRegistry {
        self.client.types()
    }

    /// Creates a task, or finds the one that this request made before.
    ///
    /// # Errors
    /// The type or the group is unknown, a parameter is not allowed, or a store failed.
    pub async fn create(&self, request: Uuid, task: api::NewTask) -> Result<api::Task, Failed> {
        self.caller.check_group(&task.group)?;
        if !task.after.is_empty() && task.unique.is_some() {
            return Err(Failed::invalid(
                "a task that waits for others has no unique key; give one of `after` and `unique`",
            ));
        }
        if !task.after.is_empty() {
            return self.create_after(request, task).await;
        }
        let detail = format!("{} {:?} in group {}", task.task_type, task.name, task.group);
        let (unique, name) = (task.unique.as_ref().map(convert::unique).transpose()?, task.task_type.clone());
        let (task_type, param) = self.client.prepare(&name, convert::task_param(task)?).await?;
        let client = self.creating(detail, request);
        let created = match unique {
            None => client.create_task_once(request, task_type, param).await?,
            Some(unique) => client.create_task_unique(request, task_type, param, &unique).await?,
        };
        self.created(created.id()).await
    }

    /// The client for the creation of a task, which is written together with its entry in the audit.
    pub(crate) fn creating(&self, detail: String, request: Uuid) -> Client {
        let change = Change { action: "task.create", target: "task".to_owned(), detail, request };
        self.client.noting(&self.noting_creation(change))
    }

    /// Returns a task that was just created.
    pub(crate) async fn created(&self, id: TaskId) -> Result<api::Task, Failed> {
        let row = self.client.task_row(id).await?;
        // It may be one of somebody else, by whose name for the request it was found.
        if !self.caller.sees(&row.param.group) {
            return Err(ClientError::NoSuchTask(id).into());
        }
        // Before its first run it has no queues.
        if row.run.0 > 0
            && let Ok(Ok(task)) = tokio::time::timeout(QUEUES, self.task(id.0)).await
        {
            return Ok(task);
        }
        // It exists, whether or not its queues are in reach.
        Ok(convert::view(self.registry(), TaskStatusView { row, queues: None, pace: Pace::default() }))
    }

    /// Returns a task with its progress.
    ///
    /// # Errors
    /// The task does not exist, or a store failed.
    pub async fn task(&self, id: u64) -> Result<api::Task, Failed> {
        let view = self.client.task_status(TaskId(id)).await?;
        // As a task that is not there: whoever may not see it learns nothing of it.
        if !self.caller.sees(&view.row.param.group) {
            return Err(ClientError::NoSuchTask(TaskId(id)).into());
        }
        let mut task = convert::view(self.registry(), view);
        self.watch.resource_groups().block(std::slice::from_mut(&mut task)).await;
        Ok(task)
    }

    /// Returns a page of tasks.
    ///
    /// # Errors
    /// A condition that no task can meet, a page that is too large, or a store failed.
    pub async fn tasks(&self, query: &api::TaskQuery) -> Result<api::TaskPage, Failed> {
        let most = page(query.limit, 50)?;
        let mut rows = self.list(&self.filter(query).await?, query.cursor.map(TaskId), most + 1).await?;
        let more = cut(&mut rows, most);
        let tasks: Vec<_> = rows.into_iter().map(|row| convert::row(self.registry(), row)).collect();
        let next = tasks.last().filter(|_| more).map(|task| task.id);
        Ok(api::TaskPage { tasks, next })
    }

    /// Checks that the caller may see a task: a read, where it is limited to some groups.
    pub(crate) async fn check_task(&self, id: u64) -> Result<(), Failed> {
        if self.caller.groups.is_empty() {
            return Ok(());
        }
        self.task(id).await.map(drop)
    }

    /// Lists the tasks that fit, of the caller's groups.
    async fn list(
        &self,
        filter: &TaskFilter,
        last: Option<TaskId>,
        most: u32,
    ) -> Result<Vec<TaskRow>, Failed> {
        if let Some(group) = &filter.group {
            self.caller.check_group(group)?;
        } else if !self.caller.groups.is_empty() && filter.starts_after.is_some() {
            return Err(Failed::invalid(
                "this token is for some groups; name one of them to list by start time",
            ));
        }
        let groups = if filter.group.is_some() { &[] } else { self.caller.groups.as_slice() };
        list_of_groups(&self.client, groups, filter, last, most).await
    }

    async fn filter(&self, query: &api::TaskQuery) -> Result<TaskFilter, Failed> {
        let task_type = match &query.task_type {
            Some(name) => Some(self.client.number_of_type(name).await?),
            None => None,
        };
        Ok(TaskFilter {
            status: query.status.map(convert::model_status),
            task_type,
            group: query.group.clone(),
            creator: query.creator.clone(),
            name: query.name.clone(),
            name_prefix: query.name_prefix.clone(),
            starts_after: query.starts_after,
        })
    }

    /// Applies an action to a task, and returns the task; of a retry, the new one.
    ///
    /// # Errors
    /// The task does not exist, its state does not allow the action, or a store failed.
    pub async fn act(&self, request: Uuid, id: u64, action: BulkAction) -> Result<api::Task, Failed> {
        self.check_task(id).await?;
        let acted_on = self.apply(request, TaskId(id), action).await?;
        self.task(acted_on.0).await
    }

    async fn apply(&self, request: Uuid, id: TaskId, action: BulkAction) -> Result<TaskId, Failed> {
        let name = match action {
            BulkAction::Pause => "task.pause",
            BulkAction::Resume => "task.resume",
            BulkAction::Cancel => "task.cancel",
            BulkAction::Retry => "task.retry",
        };
        let change = Change { action: name, target: target(id), detail: String::new(), request };
        self.noted(change, |client| async move {
            match action {
                BulkAction::Pause => client.pause_task(id).await?,
                BulkAction::Resume => client.resume_task(id).await?,
                BulkAction::Cancel => client.cancel_task(id).await?,
                BulkAction::Retry => return Ok(client.retry_failures_once(request, id).await?.id()),
            }
            Ok(id)
        })
        .await
    }

    /// Returns a page of a task's failures.
    ///
    /// # Errors
    /// The task does not exist, the page is too large, or a store failed.
    pub async fn failures(&self, id: u64, query: &api::FailureQuery) -> Result<api::FailurePage, Failed> {
        let most = page(query.limit, 100)?;
        self.check_task(id).await?;
        let after =
            query.after_seq.map(|seq| FailureKey { epoch: EmitEpoch(query.after_epoch), seq: Seq(seq) });
        let failures = self.client.failures(TaskId(id), after, most).await?;
        let more = failures.len() == most as usize;
        Ok(api::FailurePage { failures: failures.into_iter().map(convert::failure).collect(), more })
    }

    /// Returns a task's failures, grouped by what went wrong, the largest group first.
    ///
    /// # Errors
    /// The task does not exist, or a store failed.
    pub async fn failure_kinds(&self, id: u64) -> Result<Vec<api::FailureKind>, Failed> {
        self.check_task(id).await?;
        let kinds = self.client.failure_kinds(TaskId(id)).await?;
        Ok(kinds.into_iter().map(convert::failure_kind).collect())
    }
}

/// Lists the tasks that fit, of these groups; of all where there are none.
pub(crate) async fn list_of_groups(
    client: &Client,
    groups: &[String],
    filter: &TaskFilter,
    last: Option<TaskId>,
    most: u32,
) -> Result<Vec<TaskRow>, Failed> {
    if groups.is_empty() {
        return Ok(client.list_tasks(filter, last, most).await?);
    }
    let lists = groups.iter().map(|group| async {
        let filter = TaskFilter { group: Some(group.clone()), ..filter.clone() };
        client.list_tasks(&filter, last, most).await
    });
    let mut rows = futures::future::try_join_all(lists).await?.concat();
    rows.sort_by_key(|row| std::cmp::Reverse(row.id));
    rows.truncate(most as usize);
    Ok(rows)
}

/// Cuts a list to a page. Read with one more than the page takes, it tells whether there is another page: so says the answer.
pub(crate) fn cut<T>(rows: &mut Vec<T>, most: u32) -> bool {
    let more = rows.len() > most as usize;
    rows.truncate(most as usize);
    more
}

/// A task, as the audit names it.
pub(crate) fn target(id: TaskId) -> String {
    format!("task {id}")
}

pub(crate) fn page(asked: Option<u32>, default: u32) -> Result<u32, Failed> {
    match asked.unwrap_or(default) {
        most @ 1..=MAX_PAGE => Ok(most),
        most => Err(Failed::invalid(format!("limit is {most}; allowed is 1 to {MAX_PAGE}"))),
    }
}
