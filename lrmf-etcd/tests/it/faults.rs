//! The store when etcd dies, hangs, forgets, or refuses.

use std::time::{Duration, Instant};

use bytes::Bytes;
use etcd_client::Permission;
use futures::StreamExt;
use lrmf_core::coordination::{
    Guard, LeaseId, Op, Revision, Txn, TxnOutcome, WatchBatch, WatchError, WatchStream,
};
use lrmf_core::{Coordination, CoordinationError};
use lrmf_etcd::{ConnectError, Credentials, EtcdConfig, EtcdStore, Secret};

use crate::support::{Etcd, PATIENCE, connected, patient, prompt};

/// A lease that is not about to end.
const LONG: Duration = Duration::from_secs(600);

async fn try_put(store: &EtcdStore, key: &str) -> Result<Revision, CoordinationError> {
    let op = Op::Put { key: key.into(), value: Bytes::new(), lease: None };
    match store.commit(Txn { guards: Vec::new(), ops: vec![op] }).await? {
        TxnOutcome::Applied { revision } => Ok(revision),
        TxnOutcome::Refused => panic!("a transaction without guards was refused"),
    }
}

async fn put(store: &EtcdStore, key: &str) -> Revision {
    try_put(store, key).await.unwrap()
}

/// Waits until this store answers reads.
async fn answers(store: &EtcdStore) {
    let asking = async { while store.list("k").await.is_err() {} };
    tokio::time::timeout(PATIENCE, asking).await.unwrap();
}

async fn next(watch: &mut WatchStream) -> Result<WatchBatch, WatchError> {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("the watch is silent").expect("the watch ended")
}

async fn assert_lost(mut watch: WatchStream) {
    let error = next(&mut watch).await.unwrap_err();
    assert!(matches!(error, WatchError::Lost(_)), "{error:?}");
    assert!(watch.next().await.is_none());
}

