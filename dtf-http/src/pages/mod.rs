//! The dashboard: pages made on the server. Every page is a link and every action a plain form, so all of it works without
//! JavaScript; with it, what changes is fetched again every few seconds.

mod access;
mod change;
mod cluster;
mod flows;
mod graph;
mod groups;
mod read;
mod reference;
mod schedules;
mod types;
mod view;

use askama::Template;
use axum::Router;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use dtf_api::{Code, Problem};

use crate::app::App;
use crate::problem::Failed;

pub(crate) use view::{
    NAVIGATION, ROLES, STATUSES, bar, body, counted, has_failed, left, limit, link_of, marked, measured,
    not_succeeded, place, pretty, rate, receiver, share, slots, text, types, utc, words,
};

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/", get(read::overview))
        .route("/tasks", get(read::tasks).post(change::create))
        .route("/tasks/new", get(read::new_task))
        .route("/tasks/{id}", get(read::task))
        .route("/tasks/{id}/{action}", post(change::act))
        .route("/tasks/{id}/hooks/{hook}/deliver", post(change::deliver_again))
        .route("/bulk", post(change::bulk))
        .route("/bulk/{id}", get(change::bulk_state))
        .route("/workers", get(read::workers))
        .route("/workers/{name}/drain", post(change::drain))
        .merge(groups::routes())
        .merge(cluster::routes())
        .merge(types::routes())
        .merge(schedules::routes())
        .merge(flows::routes())
        .merge(reference::routes())
        .route("/login", get(access::login_form).post(access::login))
        .route("/logout", post(access::logout))
        .route("/tokens", get(access::tokens).post(access::create_token))
        .route("/tokens/{id}/revoke", post(access::revoke_token))
        .route("/audit", get(access::audit))
}

/// A response of a page: the page, a way to another, or what went wrong, as a page.
type Page = Result<Response, PageFailed>;

/// A failure that is shown as a page.
struct PageFailed(Failed);

impl<E: Into<Failed>> From<E> for PageFailed {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    here: &'static str,
    problem: Problem,
}

impl IntoResponse for PageFailed {
    fn into_response(self) -> Response {
        let status = self.0.status();
        match render(&ProblemPage { here: "", problem: self.0.0 }) {
            Ok(page) => (status, page).into_response(),
            Err(Self(failed)) => failed.into_response(),
        }
    }
}

/// A failure as a page.
pub(crate) fn failed(failed: Failed) -> Response {
    PageFailed(failed).into_response()
}

fn render(page: &impl Template) -> Page {
    match page.render() {
        Ok(html) => Ok(Html(html).into_response()),
        Err(error) => {
            Err(PageFailed(Failed::new(Code::Refused, format!("the page cannot be made: {error}"))))
        }
    }
}

/// To a page that shows what a form has done. Loading it again does nothing again.
fn see(path: &str) -> Page {
    Ok(Redirect::to(path).into_response())
}
