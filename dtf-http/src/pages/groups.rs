//! The pages of resource groups.

use askama::Template;
use axum::Router;
use axum::routing::{get, post};
use dtf_api::{Group, Limits, MeasuredGroup, SetGroup, Task, TaskQuery};
use serde::Deserialize;

use super::view::{measured, percentage};
use super::{Page, render, see};
use crate::app::App;
use crate::auth::Acting;
use crate::convert::percent;
use crate::extract::{Form, Path};
use crate::problem::Failed;
use crate::watch::Look;

/// The groups on the overview.
const TOP: usize = 5;
/// The tasks of a group on its page.
const TASKS: u32 = 20;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/groups", get(list).post(make))
        .route("/groups/{name}", get(show).post(set))
        .route("/groups/{name}/pause", post(pause))
        .route("/groups/{name}/resume", post(resume))
}

/// A group's share of what runs.
pub(super) struct GroupShare {
    pub(super) group: String,
    pub(super) running: u64,
    pub(super) waiting: u64,
    /// As in `12.5 %`.
    pub(super) share: String,
}

/// The groups with the most that runs or waits.
pub(super) fn top(look: &Look) -> Vec<GroupShare> {
    let Some(numbers) = look.by_group() else { return Vec::new() };
    let all: u64 = numbers.values().map(|(running, _)| running).sum();
    let mut groups: Vec<_> =
        numbers.into_iter().filter(|(_, (running, waiting))| running + waiting > 0).collect();
    groups.sort_by_key(|(_, numbers)| std::cmp::Reverse(*numbers));
    let share = |(group, (running, waiting)): (&str, (u64, u64))| GroupShare {
        group: group.to_owned(),
        running,
        waiting,
        share: percentage(Some(running as f64 / all.max(1) as f64)),
    };
    groups.into_iter().take(TOP).map(share).collect()
}

#[derive(Template)]
#[template(path = "groups.html")]
struct Groups {
    here: &'static str,
    groups: Vec<Group>,
    total: u64,
}

async fn list(Acting(app): Acting) -> Page {
    let groups = app.groups().await?;
    let total = groups.iter().map(|group| u64::from(group.quota)).sum();
    render(&Groups { here: "Groups", groups, total })
}

#[derive(Template)]
#[template(path = "group.html")]
struct GroupPage {
    here: &'static str,
    path: String,
    group: Group,
    total: u64,
    running: String,
    waiting: String,
    measured: String,
    tasks: Vec<Task>,
}

async fn show(Acting(app): Acting, Path(name): Path<String>) -> Page {
    let group = app.group(&name).await?;
    let total = app.groups().await?.iter().map(|group| u64::from(group.quota)).sum();
    let number = |of: fn(MeasuredGroup) -> u64| {
        group.measured.map_or_else(|| "–".to_owned(), |measured| of(measured).to_string())
    };
    let query = TaskQuery { group: Some(name.clone()), limit: Some(TASKS), ..TaskQuery::default() };
    render(&GroupPage {
        here: "Groups",
        path: path_of(&name),
        running: number(|measured| measured.running),
        waiting: number(|measured| measured.waiting),
        measured: measured(&group),
        tasks: app.tasks(&query).await?.tasks,
        group,
        total,
    })
}

fn path_of(name: &str) -> String {
    format!("/groups/{}", percent(name))
}

/// The form of a group; that of the list has the quota only. An empty limit is none.
#[derive(Deserialize)]
struct SetForm {
    quota: u32,
    running: Option<String>,
    rate: Option<String>,
}

async fn set(Acting(app): Acting, Path(name): Path<String>, Form(form): Form<SetForm>) -> Page {
    // It must be there: a mistyped name makes no group.
    app.group(&name).await?;
    let to = if form.running.is_some() { path_of(&name) } else { "/groups".to_owned() };
    let limits = match (form.running, form.rate) {
        (None, None) => None,
        (running, rate) => Some(Limits { running: limit(running)?, rate: limit(rate)? }),
    };
    app.set_group(&name, SetGroup { quota: Some(form.quota), limits, ..SetGroup::default() }).await?;
    see(&to)
}

fn limit(text: Option<String>) -> Result<Option<u32>, Failed> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    let number = text.trim().parse();
    number
        .map(Some)
        .map_err(|_| Failed::invalid(format!("{text:?} is no limit; write a whole number, or nothing")))
}

#[derive(Deserialize)]
struct MakeForm {
    name: String,
    quota: u32,
}

async fn make(Acting(app): Acting, Form(form): Form<MakeForm>) -> Page {
    app.set_group(&form.name, SetGroup { quota: Some(form.quota), ..SetGroup::default() }).await?;
    see("/groups")
}

async fn pause(Acting(app): Acting, Path(name): Path<String>) -> Page {
    set_paused(&app, &name, true).await
}

async fn resume(Acting(app): Acting, Path(name): Path<String>) -> Page {
    set_paused(&app, &name, false).await
}

async fn set_paused(app: &App, name: &str, paused: bool) -> Page {
    app.group(name).await?;
    app.set_group(name, SetGroup { paused: Some(paused), ..SetGroup::default() }).await?;
    see(&path_of(name))
}
