//! The router, and the server on a listener.

use std::io;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use dtf_api::Code;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::access::{Access, guard};
use crate::app::App;
use crate::problem::Failed;
use crate::{assets, pages, routes};

/// The largest body that is read.
const MAX_BODY: usize = 1024 * 1024;
/// The time that a request has until its response begins; a stream goes on afterwards.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The reason why a server cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address can be reached from other machines, and there is nothing yet that says who may do what.
    #[error(
        "the API does not know who may do what, so it listens on loopback addresses only, such as 127.0.0.1:{}, and not on {}",
        .0.port(),
        .0
    )]
    NotLoopback(std::net::SocketAddr),
    /// The listener failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The API and the dashboard, for a server that goes by these hosts.
pub fn router(app: App, access: Access) -> Router {
    let (api, description) = routes::api().split_for_parts();
    let description = get(async move || Json(description));
    Router::new()
        .merge(api)
        .route("/openapi.json", description)
        .merge(pages::routes())
        .merge(assets::routes())
        .fallback(nothing_here)
        .method_not_allowed_fallback(other_method)
        .layer(middleware::from_fn(in_time))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(access, guard))
        .with_state(app)
}

async fn nothing_here(request: Request) -> Failed {
    Failed::not_found(format!(
        "there is nothing at {}; /openapi.json describes the API",
        request.uri().path()
    ))
}

async fn other_method(request: Request) -> Response {
    let detail = format!("{} cannot be sent to {}", request.method(), request.uri().path());
    let mut problem = Failed::invalid(detail).0;
    problem.status = StatusCode::METHOD_NOT_ALLOWED.as_u16();
    problem.title = "Method Not Allowed".to_owned();
    (StatusCode::METHOD_NOT_ALLOWED, [(header::CONTENT_TYPE, "application/problem+json")], Json(problem))
        .into_response()
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Failed::new(Code::Timeout, format!("the stores did not answer within {TIMEOUT:?}"))
            .into_response(),
    }
}

/// Serves the API and the dashboard on a loopback address until `stop`. Open streams end then.
///
/// # Errors
/// The address is no loopback address, or the listener failed.
pub async fn serve(listener: TcpListener, app: App, stop: CancellationToken) -> Result<(), ServeError> {
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        return Err(ServeError::NotLoopback(address));
    }
    let serving = axum::serve(listener, router(app, Access::loopback(address)));
    // A stream of events would be waited for until its task has ended, so nothing is.
    tokio::select! {
        served = serving.into_future() => served?,
        () = stop.cancelled() => {}
    }
    Ok(())
}
