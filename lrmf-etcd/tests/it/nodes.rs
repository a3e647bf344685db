//! What the store does with several nodes of which one hangs, with a root of its own, and with other credentials.

use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use lrmf_core::coordination::{Op, Revision, Txn, WatchError, WatchStream};
use lrmf_core::{Coordination, CoordinationError};
use lrmf_etcd::{ConnectError, Credentials, EtcdConfig, EtcdStore, InvalidConfig, Secret};

use crate::support::{Etcd, PATIENCE, connected, patient};

const LONG: Duration = Duration::from_secs(600);

fn put(key: &str) -> Txn {
    let op = Op::Put { key: key.into(), value: Bytes::new(), lease: None };
    Txn { guards: Vec::new(), ops: vec![op] }
}

async fn written(store: &EtcdStore, key: &str) {
    let writing = async {
        while let Err(error) = store.commit(put(key)).await {
            assert!(error.is_retryable(), "{error}");
        }
    };
    tokio::time::timeout(PATIENCE, writing).await.unwrap();
}

/// The position of a node that does not lead the cluster.
async fn follower(nodes: &[Etcd]) -> usize {
    for (ix, node) in nodes.iter().enumerate() {
        let status = node.store().await.client().await.unwrap().status().await.unwrap();
        if status.header().unwrap().member_id() != status.leader() {
            return ix;
        }
    }
    panic!("all nodes lead");
}

/// A watch that has begun.
async fn watching(store: &EtcdStore) -> WatchStream {
    let seen = store.list("k").await.unwrap().revision;
    let mut watch = store.watch("k", seen);
    written(store, "k").await;
    assert!(watch.next().await.unwrap().is_ok());
    watch
}

/// The stores begin at random nodes, so one of the twelve uses the node that hangs, but once in a hundred times. Their
/// pings would notice it only after the test.
#[tokio::test(flavor = "multi_thread")]
async fn one_hung_node_of_three_is_not_felt() {
    let nodes = Etcd::cluster(3);
    let config = EtcdConfig {
        request_timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(20),
        ..patient(nodes.iter().map(Etcd::endpoint))
    };
    let hung = follower(&nodes).await;
    let mut stores = Vec::new();
    for _ in 0..12 {
        let store = connected(config.clone()).await;
        let lease = store.grant_lease(LONG).await.unwrap().id;
        store.keep_alive(lease).await.unwrap();
        let watch = watching(&store).await;
        stores.push((store, lease, watch));
    }
    nodes[hung].freeze();
    let uses = stores.iter_mut().map(async |(store, lease, watch)| {
        for _ in 0..20 {
            store.list("k").await.unwrap();
            store.keep_alive(*lease).await.unwrap();
        }
        store.grant_lease(LONG).await.unwrap();
        written(store, "k").await;
        // What is written is heard of, or the watch has ended: it is not silent.
        match tokio::time::timeout(PATIENCE / 2, watch.next()).await.expect("the watch is silent").unwrap() {
            Ok(_) | Err(WatchError::Lost(_)) => {}
            Err(error) => panic!("{error}"),
        }
        drop(watching(store).await);
    });
    futures::future::join_all(uses).await;
    nodes[hung].thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_accepts_and_is_silent_is_not_felt() {
    let (etcd, silent) = (Etcd::start(), TcpListener::bind("127.0.0.1:0").unwrap());
    let silent = silent.local_addr().map(|address| (silent, address.to_string())).unwrap();
    // Whichever of the two a store begins with.
    for _ in 0..6 {
        let config = patient([silent.1.clone(), etcd.endpoint()]);
        let store = EtcdStore::connect(EtcdConfig {
            request_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(20),
            ..config
        })
        .await
        .unwrap();
        let lease = store.grant_lease(LONG).await.unwrap().id;
        for _ in 0..20 {
            store.list("k").await.unwrap();
            store.commit(put("k")).await.unwrap();
        }
        store.keep_alive(lease).await.unwrap();
        drop(watching(&store).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_with_different_roots_share_an_etcd_and_nothing_else() {
    let etcd = Etcd::start();
    let rooted = |root: &str| EtcdConfig { root: root.to_owned(), ..patient([etcd.endpoint()]) };
    let (one, other) = (connected(rooted("/one")).await, connected(rooted("/one/more")).await);
    let mut watch = watching(&one).await;
    written(&other, "k").await;
    written(&one, "k/mine").await;
    let batch = watch.next().await.unwrap().unwrap();
    assert_eq!(batch.events.iter().map(|event| event.key()).collect::<Vec<_>>(), ["k/mine"]);
    let keys = async |store: &EtcdStore, prefix: &str| {
        let entries = store.list(prefix).await.unwrap().entries;
        entries.into_iter().map(|entry| entry.key).collect::<Vec<_>>()
    };
    assert_eq!(keys(&one, "k").await, ["k", "k/mine"]);
    assert_eq!(keys(&other, "k").await, ["k"]);
    assert_eq!(
        keys(&etcd.store().await, "/").await,
        ["/one/more".to_owned() + "k", "/onek".to_owned(), "/onek/mine".to_owned()]
    );
    let moved = one.reconnect(rooted("/two")).await;
    assert!(matches!(moved, Err(ConnectError::Config(InvalidConfig::RootChanged { .. }))), "{moved:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_credentials_are_taken_up_without_an_end_of_any_session() {
    let etcd = Etcd::start();
    let mut client = etcd.store().await.client().await.unwrap();
    client.user_add("root", "first", None).await.unwrap();
    client.role_add("root").await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.auth_enable().await.unwrap();
    let with = |password: &str| {
        let credentials = Credentials { user: "root".into(), password: Secret::new(password) };
        EtcdConfig { credentials: Some(credentials), ..patient([etcd.endpoint()]) }
    };
    let store = EtcdStore::connect(with("first")).await.unwrap();
    let lease = store.grant_lease(LONG).await.unwrap().id;
    store.keep_alive(lease).await.unwrap();
    let mut watch = watching(&store).await;
    store.client().await.unwrap().user_change_password("root", "second").await.unwrap();

    let refused = store.reconnect(with("wrong")).await;
    assert!(matches!(refused, Err(ConnectError::Store(CoordinationError::Refused(_)))), "{refused:?}");
    store.reconnect(with("second")).await.unwrap();
    assert!(matches!(watch.next().await.unwrap(), Err(WatchError::Lost(_))), "what went on before ends");
    store.keep_alive(lease).await.unwrap();
    let snapshot = store.list("k").await.unwrap();
    assert!(snapshot.revision > Revision(0));
    written(&store, "k").await;
}
