use bytes::Bytes;

use super::*;
use crate::coordination::{Op, WatchError, WatchEvent};
use crate::testkit::coordination::{InMemory, run_all};

fn put(key: &str, lease: Option<LeaseId>) -> Txn {
    let op = Op::Put { key: key.into(), value: Bytes::new(), lease };
    Txn { guards: Vec::new(), ops: vec![op] }
}

async fn keys(store: &MemoryStore) -> Vec<String> {
    store.list("").await.unwrap().entries.into_iter().map(|entry| entry.key).collect()
}

#[tokio::test(start_paused = true)]
async fn passes_the_conformance_suite() {
    run_all(&InMemory::new(MemoryStore::new())).await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_exactly_at_its_ttl() {
    let store = MemoryStore::new();
    let begun = Instant::now();
    let long = store.grant_lease(Duration::from_secs(9)).await.unwrap();
    let short = store.grant_lease(Duration::from_secs(3)).await.unwrap();
    store.commit(put("long", Some(long.id))).await.unwrap();
    store.commit(put("short", Some(short.id))).await.unwrap();
    let mut watch = store.watch("", store.revision());
    for (key, ttl) in [("short", 3), ("long", 9)] {
        let batch = watch.next().await.unwrap().unwrap();
        assert_eq!(batch.events, [WatchEvent::Delete { key: key.into() }]);
        assert_eq!(begun.elapsed(), Duration::from_secs(ttl));
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_of_one_connection_and_says_what_may_have_happened() {
    let store = MemoryStore::new();
    let other = store.connection();
    let mut watch = store.watch("", store.revision());
    for (outage, applied) in
        [(Outage::Unreachable, false), (Outage::UnknownNotApplied, false), (Outage::UnknownApplied, true)]
    {
        store.set_outage(Some(outage));
        let error = store.commit(put("a", None)).await.unwrap_err();
        assert_eq!(error.is_definitely_not_applied(), outage == Outage::Unreachable);
        assert!(error.is_retryable());
        assert_eq!(keys(&other).await.len(), usize::from(applied));
        let mut late = store.watch("", Revision(0));
        assert!(matches!(late.next().await, Some(Err(WatchError::Lost(_)))));
        assert!(late.next().await.is_none());
    }
    assert!(matches!(watch.next().await, Some(Err(WatchError::Lost(_)))));
    store.set_outage(None);
    assert_eq!(keys(&store).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn planned_failures_come_one_a_call_in_order() {
    let store = MemoryStore::new();
    store.fail_next(Outage::Unreachable);
    store.fail_next(Outage::UnknownApplied);
    let mut watch = store.watch("", Revision(0));
    assert!(matches!(store.commit(put("a", None)).await, Err(CoordinationError::Unreachable(_))));
    assert!(matches!(store.commit(put("b", None)).await, Err(CoordinationError::Unknown(_))));
    assert_eq!(keys(&store).await, ["b"]);
    assert!(watch.next().await.unwrap().is_ok(), "a failed call does not break watches");
}

#[tokio::test(start_paused = true)]
async fn broken_watches_end_and_can_be_resumed() {
    let store = MemoryStore::new();
    let mut elsewhere = store.connection().watch("", Revision(0));
    let mut watch = store.watch("", Revision(0));
    store.break_watches();
    store.commit(put("a", None)).await.unwrap();
    assert!(matches!(watch.next().await, Some(Err(WatchError::Lost(_)))));
    assert!(watch.next().await.is_none());
    let resumed = store.watch("", Revision(0)).next().await.unwrap().unwrap();
    assert_eq!(elsewhere.next().await.unwrap().unwrap(), resumed);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_too_far_behind_is_told_so_and_an_idle_one_is_not() {
    let store = MemoryStore::with_history(3);
    let mut lagging = store.watch("busy", Revision(0));
    let mut idle = store.watch("quiet", Revision(0));
    for _ in 0..4 {
        store.commit(put("busy", None)).await.unwrap();
    }
    store.commit(put("quiet", None)).await.unwrap();
    assert!(matches!(lagging.next().await, Some(Err(WatchError::Compacted))));
    assert!(idle.next().await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn restarted_leases_have_their_full_ttl_again() {
    let store = MemoryStore::new();
    let lease = store.grant_lease(Duration::from_secs(4)).await.unwrap();
    store.commit(put("a", Some(lease.id))).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    store.restart_leases();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(keys(&store).await, ["a"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(keys(&store).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn dropped_watches_leave_nothing_behind() {
    let store = MemoryStore::new();
    drop(store.watch("", Revision(0)));
    store.grant_lease(Duration::from_secs(4)).await.unwrap();
    let timer = locked(&store.shared.timer).as_ref().map(AbortOnDropHandle::abort_handle).unwrap();
    assert_eq!(Arc::strong_count(&store.shared), 1);
    drop(store);
    tokio::task::yield_now().await;
    assert!(timer.is_finished());
}
