//! The tasks of a cluster that have not ended, as streams of events tell them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Progress, Task, TaskControl, TaskStatus};

/// A task that has not ended, in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ActiveTask {
    /// Its id.
    pub id: u64,
    /// The name of its type; the type's number where this server does not know the type.
    #[serde(rename = "type")]
    pub task_type: String,
    /// The name that people know it by.
    pub name: String,
    /// Its resource group.
    pub group: String,
    /// Its status.
    pub status: TaskStatus,
    /// The state that it is wanted to be in.
    pub control: TaskControl,
    /// The time of its creation.
    pub created_at: u64,
    /// The time when it started.
    pub started_at: Option<u64>,
    /// Its progress; none where its queues could not be read.
    pub progress: Option<Progress>,
    /// True while it waits for the end of other tasks.
    pub waits: bool,
    /// The flow that it was created with.
    pub flow: Option<u64>,
    /// The conditions that it waits for and that only people can bring about.
    pub blocked_on: Vec<String>,
}

impl From<&Task> for ActiveTask {
    fn from(task: &Task) -> Self {
        Self {
            id: task.id,
            task_type: task.task_type.clone(),
            name: task.name.clone(),
            group: task.group.clone(),
            status: task.status,
            control: task.control,
            created_at: task.created_at,
            started_at: task.started_at,
            progress: task.progress,
            waits: task.waits,
            flow: task.flow,
            blocked_on: task.blocked_on.clone(),
        }
    }
}

/// The tasks that have not ended, as of one look at them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ActiveTasks {
    /// The tasks, the newest first: of each status the newest 500, of those that the caller may see.
    pub tasks: Vec<ActiveTask>,
    /// True if there are more.
    pub more: bool,
    /// The reason why their progress is missing, where it could not be read.
    pub progress_missing: Option<String>,
}

/// An event of a stream, as the HTML standard has server-sent events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StreamEvent {
    /// Its kind: `tasks`, `task` or `flow`.
    pub event: String,
    /// The snapshot that it tells, as JSON.
    #[schema(content_media_type = "application/json")]
    pub data: String,
}
