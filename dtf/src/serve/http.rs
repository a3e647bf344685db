//! Liveness, readiness and metrics over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::health::{Health, Report};
use super::metrics::Metrics;

/// The sources of the pages.
#[derive(Clone)]
pub(crate) struct Pages {
    pub(crate) health: Arc<Health>,
    /// None where this process has no metrics of its own.
    pub(crate) metrics: Option<Arc<Metrics>>,
}

/// Serves until `stop`; ends at the latest with the handle.
pub(crate) fn serve(
    listener: TcpListener,
    pages: Pages,
    stop: CancellationToken,
) -> AbortOnDropHandle<std::io::Result<()>> {
    let router = Router::new()
        .route("/live", get(async || "alive\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(pages);
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    AbortOnDropHandle::new(tokio::spawn(serving.into_future()))
}

async fn ready(State(pages): State<Pages>) -> (StatusCode, Json<Report>) {
    let report = pages.health.report();
    let code = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(report))
}

async fn metrics(State(pages): State<Pages>) -> Response {
    let Some(metrics) = &pages.metrics else {
        return (StatusCode::NOT_FOUND, "the metrics of this process go elsewhere\n").into_response();
    };
    let text = metrics.render(&pages.health.report());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
