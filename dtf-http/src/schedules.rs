//! Schedules: the actions, the JSON handlers, and the types of the API.

use std::time::Duration;

use axum::Json as Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use dtf_api as api;
use dtf_control::{BackfillPeriod, Client, ScheduleView};
use dtf_model::plugin::PluginRegistry;
use dtf_model::schedule::{Cause, Outcome, OutcomeKind, Overlap, ScheduleSpec, Template};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::{App, Change, cut, page};
use crate::auth::Acting;
use crate::convert;
use crate::extract::{Json, Path, Query, RequestId};
use crate::flows;
use crate::problem::Failed;

/// The routes of schedules.
pub(crate) fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_schedules, create_schedule))
        .routes(routes!(get_schedule, delete_schedule))
        .routes(routes!(pause_schedule))
        .routes(routes!(resume_schedule))
        .routes(routes!(trigger_schedule))
        .routes(routes!(backfill_schedule))
}

impl App {
    /// Creates a schedule, or finds the one that this request made before.
    ///
    /// # Errors
    /// The expression, the zone, the type or a parameter is not allowed, the name is taken, or a store failed.
    pub async fn create_schedule(
        &self,
        request: Uuid,
        new: api::NewSchedule,
    ) -> Result<api::Schedule, Failed> {
        groups_of(new.task.as_ref(), new.flow.as_ref())
            .try_for_each(|group| self.caller().check_group(group))?;
        let spec = spec(self.client(), new).await?;
        let (target, detail) = (target(&spec.name), format!("{} {}", spec.when, spec.zone));
        let change = Change { action: "schedule.create", target, detail, request };
        let create = |client: Client| async move { Ok(client.create_schedule_once(request, spec).await?) };
        Ok(view(self.registry(), self.noted(change, create).await?))
    }

    /// Returns a schedule.
    ///
    /// # Errors
    /// There is no such schedule, or a store failed.
    pub async fn schedule(&self, name: &str) -> Result<api::Schedule, Failed> {
        let found = view(self.registry(), self.client().schedule(name).await?);
        match self.sees(&found) {
            true => Ok(found),
            false => Err(Failed::not_found(format!("there is no schedule {name:?}"))),
        }
    }

    /// Returns a page of schedules.
    ///
    /// # Errors
    /// The page is too large, or a store failed.
    pub async fn schedules(&self, query: &api::ScheduleQuery) -> Result<api::SchedulePage, Failed> {
        let most = page(query.limit, 50)?;
        let mut found = self.client().schedules(query.cursor.as_deref(), most + 1).await?;
        let more = cut(&mut found, most);
        let next = found.last().filter(|_| more).map(|last| last.row.spec.name.clone());
        let schedules = found.into_iter().map(|found| view(self.registry(), found));
        let schedules = schedules.filter(|found| self.sees(found)).collect();
        Ok(api::SchedulePage { schedules, next })
    }

    /// Pauses a schedule, or lets it go on.
    ///
    /// # Errors
    /// There is no such schedule, or a store failed.
    pub async fn pause_schedule(&self, name: &str, paused: bool) -> Result<api::Schedule, Failed> {
        let action = if paused { "schedule.pause" } else { "schedule.resume" };
        self.changed(action, name, Uuid::new_v4(), String::new(), |client| async move {
            let changed = match paused {
                true => client.pause_schedule(name).await?,
                false => client.resume_schedule(name).await?,
            };
            Ok(view(self.registry(), changed))
        })
        .await
    }

    /// Creates a task of a schedule at once, or finds the one that this request made before.
    ///
    /// # Errors
    /// There is no such schedule, the task is refused, or a store failed.
    pub async fn trigger_schedule(&self, request: Uuid, name: &str) -> Result<api::Task, Failed> {
        self.changed("schedule.trigger", name, request, String::new(), |client| async move {
            let task = client.trigger_schedule(request, name).await?;
            self.task(task.0).await
        })
        .await
    }

    /// Creates the tasks of the due times of a period that have none.
    ///
    /// # Errors
    /// There is no such schedule, the period is not allowed, another backfill is under way, or a store failed.
    pub async fn backfill_schedule(
        &self,
        name: &str,
        new: api::NewBackfill,
    ) -> Result<api::Schedule, Failed> {
        let api::NewBackfill { from, until, concurrency } = new;
        let period = BackfillPeriod { from, until, concurrency };
        let detail = format!("from {} to {}", dtf_control::utc(from), dtf_control::utc(until));
        self.changed("schedule.backfill", name, Uuid::new_v4(), detail, |client| async move {
            Ok(view(self.registry(), client.backfill_schedule(name, period).await?))
        })
        .await
    }

    /// Deletes a schedule. Its tasks stay as they are.
    ///
    /// # Errors
    /// There is no such schedule, or a store failed.
    pub async fn delete_schedule(&self, name: &str) -> Result<(), Failed> {
        self.changed("schedule.delete", name, Uuid::new_v4(), String::new(), |client| async move {
            Ok(client.delete_schedule(name).await?)
        })
        .await
    }

