//! Reads and transactions.

use bytes::Bytes;

use super::{Scope, Subject, must};
use crate::coordination::{Guard, Op, Revision, Txn, TxnOutcome};
use crate::error::CoordinationError;

/// A list returns what was written, with the revision of its write; nothing else appears.
pub async fn a_write_is_read_back(subject: &dyn Subject) {
    let scope = Scope::new(subject);
    assert!(scope.entries().await.is_empty());
    let revision = scope.write(vec![scope.put("a", "1", None)]).await;
    let snapshot = must(scope.store.list(&scope.prefix).await);
    assert!(snapshot.revision >= revision, "a read after a write is at least as new");
    let [entry] = snapshot.entries.as_slice() else { panic!("one key: {snapshot:?}") };
    assert_eq!(entry.key, scope.key("a"));
    assert_eq!(entry.value, Bytes::from_static(b"1"));
    assert_eq!((entry.create_revision, entry.mod_revision), (revision, revision));
    assert_eq!(entry.lease, None);
}

/// A list has the keys of its prefix and only those, in byte order.
pub async fn a_list_is_ordered_and_keeps_to_its_prefix(subject: &dyn Subject) {
    let scope = Scope::new(subject);
    let names = ["b/1", "b/10", "b/2", "b/ÿ", "b0", "a", "b"];
    scope.write(names.iter().map(|name| scope.put(name, "", None)).collect()).await;
    let below = must(scope.store.list(&scope.key("b/")).await).entries;
    let found: Vec<String> = below.into_iter().map(|entry| entry.key).collect();
    assert_eq!(found, ["b/1", "b/10", "b/2", "b/ÿ"].map(|name| scope.key(name)));
}

/// If a guard does not hold, nothing of the transaction happens; if all do, all of it does, at one revision.
pub async fn a_transaction_is_all_or_nothing(subject: &dyn Subject) {
    let scope = Scope::new(subject);
    let start = scope.write(vec![scope.put("old", "1", None)]).await;
    let guards = vec![
        Guard::Absent { key: scope.key("new") },
        Guard::CreatedAt { key: scope.key("old"), revision: start },
    ];
    let ops = vec![scope.put("new", "1", None), scope.put("other", "1", None), scope.delete("old")];

    let mut broken = guards.clone();
    broken.push(Guard::Absent { key: scope.key("old") });
    assert_eq!(scope.commit(broken, ops.clone()).await, TxnOutcome::Refused);
    assert_eq!(scope.names().await, ["old"]);

    let outcome = scope.commit(guards, ops).await;
    let TxnOutcome::Applied { revision } = outcome else { panic!("all guards held") };
    let entries = scope.entries().await;
    assert_eq!(scope.names().await, ["new", "other"]);
    assert!(entries.iter().all(|entry| entry.mod_revision == revision), "{entries:?} at {revision:?}");
}

/// Each kind of guard holds where it should and only there.
pub async fn every_kind_of_guard_is_checked(subject: &dyn Subject) {
    let scope = Scope::new(subject);
    let created = scope.write(vec![scope.put("k", "1", None)]).await;
    let modified = scope.write(vec![scope.put("k", "2", None)]).await;
    let (here, gone) = (scope.key("k"), scope.key("nobody"));
    let cases = [
        (Guard::Absent { key: gone.clone() }, true),
        (Guard::Absent { key: here.clone() }, false),
        (Guard::CreatedAt { key: here.clone(), revision: created }, true),
        (Guard::CreatedAt { key: here.clone(), revision: modified }, false),
        (Guard::CreatedAt { key: gone.clone(), revision: created }, false),
        (Guard::CreatedAt { key: gone.clone(), revision: Revision(0) }, false),
        (Guard::ModifiedAt { key: here.clone(), revision: modified }, true),
        (Guard::ModifiedAt { key: here, revision: created }, false),
        (Guard::ModifiedAt { key: gone.clone(), revision: modified }, false),
        (Guard::ModifiedAt { key: gone, revision: Revision(0) }, false),
    ];
    for (guard, holds) in cases {
        let outcome = scope.commit(vec![guard.clone()], Vec::new()).await;
        assert_eq!(matches!(outcome, TxnOutcome::Applied { .. }), holds, "{guard:?}");
    }
}

/// Every transaction that writes has a revision of its own, higher than all before; one that is refused has none.
pub async fn revisions_grow_by_writes_only(subject: &dyn Subject) {
    let scope = Scope::new(subject);
    let first = scope.write(vec![scope.put("a", "1", None), scope.put("b", "1", None)]).await;
    assert!(first > Revision(0));
    let absent = vec![Guard::Absent { key: scope.key("a") }];
    assert_eq!(scope.commit(absent, vec![scope.put("a", "2", None)]).await, TxnOutcome::Refused);
    assert_eq!(scope.get("a").await.map(|entry| entry.mod_revision), Some(first));
    let second = scope.write(vec![scope.put("a", "1", None)]).await;
    assert!(second > first, "the same value again is a write too");
    let third = scope.write(vec![scope.delete("a")]).await;
    assert!(third > second);
}

