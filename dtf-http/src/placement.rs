//! The JSON handlers of what operators ask of a role's group.

use axum::Json as Body;
use dtf_api as api;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{App, PlacementAction};
use crate::auth::Acting;
use crate::extract::{Json, Path, RequestId};
use crate::problem::Failed;

/// The routes.
pub(crate) fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(pin))
        .routes(routes!(unpin))
        .routes(routes!(freeze))
        .routes(routes!(unfreeze))
        .routes(routes!(evict))
        .routes(routes!(force_release))
}

/// Have a part of a role's work with one process, for as long as that is there.
#[utoipa::path(post, path = "/v1/placement/{role}/pin", tag = "workers", request_body = api::Pin,
    params(("role" = api::Role, Path, description = "The role")), responses(
    (status = 200, description = "The placement", body = api::Placement),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn pin(
    Acting(app): Acting,
    request: RequestId,
    Path(role): Path<api::Role>,
    Json(pin): Json<api::Pin>,
) -> Result<Body<api::Placement>, Failed> {
    app.place(request.0, role, PlacementAction::Pin { part: pin.part, worker: pin.worker }).await.map(Body)
}

/// Let a part of a role's work be anywhere again.
#[utoipa::path(post, path = "/v1/placement/{role}/unpin", tag = "workers", request_body = api::Part,
    params(("role" = api::Role, Path, description = "The role")), responses(
    (status = 200, description = "The placement", body = api::Placement),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn unpin(
    Acting(app): Acting,
    request: RequestId,
    Path(role): Path<api::Role>,
    Json(part): Json<api::Part>,
) -> Result<Body<api::Placement>, Failed> {
    app.place(request.0, role, PlacementAction::Unpin { part: part.part }).await.map(Body)
}

/// Have all parts of a role's work stay where they are; those of processes that end move all the same.
#[utoipa::path(post, path = "/v1/placement/{role}/freeze", tag = "workers",
    params(("role" = api::Role, Path, description = "The role")), responses(
    (status = 200, description = "The placement", body = api::Placement),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn freeze(
    Acting(app): Acting,
    request: RequestId,
    Path(role): Path<api::Role>,
) -> Result<Body<api::Placement>, Failed> {
    app.place(request.0, role, PlacementAction::Freeze).await.map(Body)
}

/// Let the parts of a role's work move again.
#[utoipa::path(post, path = "/v1/placement/{role}/unfreeze", tag = "workers",
    params(("role" = api::Role, Path, description = "The role")), responses(
    (status = 200, description = "The placement", body = api::Placement),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn unfreeze(
    Acting(app): Acting,
    request: RequestId,
    Path(role): Path<api::Role>,
) -> Result<Body<api::Placement>, Failed> {
    app.place(request.0, role, PlacementAction::Unfreeze).await.map(Body)
}

/// Have a process stop its parts of a role's work and end its session. It joins again after the time to live of a session.
#[utoipa::path(post, path = "/v1/placement/{role}/evict", tag = "workers", request_body = api::Eviction,
    params(("role" = api::Role, Path, description = "The role")), responses(
    (status = 200, description = "The placement", body = api::Placement),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn evict(
    Acting(app): Acting,
    request: RequestId,
    Path(role): Path<api::Role>,
    Json(eviction): Json<api::Eviction>,
) -> Result<Body<api::Placement>, Failed> {
    app.place(request.0, role, PlacementAction::Evict { worker: eviction.worker }).await.map(Body)
}

/// Declare that a holder's work on a part is over, although it has not said so. Should it go on, the stores refuse its writes by its
/// token, and nothing else does.
#[utoipa::path(post, path = "/v1/placement/{role}/force-release", tag = "workers", request_body = api::Part,
    params(("role" = api::Role, Path, description = "The role")), responses(
    (status = 200, description = "The placement", body = api::Placement),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn force_release(
    Acting(app): Acting,
    request: RequestId,
    Path(role): Path<api::Role>,
    Json(part): Json<api::Part>,
) -> Result<Body<api::Placement>, Failed> {
    app.place(request.0, role, PlacementAction::ForceRelease { part: part.part }).await.map(Body)
}
