//! The store keeps every obligation of the port, on a real etcd.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lrmf_core::Coordination;
use lrmf_core::testkit::coordination::{Subject, run_all};
use lrmf_etcd::{EtcdConfig, EtcdStore};

use crate::support::{Etcd, PATIENCE, connected, patient};

struct OnEtcd(Arc<EtcdStore>);

#[async_trait]
impl Subject for OnEtcd {
    fn store(&self) -> Arc<dyn Coordination> {
        self.0.clone()
    }

    async fn pass(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    fn ttl(&self) -> Duration {
        Duration::from_secs(12)
    }

    fn lateness(&self) -> Duration {
        PATIENCE
    }

    async fn compact(&self) -> bool {
        let now = self.0.list("/testkit/").await.unwrap().revision;
        self.0.client().await.unwrap().compact(i64::try_from(now.0).unwrap(), None).await.unwrap();
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_conforms() {
    let etcd = Etcd::start();
    run_all(&OnEtcd(Arc::new(etcd.store().await))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_conforms_below_a_root() {
    let etcd = Etcd::start();
    let config = EtcdConfig { root: "/some/where".to_owned(), ..patient([etcd.endpoint()]) };
    run_all(&OnEtcd(Arc::new(connected(config).await))).await;
}
