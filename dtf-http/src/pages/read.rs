//! The pages that show.

use askama::Template;
use dtf_api::{
    AuditEntry, BulkAction, FailureKind, FailurePage, FailureQuery, Progress, RemoteWorker, Role, Task,
    TaskPage, TaskQuery, TaskStatus, TaskType, TimelineEntry, TypeQuery, Worker,
};
use serde::Deserialize;
use uuid::Uuid;

use super::groups::{self, GroupShare};
use super::view::{allowed, not_succeeded, pretty, time, utc};
use super::{Page, render};
use crate::app::{App, Processes};
use crate::auth::Acting;
use crate::convert::percent;
use crate::extract::{Path, Query};
use crate::problem::Failed;
use crate::watch::Look;

/// The most running tasks on the overview.
const RUNNING: usize = 20;
/// The most tasks that wait for people on the overview.
const WARNINGS: usize = 20;

struct Tile {
    name: &'static str,
    value: String,
}

/// A matter that somebody should look at.
struct Warning {
    /// The task that waits.
    task: Option<u64>,
    text: String,
}

impl Warning {
    fn of_cluster(text: String) -> Self {
        Self { task: None, text }
    }
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    here: &'static str,
    tiles: Vec<Tile>,
    /// False where the tasks could not be read.
    is_known: bool,
    warnings: Vec<Warning>,
    running: Vec<Task>,
    latest: Vec<Task>,
    top: Vec<GroupShare>,
}

pub(super) async fn overview(Acting(app): Acting) -> Page {
    // What can be read is shown, whatever else is down.
    let (look, workers) = tokio::join!(app.active(), app.watch().processes().now());
    let mut warnings = Vec::new();
    let (mut tiles, mut running, mut latest, mut top) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    match &look {
        Ok(look) => {
            tiles = tiles_of(look);
            tiles.extend(latency(&app));
            top = groups::top(look);
            warnings.extend(waiting(look));
            let is_running = |task: &&Task| task.status == TaskStatus::Running;
            running = look.tasks.iter().filter(is_running).take(RUNNING).cloned().collect();
            latest.clone_from(&look.latest);
        }
        Err(failed) => {
            warnings.push(Warning::of_cluster(format!("The tasks cannot be shown: {}.", failed.0.detail)));
        }
    }
    match &workers.value {
        Ok(processes) => {
            warnings.extend(missing_roles(&processes.workers));
            warnings.extend(stuck(processes));
            warnings.extend(stuck_calls(&processes.workers));
            tiles.extend(slots(&processes.workers));
        }
        Err(failed) => {
            warnings
                .push(Warning::of_cluster(format!("The processes cannot be shown: {}.", failed.0.detail)));
        }
    }
    render(&Overview { here: "Overview", tiles, is_known: look.is_ok(), warnings, running, latest, top })
}

/// The mean times of subtasks in the last minute.
fn latency(app: &App) -> Vec<Tile> {
    let Some((wait, run)) = app.latency() else { return Vec::new() };
    let tile = |name, millis: f32| Tile { name, value: time(millis) };
    vec![tile("mean wait of a subtask", wait), tile("mean run of a subtask", run)]
}

/// The numbers of tasks that have not ended, by status.
fn counts(look: &Look) -> Vec<(TaskStatus, String)> {
    let of = |status: TaskStatus| {
        let count = look.tasks.iter().filter(|task| task.status == status).count();
        let more = if look.cut.contains(&status) { "+" } else { "" };
        (status, format!("{count}{more}"))
    };
    [TaskStatus::Running, TaskStatus::Paused, TaskStatus::Created].map(of).into()
}

fn tiles_of(look: &Look) -> Vec<Tile> {
    let tile = |(status, value): (TaskStatus, String)| Tile { name: status.name(), value };
    let mut tiles: Vec<_> = counts(look).into_iter().map(tile).collect();
    if look.progress_missing.is_none() {
        let progress = || look.tasks.iter().filter_map(|task| task.progress);
        let sum =
            |of: fn(&Progress) -> u64| progress().map(|progress| of(&progress)).sum::<u64>().to_string();
        let is_running = |task: &&Task| task.status == TaskStatus::Running;
        let rates = look.tasks.iter().filter(is_running).filter_map(|task| task.progress?.rate);
        // The sum of nothing is -0.0.
        tiles.push(Tile { name: "subtasks per second", value: format!("{:.1}", 0.0 + rates.sum::<f64>()) });
        tiles.push(Tile { name: "subtasks running", value: sum(|progress| progress.running) });
        tiles.push(Tile {
            name: "subtasks waiting",
            value: sum(|progress| progress.pending + progress.delayed),
        });
    }
    tiles
}

