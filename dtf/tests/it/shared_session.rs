//! A process with all roles is a member of five groups, and keeps one session.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dtf::Ports;
use dtf_model::Role;
use lrmf_core::coordination::{
    Coordination, Lease, LeaseId, Revision, Snapshot, Txn, TxnLimits, TxnOutcome, WatchStream,
};
use lrmf_core::{CoordinationError, MemoryStore};

use crate::common::{Numbers, Stage, ok};

/// A store that counts leases and signs of life.
#[derive(Debug, Default)]
struct Counted {
    inner: MemoryStore,
    leases: AtomicUsize,
    keep_alives: AtomicUsize,
}

#[async_trait]
impl Coordination for Counted {
    async fn grant_lease(&self, ttl: Duration) -> Result<Lease, CoordinationError> {
        self.leases.fetch_add(1, Ordering::SeqCst);
        self.inner.grant_lease(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, CoordinationError> {
        self.keep_alives.fetch_add(1, Ordering::SeqCst);
        self.inner.keep_alive(lease).await
    }

    async fn revoke_lease(&self, lease: LeaseId) -> Result<(), CoordinationError> {
        self.inner.revoke_lease(lease).await
    }

    async fn list(&self, prefix: &str) -> Result<Snapshot, CoordinationError> {
        self.inner.list(prefix).await
    }

    async fn commit(&self, txn: Txn) -> Result<TxnOutcome, CoordinationError> {
        self.inner.commit(txn).await
    }

    fn watch(&self, prefix: &str, after: Revision) -> WatchStream {
        self.inner.watch(prefix, after)
    }

    fn limits(&self) -> TxnLimits {
        self.inner.limits()
    }
}

#[tokio::test(start_paused = true)]
async fn the_roles_of_a_process_have_one_lease_and_one_sign_of_life() {
    let (stage, store) = (Stage::new(), Arc::new(Counted::default()));
    let ports = Ports { coordination: store.clone(), ..stage.ports.clone() };
    let process = stage.process_on(ports, "a", Numbers::new(ok));
    process.start_all().await.unwrap();
    for role in Role::ALL {
        let member = process.member(role).await.unwrap();
        member.held().wait_for(|held| !held.is_empty()).await.unwrap();
    }
    assert_eq!((Role::ALL.len(), store.leases.load(Ordering::SeqCst)), (5, 1));
    let before = store.keep_alives.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(100)).await;
    // One each fifth of a TTL of ten seconds, at the most.
    let sent = store.keep_alives.load(Ordering::SeqCst) - before;
    assert!((20..=50).contains(&sent), "{sent}");
    process.stop().await;
}
