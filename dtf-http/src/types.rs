//! The routes of types of task.

use axum::Json as Body;
use axum::http::StatusCode;
use dtf_api as api;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Acting;
use crate::extract::{Json, Path, Query};
use crate::problem::Failed;

pub(crate) fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_types)).routes(routes!(get_type, define_type, delete_type))
}

/// List the types of task: those that this server knows, and those that are defined.
#[utoipa::path(get, path = "/v1/types", tag = "types", params(api::TypeQuery), responses(
    (status = 200, description = "The types, without their schemas and definitions", body = Vec<api::TaskType>),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn list_types(
    Acting(app): Acting,
    Query(query): Query<api::TypeQuery>,
) -> Result<Body<Vec<api::TaskType>>, Failed> {
    app.types(&query).await.map(Body)
}

/// Show a type of task, with its schema and its definition.
#[utoipa::path(get, path = "/v1/types/{name}", tag = "types", params(("name" = String, Path, description = "The type")), responses(
    (status = 200, description = "The type", body = api::TaskType),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn get_type(Acting(app): Acting, Path(name): Path<String>) -> Result<Body<api::TaskType>, Failed> {
    app.task_type(&name).await.map(Body)
}

/// Define a type of task as a template of `map`, or give it another definition. Tasks that were created before keep theirs.
#[utoipa::path(put, path = "/v1/types/{name}", tag = "types", request_body = api::DefineType,
    params(("name" = String, Path, description = "The type")),
    responses((status = 200, description = "The type", body = api::TaskType),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn define_type(
    Acting(app): Acting,
    Path(name): Path<String>,
    Json(define): Json<api::DefineType>,
) -> Result<Body<api::TaskType>, Failed> {
    app.define_type(&name, define).await.map(Body)
}

/// Delete a type that is defined. Tasks and schedules of it go on.
#[utoipa::path(delete, path = "/v1/types/{name}", tag = "types", params(("name" = String, Path, description = "The type")),
    responses((status = 204, description = "The type is gone"),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn delete_type(Acting(app): Acting, Path(name): Path<String>) -> Result<StatusCode, Failed> {
    app.delete_type(&name).await.map(|()| StatusCode::NO_CONTENT)
}
