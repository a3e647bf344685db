//! The recent past, for charts: an hour by 5 seconds and a day by 5 minutes, in the memory of the process that serves the API.
//!
//! Each step is what one look at the active tasks has that the one before had not. Of tasks that ended in between the final numbers are
//! read; where more than some hundreds begin and end within a step, some are missed. Exact numbers, and longer ones, are Prometheus'.

mod meter;
mod ring;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dtf_api as api;
use dtf_control::Client;
use dtf_model::table::TaskFilter;
use dtf_model::{TaskId, TaskStatus};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use tokio::time::MissedTickBehavior;

use self::meter::Meter;
use self::ring::Rings;
use crate::app::App;
use crate::convert;
use crate::problem::Failed;

/// The time between two steps.
const STEP: Duration = Duration::from_secs(5);
/// The most tasks that ended in a step and are read.
const ENDED: u32 = 200;
/// The tasks that are read at the same time.
const TOGETHER: usize = 16;

/// The record.
#[derive(Clone, Default)]
pub(crate) struct Recorded(Arc<Mutex<Rings>>);

impl Recorded {
    fn rings(&self) -> MutexGuard<'_, Rings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// Records the recent past for charts, for as long as this is polled; never ends. The servers of this crate do it, and so may a
    /// program that mounts the router.
    pub fn record(&self) -> BoxFuture<'static, ()> {
        record(self.clone()).boxed()
    }

    /// Returns the recent past of the caller's groups.
    pub fn history(&self, query: &api::HistoryQuery) -> api::History {
        self.recorded().rings().history(query, |group| self.caller().sees(group))
    }
}

async fn record(app: App) {
    let mut ticks = tokio::time::interval(STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut meter = Meter::default();
    loop {
        ticks.tick().await;
        let Ok(look) = app.watch().active(&[]).now().await.value else { continue };
        if look.progress_missing.is_some() {
            continue;
        }
        let gone = meter.gone(&look.tasks);
        if let Ok(ended) = ended(app.client(), gone).await
            && let Some(point) = meter.note(app.client().now(), &look.tasks, &ended)
        {
            app.recorded().rings().push(point);
        }
    }
}

/// Reads tasks that have ended: those that completed last, and those among `gone` that are not among them.
async fn ended(client: &Client, gone: Vec<u64>) -> Result<Vec<api::Task>, Failed> {
    let completed = TaskFilter { status: Some(TaskStatus::Completed), ..TaskFilter::default() };
    let latest = client.list_tasks(&completed, None, ENDED).await?;
    let known: HashSet<u64> = latest.iter().map(|row| row.id.0).collect();
    let others: Vec<_> = gone.into_iter().filter(|id| !known.contains(id)).take(ENDED as usize).collect();
    let read = |id| {
        let client = client.clone();
        async move { client.task_status(TaskId(id)).await.ok().map(|view| view.row) }
    };
    // One that was deleted meanwhile is missed.
    let others: Vec<_> =
        stream::iter(others.into_iter().map(read)).buffer_unordered(TOGETHER).collect().await;
    Ok(latest
        .into_iter()
        .chain(others.into_iter().flatten())
        .map(|row| convert::row(client.types(), row))
        .collect())
}
