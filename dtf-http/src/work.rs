//! The routes of remote workers.

use axum::Json as Body;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use dtf_api as api;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Acting;
use crate::extract::{Json, Path, Query};
use crate::problem::Failed;

/// The largest body that is read of a worker: its reports have the results of many items.
const MAX_BODY: usize = 8 * 1024 * 1024;

pub(crate) fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(poll))
        .routes(routes!(report))
        .routes(routes!(beat))
        .routes(routes!(leave))
        .routes(routes!(list_remote_workers))
        .routes(routes!(list_running_items))
        .routes(routes!(drain_remote_worker))
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

/// Ask for items of the functions that a worker has; waits for the first one. Without a session, a new one begins.
#[utoipa::path(post, path = "/v1/work/poll", tag = "work", request_body = api::Poll, responses(
    (status = 200, description = "The items, and what is dropped", body = api::Work),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn poll(Acting(app): Acting, Json(poll): Json<api::Poll>) -> Result<Body<api::Work>, Failed> {
    app.poll(poll).await.map(Body)
}

/// Report the outcomes of items. A report may be sent again: an item has one outcome.
#[utoipa::path(post, path = "/v1/work/report", tag = "work", request_body = api::ReportWork, responses(
    (status = 200, description = "The reports that were taken, and those that were not", body = api::Reported),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn report(
    Acting(app): Acting,
    Json(report): Json<api::ReportWork>,
) -> Result<Body<api::Reported>, Failed> {
    app.report_work(report).await.map(Body)
}

/// Give a sign of life with all items that a worker has, and wait for news about them.
#[utoipa::path(post, path = "/v1/work/beat", tag = "work", request_body = api::Beat, responses(
    (status = 200, description = "What is dropped", body = api::News),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn beat(Acting(app): Acting, Json(beat): Json<api::Beat>) -> Result<Body<api::News>, Failed> {
    app.beat(beat).await.map(Body)
}

/// End a session. What its worker still has runs elsewhere at once.
#[utoipa::path(post, path = "/v1/work/leave", tag = "work", request_body = api::Leave, responses(
    (status = 204, description = "The session has ended"),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn leave(Acting(app): Acting, Json(leave): Json<api::Leave>) -> Result<StatusCode, Failed> {
    app.leave(leave.session).map(|()| StatusCode::NO_CONTENT)
}

/// List the remote workers that are connected to processes of the cluster, of each process the first thousand.
#[utoipa::path(get, path = "/v1/work/workers", tag = "work", responses(
    (status = 200, description = "The workers, by name", body = Vec<api::RemoteWorker>),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn list_remote_workers(Acting(app): Acting) -> Result<Body<Vec<api::RemoteWorker>>, Failed> {
    app.remote_workers().await.map(Body)
}

/// List the items that workers have which are connected to this server, those that run longest first, with what their workers say of them.
#[utoipa::path(get, path = "/v1/work/items", tag = "work", params(api::RunningQuery), responses(
    (status = 200, description = "The items", body = Vec<api::RunningItem>),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn list_running_items(
    Acting(app): Acting,
    Query(query): Query<api::RunningQuery>,
) -> Result<Body<Vec<api::RunningItem>>, Failed> {
    app.running_items(&query).map(Body)
}

/// Ask the remote workers with a name that are connected to this server to end what they have and leave.
#[utoipa::path(post, path = "/v1/work/workers/{name}/drain", tag = "work", params(("name" = String, Path, description = "The worker")),
    responses((status = 204, description = "They were asked"),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn drain_remote_worker(Acting(app): Acting, Path(name): Path<String>) -> Result<StatusCode, Failed> {
    app.drain_remote(&name).await.map(|()| StatusCode::NO_CONTENT)
}
