//! Flows and dependencies: the actions, the JSON handlers, and the types of the API.

use std::time::Duration;

use axum::Json as Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use dtf_api as api;
use dtf_control::{Client, FlowBuilder, FlowView};
use dtf_model::flow::{Condition, FlowCounts, FlowDefinition, FlowRow, FlowTask, Predecessor};
use dtf_model::param::Creator;
use dtf_model::plugin::PluginRegistry;
use dtf_model::{FlowId, Priority, TaskId, TaskParam};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::{App, Change, cut, page};
use crate::auth::Acting;
use crate::convert;
use crate::extract::{Json, Path, Query, RequestId};
use crate::hooks::hooks;
use crate::problem::Failed;

/// The routes of flows.
pub(crate) fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_flows, create_flow))
        .routes(routes!(get_flow))
        .routes(routes!(pause_flow))
        .routes(routes!(resume_flow))
        .routes(routes!(cancel_flow))
        .routes(routes!(retry_flow))
        .routes(routes!(crate::events::flow_events))
}

/// An action on a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowAction {
    /// Pauses its tasks.
    Pause,
    /// Resumes its tasks.
    Resume,
    /// Cancels its tasks.
    Cancel,
    /// Runs what failed and what was skipped behind it again, as a new flow.
    Retry,
}

impl App {
    /// Creates a task that waits for others, or finds the one that this request made before.
    pub(crate) async fn create_after(&self, request: Uuid, task: api::NewTask) -> Result<api::Task, Failed> {
        let detail = format!("{} {:?} in group {}", task.task_type, task.name, task.group);
        // Its result may be put into the parameter.
        for after in &task.after {
            self.check_task(after.task).await?;
        }
        let after: Vec<_> =
            task.after.iter().map(|after| (TaskId(after.task), condition(after.when))).collect();
        let name = task.task_type.clone();
        let (task_type, param) = self.client().prepare(&name, convert::task_param(task)?).await?;
        let client = self.creating(detail, request);
        self.created(client.create_task_after(request, task_type, param, &after).await?.id()).await
    }

    /// Creates a flow, or finds the one that this request made before.
    ///
    /// # Errors
    /// A type, a group or a parameter is not allowed, a task waits for an unknown one or for itself, or a store failed.
    pub async fn create_flow(&self, request: Uuid, flow: api::NewFlow) -> Result<api::Flow, Failed> {
        flow.tasks.values().try_for_each(|task| self.caller().check_group(&task.group))?;
        let detail = format!("{:?} with {} tasks", flow.name, flow.tasks.len());
        let change = Change { action: "flow.create", target: "flow".to_owned(), detail, request };
        let client = self.client().noting(&self.noting_creation(change));
        let created = client.create_flow_once(request, builder(flow)?).await?;
        Ok(view(self.registry(), created))
    }

    /// Returns a flow with its tasks.
    ///
    /// # Errors
    /// The flow does not exist, or a store failed.
    pub async fn flow(&self, id: u64) -> Result<api::Flow, Failed> {
        let flow = view(self.registry(), self.client().flow(FlowId(id)).await?);
        match flow.tasks.iter().all(|task| self.caller().sees(&task.group)) {
            true => Ok(flow),
            false => Err(Failed::not_found(format!("there is no flow {id}"))),
        }
    }

    /// Returns a page of flows.
    ///
    /// # Errors
    /// The page is too large, or a store failed.
    pub async fn flows(&self, query: &api::FlowQuery) -> Result<api::FlowPage, Failed> {
        // A flow may have tasks of several groups.
        self.caller().check_unlimited()?;
        let most = page(query.limit, 50)?;
        let mut found = self.client().flows(query.cursor.map(FlowId), most + 1).await?;
        let more = cut(&mut found, most);
        let flows: Vec<_> = found.into_iter().map(|(row, counts)| summary(row, counts)).collect();
        let next = flows.last().filter(|_| more).map(|last| last.id);
        Ok(api::FlowPage { flows, next })
    }

