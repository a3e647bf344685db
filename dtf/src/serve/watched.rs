//! The servers of a running service: whether each of them takes what the service writes.
//!
//! A server that answers and refuses every write (a full disk, a read-only replica, an alarm) is as good as none, and nothing but a
//! write shows it. So each is asked to take one, by every process, every [`PERIOD`].

use std::sync::Arc;
use std::time::Duration;

use dtf_model::StoreError;
use dtf_model::cluster::{self, ClusterTable};
use dtf_model::queue::QueueStore;
use dtf_model::table::TaskTable;
use dtf_redis::{Redis, RedisQueues};
use lrmf_etcd::EtcdStore;
use serde::Serialize;
use tracing::{info, warn};

use super::health::Health;

/// The time between two looks.
const PERIOD: Duration = Duration::from_secs(10);

/// A server that does not take writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Refusing {
    /// The part of the settings that names it.
    pub(crate) server: &'static str,
    /// The reason.
    pub(crate) why: String,
}

/// The servers of a service.
pub(crate) struct Watched {
    pub(crate) etcd: Arc<EtcdStore>,
    /// None where the process only executes.
    pub(crate) table: Option<Arc<dyn TaskTable>>,
    pub(crate) redis: Redis,
    /// The cluster, where it is known.
    pub(crate) identity: Option<String>,
}

impl Watched {
    /// Looks at the servers again and again. Never ends.
    pub(crate) async fn watch(&self, health: &Health) {
        let mut known = Vec::new();
        loop {
            let found = self.look().await;
            for Refusing { server, why } in found.iter().filter(|refusing| !known.contains(*refusing)) {
                warn!(server, %why, "a server takes no writes");
            }
            if found.is_empty() && !known.is_empty() {
                info!("all servers take writes again");
            }
            health.refused_by(found.clone());
            known = found;
            tokio::time::sleep(PERIOD).await;
        }
    }

    async fn look(&self) -> Vec<Refusing> {
        let table = async {
            match &self.table {
                Some(table) => check_table(&**table).await.map_err(|error| error.to_string()),
                None => Ok(()),
            }
        };
        let redis = async {
            self.redis.check_writable().await?;
            match &self.identity {
                // One that was emptied is claimed again, before another cluster does it.
                Some(identity) => claim(&RedisQueues::new(self.redis.clone()), identity).await,
                None => Ok(()),
            }
        };
        let (etcd, table, redis) = tokio::join!(check_etcd(&self.etcd), table, redis);
        let found = [("etcd", etcd), ("mysql", table), ("redis", redis.map_err(|error| error.to_string()))];
        let refusing =
            |(server, answer): (_, Result<(), String>)| answer.err().map(|why| Refusing { server, why });
        found.into_iter().filter_map(refusing).collect()
    }
}

async fn claim(queues: &dyn QueueStore, identity: &str) -> Result<(), StoreError> {
    cluster::claim(queues, identity).await
}

/// Asks a database to take a write, one that changes nothing.
pub(crate) async fn check_table(table: &dyn TaskTable) -> Result<(), StoreError> {
    ClusterTable::replace_note(table, "probe", "", "").await.map(drop)
}

/// Asks etcd whether it takes writes.
pub(crate) async fn check_etcd(etcd: &EtcdStore) -> Result<(), String> {
    match etcd.complaints().await {
        Ok(complaints) if complaints.is_empty() => Ok(()),
        Ok(complaints) => Err(format!(
            "etcd says: {}; with the alarm NOSPACE it refuses writes until it is compacted and defragmented and the alarm is taken back \
             (etcdctl alarm disarm)",
            complaints.join(", ")
        )),
        Err(error) => Err(error.to_string()),
    }
}
