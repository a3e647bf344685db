//! The pages of resource groups.

use std::collections::BTreeMap;

use askama::Template;
use axum::Router;
use axum::routing::{get, post};
use dtf_api::{Group, Limits, SetGroup, Task, TaskQuery};
use serde::Deserialize;

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
    let Some(numbers) = numbers(look) else { return Vec::new() };
    let all: u64 = numbers.values().map(|(running, _)| running).sum();
    let mut groups: Vec<_> =
        numbers.into_iter().filter(|(_, (running, waiting))| running + waiting > 0).collect();
    groups.sort_by_key(|(_, numbers)| std::cmp::Reverse(*numbers));
    let share =
        |(group, (running, waiting))| GroupShare { group, running, waiting, share: share_of(running, all) };
    groups.into_iter().take(TOP).map(share).collect()
}

fn share_of(own: u64, all: u64) -> String {
    format!("{:.1} %", 100.0 * own as f64 / all.max(1) as f64)
}

/// The subtasks that run and wait, by group; none where that cannot be read.
fn numbers(look: &Look) -> Option<BTreeMap<String, (u64, u64)>> {
    if look.progress_missing.is_some() {
        return None;
    }
    let mut numbers: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (task, progress) in look.tasks.iter().filter_map(|task| Some((task, task.progress?))) {
        let of = numbers.entry(task.group.clone()).or_default();
        of.0 += progress.running;
        of.1 += progress.pending + progress.delayed;
    }
    Some(numbers)
}

/// The share of a group of what runs now.
fn measured(numbers: Option<&BTreeMap<String, (u64, u64)>>, group: &str) -> String {
    let Some(numbers) = numbers else { return "–".to_owned() };
    let all = numbers.values().map(|(running, _)| running).sum();
    share_of(numbers.get(group).map_or(0, |(running, _)| *running), all)
}

#[derive(Template)]
#[template(path = "groups.html")]
struct Groups {
    here: &'static str,
    groups: Vec<Group>,
    total: u64,
    numbers: Option<BTreeMap<String, (u64, u64)>>,
}

impl Groups {
    fn measured(&self, group: &str) -> String {
        measured(self.numbers.as_ref(), group)
    }
}

async fn list(Acting(app): Acting) -> Page {
    let groups = app.groups().await?;
    let total = groups.iter().map(|group| u64::from(group.quota)).sum();
    let numbers = app.active().await.ok().and_then(|look| numbers(&look));
    render(&Groups { here: "Groups", groups, total, numbers })
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
    let numbers = app.active().await.ok().and_then(|look| numbers(&look));
    let of = numbers.as_ref().map(|numbers| numbers.get(&name).copied().unwrap_or_default());
    let shown = |number: Option<u64>| number.map_or_else(|| "–".to_owned(), |number| number.to_string());
    let query = TaskQuery { group: Some(name.clone()), limit: Some(TASKS), ..TaskQuery::default() };
    render(&GroupPage {
        here: "Groups",
        path: path_of(&name),
        running: shown(of.map(|(running, _)| running)),
        waiting: shown(of.map(|(_, waiting)| waiting)),
        measured: measured(numbers.as_ref(), &name),
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
