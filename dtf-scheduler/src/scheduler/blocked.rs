//! Telling people what tasks are blocked on. The scheduler does not wait for it: there may be thousands.

use std::collections::VecDeque;
use std::sync::Arc;

use dtf_model::TaskId;
use dtf_model::queue::{Fence, SchedulerQueue};
use futures::StreamExt;
use tracing::warn;

/// The most tasks that are told of at a time.
const TOGETHER: usize = 32;

/// A message about a task: its obstacle, or that there is none.
#[derive(Clone, Debug)]
pub(super) struct Telling {
    pub(super) fence: Fence,
    pub(super) reason: Option<Arc<str>>,
}

/// The result of sending a message about a task.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) task: TaskId,
    /// True if the message was that the task is blocked.
    pub(super) is_blocked: bool,
    /// True if the store took it.
    pub(super) is_kept: bool,
}

/// Tells something of tasks, and what came of each.
pub(super) async fn tell(queues: Arc<dyn SchedulerQueue>, some: Vec<Telling>) -> Vec<Told> {
    let queues = &queues;
    let told = futures::stream::iter(some).map(|Telling { fence, reason }| async move {
        let kept = queues.set_scheduler_blocked_on(fence, reason.as_deref()).await;
        if let Err(error) = &kept {
            warn!(task_id = %fence.task, %error, "not told what the task is blocked on");
        }
        Told { task: fence.task, is_blocked: reason.is_some(), is_kept: kept.is_ok() }
    });
    told.buffer_unordered(TOGETHER).collect().await
}

/// Takes the first ones out of a queue.
pub(super) fn first_of(queue: &mut VecDeque<Telling>) -> Vec<Telling> {
    queue.drain(..queue.len().min(TOGETHER)).collect()
}
