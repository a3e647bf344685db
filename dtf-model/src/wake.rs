//! The port for wake-ups: hints that something is to be done, so that nobody has to poll.
//!
//! A hint may be lost, doubled or late, and nothing depends on it but latency: every role looks again on a period.

use async_trait::async_trait;

use crate::ids::TaskId;

/// Whom a hint is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// The manager of a watch bucket.
    Watch(u32),
    /// The manager of a watch bucket, for its schedules. Hints name schedules and not tasks, see
    /// [`ScheduleId::as_hint`](crate::ScheduleId::as_hint).
    Schedules(u32),
    /// Who delivers messages to hooks. Hints name tasks that have ended.
    Hooks,
    /// The generator of a generation bucket.
    Generation(u32),
    /// The scheduler of a scheduling partition.
    Scheduling(u32),
    /// The collector of a collection bucket.
    Collection(u32),
    /// The scheduler of a scheduling partition: shards have room. Hints name shards and not tasks, see [`Shard::as_hint`](crate::Shard::as_hint).
    Credit(u32),
    /// The executor of a shard.
    Shard(u32),
    /// All executors: what is wanted of a task has changed.
    Control,
    /// Those who wait for a task: its row has changed.
    Row(TaskId),
}

impl Topic {
    /// Returns true if one process listens at a time, as parts of a role are held by one. Another that has just
    /// taken a part over looks at everything first.
    pub fn has_one_listener(self) -> bool {
        match self {
            Self::Watch(_)
            | Self::Schedules(_)
            | Self::Hooks
            | Self::Generation(_)
            | Self::Scheduling(_)
            | Self::Credit(_)
            | Self::Collection(_)
            | Self::Shard(_) => true,
            Self::Control | Self::Row(_) => false,
        }
    }
}

/// A hint, as a listener receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// These tasks may want attention.
    Tasks(Vec<TaskId>),
    /// Hints may have been lost: anything may want attention.
    Anything,
}

/// One who waits for hints.
#[async_trait]
pub trait Listener: Send {
    /// Waits for the next hints, all that have come since the last call at once. Dropping the future loses none.
    async fn next(&mut self) -> Hint;
}

/// The carrier of hints.
///
/// ```
/// use dtf_memory::MemoryWakeUp;
/// use dtf_model::TaskId;
/// use dtf_model::wake::{Hint, Topic, WakeUp};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// let wake = MemoryWakeUp::default();
/// let mut listener = wake.listen(Topic::Row(TaskId(7)));
/// wake.notify(Topic::Row(TaskId(7)), TaskId(7));
/// assert_eq!(listener.next().await, Hint::Tasks(vec![TaskId(7)]));
/// # Ok(())
/// # }
/// ```
pub trait WakeUp: Send + Sync + 'static {
    /// Hints at a task. Never blocks, never fails.
    fn notify(&self, topic: Topic, task: TaskId);

    /// Listens from now on.
    fn listen(&self, topic: Topic) -> Box<dyn Listener>;
}
