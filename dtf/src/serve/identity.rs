//! The identity of the cluster, where processes without the database find it: in the coordination store, beside the copy of the
//! cluster's shape.
//!
//! Two clusters of one name on one etcd would deal each other's work, and two on one Redis with one key prefix would take each
//! other's queues. So each store records the cluster that came first, and a process of another one is refused.

use bytes::Bytes;
use dtf_model::StoreError;
use dtf_model::cluster::{self, ClusterTable};
use dtf_model::queue::QueueStore;
use lrmf_core::Coordination;
use lrmf_core::coordination::{Guard, Op, Txn};

use super::shape::{found_at, unanswered};

fn key(cluster: &str) -> String {
    format!("/dtf/{cluster}/id")
}

/// Claims the coordination store and the queues for the cluster of a database. Without the database, the identity is the recorded
/// one; where none is recorded, nothing is claimed. Returns the identity.
pub(crate) async fn claim(
    table: Option<&dyn ClusterTable>,
    coordination: &dyn Coordination,
    queues: &dyn QueueStore,
    name: &str,
) -> Result<Option<String>, StoreError> {
    let recorded = found_at(coordination, &key(name)).await?;
    let recorded = recorded.map(|text| String::from_utf8_lossy(&text).into_owned());
    let Some(table) = table else {
        return match recorded {
            Some(identity) => cluster::claim(queues, &identity).await.map(|()| Some(identity)),
            None => Ok(None),
        };
    };
    let identity = cluster::identity(table, name).await?;
    match recorded {
        Some(recorded) => cluster::check_owner("etcd", &recorded, &identity)?,
        // Another process may have been faster: it is compared with at the next start.
        None => record(coordination, name, &identity, true).await?,
    }
    cluster::claim(queues, &identity).await?;
    Ok(Some(identity))
}

/// Records the cluster in the coordination store, in place of another one.
pub(crate) async fn adopt(
    coordination: &dyn Coordination,
    name: &str,
    identity: &str,
) -> Result<(), StoreError> {
    record(coordination, name, identity, false).await
}

async fn record(
    coordination: &dyn Coordination,
    name: &str,
    identity: &str,
    only_if_absent: bool,
) -> Result<(), StoreError> {
    let guards = if only_if_absent { vec![Guard::Absent { key: key(name) }] } else { Vec::new() };
    let put = Op::Put { key: key(name), value: Bytes::from(identity.to_owned()), lease: None };
    let written = coordination.commit(Txn { guards, ops: vec![put] }).await;
    written.map(drop).map_err(|error| unanswered(&error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dtf_memory::{MemoryQueues, MemoryTable};
    use lrmf_core::MemoryStore;
    use lrmf_core::clock::RuntimeClock;

    use super::*;

    fn queues() -> MemoryQueues {
        MemoryQueues::new(Arc::new(RuntimeClock::new()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_of_another_cluster_is_refused() {
        let (ours, theirs) = (MemoryTable::new(), MemoryTable::new());
        let (etcd, redis) = (MemoryStore::new(), queues());
        // Executors may come first, and claim nothing.
        claim(None, &etcd, &redis, "c").await.unwrap();
        for _ in 0..2 {
            claim(Some(&ours), &etcd, &redis, "c").await.unwrap();
            claim(None, &etcd, &redis, "c").await.unwrap();
        }
        // Another database on the same etcd, under the same name; another cluster on the same Redis; an executor of that one.
        let same_name = claim(Some(&theirs), &etcd, &queues(), "c").await.unwrap_err().to_string();
        assert!(same_name.starts_with("etcd belongs to the cluster c "), "{same_name}");
        let same_redis = claim(Some(&theirs), &etcd, &redis, "d").await.unwrap_err().to_string();
        assert!(same_redis.starts_with("Redis belongs to the cluster c "), "{same_redis}");
        assert!(same_redis.contains("dtf cluster adopt"), "{same_redis}");
        assert!(claim(None, &etcd, &redis, "d").await.is_err());
        // Another name on the same database is another cluster.
        assert!(claim(Some(&ours), &etcd, &redis, "e").await.is_err());
        let identity = cluster::identity(&theirs, "c").await.unwrap();
        adopt(&etcd, "c", &identity).await.unwrap();
        claim(Some(&theirs), &etcd, &queues(), "c").await.unwrap();
    }
}
