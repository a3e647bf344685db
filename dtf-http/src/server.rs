//! The router, and the server on a listener.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Extension, Request};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use axum::{Json, Router};
use dtf_api::Code;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::access::{Access, guard};
use crate::app::App;
use crate::auth::{Gate, Peer, Verifier, authorize};
use crate::patience::Bounded;
use crate::problem::Failed;
use crate::{assets, pages, routes};

/// The largest body that is read.
const MAX_BODY: usize = 1024 * 1024;
/// The time that a request has until its response begins; a stream goes on afterwards.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The API and the dashboard, for a server that goes by these hosts.
pub fn router(app: App, access: Access) -> Router {
    let gate = Gate { access: access.clone(), verifier: Arc::new(Verifier::new(app.client().clone())) };
    let (api, description) = routes::api().split_for_parts();
    let description = get(async move || Json(description));
    Router::new()
        .merge(api)
        .route("/openapi.json", description)
        .merge(pages::routes())
        .merge(assets::routes())
        .layer(Extension(gate.clone()))
        .route_layer(middleware::from_fn_with_state(gate, authorize))
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

/// Serves the API and the dashboard until `stop`. Open streams end then.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    app: App,
    access: Access,
    stop: CancellationToken,
) -> io::Result<()> {
    run(listener, app, access, stop).await
}

/// As [`serve`], through TLS.
///
/// # Errors
/// The listener failed.
#[cfg(feature = "tls")]
pub async fn serve_tls(
    listener: TcpListener,
    certificate: Arc<crate::tls::Certificate>,
    app: App,
    access: Access,
    stop: CancellationToken,
) -> io::Result<()> {
    run(crate::tls::TlsListener::new(listener, certificate)?, app, access.tls(true), stop).await
}

async fn run(
    listener: impl Listener<Addr = SocketAddr>,
    app: App,
    access: Access,
    stop: CancellationToken,
) -> io::Result<()> {
    let upkeep = app.clone();
    let routes = router(app, access).into_make_service_with_connect_info::<Peer>();
    // A stream of events would be waited for until its task has ended, so nothing is.
    tokio::select! {
        served = axum::serve(Bounded(listener), routes).into_future() => served?,
        // These never end.
        () = upkeep.record() => {}
        () = upkeep.work_off() => {}
        () = stop.cancelled() => {}
    }
    Ok(())
}
