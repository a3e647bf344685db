//! Actions on many tasks, which take a while: each has a row that says how far it is. The port to `tbl_bulk`.
//!
//! The tasks are those that were counted when the action began, so that it acts on exactly these, whoever works on it. One process works
//! on an action at a time: it says until when, writes how far it is under the revision that it knows, and stops where another has
//! written meanwhile.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{InvalidInput, StoreError};

/// The most tasks of an action.
pub const MAX_BULK_TASKS: usize = 10_000;
/// The most refusals that are kept of an action.
pub const MAX_BULK_REFUSALS: usize = 100;

/// The caller on whose behalf an action goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkCaller {
    /// The name, as the audit has it.
    pub name: String,
    /// The network address that it asked from; may be empty.
    pub address: String,
    /// The groups that it was limited to; all where empty.
    pub groups: Vec<String>,
}

/// The description of an action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkSpec {
    /// The caller.
    pub caller: BulkCaller,
    /// The action, by its name.
    pub action: String,
    /// The filter that selected the tasks, as JSON.
    pub filter: serde_json::Value,
    /// The number of tasks.
    pub selected: u64,
}

/// A task that the action was refused for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkRefusal {
    /// The task.
    pub task: u64,
    /// The reason.
    pub detail: String,
}

/// The progress of an action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkState {
    /// The number of tasks, from the first on, that the action was applied to or refused for.
    pub done: u64,
    /// The number that it was applied to.
    pub applied: u64,
    /// The number that it was refused for.
    pub refused: u64,
    /// The first refusals, at most [`MAX_BULK_REFUSALS`].
    pub refusals: Vec<BulkRefusal>,
    /// The time of its end, in milliseconds since the Unix epoch.
    pub finished_at: Option<u64>,
}

/// An action to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBulk {
    /// The action's own name.
    pub id: Uuid,
    /// Its description.
    pub spec: BulkSpec,
    /// The tasks, in the order in which it goes through them.
    pub tasks: Vec<u64>,
    /// The time, in milliseconds since the Unix epoch.
    pub now: u64,
}

impl NewBulk {
    /// Checks that it can be kept.
    ///
    /// # Errors
    /// It has too many tasks.
    pub fn check(&self) -> Result<(), InvalidInput> {
        if self.tasks.len() > MAX_BULK_TASKS {
            let (got, allowed) = (self.tasks.len().to_string(), format!("at most {MAX_BULK_TASKS}"));
            return Err(InvalidInput::OutOfRange { what: "the number of tasks of an action", got, allowed });
        }
        Ok(())
    }
}

/// An action on many tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkRow {
    /// The action's own name.
    pub id: Uuid,
    /// Its description.
    pub spec: BulkSpec,
    /// Its progress.
    pub state: BulkState,
    /// The number of times that the progress was written.
    pub revision: u64,
    /// The time of its creation, in milliseconds since the Unix epoch.
    pub created_at: u64,
}

/// The next state of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkUpdate {
    /// The action.
    pub id: Uuid,
    /// The revision that is known of it.
    pub revision: u64,
    /// The progress.
    pub state: BulkState,
    /// The time until which the writer works on it; none where it has ended.
    pub until: Option<u64>,
}

/// The table of actions on many tasks.
///
/// # What an implementor guarantees
/// - A call that returned `Ok` is durable, and the next read sees it.
/// - An action that is there stays as it is when it is added again.
/// - An update applies where the revision is the one that is stored, and raises it by one. It says whether it applied.
/// - What does not fit is refused with [`StoreError::InvalidInput`] and nothing is written.
///
/// ```
/// use dtf_memory::MemoryTable;
/// use dtf_model::bulk::{BulkSpec, BulkState, BulkTable, BulkUpdate, NewBulk};
/// use uuid::Uuid;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// let table = MemoryTable::new();
/// let (id, spec) = (Uuid::new_v4(), BulkSpec { action: "cancel".into(), selected: 2, ..BulkSpec::default() });
/// table.add_bulk(&NewBulk { id, spec, tasks: vec![2, 1], now: 1000 }).await?;
/// let due = table.due_bulks(1000, 10).await?;
/// let claim = BulkUpdate { id, revision: due[0].revision, state: BulkState::default(), until: Some(31_000) };
/// assert!(table.update_bulk(&claim).await?);
/// assert!(!table.update_bulk(&claim).await?, "another process has it");
/// assert!(table.due_bulks(30_000, 10).await?.is_empty());
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait BulkTable: Send + Sync + 'static {
    /// Adds an action that nobody works on yet.
    async fn add_bulk(&self, new: &NewBulk) -> Result<(), StoreError>;

    /// One action.
    async fn bulk(&self, id: Uuid) -> Result<Option<BulkRow>, StoreError>;

    /// The tasks of an action, in their order; none where there is no such action.
    async fn tasks_of_bulk(&self, id: Uuid) -> Result<Vec<u64>, StoreError>;

    /// Writes how far an action is. Says whether it applied.
    async fn update_bulk(&self, update: &BulkUpdate) -> Result<bool, StoreError>;

    /// The actions that have not ended and that nobody works on at this time, those that wait longest first, at most so many.
    async fn due_bulks(&self, now: u64, most: u32) -> Result<Vec<BulkRow>, StoreError>;

    /// Deletes actions that were created before a time, at most so many. Says whether any was there.
    async fn forget_bulks(&self, before: u64, most: u32) -> Result<bool, StoreError>;
}
