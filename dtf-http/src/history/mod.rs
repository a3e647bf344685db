//! The recent past, for charts: an hour by 5 seconds and a day by 5 minutes, in the memory of the process that serves the API.
//!
//! Each step is what one look at the active tasks has that the one before had not. Of tasks that ended in between the final numbers are
//! read; where more than 20,000 are created within a step, some are missed. Exact numbers, and longer ones, are Prometheus'.

mod meter;
mod ring;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dtf_api as api;
use dtf_control::Client;
use dtf_model::TaskId;
use dtf_model::table::{TaskFilter, TaskRow};
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
/// The tasks of a page of those that were created in a step.
const PAGE: u32 = 500;
/// The most such pages.
const PAGES: usize = 40;
/// A minute, in milliseconds.
const MINUTE: u64 = 60_000;
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

    /// Returns the mean times that a subtask of the caller's groups waited and ran in the last minute, in milliseconds; none where none ended.
    pub(crate) fn latency(&self) -> Option<(f32, f32)> {
        let since = Some(self.client().now().saturating_sub(MINUTE));
        let history = self.history(&api::HistoryQuery { since, ..api::HistoryQuery::default() });
        let ended: f32 = history.succeeded.iter().chain(&history.failed).sum();
        let mean = |among: &[f32]| 1000.0 * among.iter().sum::<f32>() / ended;
        (ended > 0.0).then(|| (mean(&history.waiting), mean(&history.running)))
    }

    /// Returns the recent past of the caller's groups.
    pub fn history(&self, query: &api::HistoryQuery) -> api::History {
        self.recorded().rings().history(query, |group| self.caller().sees(group))
    }
}

async fn record(app: App) {
    let mut ticks = tokio::time::interval(STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut meter, mut newest) = (Meter::default(), None);
    loop {
        ticks.tick().await;
        // What changes hands is noted by whoever reads it.
        let active = app.watch().active(&[]);
        let (look, _) = tokio::join!(active.now(), app.watch().processes().now());
        let (Ok(look), Ok(groups)) = (look.value, app.watch().resource_groups().now().await.value) else {
            continue;
        };
        if look.progress_missing.is_some() {
            continue;
        }
        let gone = meter.gone(&look.tasks);
        let quotas = groups.iter().map(|group| (group.name.clone(), group.quota)).collect();
        if let Ok(ended) = ended(app.client(), &mut newest, gone).await
            && let Some(point) = meter.note(app.client().now(), &look.tasks, &ended, &quotas)
        {
            app.recorded().rings().push(point);
        }
    }
}

/// Reads tasks that have ended: those that are newer than the newest of the step before, and those that were active then.
async fn ended(
    client: &Client,
    newest: &mut Option<TaskId>,
    mut gone: Vec<u64>,
) -> Result<Vec<api::Task>, Failed> {
    let rows = created_since(client, *newest).await?;
    *newest = rows.first().map(|row| row.id).max(*newest);
    let known: HashSet<u64> = rows.iter().map(|row| row.id.0).collect();
    gone.retain(|id| !known.contains(id));
    let read = |id| {
        let client = client.clone();
        async move { client.task_status(TaskId(id)).await.ok().map(|view| view.row) }
    };
    // One that was deleted meanwhile is missed.
    let others: Vec<_> = stream::iter(gone.into_iter().map(read)).buffer_unordered(TOGETHER).collect().await;
    let new = rows.into_iter().filter(|row| row.status.is_terminal());
    Ok(new.chain(others.into_iter().flatten()).map(|row| convert::row(client.types(), row)).collect())
}

/// Reads the tasks that were created after one, the newest first; of the first step the newest page.
async fn created_since(client: &Client, newest: Option<TaskId>) -> Result<Vec<TaskRow>, Failed> {
    let mut rows: Vec<TaskRow> = Vec::new();
    for _ in 0..PAGES {
        let last = rows.last().map(|row| row.id);
        let page = client.list_tasks(&TaskFilter::default(), last, PAGE).await?;
        let before = rows.len();
        rows.extend(page.into_iter().filter(|row| newest.is_none_or(|newest| row.id > newest)));
        let is_all_new = rows.len() - before == PAGE as usize;
        if newest.is_none() || !is_all_new {
            break;
        }
    }
    Ok(rows)
}
