//! The progress of a task or a flow as server-sent events: snapshots, not changes, so that nothing has to be remembered for anybody.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use dtf_api as api;
use dtf_api::Code;
use dtf_model::TaskId;
use futures::StreamExt;
use tokio::sync::OwnedSemaphorePermit;

use crate::app::App;
use crate::auth::Acting;
use crate::convert;
use crate::extract::Path;
use crate::problem::Failed;

/// The time between two snapshots.
const EVERY: Duration = Duration::from_millis(500);
/// The time after which a comment is sent where nothing else was, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Follow a task: a `task` event with the whole task, twice a second while it changes, and the last one at its end, after which
/// the stream ends. An `error` event with a problem is the last of a stream that cannot go on.
#[utoipa::path(get, path = "/v1/tasks/{id}/events", tag = "tasks", params(("id" = u64, Path, description = "The task")),
    responses((status = 200, description = "A stream of events", body = api::Task, content_type = "text/event-stream"),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
pub(crate) async fn task_events(
    Acting(app): Acting,
    Path(id): Path<u64>,
) -> Result<impl IntoResponse, Failed> {
    app.task(id).await?;
    let permit = permit(&app)?;
    let mut last = None;
    let events = app.client().task(TaskId(id)).watch(EVERY).filter_map(move |seen| {
        // Held for as long as the stream lives.
        let _open = &permit;
        let event = match seen {
            Ok(view) => {
                let task = convert::view(app.registry(), view);
                let changed = last.as_ref() != Some(&task);
                last = Some(task.clone());
                changed.then(|| named("task", &task))
            }
            Err(error) => Some(named("error", &Failed::from(error).0)),
        };
        std::future::ready(event.map(Ok::<_, Infallible>))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// Follow a flow: a `flow` event with the numbers of its tasks, twice a second while they change, and the last one when all of them have
/// ended, after which the stream ends. An `error` event with a problem is the last of a stream that cannot go on.
#[utoipa::path(get, path = "/v1/flows/{id}/events", tag = "flows", params(("id" = u64, Path, description = "The flow")),
    responses((status = 200, description = "A stream of events", body = api::FlowSummary, content_type = "text/event-stream"),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
pub(crate) async fn flow_events(
    Acting(app): Acting,
    Path(id): Path<u64>,
) -> Result<impl IntoResponse, Failed> {
    app.flow(id).await?;
    let permit = permit(&app)?;
    let events = futures::stream::unfold(Followed::First, move |followed| {
        // Held for as long as the stream lives.
        let (app, _open) = (app.clone(), &permit);
        async move { next_of_flow(&app, id, followed).await }
    });
    Ok(Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// The progress of a flow's stream.
enum Followed {
    First,
    Told(api::FlowSummary),
    Over,
}

/// Waits for the next event of a flow; none behind the last one.
async fn next_of_flow(app: &App, id: u64, mut followed: Followed) -> Option<(Event, Followed)> {
    loop {
        let told = match followed {
            Followed::Over => return None,
            Followed::First => None,
            Followed::Told(flow) => {
                tokio::time::sleep(EVERY).await;
                Some(flow)
            }
        };
        let flow = match app.flow_summary(id).await {
            Ok(flow) => flow,
            Err(failed) => return Some((named("error", &failed.0), Followed::Over)),
        };
        let is_over = flow.counts.waiting + flow.counts.running == 0;
        if told.as_ref() == Some(&flow) && !is_over {
            followed = Followed::Told(flow);
            continue;
        }
        let event = named("flow", &flow);
        return Some((event, if is_over { Followed::Over } else { Followed::Told(flow) }));
    }
}

fn permit(app: &App) -> Result<OwnedSemaphorePermit, Failed> {
    app.streams().clone().try_acquire_owned().map_err(|_| {
        Failed::new(Code::TooManyStreams, "too many event streams are open at this server; try again later")
    })
}

fn named(name: &str, data: &impl serde::Serialize) -> Event {
    let event = Event::default().event(name);
    event.json_data(data).unwrap_or_else(|error| Event::default().event("error").data(error.to_string()))
}