    /// Applies an action to a flow, and returns the flow; of a retry, the new one.
    ///
    /// # Errors
    /// The flow does not exist, its state does not allow the action, or a store failed.
    pub async fn act_on_flow(&self, request: Uuid, id: u64, action: FlowAction) -> Result<api::Flow, Failed> {
        if !self.caller().groups.is_empty() {
            self.flow(id).await?;
        }
        let name = match action {
            FlowAction::Pause => "flow.pause",
            FlowAction::Resume => "flow.resume",
            FlowAction::Cancel => "flow.cancel",
            FlowAction::Retry => "flow.retry",
        };
        let change = Change { action: name, target: target(id), detail: String::new(), request };
        let (client, id) = (self.client(), FlowId(id));
        // Of several tasks, each of which is a change of its own; a retry is one.
        let changed = match action {
            FlowAction::Pause => self.audited(change, async { Ok(client.pause_flow(id).await?) }).await?,
            FlowAction::Resume => self.audited(change, async { Ok(client.resume_flow(id).await?) }).await?,
            FlowAction::Cancel => self.audited(change, async { Ok(client.cancel_flow(id).await?) }).await?,
            FlowAction::Retry => {
                let retry = |client: Client| async move { Ok(client.retry_flow(request, id).await?) };
                self.noted(change, retry).await?
            }
        };
        Ok(view(self.registry(), changed))
    }
}

/// List the flows, the newest first, page by page.
#[utoipa::path(get, path = "/v1/flows", tag = "flows", params(api::FlowQuery), responses(
    (status = 200, description = "A page of flows", body = api::FlowPage),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn list_flows(
    Acting(app): Acting,
    Query(query): Query<api::FlowQuery>,
) -> Result<Body<api::FlowPage>, Failed> {
    app.flows(&query).await.map(Body)
}

