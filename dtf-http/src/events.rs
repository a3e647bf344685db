//! The progress of tasks and flows as server-sent events: snapshots, not changes, so that nothing has to be remembered for anybody.
//! All streams of a process show what its one [watcher](crate::watch) has seen.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use dtf_api as api;
use dtf_api::Code;
use dtf_model::{FlowId, TaskId};
use futures::{Stream, StreamExt, stream};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use crate::app::App;
use crate::auth::{Acting, Bearer};
use crate::extract::Path;
use crate::problem::Failed;
use crate::watch::{Looks, OneFlow, OneTask, Seen, Shared, Source};

/// The time after which a comment is sent where nothing else was, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Follow all tasks that have not ended: a `tasks` event with all of them that the token may see, at most twice a second and when they
/// have changed. While the stores cannot be read there is one `unavailable` event with the problem; then the stream goes on.
#[utoipa::path(get, path = "/v1/events", tag = "tasks",
    responses((status = 200, description = "A stream of `tasks` events, whose data is an `ActiveTasks`", body = api::StreamEvent, content_type = "text/event-stream"),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
pub(crate) async fn events(Acting(app): Acting, bearer: Bearer) -> Result<impl IntoResponse, Failed> {
    let permit = permit(&app)?;
    let following = Following::new(app.watch().active(&app.caller().groups));
    let events = stream::unfold((following, Told::Nothing), |(mut following, told)| async move {
        loop {
            let (event, told) = match (following.next().await.value, &told) {
                (Ok(look), Told::Tasks(last)) if look.text() == last => continue,
                (Ok(look), _) => {
                    let event = Event::default().event("tasks").data(&**look.text());
                    (event, Told::Tasks(look.text().clone()))
                }
                (Err(_), Told::Problem) => continue,
                (Err(failed), _) => (named("unavailable", &failed.0), Told::Problem),
            };
            return Some((event, (following, told)));
        }
    });
    Ok(sse(events, permit, bearer))
}

/// The last event of a stream of all tasks.
enum Told {
    Nothing,
    Tasks(Arc<str>),
    Problem,
}

/// Follow a task: a `task` event with the whole task, twice a second while it changes, and the last one at its end, after which
/// the stream ends. An `error` event with a problem is the last of a stream that cannot go on.
#[utoipa::path(get, path = "/v1/tasks/{id}/events", tag = "tasks", params(("id" = u64, Path, description = "The task")),
    responses((status = 200, description = "A stream of `task` events, whose data is a `Task`", body = api::StreamEvent, content_type = "text/event-stream"),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
pub(crate) async fn task_events(
    Acting(app): Acting,
    bearer: Bearer,
    Path(id): Path<u64>,
) -> Result<impl IntoResponse, Failed> {
    app.task(id).await?;
    let permit = permit(&app)?;
    let active = Following::new(app.watch().active(&app.caller().groups));
    Ok(sse(until_over(TaskSnapshots { id, active, one: app.watch().task(TaskId(id)) }), permit, bearer))
}

/// The snapshots of a task.
struct TaskSnapshots {
    id: u64,
    active: Following<Looks>,
    one: Arc<Shared<OneTask>>,
}

impl Snapshots for TaskSnapshots {
    const NAME: &str = "task";
    type Value = api::Task;

    async fn next(&mut self) -> Result<api::Task, Failed> {
        let look = self.active.next().await.value.ok().filter(|look| look.progress_missing.is_none());
        match look.as_ref().and_then(|look| look.task(self.id)) {
            Some(task) => Ok(task.clone()),
            // It has ended, or is not among those that were looked at.
            None => self.one.now().await.value.map(|task| (*task).clone()),
        }
    }

    fn is_over(task: &api::Task) -> bool {
        task.status.is_terminal()
    }
}

/// Follow a flow: a `flow` event with the numbers of its tasks, twice a second while they change, and the last one when all of them have
/// ended, after which the stream ends. An `error` event with a problem is the last of a stream that cannot go on.
#[utoipa::path(get, path = "/v1/flows/{id}/events", tag = "flows", params(("id" = u64, Path, description = "The flow")),
    responses((status = 200, description = "A stream of `flow` events, whose data is a `FlowSummary`", body = api::StreamEvent, content_type = "text/event-stream"),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
pub(crate) async fn flow_events(
    Acting(app): Acting,
    bearer: Bearer,
    Path(id): Path<u64>,
) -> Result<impl IntoResponse, Failed> {
    app.flow(id).await?;
    let permit = permit(&app)?;
    Ok(sse(until_over(FlowSnapshots(Following::new(app.watch().flow(FlowId(id))))), permit, bearer))
}

/// The snapshots of a flow.
struct FlowSnapshots(Following<OneFlow>);

impl Snapshots for FlowSnapshots {
    const NAME: &str = "flow";
    type Value = api::FlowSummary;

    async fn next(&mut self) -> Result<api::FlowSummary, Failed> {
        self.0.next().await.value.map(|flow| (*flow).clone())
    }

    fn is_over(flow: &api::FlowSummary) -> bool {
        flow.counts.waiting + flow.counts.running == 0
    }
}

/// The progress of a stream through what the watcher sees.
struct Following<S: Source> {
    shared: Arc<Shared<S>>,
    last: Option<Seen<S::Value>>,
}

impl<S: Source> Following<S> {
    fn new(shared: Arc<Shared<S>>) -> Self {
        Self { shared, last: None }
    }

    /// Returns what is known now, and from then on what is new.
    async fn next(&mut self) -> Seen<S::Value> {
        let seen = match &self.last {
            None => self.shared.now().await,
            Some(last) => self.shared.after(last).await,
        };
        self.last = Some(seen.clone());
        seen
    }
}

/// Snapshots of something that comes to an end.
trait Snapshots: Send + 'static {
    /// The name of their events.
    const NAME: &str;
    /// A snapshot.
    type Value: PartialEq + Serialize + Send;

    /// Waits for the next one.
    fn next(&mut self) -> impl Future<Output = Result<Self::Value, Failed>> + Send;

    /// Returns true if it is the last one.
    fn is_over(value: &Self::Value) -> bool;
}

/// Tells the snapshots that differ from the one before, until the last one.
fn until_over<S: Snapshots>(snapshots: S) -> impl Stream<Item = Event> + Send {
    stream::unfold(Some((snapshots, None)), |state| async move {
        let (mut snapshots, told) = state?;
        loop {
            let value = match snapshots.next().await {
                Ok(value) => value,
                // Stores that fail may be back soon.
                Err(failed) if failed.is_passing() => continue,
                Err(failed) => return Some((named("error", &failed.0), None)),
            };
            let is_over = S::is_over(&value);
            if is_over || told.as_ref() != Some(&value) {
                let event = named(S::NAME, &value);
                return Some((event, (!is_over).then_some((snapshots, Some(value)))));
            }
        }
    })
}

/// A response with these events, which ends when its bearer may no longer have them. Their place among the open streams is held for as
/// long as they last.
fn sse(
    events: impl Stream<Item = Event> + Send + 'static,
    permit: OwnedSemaphorePermit,
    bearer: Bearer,
) -> impl IntoResponse {
    let events = events.take_until(bearer.refused());
    let events = events.map(move |event| {
        let _open = &permit;
        Ok::<_, Infallible>(event)
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

fn permit(app: &App) -> Result<OwnedSemaphorePermit, Failed> {
    app.streams().clone().try_acquire_owned().map_err(|_| {
        Failed::new(Code::TooManyStreams, "too many event streams are open at this server; try again later")
    })
}

fn named(name: &str, data: &impl Serialize) -> Event {
    let event = Event::default().event(name);
    event.json_data(data).unwrap_or_else(|error| Event::default().event("error").data(error.to_string()))
}
