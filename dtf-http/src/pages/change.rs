//! The forms that change something.

use askama::Template;
use dtf_api::{Bulk, BulkAction, BulkRequest, Drain, NewTask, TaskQuery};
use uuid::Uuid;

use super::read::{NewForm, form_page};
use super::{Page, render, see};
use crate::auth::Acting;
use crate::extract::{Form, Path};
use crate::problem::Failed;

pub(super) async fn create(Acting(app): Acting, Form(form): Form<NewForm>) -> Page {
    let request = form.request.unwrap_or_else(Uuid::new_v4);
    let created = match serde_json::from_str(&form.param) {
        Ok(param) => {
            let task = NewTask {
                name: form.name.clone(),
                group: form.group.clone(),
                priority: form.priority,
                timeout_ms: form.timeout_s.saturating_mul(1000),
                ..NewTask::of(&form.task_type, param)
            };
            app.create(request, task).await
        }
        Err(error) => Err(Failed::invalid(format!("the parameters are not JSON: {error}"))),
    };
    match created {
        Ok(task) => see(&format!("/tasks/{}", task.id)),
        Err(failed) => {
            let status = failed.status();
            let mut page = form_page(&app, form, Some(failed.0.detail)).await?;
            *page.status_mut() = status;
            Ok(page)
        }
    }
}

pub(super) async fn act(Acting(app): Acting, Path((id, action)): Path<(u64, BulkAction)>) -> Page {
    let task = app.act(Uuid::new_v4(), id, action).await?;
    see(&format!("/tasks/{}", task.id))
}

pub(super) async fn deliver_again(Acting(app): Acting, Path((id, hook)): Path<(u64, usize)>) -> Page {
    let task = app.deliver_again(Uuid::new_v4(), id, hook).await?;
    see(&format!("/tasks/{}", task.id))
}

/// The fields of a form, of which one may be there several times.
type Fields = Vec<(String, String)>;

/// Reads an action on all tasks that fit, or on those that were chosen, and its name: without the expected count it only counts.
fn bulk_request(fields: &Fields) -> Result<(Uuid, BulkRequest), Failed> {
    let unusable = |name: &str, value: &str| Failed::invalid(format!("{name} cannot be {value:?}"));
    let (mut action, mut filter, mut tasks) = (None, TaskQuery::default(), Vec::new());
    let (mut expect_count, mut request) = (None, None);
    for (name, value) in fields {
        let wrong = || unusable(name, value);
        match name.as_str() {
            "action" => {
                action = Some(serde_json::from_value(value.as_str().into()).map_err(|_| wrong())?);
            }
            "filter" => {
                filter = serde_json::from_str(value)
                    .map_err(|error| Failed::invalid(format!("the filter cannot be used: {error}")))?;
            }
            "task" => tasks.push(value.parse().map_err(|_| wrong())?),
            "expect_count" => expect_count = Some(value.parse().map_err(|_| wrong())?),
            "request" => request = Some(value.parse().map_err(|_| wrong())?),
            _ => return Err(Failed::invalid(format!("the form has a field {name:?}, which is not known"))),
        }
    }
    if tasks.is_empty() && filter == TaskQuery::default() {
        return Err(Failed::invalid("no task is chosen; go back and choose some"));
    }
    let action = action.ok_or_else(|| Failed::invalid("the action is missing"))?;
    let dry_run = expect_count.is_none();
    let bulk = BulkRequest { action, filter, tasks, expect_count, dry_run };
    Ok((request.unwrap_or_else(Uuid::new_v4), bulk))
}

#[derive(Template)]
#[template(path = "bulk.html")]
struct BulkPage {
    here: &'static str,
    bulk: Bulk,
    /// The filter, as the form sends it.
    filter: String,
}

impl BulkPage {
    fn of(bulk: Bulk) -> Self {
        let filter = serde_json::to_string(&bulk.filter).unwrap_or_default();
        Self { here: "Tasks", bulk, filter }
    }
}

pub(super) async fn bulk(Acting(app): Acting, Form(fields): Form<Fields>) -> Page {
    let (request, bulk) = bulk_request(&fields)?;
    let dry_run = bulk.dry_run;
    let bulk = app.bulk(request, bulk).await?;
    match dry_run {
        true => render(&BulkPage::of(bulk)),
        false => see(&format!("/bulk/{}", bulk.id)),
    }
}

/// Shows the progress of an action on many tasks.
pub(super) async fn bulk_state(Acting(app): Acting, Path(id): Path<Uuid>) -> Page {
    render(&BulkPage::of(app.bulk_state(id).await?))
}

pub(super) async fn drain(Acting(app): Acting, Path(name): Path<String>, Form(drain): Form<Drain>) -> Page {
    app.drain(&name, drain).await?;
    see("/workers")
}
