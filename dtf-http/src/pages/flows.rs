//! The pages of flows.

use askama::Template;
use axum::Router;
use axum::routing::{get, post};
use dtf_api::{Flow, FlowPage, FlowQuery};
use serde::Deserialize;
use uuid::Uuid;

use super::graph::{Graph, graph};
use super::{Page, render, see};
use crate::app::App;
use crate::auth::Acting;
use crate::extract::{Form, Path, Query};
use crate::flows::FlowAction;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/flows", get(list))
        .route("/flows/{id}", get(show))
        .route("/flows/{id}/{action}", post(act))
}

#[derive(Template)]
#[template(path = "flows.html")]
struct List {
    here: &'static str,
    page: FlowPage,
}

async fn list(Acting(app): Acting, Query(query): Query<FlowQuery>) -> Page {
    render(&List { here: "Flows", page: app.flows(&query).await? })
}

#[derive(Template)]
#[template(path = "flow.html")]
struct Show {
    here: &'static str,
    flow: Flow,
    graph: Option<Graph>,
    is_over: bool,
    /// The name of the next retry.
    request: Uuid,
}

async fn show(Acting(app): Acting, Path(id): Path<u64>) -> Page {
    let flow = app.flow(id).await?;
    let counts = flow.summary.counts;
    let is_over = counts.waiting + counts.running == 0;
    render(&Show { here: "Flows", graph: graph(&flow), flow, is_over, request: Uuid::new_v4() })
}

#[derive(Deserialize)]
struct ActForm {
    request: Option<Uuid>,
}

async fn act(
    Acting(app): Acting,
    Path((id, action)): Path<(u64, FlowAction)>,
    Form(form): Form<ActForm>,
) -> Page {
    let flow = app.act_on_flow(form.request.unwrap_or_else(Uuid::new_v4), id, action).await?;
    see(&format!("/flows/{}", flow.summary.id))
}
