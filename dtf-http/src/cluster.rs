//! The JSON handlers of the cluster as a whole.

use axum::Json as Body;
use dtf_api as api;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Acting;
use crate::problem::Failed;

/// The routes.
pub(crate) fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_cluster)).routes(routes!(examine))
}

/// Show into how many parts the work of the cluster is divided, and how many of them are held.
#[utoipa::path(get, path = "/v1/cluster", tag = "cluster", responses(
    (status = 200, description = "The cluster", body = api::Cluster),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn get_cluster(Acting(app): Acting) -> Result<Body<api::Cluster>, Failed> {
    app.cluster().await.map(Body)
}

/// Examine the servers of the cluster: whether each is there, takes writes and is set to what it should be.
#[utoipa::path(get, path = "/v1/doctor", tag = "cluster", responses(
    (status = 200, description = "The findings", body = Vec<api::Finding>),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn examine(Acting(app): Acting) -> Result<Body<Vec<api::Finding>>, Failed> {
    app.examine().await.map(Body)
}
