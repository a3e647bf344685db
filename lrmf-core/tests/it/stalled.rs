//! Leaders that cannot write, or cannot read, while others could.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lrmf_core::coordination::{
    Coordination, Lease, LeaseId, Revision, Snapshot, Txn, TxnLimits, TxnOutcome, WatchStream,
};
use lrmf_core::{CoordinationError, Event, MemoryStore};

use crate::support::{Group, holds};

/// A connection over which some things cannot be done any more.
#[derive(Debug)]
struct Partial {
    inner: MemoryStore,
    no_group_writes: AtomicBool,
    no_deletions: AtomicBool,
    no_group_reads: AtomicBool,
    refused: AtomicUsize,
}

impl Partial {
    fn of(inner: MemoryStore) -> Arc<Self> {
        let no = || AtomicBool::new(false);
        Arc::new(Self {
            inner,
            no_group_writes: no(),
            no_deletions: no(),
            no_group_reads: no(),
            refused: AtomicUsize::new(0),
        })
    }
}

#[async_trait]
impl Coordination for Partial {
    async fn grant_lease(&self, ttl: Duration) -> Result<Lease, CoordinationError> {
        self.inner.grant_lease(ttl).await
    }
    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, CoordinationError> {
        self.inner.keep_alive(lease).await
    }
    async fn revoke_lease(&self, lease: LeaseId) -> Result<(), CoordinationError> {
        self.inner.revoke_lease(lease).await
    }
    async fn list(&self, prefix: &str) -> Result<Snapshot, CoordinationError> {
        if self.no_group_reads.load(Ordering::Relaxed) && prefix == "/lrmf/p/b/t/" {
            return Err(CoordinationError::Unknown("it takes too long".into()));
        }
        self.inner.list(prefix).await
    }
    async fn commit(&self, txn: Txn) -> Result<TxnOutcome, CoordinationError> {
        let writes = txn.ops.iter().any(|op| op.key().ends_with("/generation"));
        let deletes = txn.ops.iter().any(|op| op.key().ends_with("/leader"));
        if writes && self.no_group_writes.load(Ordering::Relaxed)
            || deletes && self.no_deletions.load(Ordering::Relaxed)
        {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(CoordinationError::Refused("permission denied".into()));
        }
        self.inner.commit(txn).await
    }
    fn watch(&self, prefix: &str, after: Revision) -> WatchStream {
        self.inner.watch(prefix, after)
    }
    fn limits(&self) -> TxnLimits {
        TxnLimits::ETCD
    }
}

async fn led_by_another(break_it: impl Fn(&Partial), mend: impl AsyncFn(&Partial)) -> usize {
    let group = Group::new(6);
    let odd = Partial::of(group.store.connection());
    let a = group.member_on("a", odd.clone()).start().await.unwrap();
    holds(&a, 6).await;
    let b = group.join("b").await;
    holds(&b, 3).await;
    let mut events = a.events();
    break_it(&odd);
    let c = group.join("c").await;
    mend(&odd).await;
    tokio::time::timeout(Duration::from_secs(60), holds(&c, 2)).await.expect("another one leads");
    let mut stalled = 0;
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(1), events.next()).await {
        stalled += usize::from(matches!(event, Event::LeaderStalled { .. }));
    }
    assert_eq!(stalled, 1);
    odd.refused.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_write_leaves_it_to_another_one() {
    let refused =
        led_by_another(|odd| odd.no_group_writes.store(true, Ordering::Relaxed), async |_| {}).await;
    assert!((3..100).contains(&refused), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_read_leaves_it_to_another_one() {
    let unread = |odd: &Partial| {
        odd.no_group_reads.store(true, Ordering::Relaxed);
        odd.inner.break_watches();
    };
    led_by_another(unread, async |_| {}).await;
}

/// The leader's key goes as soon as it can be deleted.
#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_even_step_down_does_so_later() {
    let neither = |odd: &Partial| {
        odd.no_group_writes.store(true, Ordering::Relaxed);
        odd.no_deletions.store(true, Ordering::Relaxed);
    };
    let mend = async |odd: &Partial| {
        tokio::time::sleep(Duration::from_secs(14)).await;
        odd.no_deletions.store(false, Ordering::Relaxed);
    };
    led_by_another(neither, mend).await;
}
