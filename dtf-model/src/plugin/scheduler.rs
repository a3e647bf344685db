//! The scheduler's callback: has a say in when a subtask is dispatched.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::ids::SubtaskId;

/// The time of a subtask's dispatch to an executor: now, or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispatch {
    /// It does.
    Now,
    /// It waits at least this long and is asked about again. It is not charged while it waits.
    After(Duration),
}

/// Is asked about every subtask of one task before it is dispatched.
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use std::time::Duration;
/// use async_trait::async_trait;
/// use bytes::Bytes;
/// use dtf_model::SubtaskId;
/// use dtf_model::plugin::{Dispatch, TaskScheduler};
///
/// /// Holds subtasks back for as long as a gate is closed.
/// struct Gate { open: AtomicBool }
///
/// #[async_trait]
/// impl TaskScheduler for Gate {
///     async fn before_dispatch(&self, _id: SubtaskId, _body: &Bytes) -> anyhow::Result<Dispatch> {
///         match self.open.load(Ordering::Relaxed) {
///             true => Ok(Dispatch::Now),
///             false => Ok(Dispatch::After(Duration::from_secs(10))),
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait TaskScheduler: Send + Sync {
    /// Decides if the subtask may be dispatched now.
    async fn before_dispatch(&self, id: SubtaskId, body: &Bytes) -> anyhow::Result<Dispatch>;

    /// The subtask is on its way to an executor.
    async fn after_dispatch(&self, _id: SubtaskId) -> anyhow::Result<()> {
        Ok(())
    }
}