/// The obstacles that only people can remove, and what cannot be told.
fn waiting(look: &Look) -> impl Iterator<Item = Warning> {
    let missing = look.progress_missing.iter();
    let missing =
        missing.map(|why| Warning::of_cluster(format!("The progress of tasks cannot be shown: {why}.")));
    let blocked = look
        .tasks
        .iter()
        .flat_map(|task| task.blocked_on.iter().map(|on| Warning { task: Some(task.id), text: on.clone() }));
    missing.chain(blocked.take(WARNINGS))
}

/// The roles that no process has.
fn missing_roles(workers: &[Worker]) -> impl Iterator<Item = Warning> {
    let has = |role: Role| workers.iter().flat_map(|worker| &worker.roles).any(|member| member.role == role);
    let missing: Vec<_> = Role::ALL.into_iter().filter(|role| !has(*role)).collect();
    let text = |role: Role| format!("No process has the role {}.", role.name());
    missing.into_iter().map(move |role| Warning::of_cluster(text(role)))
}

/// The parts whose holders do not give them up.
fn stuck(processes: &Processes) -> impl Iterator<Item = Warning> {
    let text = |(role, part, worker): &(Role, String, String)| {
        let role = role.name();
        Warning::of_cluster(format!("{worker} cannot stop part {part} of its work as {role}."))
    };
    processes.stuck.iter().take(WARNINGS).map(text)
}

/// The processes with calls into plugins that are stuck.
fn stuck_calls(workers: &[Worker]) -> impl Iterator<Item = Warning> {
    let text = |worker: &Worker| {
        let calls =
            if worker.stuck_count == 1 { "A call into a plugin is" } else { "Calls into plugins are" };
        let first = worker
            .stuck
            .first()
            .map(|first| format!(", the first of them since {} UTC: {}", utc(&first.since), first.call));
        Warning::of_cluster(format!(
            "{calls} stuck in {} ({}){}.",
            worker.name,
            worker.stuck_count,
            first.unwrap_or_default()
        ))
    };
    workers.iter().filter(|worker| worker.stuck_count > 0).take(WARNINGS).map(text)
}

/// The slots of all executors that have work, where that is known of all.
fn slots(workers: &[Worker]) -> Option<Tile> {
    let slots: Vec<_> = workers.iter().filter_map(|worker| worker.slots).collect();
    let used: u64 = slots.iter().map(|slots| slots.used).sum::<Option<u64>>()?;
    let total: u64 = slots.iter().map(|slots| slots.total).sum();
    (total > 0).then(|| Tile { name: "slots busy", value: format!("{used} of {total}") })
}

/// The conditions of a list as a form sends them: an empty field is none.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct ListForm {
    status: String,
    #[serde(rename = "type")]
    task_type: String,
    group: String,
    creator: String,
    name_prefix: String,
    cursor: Option<u64>,
}

impl Default for ListForm {
    fn default() -> Self {
        let none = String::new;
        Self {
            status: none(),
            task_type: none(),
            group: none(),
            creator: none(),
            name_prefix: none(),
            cursor: None,
        }
    }
}

impl ListForm {
    fn query(self) -> Result<TaskQuery, Failed> {
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        let status = given(self.status).map(|status| {
            let known = TaskStatus::ALL.into_iter().find(|known| known.name() == status);
            known.ok_or_else(|| Failed::invalid(format!("{status:?} is no status")))
        });
        Ok(TaskQuery {
            status: status.transpose()?,
            task_type: given(self.task_type),
            group: given(self.group),
            creator: given(self.creator),
            name_prefix: given(self.name_prefix),
            cursor: self.cursor,
            ..TaskQuery::default()
        })
    }
}

#[derive(Template)]
#[template(path = "tasks.html")]
struct Tasks {
    here: &'static str,
    query: TaskQuery,
    types: Vec<TaskType>,
    page: TaskPage,
    here_with_query: String,
    next_page: Option<String>,
    is_filtered: bool,
    /// The filter, as the form of an action on all that fit sends it.
    filter: String,
    /// The numbers of tasks that have not ended, by status; none where they cannot be read.
    counts: Vec<(TaskStatus, String)>,
}

