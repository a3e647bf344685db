//! The cluster's shape where processes without the database find it: in the coordination store.
//!
//! The database has the truth. Whoever is connected to it puts a copy beside the roles' groups, and puts it again should it be
//! lost; a process that only executes compares itself with that, and waits for it.

use std::time::Duration;

use bytes::Bytes;
use dtf_model::cluster::{self, ClusterTable};
use dtf_model::{ClusterShape, StoreError};
use lrmf_core::Coordination;
use lrmf_core::coordination::{Guard, Op, Txn};
use tracing::warn;

/// The period at which a process with the database checks that the copy is there: it may have been lost with all of the
/// store's data.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Returns the key of the copy.
fn key(cluster: &str) -> String {
    format!("/dtf/{cluster}/shape")
}

/// Agrees on the shape with the database, and puts the copy. Returns the cluster's.
pub(crate) async fn agree(
    table: &dyn ClusterTable,
    coordination: &dyn Coordination,
    name: &str,
    ours: ClusterShape,
) -> Result<ClusterShape, StoreError> {
    let theirs = cluster::agree(table, ours).await?;
    copy(coordination, name, theirs).await?;
    Ok(theirs)
}

/// Puts the copy.
pub(crate) async fn copy(
    coordination: &dyn Coordination,
    name: &str,
    shape: ClusterShape,
) -> Result<(), StoreError> {
    let value = written(shape);
    if found(coordination, name).await?.as_ref() == Some(&value) {
        return Ok(());
    }
    let put = Op::Put { key: key(name), value, lease: None };
    let written = coordination.commit(Txn { guards: Vec::new(), ops: vec![put] }).await;
    written.map(drop).map_err(|error| unanswered(&error))
}

/// Puts the copy again where it was lost, for as long as this is polled. One that is there is not touched: it is of a process
/// that has agreed with the database later.
pub(crate) async fn keep(coordination: &dyn Coordination, name: &str, ours: ClusterShape) {
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        if let Err(error) = put_lost(coordination, name, ours).await {
            warn!(cluster = name, %error, "not known whether the cluster's counts are there for others");
        }
    }
}

async fn put_lost(coordination: &dyn Coordination, name: &str, ours: ClusterShape) -> Result<(), StoreError> {
    if found(coordination, name).await?.is_some() {
        return Ok(());
    }
    warn!(cluster = name, "the cluster's counts were lost, put again");
    let absent = Guard::Absent { key: key(name) };
    let put = Op::Put { key: key(name), value: written(ours), lease: None };
    let written = coordination.commit(Txn { guards: vec![absent], ops: vec![put] }).await;
    written.map(drop).map_err(|error| unanswered(&error))
}

/// Compares the shape with the copy, if there is one. Returns it.
pub(crate) async fn compare(
    coordination: &dyn Coordination,
    name: &str,
    ours: ClusterShape,
) -> Result<Option<ClusterShape>, StoreError> {
    let Some(text) = found(coordination, name).await? else { return Ok(None) };
    let theirs = cluster::read(&String::from_utf8_lossy(&text))?;
    theirs.agrees_with(ours)?;
    Ok(Some(theirs))
}

fn written(shape: ClusterShape) -> Bytes {
    Bytes::from(serde_json::json!(shape).to_string())
}

async fn found(coordination: &dyn Coordination, name: &str) -> Result<Option<Bytes>, StoreError> {
    found_at(coordination, &key(name)).await
}

/// The value at a key.
pub(super) async fn found_at(
    coordination: &dyn Coordination,
    key: &str,
) -> Result<Option<Bytes>, StoreError> {
    let snapshot = coordination.list(key).await.map_err(|error| unanswered(&error))?;
    Ok(snapshot.entries.into_iter().find(|entry| entry.key == key).map(|entry| entry.value))
}

/// All of these calls can be made again.
pub(super) fn unanswered(error: &lrmf_core::CoordinationError) -> StoreError {
    StoreError::Unreachable { store: "etcd", cause: error.to_string() }
}

#[cfg(test)]
mod tests {
    use dtf_memory::MemoryTable;
    use dtf_model::table::BucketMapping;
    use lrmf_core::MemoryStore;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_process_without_the_database_compares_itself_with_the_copy() {
        let (table, store) = (MemoryTable::new(), MemoryStore::new());
        let ours = ClusterShape::default();
        assert_eq!(compare(&store, "c", ours).await.unwrap(), None);
        agree(&table, &store, "c", ours).await.unwrap();
        assert_eq!(compare(&store, "c", ours).await.unwrap(), Some(ours));
        let other = ClusterShape { shards: 8, ..ours };
        assert!(
            compare(&store, "c", other).await.unwrap_err().to_string().contains("8 as the number of shards")
        );
        assert!(agree(&table, &store, "c", other).await.is_err());
        assert_eq!(compare(&store, "another", other).await.unwrap(), None);
        // The copy follows the truth.
        cluster::grow(&table, ClusterShape { shards: 128, ..ours }).await.unwrap();
        agree(&table, &store, "c", ClusterShape { shards: 128, ..ours }).await.unwrap();
        assert!(compare(&store, "c", ours).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_that_was_lost_is_put_again_and_another_one_is_not_touched() {
        let (store, ours) = (MemoryStore::new(), ClusterShape::default());
        let other = ClusterShape { shards: 8, ..ours };
        let keeping = async {
            while compare(&store, "c", ours).await.unwrap().is_none() {
                tokio::time::sleep(LOOK_AGAIN / 2).await;
            }
            copy(&store, "c", other).await.unwrap();
            tokio::time::sleep(10 * LOOK_AGAIN).await;
        };
        tokio::select! {
            () = keep(&store, "c", ours) => {}
            () = keeping => {}
        }
        assert_eq!(compare(&store, "c", other).await.unwrap(), Some(other));
    }

    /// A cluster of the previous version goes on to deal tasks as it did, until it is changed while none of its processes runs.
    #[tokio::test(start_paused = true)]
    async fn the_mapping_of_an_earlier_version_is_kept_until_it_is_changed() {
        let (table, store) = (MemoryTable::new(), MemoryStore::new());
        let ours = ClusterShape::default();
        let earlier = ClusterShape { mapping: BucketMapping::Remainder, ..ours };
        let text = r#"{"collection_buckets":16,"generation_buckets":16,"partitions":1,"shards":64,"watch_buckets":16}"#;
        table.note_once("shape", text).await.unwrap();
        assert_eq!(agree(&table, &store, "c", ours).await.unwrap(), earlier);
        assert_eq!(found(&store, "c").await.unwrap().unwrap(), text);
        assert_eq!(compare(&store, "c", ours).await.unwrap(), Some(earlier));
        cluster::grow(&table, ours).await.unwrap();
        assert_eq!(agree(&table, &store, "c", ours).await.unwrap(), ours);
    }
}
