//! A look at all tasks that have not ended.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use dtf_api as api;
use dtf_control::{Client, Meter, Pace, TaskStatusView};
use dtf_model::TaskStatus;
use dtf_model::table::{TaskFilter, TaskRow};
use futures::{StreamExt, TryStreamExt, stream};

use super::resource_groups::ResourceGroups;
use super::shared::{Shared, Source};
use crate::app::list_of_groups;
use crate::convert;
use crate::problem::Failed;

/// The most tasks of a status that are looked at: the newest.
const MOST: u32 = 500;
/// The tasks that were created last.
const LATEST: u32 = 10;
/// The queues that are read at the same time.
const TOGETHER: usize = 16;

/// The tasks that have not ended, as of one look.
pub(crate) struct Look {
    /// The tasks, the newest first.
    pub(crate) tasks: Vec<api::Task>,
    /// The newest tasks of all, without progress.
    pub(crate) latest: Vec<api::Task>,
    /// The statuses of which there are more tasks than were looked at.
    pub(crate) cut: Vec<api::TaskStatus>,
    /// The reason why their progress is missing.
    pub(crate) progress_missing: Option<String>,
    /// The look as the data of an event, made once for all streams.
    text: OnceLock<Arc<str>>,
}

impl Look {
    /// Returns a task, where it was looked at.
    pub(crate) fn task(&self, id: u64) -> Option<&api::Task> {
        self.tasks.iter().find(|task| task.id == id)
    }

    /// Returns the numbers of subtasks that run and wait, by group; none where the progress of tasks is missing.
    pub(crate) fn by_group(&self) -> Option<BTreeMap<&str, (u64, u64)>> {
        if self.progress_missing.is_some() {
            return None;
        }
        let mut numbers: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for (task, progress) in self.tasks.iter().filter_map(|task| Some((task, task.progress?))) {
            let of = numbers.entry(&task.group).or_default();
            of.0 += progress.running;
            of.1 += progress.pending + progress.delayed;
        }
        Some(numbers)
    }

    /// Returns the look as the data of an event.
    pub(crate) fn text(&self) -> &Arc<str> {
        self.text.get_or_init(|| {
            let tasks = api::ActiveTasks {
                tasks: self.tasks.iter().map(api::ActiveTask::from).collect(),
                more: !self.cut.is_empty(),
                progress_missing: self.progress_missing.clone(),
            };
            serde_json::to_string(&tasks).unwrap_or_default().into()
        })
    }
}

/// Looks at the tasks of some groups.
pub(crate) struct Looks {
    client: Client,
    resource_groups: Arc<Shared<ResourceGroups>>,
    groups: Vec<String>,
}

impl Looks {
    pub(super) fn new(
        client: Client,
        resource_groups: Arc<Shared<ResourceGroups>>,
        groups: Vec<String>,
    ) -> Self {
        Self { client, resource_groups, groups }
    }

    /// Reads the rows of tasks that have not ended, and the statuses of which there are more.
    async fn rows(&self) -> Result<(Vec<TaskRow>, Vec<api::TaskStatus>), Failed> {
        let (mut rows, mut cut) = (Vec::new(), Vec::new());
        for status in [TaskStatus::Running, TaskStatus::Paused, TaskStatus::Created] {
            let filter = TaskFilter { status: Some(status), ..TaskFilter::default() };
            let mut found = list_of_groups(&self.client, &self.groups, &filter, None, MOST + 1).await?;
            if found.len() > MOST as usize {
                found.truncate(MOST as usize);
                cut.push(convert::status(status));
            }
            rows.extend(found);
        }
        // A task that has changed its status between the lists may be in two of them.
        rows.sort_by_key(|row| std::cmp::Reverse(row.id));
        rows.dedup_by_key(|row| row.id);
        Ok((rows, cut))
    }
}

/// The rates of the tasks, measured from look to look.
type Meters = HashMap<u64, Meter>;

impl Source for Looks {
    type Memory = Meters;
    type Value = Look;

    async fn read(&self, meters: &mut Meters) -> Result<Look, Failed> {
        let (rows, cut) = self.rows().await?;
        let latest = list_of_groups(&self.client, &self.groups, &TaskFilter::default(), None, LATEST).await?;
        let types = self.client.types();
        let latest = latest.into_iter().map(|row| convert::row(types, row)).collect();
        let (started, others): (Vec<_>, Vec<_>) = rows.iter().cloned().partition(|row| row.run.0 > 0);
        let states = stream::iter(started).map(|row| self.client.status_of(row)).buffered(TOGETHER);
        // A store of queues that fails is not asked again for every task.
        let views = match states.try_collect::<Vec<_>>().await {
            Ok(views) => views,
            Err(error) => {
                let tasks = rows.into_iter().map(|row| convert::row(types, row)).collect();
                let progress_missing = Some(Failed::from(error).0.detail);
                return Ok(Look { tasks, latest, cut, progress_missing, text: OnceLock::new() });
            }
        };
        let now = self.client.now();
        let mut measured = Meters::with_capacity(views.len());
        let views = views.into_iter().map(|mut view| {
            let id = view.row.id.0;
            let mut meter = meters.remove(&id).unwrap_or_default();
            view.pace = meter.note(now, &view.row, &view.progress());
            measured.insert(id, meter);
            convert::view(types, view)
        });
        // A task that has not started has no queues.
        let others = others
            .into_iter()
            .map(|row| convert::view(types, TaskStatusView { row, queues: None, pace: Pace::default() }));
        let mut tasks: Vec<_> = views.chain(others).collect();
        tasks.sort_by_key(|task| std::cmp::Reverse(task.id));
        self.resource_groups.block(&mut tasks).await;
        *meters = measured;
        Ok(Look { tasks, latest, cut, progress_missing: None, text: OnceLock::new() })
    }
}
