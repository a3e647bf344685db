//! Leases.

use super::{SOON, Scope, Subject, must, next_batch};
use crate::coordination::{LeaseId, Txn, WatchEvent};
use crate::error::CoordinationError;

fn deleted(events: &[WatchEvent]) -> Vec<&str> {
    let mut keys: Vec<&str> = events
        .iter()
        .map(|event| match event {
            WatchEvent::Delete { key } => key.as_str(),
            WatchEvent::Put(entry) => panic!("a put of {} where only deletions were due", entry.key),
        })
        .collect();
    keys.sort_unstable();
    keys
}

/// A lease that nobody keeps alive ends after its TTL and not before; its keys go with it, in one revision, and a
/// watcher sees that without anybody calling the store.
pub async fn a_lease_ends_in_time_with_its_keys(subject: &dyn Subject) {
    let scope = Scope::new(subject);
    let lease = must(scope.store.grant_lease(subject.ttl()).await);
    assert!(lease.ttl >= subject.ttl());
    let ops = vec![
        scope.put("a", "", Some(lease.id)),
        scope.put("b", "", Some(lease.id)),
        scope.put("c", "", None),
    ];
    let revision = scope.write(ops).await;
    assert_eq!(scope.get("a").await.and_then(|entry| entry.lease), Some(lease.id));

    subject.pass(lease.ttl / 3).await;
    assert_eq!(scope.names().await, ["a", "b", "c"], "not before its time");
    let mut watch = scope.watch(revision);
    let batch = next_batch(&mut watch, lease.ttl + subject.lateness()).await;
    assert_eq!(deleted(&batch.events), [scope.key("a"), scope.key("b")]);
    assert_eq!(scope.names().await, ["c"]);
}

/// A lease that is kept alive within its TTL outlives it.
pub async fn a_lease_kept_alive_lives_on(subject: &dyn Subject) {
    let scope = Scope::new(subject);
    let lease = must(scope.store.grant_lease(subject.ttl()).await);
    scope.write(vec![scope.put("a", "", Some(lease.id))]).await;
    for _ in 0..5 {
        subject.pass(lease.ttl / 3).await;
        assert_eq!(must(scope.store.keep_alive(lease.id).await), lease.ttl);
    }
    assert_eq!(scope.names().await, ["a"]);
    must(scope.store.revoke_lease(lease.id).await);
}

/// A revoked lease takes its keys with it, in one revision; revoking it again is no error.
pub async fn a_revoked_lease_ends_at_once(subject: &dyn Subject) {
    let scope = Scope::new(subject);
    let lease = must(scope.store.grant_lease(subject.ttl()).await);
    let revision =
        scope.write(vec![scope.put("a", "", Some(lease.id)), scope.put("b", "", Some(lease.id))]).await;
    let mut watch = scope.watch(revision);
    must(scope.store.revoke_lease(lease.id).await);
    assert!(scope.entries().await.is_empty());
    assert_eq!(deleted(&next_batch(&mut watch, SOON).await.events), [scope.key("a"), scope.key("b")]);
    must(scope.store.revoke_lease(lease.id).await);
    must(scope.store.revoke_lease(LeaseId(i64::MAX)).await);
}

/// Once a lease has ended, by time or by revocation, keep-alives and puts under it say so and do nothing.
pub async fn an_ended_lease_never_comes_back(subject: &dyn Subject) {
    let scope = Scope::new(subject);
    let revoked = must(scope.store.grant_lease(subject.ttl()).await);
    let expired = must(scope.store.grant_lease(subject.ttl()).await);
    let bound = [revoked.id, expired.id].map(|lease| scope.put(&lease.0.to_string(), "", Some(lease)));
    let revision = scope.write(bound.to_vec()).await;
    let mut watch = scope.watch(revision);
    must(scope.store.revoke_lease(revoked.id).await);
    for ended in [revoked.id, expired.id] {
        let batch = next_batch(&mut watch, expired.ttl + subject.lateness()).await;
        assert_eq!(deleted(&batch.events), [scope.key(&ended.0.to_string())]);
    }
    for lease in [revoked.id, expired.id, LeaseId(i64::MAX)] {
        let kept = scope.store.keep_alive(lease).await;
        assert!(matches!(kept, Err(CoordinationError::LeaseGone)), "{kept:?}");
        let ops = vec![scope.put("free", "", None), scope.put("bound", "", Some(lease))];
        let put = scope.store.commit(Txn { guards: Vec::new(), ops }).await;
        assert!(matches!(put, Err(CoordinationError::LeaseGone)), "{put:?}");
    }
    assert!(scope.entries().await.is_empty());
}

/// A put decides what its key is bound to: the end of the lease before no longer touches it.
pub async fn a_key_moves_between_leases(subject: &dyn Subject) {
    let scope = Scope::new(subject);
    let first = must(scope.store.grant_lease(subject.ttl()).await).id;
    let second = must(scope.store.grant_lease(subject.ttl()).await).id;
    let bound = |lease| vec![scope.put("freed", "", lease), scope.put("moved", "", lease)];
    scope.write(bound(Some(first))).await;
    scope.write(vec![scope.put("freed", "", None), scope.put("moved", "", Some(second))]).await;
    must(scope.store.revoke_lease(first).await);
    assert_eq!(scope.names().await, ["freed", "moved"]);
    must(scope.store.revoke_lease(second).await);
    assert_eq!(scope.names().await, ["freed"]);
}