/// A watch that etcd has taken up: what was written before it began has arrived.
async fn begun_watch(store: &EtcdStore) -> (WatchStream, Revision) {
    let before = store.list("k").await.unwrap().revision;
    let mut watch = store.watch("k", before);
    let revision = put(store, "k").await;
    assert_eq!(next(&mut watch).await.unwrap().revision, revision);
    (watch, revision)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_etcd_is_unreachable_and_comes_back_with_everything() {
    let mut etcd = Etcd::start();
    let store = etcd.store().await;
    let lease = store.grant_lease(LONG).await.unwrap().id;
    store.keep_alive(lease).await.unwrap();
    let (watch, seen) = begun_watch(&store).await;

    etcd.kill();
    assert_lost(watch).await;
    // The first calls may still find the dead connection; what follows finds none.
    let error = loop {
        match store.list("k").await.unwrap_err() {
            CoordinationError::Unknown(_) => {}
            other => break other,
        }
    };
    assert!(matches!(error, CoordinationError::Unreachable(_)), "{error:?}");
    assert!(matches!(store.keep_alive(lease).await, Err(error) if error.is_retryable()));
    assert_lost(store.watch("k", seen)).await;

    etcd.restart();
    // The same client finds its way back by itself.
    answers(&store).await;
    let missed = put(&store, "k").await;
    let mut watch = store.watch("k", seen);
    assert_eq!(next(&mut watch).await.unwrap().revision, missed, "nothing is missed or repeated");
    store.keep_alive(lease).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_etcd_is_noticed_and_every_call_ends() {
    let etcd = Etcd::start();
    // What is waited for here is the end of its patience.
    let config = EtcdConfig {
        request_timeout: Duration::from_secs(10),
        ping_timeout: Duration::from_secs(10),
        ..patient([etcd.endpoint()])
    };
    let store = connected(EtcdConfig { connect_timeout: Duration::from_secs(10), ..config }).await;
    let lease = store.grant_lease(LONG).await.unwrap().id;
    store.keep_alive(lease).await.unwrap();
    let (watch, seen) = begun_watch(&store).await;

    etcd.freeze();
    let begun = Instant::now();
    let (listed, kept, (), granted) = tokio::join!(
        store.list("k"),
        store.keep_alive(lease),
        assert_lost(watch),
        store.grant_lease(Duration::from_secs(5)),
    );
    for error in [listed.unwrap_err(), kept.unwrap_err(), granted.unwrap_err()] {
        assert!(
            matches!(error, CoordinationError::Unknown(_)),
            "what was sent may be applied later: {error:?}"
        );
    }
    eprintln!("noticed after {:?}", begun.elapsed());
    assert!(store.keep_alive(lease).await.is_err());

    etcd.thaw();
    answers(&store).await;
    let revision = put(&store, "k").await;
    assert_eq!(next(&mut store.watch("k", seen)).await.unwrap().revision, revision);
    store.keep_alive(lease).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_away_during_a_compaction_is_told_to_list_again() {
    let mut etcd = Etcd::start();
    let store = etcd.store().await;
    let (watch, seen) = begun_watch(&store).await;
    etcd.kill();
    assert_lost(watch).await;
    etcd.restart();
    answers(&store).await;
    put(&store, "k").await;
    let last = put(&store, "k").await;
    store.client().await.unwrap().compact(i64::try_from(last.0).unwrap(), None).await.unwrap();

    let mut watch = store.watch("k", seen);
    assert!(matches!(next(&mut watch).await, Err(WatchError::Compacted)));
    let snapshot = store.list("k").await.unwrap();
    let mut watch = store.watch("k", snapshot.revision);
    let revision = put(&store, "k").await;
    assert_eq!(next(&mut watch).await.unwrap().revision, revision);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_watch_is_not_cut_by_its_own_pings() {
    let etcd = Etcd::start();
    let store = etcd.store().await;
    let (mut watch, _) = begun_watch(&store).await;
    let quiet = tokio::time::timeout(Duration::from_secs(20), watch.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    let revision = put(&store, "k").await;
    assert_eq!(next(&mut watch).await.unwrap().revision, revision);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_leases_are_kept_alive_together() {
    let etcd = Etcd::start();
    let store = etcd.store().await;
    let grants = (0..100).map(|index| store.grant_lease(LONG + Duration::from_secs(index)));
    let leases: Vec<_> = futures::future::join_all(grants).await.into_iter().map(Result::unwrap).collect();
    store.revoke_lease(leases[7].id).await.unwrap();
    for _ in 0..3 {
        let kept = futures::future::join_all(leases.iter().map(|lease| store.keep_alive(lease.id))).await;
        for (index, (lease, kept)) in leases.iter().zip(kept).enumerate() {
            match kept {
                Ok(ttl) => assert_eq!(ttl, lease.ttl, "the answer of another lease"),
                Err(CoordinationError::LeaseGone) => assert_eq!(index, 7),
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert!(matches!(store.keep_alive(LeaseId(7)).await, Err(CoordinationError::LeaseGone)));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dead_node_of_three_is_not_felt() {
    let mut nodes = Etcd::cluster(3);
    let store = connected(prompt(nodes.iter().map(Etcd::endpoint))).await;
    let before = written(&store).await;
    nodes[0].kill();
    let mut wanted = Vec::new();
    for _ in 0..100 {
        wanted.push(written(&store).await);
    }
    let (mut seen, mut watch) = (before, store.watch("k", before));
    while let Some(first) = wanted.first() {
        match next(&mut watch).await {
            // Of a write that nobody heard the answer of, too.
            Ok(batch) => {
                assert!(batch.revision > seen && batch.revision <= *first, "{seen:?}, then {batch:?}");
                seen = batch.revision;
                wanted.retain(|revision| *revision > seen);
            }
            Err(_) => watch = store.watch("k", seen),
        }
    }
}

/// Writes until it has heard that it is done: a cluster may have lost its leader and needs a moment for another, also one
/// that is busy.
async fn written(store: &EtcdStore) -> Revision {
    let writing = async {
        loop {
            match try_put(store, "k").await {
                Ok(revision) => return revision,
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, writing).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists_are_read_whole_at_one_revision() {
    let etcd = Etcd::start();
    let store = etcd.store().await;
    let names: Vec<String> = (0..1000).map(|index| format!("k/{index:04}")).collect();
    for names in names.chunks(100) {
        let put = |key: &String| Op::Put { key: key.clone(), value: vec![b'v'; 4096].into(), lease: None };
        let ops = names.iter().map(put).collect();
        store.commit(Txn { guards: Vec::new(), ops }).await.unwrap();
    }
    let snapshot = store.list("k/").await.unwrap();
    assert_eq!(
        snapshot.entries.iter().map(|entry| &entry.key).collect::<Vec<_>>(),
        names.iter().collect::<Vec<_>>()
    );
}

async fn with_auth(etcd: &Etcd) {
    let mut client = etcd.store().await.client().await.unwrap();
    client.user_add("root", "secret", None).await.unwrap();
    client.role_add("root").await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.auth_enable().await.unwrap();
}

fn as_root(etcd: &Etcd, password: &str) -> EtcdConfig {
    let credentials = Credentials { user: "root".into(), password: Secret::new(password) };
    EtcdConfig { credentials: Some(credentials), ..patient([etcd.endpoint()]) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_permission_for_its_own_prefix_is_enough() {
    let etcd = Etcd::start();
    let mut client = etcd.store().await.client().await.unwrap();
    let own = Permission::read_write("/lrmf/p/b/t/").with_prefix();
    client.user_add("member", "secret", None).await.unwrap();
    client.role_add("member").await.unwrap();
    client.role_grant_permission("member", own).await.unwrap();
    client.user_grant_role("member", "member").await.unwrap();
    with_auth(&etcd).await;

    let credentials = Credentials { user: "member".into(), password: Secret::new("secret") };
    let config = EtcdConfig { credentials: Some(credentials), ..patient([etcd.endpoint()]) };
    let store = EtcdStore::connect(config).await.unwrap();
    let key = "/lrmf/p/b/t/members/a".to_owned();
    let before = store.list("/lrmf/p/b/t/").await.unwrap().revision;
    put(&store, &key).await;
    let guard = Guard::Absent { key };
    let read = store.commit(Txn { guards: vec![guard], ops: Vec::new() }).await.unwrap();
    assert_eq!(read, TxnOutcome::Refused);
    assert!(next(&mut store.watch("/lrmf/p/b/t/", before)).await.is_ok());
    assert!(matches!(store.list("/lrmf/other/").await, Err(CoordinationError::Refused(_))));
    assert_lost(store.watch("/lrmf/other/", before)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_needed_and_renewed() {
    let etcd = Etcd::start();
    with_auth(&etcd).await;
    for config in [patient([etcd.endpoint()]), as_root(&etcd, "wrong")] {
        let refused = EtcdStore::connect(config).await;
        assert!(matches!(refused, Err(ConnectError::Store(CoordinationError::Refused(_)))), "{refused:?}");
    }
    let store = EtcdStore::connect(as_root(&etcd, "secret")).await.unwrap();
    let seen = put(&store, "k").await;

    // Switching authentication off and on makes every token stale that was given out before.
    let other = EtcdStore::connect(as_root(&etcd, "secret")).await.unwrap();
    other.client().await.unwrap().auth_disable().await.unwrap();
    etcd.store().await.client().await.unwrap().auth_enable().await.unwrap();
    // A watch with a stale token is ended within its stream; the next list gets a new token.
    assert_lost(store.watch("k", seen)).await;
    store.list("k").await.unwrap();
    let revision = put(&store, "k").await;
    assert_eq!(next(&mut store.watch("k", seen)).await.unwrap().revision, revision);
}

#[tokio::test]
async fn an_etcd_that_is_not_there_is_unreachable() {
    // Nobody listens at a port that only root may take.
    let connected = EtcdStore::connect(patient(["127.0.0.1:1"])).await;
    assert!(
        matches!(connected, Err(ConnectError::Store(CoordinationError::Unreachable(_)))),
        "{connected:?}"
    );
    let connected = EtcdStore::connect(EtcdConfig::new(["nowhere"])).await;
    assert!(matches!(connected, Err(ConnectError::Config(_))), "{connected:?}");
}

#[tokio::test]
async fn an_alarm_is_complained_of_until_it_is_taken_back() {
    use etcd_client::{AlarmAction, AlarmType};
    let etcd = Etcd::start();
    let store = etcd.store().await;
    assert_eq!(store.complaints().await.unwrap(), Vec::<String>::new());
    let mut client = store.client().await.unwrap();
    client.alarm(AlarmAction::Activate, AlarmType::Nospace, None).await.unwrap();
    assert!(try_put(&store, "k").await.is_err());
    let complaints = store.complaints().await.unwrap();
    assert!(complaints.iter().any(|complaint| complaint.contains("NOSPACE")), "{complaints:?}");
    client.alarm(AlarmAction::Deactivate, AlarmType::Nospace, None).await.unwrap();
    assert_eq!(store.complaints().await.unwrap(), Vec::<String>::new());
}
