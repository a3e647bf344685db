//! The cluster's shape where processes without the database find it: in the coordination store.
//!
//! The database has the truth. Whoever is connected to it puts a copy beside the roles' groups; a process that only executes
//! compares itself with that.

use std::time::Duration;

use bytes::Bytes;
use dtf_model::cluster::{self, ClusterTable};
use dtf_model::{ClusterShape, StoreError};
use lrmf_core::Coordination;
use lrmf_core::coordination::{Op, Txn};
use tokio::time::Instant;
use tracing::warn;

/// How long a process that only executes waits for the copy. It may have been lost with all of the store's data, and then
/// nothing is known that it could contradict.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Where the copy is.
fn key(cluster: &str) -> String {
    format!("/dtf/{cluster}/shape")
}

/// Agrees on the shape with the database, and puts the copy.
pub(crate) async fn agree(
    table: &dyn ClusterTable,
    coordination: &dyn Coordination,
    name: &str,
    ours: ClusterShape,
) -> Result<(), StoreError> {
    cluster::agree(table, ours).await?;
    copy(coordination, name, ours).await
}

/// Puts the copy.
pub(crate) async fn copy(
    coordination: &dyn Coordination,
    name: &str,
    shape: ClusterShape,
) -> Result<(), StoreError> {
    let value = Bytes::from(serde_json::json!(shape).to_string());
    if found(coordination, name).await?.as_ref() == Some(&value) {
        return Ok(());
    }
    let put = Op::Put { key: key(name), value, lease: None };
    let written = coordination.commit(Txn { guards: Vec::new(), ops: vec![put] }).await;
    written.map(drop).map_err(|error| unanswered(&error))
}

/// Compares the shape with the copy.
pub(crate) async fn compare(
    coordination: &dyn Coordination,
    name: &str,
    ours: ClusterShape,
) -> Result<(), StoreError> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(text) = found(coordination, name).await? {
            let theirs = cluster::read(&String::from_utf8_lossy(&text))?;
            return Ok(theirs.agrees_with(ours)?);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    warn!(cluster = name, "the cluster's counts are not known here yet: this process works with its own");
    Ok(())
}

async fn found(coordination: &dyn Coordination, name: &str) -> Result<Option<Bytes>, StoreError> {
    let key = key(name);
    let snapshot = coordination.list(&key).await.map_err(|error| unanswered(&error))?;
    Ok(snapshot.entries.into_iter().find(|entry| entry.key == key).map(|entry| entry.value))
}

/// All of these calls can be made again.
fn unanswered(error: &lrmf_core::StoreError) -> StoreError {
    StoreError::Unreachable { store: "etcd", cause: error.to_string() }
}

#[cfg(test)]
mod tests {
    use dtf_model::memory::MemoryTable;
    use lrmf_core::MemoryStore;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_process_without_the_database_compares_itself_with_the_copy() {
        let (table, store) = (MemoryTable::new(), MemoryStore::new());
        let ours = ClusterShape::default();
        // Nobody knows anything: there is nothing to contradict.
        compare(&store, "c", ours).await.unwrap();
        agree(&table, &store, "c", ours).await.unwrap();
        compare(&store, "c", ours).await.unwrap();
        let other = ClusterShape { shards: 8, ..ours };
        assert!(
            compare(&store, "c", other).await.unwrap_err().to_string().contains("8 as the number of shards")
        );
        assert!(agree(&table, &store, "c", other).await.is_err());
        compare(&store, "another", other).await.unwrap();
        // The copy follows the truth.
        cluster::grow(&table, ClusterShape { shards: 128, ..ours }).await.unwrap();
        agree(&table, &store, "c", ClusterShape { shards: 128, ..ours }).await.unwrap();
        assert!(compare(&store, "c", ours).await.is_err());
    }
}