/// A key's creation is remembered through changes, and begins anew after a deletion.
pub async fn a_key_keeps_its_creation_until_it_is_deleted(subject: &dyn Subject) {
    let scope = Scope::new(subject);
    let created = scope.write(vec![scope.put("k", "1", None)]).await;
    let modified = scope.write(vec![scope.put("k", "2", None)]).await;
    let entry = scope.get("k").await;
    assert_eq!(entry.map(|entry| (entry.create_revision, entry.mod_revision)), Some((created, modified)));
    scope.write(vec![scope.delete("k")]).await;
    assert!(scope.get("k").await.is_none());
    let again = scope.write(vec![scope.put("k", "3", None)]).await;
    assert_eq!(scope.get("k").await.map(|entry| entry.create_revision), Some(again));
}

/// Deleting a key that does not exist succeeds and disturbs nothing.
pub async fn deleting_what_is_not_there_is_no_error(subject: &dyn Subject) {
    let scope = Scope::new(subject);
    scope.write(vec![scope.put("k", "1", None)]).await;
    scope.write(vec![scope.delete("nobody")]).await;
    scope.write(vec![scope.delete("nobody"), scope.put("l", "1", None)]).await;
    assert_eq!(scope.names().await, ["k", "l"]);
}

/// A transaction at the limits is applied; one beyond them is `TooLarge` and writes nothing.
pub async fn limits_are_enforced_and_reachable(subject: &dyn Subject) {
    let scope = Scope::new(subject);
    let limits = scope.store.limits();
    let puts = |count: usize| -> Vec<Op> {
        (0..count).map(|index| scope.put(&format!("{index:04}"), "", None)).collect()
    };
    let guards = |count: usize| -> Vec<Guard> {
        (0..count).map(|index| Guard::Absent { key: scope.key(&format!("g{index:04}")) }).collect()
    };
    let too_many = Txn { guards: Vec::new(), ops: puts(limits.ops + 1) };
    assert!(matches!(scope.store.commit(too_many).await, Err(CoordinationError::TooLarge(_))));
    let too_many = Txn { guards: guards(limits.ops + 1), ops: Vec::new() };
    assert!(matches!(scope.store.commit(too_many).await, Err(CoordinationError::TooLarge(_))));
    let of_size = |bytes: usize| {
        let mut txn = Txn { guards: guards(limits.ops), ops: puts(limits.ops) };
        let room = bytes - txn.bytes();
        if let Some(Op::Put { value, .. }) = txn.ops.first_mut() {
            *value = vec![b'x'; room].into();
        }
        txn
    };
    let too_big = scope.store.commit(of_size(limits.bytes + 1)).await;
    assert!(matches!(too_big, Err(CoordinationError::TooLarge(_))), "{too_big:?}");
    assert!(scope.entries().await.is_empty(), "nothing was applied");

    let outcome = must(scope.store.commit(of_size(limits.bytes)).await);
    assert!(matches!(outcome, TxnOutcome::Applied { .. }));
    assert_eq!(scope.entries().await.len(), limits.ops);
}

/// A transaction that writes a key twice, or an empty key, is refused and writes nothing.
pub async fn a_key_is_written_once_in_a_transaction(subject: &dyn Subject) {
    let scope = Scope::new(subject);
    let doubtful = [
        vec![scope.put("a", "1", None), scope.put("a", "2", None)],
        vec![scope.put("a", "1", None), scope.delete("a")],
        vec![scope.put("a", "1", None), Op::Delete { key: String::new() }],
    ];
    for ops in doubtful {
        let outcome = scope.store.commit(Txn { guards: Vec::new(), ops }).await;
        assert!(matches!(outcome, Err(CoordinationError::Refused(_))), "{outcome:?}");
    }
    assert!(scope.entries().await.is_empty());
}

/// Reads and guarded writes are linearizable: increments by compare-and-swap from several sides are all counted.
pub async fn concurrent_increments_are_all_counted(subject: &dyn Subject) {
    const SIDES: u64 = 4;
    const EACH: u64 = 25;
    let scope = Scope::new(subject);
    scope.write(vec![scope.put("n", "0", None)]).await;
    let increments = (0..SIDES).map(|_| async {
        for _ in 0..EACH {
            while !increment(&scope).await {}
        }
    });
    futures::future::join_all(increments).await;
    assert_eq!(read_number(&scope).await.0, SIDES * EACH);
}

async fn read_number(scope: &Scope) -> (u64, Revision) {
    let Some(entry) = scope.get("n").await else { panic!("the counter is gone") };
    let text = String::from_utf8_lossy(&entry.value);
    (must(text.parse()), entry.mod_revision)
}

async fn increment(scope: &Scope) -> bool {
    let (number, revision) = read_number(scope).await;
    let guard = Guard::ModifiedAt { key: scope.key("n"), revision };
    let outcome = scope.commit(vec![guard], vec![scope.put("n", (number + 1).to_string(), None)]).await;
    matches!(outcome, TxnOutcome::Applied { .. })
}
