//! The pages of the cluster: its servers, and the placement of its roles' work with what operators ask of it.

use askama::Template;
use axum::Router;
use axum::routing::{get, post};
use dtf_api::{Cluster, Eviction, Finding, Part, Pin, Placement, Role};
use uuid::Uuid;

use super::{Page, render, see};
use crate::app::{App, PlacementAction};
use crate::auth::Acting;
use crate::extract::{Form, Path};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/cluster", get(show))
        .route("/placement/{role}", get(show_placement))
        .route("/placement/{role}/pin", post(pin))
        .route("/placement/{role}/unpin", post(unpin))
        .route("/placement/{role}/freeze", post(freeze))
        .route("/placement/{role}/unfreeze", post(unfreeze))
        .route("/placement/{role}/evict", post(evict))
        .route("/placement/{role}/force-release", post(force_release))
}

#[derive(Template)]
#[template(path = "cluster.html")]
struct Show {
    here: &'static str,
    /// The cluster, or the reason why it cannot be read.
    cluster: Result<Cluster, String>,
    findings: Vec<Finding>,
}

async fn show(Acting(app): Acting) -> Page {
    let (cluster, findings) = tokio::join!(app.cluster(), app.examine());
    let cluster = cluster.map_err(|failed| failed.0.detail);
    render(&Show { here: "Cluster", cluster, findings: findings? })
}

#[derive(Template)]
#[template(path = "placement.html")]
struct PlacementPage {
    here: &'static str,
    path: String,
    placement: Placement,
}

async fn show_placement(Acting(app): Acting, Path(role): Path<Role>) -> Page {
    let path = path_of(role);
    render(&PlacementPage { here: "Placement", path, placement: app.placement(role).await? })
}

async fn place(app: &App, role: Role, action: PlacementAction) -> Page {
    app.place(Uuid::new_v4(), role, action).await?;
    see(&path_of(role))
}

fn path_of(role: Role) -> String {
    format!("/placement/{}", role.name())
}

async fn pin(Acting(app): Acting, Path(role): Path<Role>, Form(pin): Form<Pin>) -> Page {
    place(&app, role, PlacementAction::Pin { part: pin.part, worker: pin.worker }).await
}

async fn unpin(Acting(app): Acting, Path(role): Path<Role>, Form(part): Form<Part>) -> Page {
    place(&app, role, PlacementAction::Unpin { part: part.part }).await
}

async fn freeze(Acting(app): Acting, Path(role): Path<Role>) -> Page {
    place(&app, role, PlacementAction::Freeze).await
}

async fn unfreeze(Acting(app): Acting, Path(role): Path<Role>) -> Page {
    place(&app, role, PlacementAction::Unfreeze).await
}

async fn evict(Acting(app): Acting, Path(role): Path<Role>, Form(eviction): Form<Eviction>) -> Page {
    place(&app, role, PlacementAction::Evict { worker: eviction.worker }).await
}

async fn force_release(Acting(app): Acting, Path(role): Path<Role>, Form(part): Form<Part>) -> Page {
    place(&app, role, PlacementAction::ForceRelease { part: part.part }).await
}
