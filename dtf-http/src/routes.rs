//! The JSON handlers of `/v1`.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::{Json as Body, http::HeaderValue};
use dtf_api as api;
use dtf_api::BulkAction;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Acting;
use crate::events;
use crate::extract::{Json, Path, Query, RequestId};
use crate::items;
use crate::problem::Failed;
use crate::work;

/// All routes of `/v1`, with their description.
pub(crate) fn api() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(description())
        .routes(routes!(list_tasks, create_task))
        .routes(routes!(get_task))
        .routes(routes!(pause_task))
        .routes(routes!(resume_task))
        .routes(routes!(cancel_task))
        .routes(routes!(retry_task))
        .routes(routes!(list_failures))
        .routes(routes!(list_failure_kinds))
        .routes(routes!(get_result))
        .routes(routes!(events::task_events))
        .routes(routes!(events::events))
        .routes(routes!(bulk))
        .routes(routes!(get_bulk))
        .routes(routes!(list_groups))
        .routes(routes!(get_group, set_group))
        .routes(routes!(list_workers))
        .routes(routes!(drain_worker))
        .routes(routes!(get_placement))
        .merge(crate::schedules::api())
        .merge(crate::flows::api())
        .merge(crate::hooks::api())
        .merge(crate::placement::api())
        .merge(crate::cluster::api())
        .routes(routes!(list_tokens, create_token))
        .routes(routes!(revoke_token))
        .routes(routes!(list_audit))
        .routes(routes!(list_results))
        .routes(routes!(get_timeline))
        .routes(routes!(get_history))
        .merge(crate::types::api())
        .merge(items::api())
        .merge(work::api())
}

fn description() -> utoipa::openapi::OpenApi {
    let info = utoipa::openapi::InfoBuilder::new()
        .title("Distributed task framework")
        .version("1")
        .description(Some(
            "Creates, steers and shows tasks, resource groups and workers of a cluster. Times are milliseconds since the Unix \
             epoch. Errors are problem details (RFC 9457) with a stable `code`.",
        ))
        .build();
    // No response is one: it is the data of events.
    let mut told = Vec::new();
    api::ActiveTasks::schemas(&mut told);
    let schemas = told.into_iter().fold(
        utoipa::openapi::ComponentsBuilder::new().schema_from::<api::ActiveTasks>(),
        |components, (name, schema)| components.schema(name, schema),
    );
    utoipa::openapi::OpenApiBuilder::new().info(info).components(Some(schemas.build())).build()
}

/// List tasks, page by page.
#[utoipa::path(get, path = "/v1/tasks", tag = "tasks", params(api::TaskQuery), responses(
    (status = 200, description = "A page of tasks", body = api::TaskPage),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn list_tasks(
    Acting(app): Acting,
    Query(query): Query<api::TaskQuery>,
) -> Result<Body<api::TaskPage>, Failed> {
    app.tasks(&query).await.map(Body)
}

