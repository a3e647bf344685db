//! The port to `tbl_cluster`: what all processes of a cluster have to agree on, kept beside the tasks.

use async_trait::async_trait;

use crate::error::{InvalidInput, StoreError};
use crate::queue::QueueStore;
use crate::shape::ClusterShape;

/// The name of the note that has the cluster's shape.
const SHAPE: &str = "shape";
/// The name of the note that has the number of the cluster's database.
const ID: &str = "cluster.id";

/// A few short notes, each under a name.
///
/// # What an implementor guarantees
/// A call that returned `Ok` is durable. Every write is one conditional statement, and says what came of it.
///
/// ```
/// use dtf_memory::MemoryTable;
/// use dtf_model::cluster::ClusterTable;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// let table = MemoryTable::new();
/// assert_eq!(table.note_once("colour", "red").await?, "red");
/// assert_eq!(table.note_once("colour", "blue").await?, "red", "the first one stays");
/// assert!(table.replace_note("colour", "red", "blue").await?);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait ClusterTable: Send + Sync + 'static {
    /// Returns the text that is noted under a name.
    async fn note(&self, name: &str) -> Result<Option<String>, StoreError>;

    /// Notes something where nothing is noted yet, and says what is noted then: this, or what was there before.
    async fn note_once(&self, name: &str, value: &str) -> Result<String, StoreError>;

    /// Replaces a note that still is as expected. Says whether it is as wanted now.
    async fn replace_note(&self, name: &str, expected: &str, value: &str) -> Result<bool, StoreError>;
}

/// Returns the identity of the cluster with this name on this database, as other stores record it. The first call draws it.
///
/// # Errors
/// The store failed.
pub async fn identity(table: &dyn ClusterTable, name: &str) -> Result<String, StoreError> {
    let drawn = uuid::Uuid::new_v4().to_string();
    let id = match table.note(ID).await? {
        Some(id) => id,
        None => table.note_once(ID, &drawn).await?,
    };
    Ok(format!("{name} {id}"))
}

/// Claims the queues for a cluster: a store of queues belongs to the one that claims it first.
///
/// # Errors
/// [`InvalidInput::OtherCluster`] where they belong to another cluster; or the store failed.
pub async fn claim(queues: &dyn QueueStore, identity: &str) -> Result<(), StoreError> {
    Ok(check_owner("Redis", &queues.claim(identity).await?, identity)?)
}

/// Checks the owner that a store records.
///
/// # Errors
/// [`InvalidInput::OtherCluster`] where it is another cluster.
pub fn check_owner(store: &'static str, recorded: &str, identity: &str) -> Result<(), InvalidInput> {
    if recorded == identity {
        return Ok(());
    }
    Err(InvalidInput::OtherCluster { store, theirs: recorded.to_owned(), ours: identity.to_owned() })
}

/// Checks that a process divides the work as its cluster does. The first process of a cluster decides how that is. Returns the cluster's
/// shape: its [mapping](ClusterShape::mapping) may be that of an earlier version.
///
/// # Errors
/// [`InvalidInput::Shape`] where the cluster does it otherwise; or the store failed.
pub async fn agree(table: &dyn ClusterTable, ours: ClusterShape) -> Result<ClusterShape, StoreError> {
    ours.check()?;
    let theirs = table.note_once(SHAPE, &written(ours)).await?;
    let theirs = read(&theirs)?;
    theirs.agrees_with(ours)?;
    Ok(theirs)
}

/// Returns the recorded shape of the cluster; `None` before its first process.
///
/// # Errors
/// The store failed, or has something else.
pub async fn shape(table: &dyn ClusterTable) -> Result<Option<ClusterShape>, StoreError> {
    table.note(SHAPE).await?.as_deref().map(read).transpose()
}

/// Divides the work of a cluster into more parts, or into as many with another [mapping](ClusterShape::mapping). All of its processes have to have ended: those that run go on with the
/// parts that they know. Nothing has to be moved: tasks are dealt anew to the buckets by their ids, and what is on a shard
/// stays there.
///
/// # Errors
/// [`InvalidInput::Shrinks`] where a count is below the cluster's: what is on a shard that nobody holds would stay there for ever.
/// Or the store failed.
pub async fn grow(table: &dyn ClusterTable, to: ClusterShape) -> Result<(), StoreError> {
    to.check()?;
    let (from, to_text) = (table.note_once(SHAPE, &written(to)).await?, written(to));
    if let Some((what, from, to)) = read(&from)?.shrinks_to(to) {
        return Err(InvalidInput::Shrinks { what, from, to }.into());
    }
    if table.replace_note(SHAPE, &from, &to_text).await? {
        return Ok(());
    }
    Err(changed_meanwhile())
}

/// Notes another shape, whatever was noted before: for a process that shares its stores with no other, and has just begun.
///
/// # Errors
/// The store failed.
pub async fn begin_alone(table: &dyn ClusterTable, shape: ClusterShape) -> Result<(), StoreError> {
    let (before, wanted) = (table.note_once(SHAPE, &written(shape)).await?, written(shape));
    if table.replace_note(SHAPE, &before, &wanted).await? { Ok(()) } else { Err(changed_meanwhile()) }
}

fn changed_meanwhile() -> StoreError {
    let cause = "the cluster's counts were changed at the same time; look at them, then try again".to_owned();
    StoreError::Refused { store: "tbl_cluster", cause }
}

fn written(shape: ClusterShape) -> String {
    serde_json::json!(shape).to_string()
}

/// A shape as it is noted.
///
/// # Errors
/// It is none, or one of a newer program.
pub fn read(text: &str) -> Result<ClusterShape, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Refused {
        store: "tbl_cluster",
        cause: format!("the cluster's shape is noted in a way that this program does not know: {error}"),
    })
}
