//! The pages of schedules.

use askama::Template;
use axum::Router;
use axum::routing::{get, post};
use dtf_api::{NewBackfill, NewSchedule, NewTask, Overlap, Schedule, ScheduleQuery, TaskType, TypeQuery};
use dtf_model::schedule::parse_time;
use serde::Deserialize;
use uuid::Uuid;

use super::{Page, render, see};
use crate::app::App;
use crate::auth::Acting;
use crate::convert::percent;
use crate::extract::{Form, Path, Query};
use crate::problem::Failed;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/schedules", get(list).post(create))
        .route("/schedules/new", get(new))
        .route("/schedules/{name}", get(show))
        .route("/schedules/{name}/pause", post(pause))
        .route("/schedules/{name}/resume", post(resume))
        .route("/schedules/{name}/trigger", post(trigger))
        .route("/schedules/{name}/backfill", post(backfill))
        .route("/schedules/{name}/delete", post(delete))
}

#[derive(Template)]
#[template(path = "schedules.html")]
struct List {
    here: &'static str,
    schedules: Vec<Schedule>,
    next_page: Option<String>,
}

async fn list(Acting(app): Acting, Query(query): Query<ScheduleQuery>) -> Page {
    let page = app.schedules(&query).await?;
    let next_page = page.next.map(|name| format!("/schedules?cursor={}", percent(&name)));
    render(&List { here: "Schedules", schedules: page.schedules, next_page })
}

#[derive(Template)]
#[template(path = "schedule.html")]
struct Show {
    here: &'static str,
    schedule: Schedule,
    /// The path of the page.
    path: String,
    /// The creation's name of the next trigger.
    request: Uuid,
}

async fn show(Acting(app): Acting, Path(name): Path<String>) -> Page {
    let schedule = app.schedule(&name).await?;
    render(&Show { here: "Schedules", schedule, path: path_of(&name), request: Uuid::new_v4() })
}

fn path_of(name: &str) -> String {
    format!("/schedules/{}", percent(name))
}

/// The values of a form for a new schedule.
#[derive(Deserialize)]
#[serde(default)]
struct NewForm {
    name: String,
    when: String,
    zone: String,
    #[serde(rename = "type")]
    task_type: String,
    param: String,
    group: String,
    overlap: String,
    catch_up_s: u64,
    jitter_s: u64,
    request: Option<Uuid>,
}

impl Default for NewForm {
    fn default() -> Self {
        Self {
            name: String::new(),
            when: "@daily".to_owned(),
            zone: "UTC".to_owned(),
            task_type: String::new(),
            param: "{}".to_owned(),
            group: "default".to_owned(),
            overlap: Overlap::Skip.name().to_owned(),
            catch_up_s: 3600,
            jitter_s: 0,
            request: None,
        }
    }
}

impl NewForm {
    fn schedule(&self) -> Result<NewSchedule, Failed> {
        let param = serde_json::from_str(&self.param)
            .map_err(|error| Failed::invalid(format!("the parameters are not JSON: {error}")))?;
        let overlap = Overlap::ALL.into_iter().find(|overlap| overlap.name() == self.overlap);
        Ok(NewSchedule {
            name: self.name.clone(),
            description: String::new(),
            when: self.when.clone(),
            zone: self.zone.clone(),
            flow: None,
            task: Some(NewTask {
                task_type: self.task_type.clone(),
                param,
                name: self.name.clone(),
                description: String::new(),
                creator: dtf_api::Creator::default(),
                group: self.group.clone(),
                priority: 6000,
                timeout_ms: 1_800_000,
                start_at: None,
                limits: dtf_api::Limits::default(),
                after: Vec::new(),
                unique: None,
                hooks: Vec::new(),
            }),
            overlap: overlap
                .ok_or_else(|| Failed::invalid(format!("{:?} is no treatment of overlaps", self.overlap)))?,
            catch_up_ms: self.catch_up_s.saturating_mul(1000),
            jitter_ms: self.jitter_s.saturating_mul(1000),
            start_at: None,
            end_at: None,
        })
    }
}

#[derive(Template)]
#[template(path = "new_schedule.html")]
struct NewPage {
    here: &'static str,
    types: Vec<TaskType>,
    form: NewForm,
    overlaps: [Overlap; 4],
    request: Uuid,
    problem: Option<String>,
}

async fn new(Acting(app): Acting) -> Page {
    form_page(&app, NewForm::default(), None).await
}

/// The form, with what was wrong with it when it was sent.
async fn form_page(app: &App, form: NewForm, problem: Option<String>) -> Page {
    let request = form.request.unwrap_or_else(Uuid::new_v4);
    let (types, overlaps) = (app.types(&TypeQuery::default()).await?, Overlap::ALL);
    render(&NewPage { here: "Schedules", types, form, overlaps, request, problem })
}

async fn create(Acting(app): Acting, Form(form): Form<NewForm>) -> Page {
    let request = form.request.unwrap_or_else(Uuid::new_v4);
    let created = match form.schedule() {
        Ok(schedule) => app.create_schedule(request, schedule).await,
        Err(failed) => Err(failed),
    };
    match created {
        Ok(schedule) => see(&path_of(&schedule.name)),
        Err(failed) => {
            let status = failed.status();
            let mut page = form_page(&app, form, Some(failed.0.detail)).await?;
            *page.status_mut() = status;
            Ok(page)
        }
    }
}

async fn pause(Acting(app): Acting, Path(name): Path<String>) -> Page {
    app.pause_schedule(&name, true).await?;
    see(&path_of(&name))
}

async fn resume(Acting(app): Acting, Path(name): Path<String>) -> Page {
    app.pause_schedule(&name, false).await?;
    see(&path_of(&name))
}

#[derive(Deserialize)]
struct TriggerForm {
    request: Option<Uuid>,
}

async fn trigger(Acting(app): Acting, Path(name): Path<String>, Form(form): Form<TriggerForm>) -> Page {
    let task = app.trigger_schedule(form.request.unwrap_or_else(Uuid::new_v4), &name).await?;
    see(&format!("/tasks/{}", task.id))
}

#[derive(Deserialize)]
struct BackfillForm {
    from: String,
    until: String,
    concurrency: u32,
}

async fn backfill(Acting(app): Acting, Path(name): Path<String>, Form(form): Form<BackfillForm>) -> Page {
    let (from, until) = (time(&form.from)?, time(&form.until)?);
    app.backfill_schedule(&name, NewBackfill { from, until, concurrency: form.concurrency }).await?;
    see(&path_of(&name))
}

/// Reads a time of a form, in UTC: a browser's field for times leaves out the zone, and may leave out the seconds.
fn time(text: &str) -> Result<u64, Failed> {
    let whole =
        if text.len() == "2026-01-31T23:59".len() { format!("{text}:00Z") } else { format!("{text}Z") };
    Ok(parse_time(&whole).or_else(|_| parse_time(text))?)
}

async fn delete(Acting(app): Acting, Path(name): Path<String>) -> Page {
    app.delete_schedule(&name).await?;
    see("/schedules")
}
