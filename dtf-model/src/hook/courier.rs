//! The carrying of messages to receivers.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::Hook;
use crate::flow::End;
use crate::table::TaskRow;

/// The end of a task, as receivers are told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskEnd {
    /// The message's id: the same in each attempt, another for each hook.
    pub id: Uuid,
    /// The task, as it ended.
    pub row: TaskRow,
    /// The end, to those that wait for it.
    pub end: End,
}

impl TaskEnd {
    /// The message of a hook of a task; `None` where the task has not ended.
    pub fn of(row: &TaskRow, hook: usize) -> Option<Self> {
        let end = End::of(row.status, &row.counts)?;
        let id = Uuid::new_v5(&row.request, format!("hook {hook}").as_bytes());
        Some(Self { id, row: row.clone(), end })
    }
}

/// The answer of a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has the message.
    Delivered,
    /// It may have it, and is to get it again.
    Later {
        /// Why.
        error: String,
        /// The earliest time of the next attempt, where the receiver named one.
        after: Option<Duration>,
    },
    /// It does not want it, now or ever.
    Refused {
        /// Why.
        error: String,
    },
}

/// Carries messages to receivers.
#[async_trait]
pub trait Courier: Send + Sync + 'static {
    /// Makes one attempt, within [`LEASE`](super::LEASE).
    async fn deliver(&self, hook: &Hook, end: &TaskEnd) -> Answer;
}