    /// Returns true if the caller may see all groups that a schedule creates tasks in.
    fn sees(&self, schedule: &api::Schedule) -> bool {
        groups_of(schedule.task.as_ref(), schedule.flow.as_ref()).all(|group| self.caller().sees(group))
    }

    /// Makes a change of a schedule that the caller may see, and keeps that in the audit.
    async fn changed<T, F: Future<Output = Result<T, Failed>>>(
        &self,
        action: &'static str,
        name: &str,
        request: Uuid,
        detail: String,
        make: impl FnOnce(Client) -> F,
    ) -> Result<T, Failed> {
        if !self.caller().groups.is_empty() {
            self.schedule(name).await?;
        }
        self.noted(Change { action, target: target(name), detail, request }, make).await
    }
}

/// List the schedules by name, page by page.
#[utoipa::path(get, path = "/v1/schedules", tag = "schedules", params(api::ScheduleQuery), responses(
    (status = 200, description = "A page of schedules", body = api::SchedulePage),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn list_schedules(
    Acting(app): Acting,
    Query(query): Query<api::ScheduleQuery>,
) -> Result<Body<api::SchedulePage>, Failed> {
    app.schedules(&query).await.map(Body)
}

/// Create a schedule. With an `Idempotency-Key`, asking again creates no second one.
#[utoipa::path(post, path = "/v1/schedules", tag = "schedules", request_body = api::NewSchedule,
    params(("Idempotency-Key" = Option<uuid::Uuid>, Header, description = "A UUID that names this creation; the same one finds the schedule again")),
    responses((status = 201, description = "The schedule", body = api::Schedule),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn create_schedule(
    Acting(app): Acting,
    RequestId(request): RequestId,
    Json(new): Json<api::NewSchedule>,
) -> Result<impl IntoResponse, Failed> {
    let schedule = app.create_schedule(request, new).await?;
    let mut headers = HeaderMap::new();
    let path = format!("/v1/schedules/{}", convert::percent(&schedule.name));
    if let Ok(location) = HeaderValue::try_from(path) {
        headers.insert(header::LOCATION, location);
    }
    Ok((StatusCode::CREATED, headers, Body(schedule)))
}

/// Show a schedule, with its next due times and its history.
#[utoipa::path(get, path = "/v1/schedules/{name}", tag = "schedules", params(("name" = String, Path, description = "The schedule")), responses(
    (status = 200, description = "The schedule", body = api::Schedule),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn get_schedule(Acting(app): Acting, Path(name): Path<String>) -> Result<Body<api::Schedule>, Failed> {
    app.schedule(&name).await.map(Body)
}

/// Delete a schedule. Its tasks stay as they are.
#[utoipa::path(delete, path = "/v1/schedules/{name}", tag = "schedules", params(("name" = String, Path, description = "The schedule")), responses(
    (status = 204, description = "It is deleted"),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn delete_schedule(Acting(app): Acting, Path(name): Path<String>) -> Result<StatusCode, Failed> {
    app.delete_schedule(&name).await.map(|()| StatusCode::NO_CONTENT)
}

/// Pause a schedule: due times pass without effect. Its tasks go on.
#[utoipa::path(post, path = "/v1/schedules/{name}/pause", tag = "schedules", params(("name" = String, Path, description = "The schedule")), responses(
    (status = 200, description = "The schedule", body = api::Schedule),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn pause_schedule(
    Acting(app): Acting,
    Path(name): Path<String>,
) -> Result<Body<api::Schedule>, Failed> {
    app.pause_schedule(&name, true).await.map(Body)
}

/// Let a paused schedule go on with its next due time.
#[utoipa::path(post, path = "/v1/schedules/{name}/resume", tag = "schedules", params(("name" = String, Path, description = "The schedule")), responses(
    (status = 200, description = "The schedule", body = api::Schedule),
    (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn resume_schedule(
    Acting(app): Acting,
    Path(name): Path<String>,
) -> Result<Body<api::Schedule>, Failed> {
    app.pause_schedule(&name, false).await.map(Body)
}

/// Create a task of a schedule at once, whether or not it is paused and another one runs. With an `Idempotency-Key`, asking again
/// creates no second one.
#[utoipa::path(post, path = "/v1/schedules/{name}/trigger", tag = "schedules",
    params(("name" = String, Path, description = "The schedule"),
        ("Idempotency-Key" = Option<uuid::Uuid>, Header, description = "A UUID that names this creation; the same one finds the task again")),
    responses((status = 200, description = "The task", body = api::Task),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn trigger_schedule(
    Acting(app): Acting,
    request: RequestId,
    Path(name): Path<String>,
) -> Result<Body<api::Task>, Failed> {
    app.trigger_schedule(request.0, &name).await.map(Body)
}

/// Create the tasks of the due times of a period that have none, so many at once.
#[utoipa::path(post, path = "/v1/schedules/{name}/backfill", tag = "schedules", request_body = api::NewBackfill,
    params(("name" = String, Path, description = "The schedule")),
    responses((status = 200, description = "The schedule", body = api::Schedule),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn backfill_schedule(
    Acting(app): Acting,
    Path(name): Path<String>,
    Json(new): Json<api::NewBackfill>,
) -> Result<Body<api::Schedule>, Failed> {
    app.backfill_schedule(&name, new).await.map(Body)
}

/// The groups of the tasks that a schedule creates.
fn groups_of<'a>(
    task: Option<&'a api::NewTask>,
    flow: Option<&'a api::NewFlow>,
) -> impl Iterator<Item = &'a str> {
    let of_flow = flow.into_iter().flat_map(|flow| flow.tasks.values()).map(|task| task.group.as_str());
    task.into_iter().map(|task| task.group.as_str()).chain(of_flow)
}

/// A schedule, as the audit names it.
fn target(name: &str) -> String {
    format!("schedule {name}")
}

/// A schedule of the API, as the client creates it.
///
/// # Errors
/// The type or a parameter is not allowed, it has no task and no flow or both, or a store failed.
pub async fn spec(client: &Client, new: api::NewSchedule) -> Result<ScheduleSpec, Failed> {
    let template = match (new.task, new.flow) {
        (Some(task), None) if task.after.is_empty() && task.unique.is_none() => {
            let name = task.task_type.clone();
            let (task_type, param) = client.prepare(&name, convert::task_param(task)?).await?;
            Template::Task { task_type, param: Box::new(param) }
        }
        (Some(_), None) => {
            return Err(Failed::invalid(
                "the task of a schedule waits for others or has a unique key; leave out `after` and `unique`, or give a flow",
            ));
        }
        (None, Some(flow)) => client.flow_template(flows::builder(flow)?).await?,
        _ => {
            return Err(Failed::invalid(
                "a schedule creates a task or a flow; give one of `task` and `flow`",
            ));
        }
    };
    Ok(ScheduleSpec {
        name: new.name,
        description: new.description,
        when: new.when,
        zone: new.zone,
        template,
        overlap: match new.overlap {
            api::Overlap::Skip => Overlap::Skip,
            api::Overlap::QueueOne => Overlap::QueueOne,
            api::Overlap::Allow => Overlap::Allow,
            api::Overlap::CancelOther => Overlap::CancelOther,
        },
        catch_up: Duration::from_millis(new.catch_up_ms),
        jitter: Duration::from_millis(new.jitter_ms),
        start_at: new.start_at,
        end_at: new.end_at,
    })
}

/// A schedule.
pub fn view(types: &PluginRegistry, view: ScheduleView) -> api::Schedule {
    let ScheduleView { row, words, upcoming } = view;
    let (spec, state) = (row.spec, row.state);
    let (task, flow) = match spec.template {
        Template::Task { task_type, param } => (Some(convert::new_task(types, task_type, *param)), None),
        Template::Flow { name, tasks } => (None, Some(flows::flow_of(types, name, tasks))),
    };
    let ids = |tasks: Vec<dtf_model::TaskId>| tasks.into_iter().map(|task| task.0).collect();
    api::Schedule {
        name: spec.name,
        description: spec.description,
        when: spec.when,
        words,
        zone: spec.zone,
        task,
        flow,
        overlap: match spec.overlap {
            Overlap::Skip => api::Overlap::Skip,
            Overlap::QueueOne => api::Overlap::QueueOne,
            Overlap::Allow => api::Overlap::Allow,
            Overlap::CancelOther => api::Overlap::CancelOther,
        },
        catch_up_ms: convert::millis(spec.catch_up),
        jitter_ms: convert::millis(spec.jitter),
        start_at: spec.start_at,
        end_at: spec.end_at,
        created_at: row.created_at,
        paused: state.paused,
        upcoming,
        running: ids(state.running),
        queued: state.queued,
        backfill: state.backfill.map(|backfill| api::BackfillView {
            next: backfill.next,
            until: backfill.until,
            concurrency: backfill.concurrency,
            running: ids(backfill.running),
        }),
        totals: api::DueTotals {
            created: state.totals.created,
            skipped: state.totals.skipped,
            missed: state.totals.missed,
            refused: state.totals.refused,
        },
        history: state.history.into_iter().map(entry).collect(),
    }
}

fn entry(outcome: Outcome) -> api::DueEntry {
    api::DueEntry {
        due: outcome.due,
        at: outcome.at,
        outcome: match outcome.kind {
            OutcomeKind::Created => api::DueOutcome::Created,
            OutcomeKind::Skipped => api::DueOutcome::Skipped,
            OutcomeKind::Missed => api::DueOutcome::Missed,
            OutcomeKind::Refused => api::DueOutcome::Refused,
        },
        cause: match outcome.cause {
            Cause::Due => api::DueCause::Due,
            Cause::Trigger => api::DueCause::Trigger,
            Cause::Backfill => api::DueCause::Backfill,
        },
        task: outcome.task.map(|task| task.0),
        reason: outcome.reason,
    }
}