/// Create a flow: all of its tasks, or none. With an `Idempotency-Key`, asking again creates no second one.
#[utoipa::path(post, path = "/v1/flows", tag = "flows", request_body = api::NewFlow,
    params(("Idempotency-Key" = Option<uuid::Uuid>, Header, description = "A UUID that names this creation; the same one finds the flow again")),
    responses((status = 201, description = "The flow", body = api::Flow),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn create_flow(
    Acting(app): Acting,
    RequestId(request): RequestId,
    Json(flow): Json<api::NewFlow>,
) -> Result<impl IntoResponse, Failed> {
    let flow = app.create_flow(request, flow).await?;
    let mut headers = HeaderMap::new();
    if let Ok(location) = HeaderValue::try_from(format!("/v1/flows/{}", flow.summary.id)) {
        headers.insert(header::LOCATION, location);
    }
    Ok((StatusCode::CREATED, headers, Body(flow)))
}

/// Show a flow with its tasks.
#[utoipa::path(get, path = "/v1/flows/{id}", tag = "flows", params(("id" = u64, Path, description = "The flow")), responses(
    (status = 200, description = "The flow", body = api::Flow),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn get_flow(Acting(app): Acting, Path(id): Path<u64>) -> Result<Body<api::Flow>, Failed> {
    app.flow(id).await.map(Body)
}

/// Pause the tasks of a flow.
#[utoipa::path(post, path = "/v1/flows/{id}/pause", tag = "flows", params(("id" = u64, Path, description = "The flow")), responses(
    (status = 200, description = "The flow", body = api::Flow),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn pause_flow(
    Acting(app): Acting,
    request: RequestId,
    Path(id): Path<u64>,
) -> Result<Body<api::Flow>, Failed> {
    app.act_on_flow(request.0, id, FlowAction::Pause).await.map(Body)
}

/// Resume the paused tasks of a flow.
#[utoipa::path(post, path = "/v1/flows/{id}/resume", tag = "flows", params(("id" = u64, Path, description = "The flow")), responses(
    (status = 200, description = "The flow", body = api::Flow),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn resume_flow(
    Acting(app): Acting,
    request: RequestId,
    Path(id): Path<u64>,
) -> Result<Body<api::Flow>, Failed> {
    app.act_on_flow(request.0, id, FlowAction::Resume).await.map(Body)
}

/// Cancel the tasks of a flow that have not ended.
#[utoipa::path(post, path = "/v1/flows/{id}/cancel", tag = "flows", params(("id" = u64, Path, description = "The flow")), responses(
    (status = 200, description = "The flow", body = api::Flow),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn cancel_flow(
    Acting(app): Acting,
    request: RequestId,
    Path(id): Path<u64>,
) -> Result<Body<api::Flow>, Failed> {
    app.act_on_flow(request.0, id, FlowAction::Cancel).await.map(Body)
}

/// Run what failed in a flow, and what was skipped behind it, again, as a new flow. With an `Idempotency-Key`, asking again creates no
/// second one.
#[utoipa::path(post, path = "/v1/flows/{id}/retry", tag = "flows",
    params(("id" = u64, Path, description = "The flow"),
        ("Idempotency-Key" = Option<uuid::Uuid>, Header, description = "A UUID that names this creation; the same one finds the flow again")),
    responses((status = 200, description = "The new flow", body = api::Flow),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn retry_flow(
    Acting(app): Acting,
    request: RequestId,
    Path(id): Path<u64>,
) -> Result<Body<api::Flow>, Failed> {
    app.act_on_flow(request.0, id, FlowAction::Retry).await.map(Body)
}

/// A flow, as the audit names it.
fn target(id: u64) -> String {
    format!("flow {id}")
}

/// A flow of the API, as the client creates it.
///
/// # Errors
/// A hook of a task cannot be.
pub fn builder(flow: api::NewFlow) -> Result<FlowBuilder, Failed> {
    let mut builder = FlowBuilder::named(flow.name);
    let mut after = Vec::new();
    for (name, task) in flow.tasks {
        builder = builder.task_with(&name, &task.task_type, param_of(&name, &task)?);
        after.extend(task.after.into_iter().map(|on| (name.clone(), predecessor(on))));
    }
    Ok(after.into_iter().fold(builder, |builder, (name, on)| builder.after(&name, &on.task, on.condition)))
}

/// The tasks of a flow of the API that a schedule keeps; the reverse of [`builder`].
pub(crate) fn flow_of(types: &PluginRegistry, name: String, tasks: FlowDefinition) -> api::NewFlow {
    let task = |(name, task): (String, FlowTask)| {
        let after = task
            .after
            .into_iter()
            .map(|on| api::FlowAfter::When { task: on.task, when: api_condition(on.condition) });
        let (after, new) = (after.collect(), convert::new_task(types, task.task_type, task.param));
        let task = api::FlowTask {
            task_type: new.task_type,
            param: new.param,
            after,
            description: new.description,
            creator: new.creator,
            group: new.group,
            priority: new.priority,
            timeout_ms: new.timeout_ms,
            start_at: new.start_at,
            limits: new.limits,
            hooks: new.hooks,
        };
        (name, task)
    };
    api::NewFlow { name, tasks: tasks.into_iter().map(task).collect() }
}

fn param_of(name: &str, task: &api::FlowTask) -> Result<TaskParam, Failed> {
    Ok(TaskParam {
        name: name.to_owned(),
        description: task.description.clone(),
        creator: Creator { uid: task.creator.uid, name: task.creator.name.clone() },
        group: task.group.clone(),
        priority: Priority(task.priority),
        timeout: Duration::from_millis(task.timeout_ms),
        start_at: task.start_at,
        limits: convert::model_limits(task.limits),
        hooks: hooks(task.hooks.clone())?,
        type_param: task.param.clone(),
        ..TaskParam::default()
    })
}

fn predecessor(on: api::FlowAfter) -> Predecessor {
    match on {
        api::FlowAfter::Name(task) => Predecessor { task, condition: Condition::Completed },
        api::FlowAfter::When { task, when } => Predecessor { task, condition: condition(when) },
    }
}

/// The condition on a task's end, as the framework has it.
pub fn condition(condition: api::Condition) -> Condition {
    match condition {
        api::Condition::Completed => Condition::Completed,
        api::Condition::Ended => Condition::Ended,
        api::Condition::Failed => Condition::Failed,
    }
}

pub(crate) fn api_condition(condition: Condition) -> api::Condition {
    match condition {
        Condition::Completed => api::Condition::Completed,
        Condition::Ended => api::Condition::Ended,
        Condition::Failed => api::Condition::Failed,
    }
}

/// A flow, without its tasks.
pub fn summary(row: FlowRow, counts: FlowCounts) -> api::FlowSummary {
    let FlowCounts { tasks, waiting, running, completed, failed, cancelled, skipped } = counts;
    api::FlowSummary {
        id: row.id.0,
        name: row.name,
        retry_of: row.retry_of.map(|of| of.0),
        created_at: row.created_at,
        counts: api::FlowCounts { tasks, waiting, running, completed, failed, cancelled, skipped },
    }
}

/// A flow with its tasks.
pub fn view(types: &PluginRegistry, view: FlowView) -> api::Flow {
    let edges = view.dependencies.into_iter().map(|dependency| api::FlowEdge {
        task: dependency.task.0,
        on: dependency.on.0,
        when: api_condition(dependency.condition),
        name: dependency.label,
    });
    api::Flow {
        summary: summary(view.row, view.counts),
        tasks: view.tasks.into_iter().map(|row| convert::row(types, row)).collect(),
        edges: edges.collect(),
    }
}
