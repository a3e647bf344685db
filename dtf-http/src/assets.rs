//! The files that the pages need, compiled in.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::app::App;

/// The time that browsers may keep the files without asking again.
const KEEP: &str = "public, max-age=300";

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/assets/style.css", get(async || file("text/css", include_str!("../assets/style.css"))))
        .route(
            "/assets/htmx.min.js",
            get(async || file("text/javascript", include_str!("../assets/htmx.min.js"))),
        )
        .route(
            "/assets/charts.js",
            get(async || file("text/javascript", include_str!("../assets/charts.js"))),
        )
        .route(
            "/assets/uplot.min.js",
            get(async || file("text/javascript", include_str!("../assets/uplot.min.js"))),
        )
        .route("/assets/uplot.css", get(async || file("text/css", include_str!("../assets/uplot.css"))))
        .route("/assets/live.js", get(async || file("text/javascript", include_str!("../assets/live.js"))))
        .route("/favicon.ico", get(async || file("image/svg+xml", include_str!("../assets/icon.svg"))))
}

fn file(kind: &'static str, content: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, KEEP)], content)
}
