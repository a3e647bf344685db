//! The source of tasks.

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::task::Task;

/// Says which tasks exist. Asked by the leader, at its start, on a period and on `trigger_rebalance`.
///
/// An implementor may fail or be slow: the last known tasks then stay, and an error event is reported. It must not
/// return a partial list without an error, as what is missing from the list is taken away from its holder.
#[async_trait]
pub trait TaskProvider: Send + Sync + 'static {
    /// All tasks of the group, in any order, with unique keys.
    async fn tasks(&self) -> anyhow::Result<Vec<Task>>;

    /// An item whenever the tasks may have changed, for providers that can tell: the leader then asks at once. It is a
    /// hint: one that is missed or made for nothing does no harm, as the leader asks on its period all the same. Called
    /// once a member, at its start; a stream that ends or panics is not asked for again. None by default.
    fn changes(&self) -> Option<BoxStream<'static, ()>> {
        None
    }
}

/// A list that does not change.
#[derive(Clone, Debug, Default)]
pub struct FixedTasks(Vec<Task>);

impl FixedTasks {
    /// A provider of just these tasks.
    pub fn new(tasks: impl IntoIterator<Item = Task>) -> Self {
        Self(tasks.into_iter().collect())
    }
}

#[async_trait]
impl TaskProvider for FixedTasks {
    async fn tasks(&self) -> anyhow::Result<Vec<Task>> {
        Ok(self.0.clone())
    }
}

/// Knows the highest generation of a group that was ever seen outside the coordination store: the highest token in a store
/// that refuses lower ones.
///
/// Tokens are generations, and generations are counted in the coordination store. If that is restored from an older copy it
/// counts on from there, and a store that compares tokens refuses every new holder. A member that comes to lead asks for this
/// number before it grants anything, and where the records are behind it, goes on well above it.
#[async_trait]
pub trait GenerationFloor: Send + Sync + 'static {
    /// The highest generation that is known, or zero.
    ///
    /// # Errors
    /// When it cannot be known now. It is asked for again each second, and nothing is granted meanwhile.
    async fn highest(&self) -> anyhow::Result<u64>;
}
