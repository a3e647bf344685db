//! The routes of items that are fed into open tasks.

use axum::Json as Body;
use axum::extract::DefaultBodyLimit;
use dtf_api as api;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::Acting;
use crate::extract::{Lines, Path, Query};
use crate::problem::Failed;

/// The largest body that is read.
const MAX_BODY: usize = 8 * 1024 * 1024;

pub(crate) fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(feed_items, get_item_feed))
        .routes(routes!(close_items))
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

/// Feed items into a task whose source is `items`: one JSON value a line. With a producer and its offset, items that are sent again are
/// taken once. While too many wait, the answer is 429, with `Retry-After`.
#[utoipa::path(post, path = "/v1/tasks/{id}/items", tag = "tasks",
    params(("id" = u64, Path, description = "The task"), api::FeedQuery),
    request_body(content = String, content_type = "application/x-ndjson", description = "The items; at most 10,000 and 8 MiB"),
    responses((status = 200, description = "The items are taken", body = api::Fed),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn feed_items(
    Acting(app): Acting,
    Path(id): Path<u64>,
    Query(query): Query<api::FeedQuery>,
    Lines(body): Lines,
) -> Result<Body<api::Fed>, Failed> {
    app.feed_items(id, &query, &body).await.map(Body)
}

/// Show how many items were fed into a task, and the next offset of a producer.
#[utoipa::path(get, path = "/v1/tasks/{id}/items", tag = "tasks",
    params(("id" = u64, Path, description = "The task"), api::ProducerQuery),
    responses((status = 200, description = "The state of its items", body = api::ItemFeed),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn get_item_feed(
    Acting(app): Acting,
    Path(id): Path<u64>,
    Query(query): Query<api::ProducerQuery>,
) -> Result<Body<api::ItemFeed>, Failed> {
    app.item_feed(id, &query).await.map(Body)
}

/// Say that no more items come: the task ends when those that were fed are done.
#[utoipa::path(post, path = "/v1/tasks/{id}/close", tag = "tasks", params(("id" = u64, Path, description = "The task")), responses(
    (status = 200, description = "The task", body = api::Task),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn close_items(Acting(app): Acting, Path(id): Path<u64>) -> Result<Body<api::Task>, Failed> {
    app.close_items(id).await.map(Body)
}