pub(super) async fn tasks(Acting(app): Acting, Query(form): Query<ListForm>) -> Page {
    let query = form.query()?;
    let page = app.tasks(&query).await?;
    let filter = TaskQuery { cursor: None, ..query.clone() };
    let at = |query: &TaskQuery| {
        serde_html_form(query).map_or_else(|| "/tasks".to_owned(), |query| format!("/tasks?{query}"))
    };
    let next_page = page.next.map(|next| at(&TaskQuery { cursor: Some(next), ..query.clone() }));
    render(&Tasks {
        here: "Tasks",
        here_with_query: at(&query),
        next_page,
        is_filtered: filter != TaskQuery::default(),
        filter: serde_json::to_string(&filter).unwrap_or_default(),
        types: app.types(&TypeQuery::default()).await?,
        counts: app.active().await.map(|look| counts(&look)).unwrap_or_default(),
        query,
        page,
    })
}

/// A query as part of a URL; none where it has no conditions.
fn serde_html_form(query: &TaskQuery) -> Option<String> {
    let fields = serde_json::to_value(query).ok()?;
    let pairs = fields.as_object()?.iter().map(|(name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{name}={}", percent(&value))
    });
    Some(pairs.collect::<Vec<_>>().join("&")).filter(|query| !query.is_empty())
}

#[derive(Template)]
#[template(path = "task.html")]
struct TaskPageView {
    here: &'static str,
    task: Task,
    actions: Vec<BulkAction>,
    kinds: Vec<FailureKind>,
    failures: FailurePage,
    changes: Vec<AuditEntry>,
    timeline: Vec<TimelineEntry>,
}

pub(super) async fn task(Acting(app): Acting, Path(id): Path<u64>) -> Page {
    let task = app.task(id).await?;
    let failures = app.failures(id, &FailureQuery { limit: Some(50), ..FailureQuery::default() }).await?;
    let kinds = if failures.failures.is_empty() { Vec::new() } else { app.failure_kinds(id).await? };
    // Groups of one each say nothing that the list does not.
    let kinds = if kinds.iter().all(|kind| kind.count == 1) { Vec::new() } else { kinds };
    let failed = task.progress.as_ref().map_or(0, not_succeeded);
    let actions = allowed(task.status, failed);
    let changes = app.changes_of(id, 50).await?;
    let timeline = app.timeline(id).await?;
    render(&TaskPageView { here: "Tasks", task, actions, kinds, failures, changes, timeline })
}

/// The values of a form for a new task.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct NewForm {
    #[serde(rename = "type")]
    pub(super) task_type: String,
    pub(super) param: String,
    pub(super) name: String,
    pub(super) group: String,
    pub(super) priority: u32,
    pub(super) timeout_s: u64,
    pub(super) request: Option<Uuid>,
    /// The task to copy.
    like: Option<u64>,
}

impl Default for NewForm {
    fn default() -> Self {
        Self {
            task_type: String::new(),
            param: "{}".to_owned(),
            name: String::new(),
            group: "default".to_owned(),
            priority: 6000,
            timeout_s: 1800,
            request: None,
            like: None,
        }
    }
}

#[derive(Template)]
#[template(path = "new_task.html")]
struct NewTaskPage {
    here: &'static str,
    types: Vec<TaskType>,
    form: NewForm,
    request: Uuid,
    problem: Option<String>,
}

pub(super) async fn new_task(Acting(app): Acting, Query(mut form): Query<NewForm>) -> Page {
    if let Some(like) = form.like {
        let task = app.task(like).await?;
        form = NewForm {
            task_type: task.task_type,
            param: pretty(&task.param),
            name: task.name,
            group: task.group,
            priority: task.priority,
            timeout_s: (task.timeout_ms / 1000).max(1),
            ..NewForm::default()
        };
    }
    form_page(&app, form, None).await
}

/// The form, with what was wrong with it when it was sent.
pub(super) async fn form_page(app: &App, form: NewForm, problem: Option<String>) -> Page {
    let request = form.request.unwrap_or_else(Uuid::new_v4);
    let types = app.types(&TypeQuery::default()).await?;
    render(&NewTaskPage { here: "Tasks", types, form, request, problem })
}

#[derive(Template)]
#[template(path = "workers.html")]
struct Workers {
    here: &'static str,
    workers: Vec<Worker>,
    remote: Vec<RemoteWorker>,
    /// The reason why the remote workers cannot be shown.
    missing: Option<String>,
}

pub(super) async fn workers(Acting(app): Acting) -> Page {
    let workers = app.workers().await?;
    let (remote, missing) = match app.remote_workers().await {
        Ok(remote) => (remote, None),
        Err(failed) => (Vec::new(), Some(failed.0.detail)),
    };
    render(&Workers { here: "Workers", workers, remote, missing })
}