/// Create a task. With an `Idempotency-Key`, asking again creates no second one.
#[utoipa::path(post, path = "/v1/tasks", tag = "tasks", request_body = api::NewTask,
    params(("Idempotency-Key" = Option<uuid::Uuid>, Header, description = "A UUID that names this creation; the same one finds the task again")),
    responses((status = 201, description = "The task", body = api::Task),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn create_task(
    Acting(app): Acting,
    RequestId(request): RequestId,
    Json(task): Json<api::NewTask>,
) -> Result<impl IntoResponse, Failed> {
    let task = app.create(request, task).await?;
    let mut headers = HeaderMap::new();
    if let Ok(location) = HeaderValue::try_from(format!("/v1/tasks/{}", task.id)) {
        headers.insert(header::LOCATION, location);
    }
    Ok((StatusCode::CREATED, headers, Body(task)))
}

/// Show a task.
#[utoipa::path(get, path = "/v1/tasks/{id}", tag = "tasks", params(("id" = u64, Path, description = "The task")), responses(
    (status = 200, description = "The task", body = api::Task),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn get_task(Acting(app): Acting, Path(id): Path<u64>) -> Result<Body<api::Task>, Failed> {
    app.task(id).await.map(Body)
}

/// Pause a task: nothing new is generated or dispatched; what runs may finish.
#[utoipa::path(post, path = "/v1/tasks/{id}/pause", tag = "tasks", params(("id" = u64, Path, description = "The task")), responses(
    (status = 200, description = "The task", body = api::Task),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn pause_task(
    Acting(app): Acting,
    request: RequestId,
    Path(id): Path<u64>,
) -> Result<Body<api::Task>, Failed> {
    app.act(request.0, id, BulkAction::Pause).await.map(Body)
}

/// Resume a paused task.
#[utoipa::path(post, path = "/v1/tasks/{id}/resume", tag = "tasks", params(("id" = u64, Path, description = "The task")), responses(
    (status = 200, description = "The task", body = api::Task),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn resume_task(
    Acting(app): Acting,
    request: RequestId,
    Path(id): Path<u64>,
) -> Result<Body<api::Task>, Failed> {
    app.act(request.0, id, BulkAction::Resume).await.map(Body)
}

/// Cancel a task: nothing more is generated or dispatched, and what runs is told to stop.
#[utoipa::path(post, path = "/v1/tasks/{id}/cancel", tag = "tasks", params(("id" = u64, Path, description = "The task")), responses(
    (status = 200, description = "The task", body = api::Task),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn cancel_task(
    Acting(app): Acting,
    request: RequestId,
    Path(id): Path<u64>,
) -> Result<Body<api::Task>, Failed> {
    app.act(request.0, id, BulkAction::Cancel).await.map(Body)
}

/// Run the failed subtasks of an ended task again, as a new task. With an `Idempotency-Key`, asking again creates no second one.
#[utoipa::path(post, path = "/v1/tasks/{id}/retry", tag = "tasks",
    params(("id" = u64, Path, description = "The task"),
        ("Idempotency-Key" = Option<uuid::Uuid>, Header, description = "A UUID that names this creation; the same one finds the task again")),
    responses((status = 200, description = "The new task", body = api::Task),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn retry_task(
    Acting(app): Acting,
    request: RequestId,
    Path(id): Path<u64>,
) -> Result<Body<api::Task>, Failed> {
    app.act(request.0, id, BulkAction::Retry).await.map(Body)
}

/// List the subtasks of a task that failed for good, page by page.
#[utoipa::path(get, path = "/v1/tasks/{id}/failures", tag = "tasks",
    params(("id" = u64, Path, description = "The task"), api::FailureQuery),
    responses((status = 200, description = "A page of failures", body = api::FailurePage),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn list_failures(
    Acting(app): Acting,
    Path(id): Path<u64>,
    Query(query): Query<api::FailureQuery>,
) -> Result<Body<api::FailurePage>, Failed> {
    app.failures(id, &query).await.map(Body)
}

/// Group the subtasks of a task that failed for good by what went wrong, the largest group first.
#[utoipa::path(get, path = "/v1/tasks/{id}/failures/kinds", tag = "tasks", params(("id" = u64, Path, description = "The task")), responses(
    (status = 200, description = "The groups", body = Vec<api::FailureKind>),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn list_failure_kinds(
    Acting(app): Acting,
    Path(id): Path<u64>,
) -> Result<Body<Vec<api::FailureKind>>, Failed> {
    app.failure_kinds(id).await.map(Body)
}

/// Show the result of an ended task.
#[utoipa::path(get, path = "/v1/tasks/{id}/result", tag = "tasks", params(("id" = u64, Path, description = "The task")), responses(
    (status = 200, description = "The result", body = api::TaskResult),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn get_result(Acting(app): Acting, Path(id): Path<u64>) -> Result<Body<api::TaskResult>, Failed> {
    let task = app.task(id).await?;
    let status = task.status.name();
    task.result.map(Body).ok_or_else(|| {
        let detail = match task.status.is_terminal() {
            true => format!("task {id} ended as {status} and has no result"),
            false => format!("task {id} is {status} and has no result yet"),
        };
        Failed::new(api::Code::NotAllowed, detail)
    })
}

/// Begin an action on all tasks that a filter selects: on those that it selects now, whatever becomes of them. The answer has the handle
/// under which to look how far it is. With an `Idempotency-Key`, asking again finds the same action. A dry run counts only.
#[utoipa::path(post, path = "/v1/bulk", tag = "tasks", request_body = api::BulkRequest,
    params(("Idempotency-Key" = Option<uuid::Uuid>, Header, description = "A UUID that names this action, and is its handle")),
    responses((status = 200, description = "The number of tasks, of a dry run", body = api::Bulk),
        (status = 202, description = "The action, which has begun", body = api::Bulk),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn bulk(
    Acting(app): Acting,
    RequestId(request): RequestId,
    Json(bulk): Json<api::BulkRequest>,
) -> Result<impl IntoResponse, Failed> {
    let begun = app.bulk(request, bulk).await?;
    let mut headers = HeaderMap::new();
    if begun.status == api::BulkStatus::DryRun {
        return Ok((StatusCode::OK, headers, Body(begun)));
    }
    if let Ok(location) = HeaderValue::try_from(format!("/v1/bulk/{}", begun.id)) {
        headers.insert(header::LOCATION, location);
    }
    Ok((StatusCode::ACCEPTED, headers, Body(begun)))
}

/// Show how far an action on many tasks is.
#[utoipa::path(get, path = "/v1/bulk/{id}", tag = "tasks", params(("id" = uuid::Uuid, Path, description = "The handle")), responses(
    (status = 200, description = "The action", body = api::Bulk),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn get_bulk(Acting(app): Acting, Path(id): Path<uuid::Uuid>) -> Result<Body<api::Bulk>, Failed> {
    app.bulk_state(id).await.map(Body)
}

/// List the resource groups.
#[utoipa::path(get, path = "/v1/groups", tag = "groups", responses(
    (status = 200, description = "The groups, by name", body = Vec<api::Group>),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn list_groups(Acting(app): Acting) -> Result<Body<Vec<api::Group>>, Failed> {
    app.groups().await.map(Body)
}

/// Show a resource group.
#[utoipa::path(get, path = "/v1/groups/{name}", tag = "groups", params(("name" = String, Path, description = "The group")), responses(
    (status = 200, description = "The group", body = api::Group),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn get_group(Acting(app): Acting, Path(name): Path<String>) -> Result<Body<api::Group>, Failed> {
    app.group(&name).await.map(Body)
}

/// Make or change a resource group. Schedulers heed it within a second.
#[utoipa::path(put, path = "/v1/groups/{name}", tag = "groups", request_body = api::SetGroup,
    params(("name" = String, Path, description = "The group")),
    responses((status = 200, description = "The group", body = api::Group),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn set_group(
    Acting(app): Acting,
    Path(name): Path<String>,
    Json(set): Json<api::SetGroup>,
) -> Result<Body<api::Group>, Failed> {
    app.set_group(&name, set).await.map(Body)
}

/// List the processes of the cluster, with their roles and the number of parts that they hold.
#[utoipa::path(get, path = "/v1/workers", tag = "workers", responses(
    (status = 200, description = "The processes, by name", body = Vec<api::Worker>),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn list_workers(Acting(app): Acting) -> Result<Body<Vec<api::Worker>>, Failed> {
    app.workers().await.map(Body)
}

/// Empty a process part by part and give it none, or let it have parts again.
#[utoipa::path(put, path = "/v1/workers/{name}/drain", tag = "workers", request_body = api::Drain,
    params(("name" = String, Path, description = "The process")),
    responses((status = 200, description = "The process", body = api::Worker),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn drain_worker(
    Acting(app): Acting,
    Path(name): Path<String>,
    Json(drain): Json<api::Drain>,
) -> Result<Body<api::Worker>, Failed> {
    app.drain(&name, drain).await.map(Body)
}

/// Show the holder of each part of a role's work, its token, and why it holds it.
#[utoipa::path(get, path = "/v1/placement/{role}", tag = "workers", params(("role" = api::Role, Path, description = "The role")), responses(
    (status = 200, description = "The placement", body = api::Placement),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn get_placement(
    Acting(app): Acting,
    Path(role): Path<api::Role>,
) -> Result<Body<api::Placement>, Failed> {
    app.placement(role).await.map(Body)
}

/// List the tokens, without their secrets.
#[utoipa::path(get, path = "/v1/tokens", tag = "access", responses(
    (status = 200, description = "The tokens, by id", body = Vec<api::Token>),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn list_tokens(Acting(app): Acting) -> Result<Body<Vec<api::Token>>, Failed> {
    app.tokens().await.map(Body)
}

/// Make a token. Its secret is in the response, and nowhere else.
#[utoipa::path(post, path = "/v1/tokens", tag = "access", request_body = api::NewToken, responses(
    (status = 201, description = "The token and its secret", body = api::CreatedToken),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn create_token(
    Acting(app): Acting,
    Json(new): Json<api::NewToken>,
) -> Result<(StatusCode, Body<api::CreatedToken>), Failed> {
    Ok((StatusCode::CREATED, Body(app.create_token(new).await?)))
}

/// Revoke a token. Servers refuse it within five seconds.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "access", params(("id" = String, Path, description = "The id of the token")),
    responses((status = 204, description = "The token is gone"),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn revoke_token(Acting(app): Acting, Path(id): Path<String>) -> Result<StatusCode, Failed> {
    app.revoke_token(&id).await.map(|()| StatusCode::NO_CONTENT)
}

/// List the changes that were asked for, page by page, the newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "access", params(api::AuditQuery), responses(
    (status = 200, description = "A page of the audit", body = api::AuditPage),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn list_audit(
    Acting(app): Acting,
    Query(query): Query<api::AuditQuery>,
) -> Result<Body<api::AuditPage>, Failed> {
    app.audit(&query).await.map(Body)
}

/// Show the course of a task's life: its creation, start, pauses, end, and what was asked for by whom.
#[utoipa::path(get, path = "/v1/tasks/{id}/timeline", tag = "tasks", params(("id" = u64, Path, description = "The task")), responses(
    (status = 200, description = "The events, in their order", body = Vec<api::TimelineEntry>),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn get_timeline(
    Acting(app): Acting,
    Path(id): Path<u64>,
) -> Result<Body<Vec<api::TimelineEntry>>, Failed> {
    app.timeline(id).await.map(Body)
}

/// Show the recent past of the tasks that the token may see, as this process saw it: an hour by 5 seconds, or a day by 5 minutes.
#[utoipa::path(get, path = "/v1/history", tag = "cluster", params(api::HistoryQuery), responses(
    (status = 200, description = "The recent past", body = api::History),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn get_history(Acting(app): Acting, Query(query): Query<api::HistoryQuery>) -> Body<api::History> {
    Body(app.history(&query))
}

/// List the results that are kept with a task, page by page, in the order of their collection; also while it runs.
#[utoipa::path(get, path = "/v1/tasks/{id}/results", tag = "tasks",
    params(("id" = u64, Path, description = "The task"), api::ResultQuery),
    responses((status = 200, description = "A page of results", body = api::ResultPage),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn list_results(
    Acting(app): Acting,
    Path(id): Path<u64>,
    Query(query): Query<api::ResultQuery>,
) -> Result<Body<api::ResultPage>, Failed> {
    app.results(id, &query).await.map(Body)
}
