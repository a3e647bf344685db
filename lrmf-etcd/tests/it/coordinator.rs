//! Members on a real etcd: whole lives, with etcd and the network failing under them.

use std::sync::Arc;
use std::time::Duration;

use lrmf_core::{
    Coordination, Coordinator, CoordinatorConfig, CoordinatorHandle, FixedTasks, GroupId, InstanceId, Task,
};

use crate::support::books::Books;
use crate::support::group::{LONG, SHORT};
use crate::support::proxy::Proxy;
use crate::support::{Etcd, PATIENCE, connected, prompt};

const TASKS: usize = 20;

/// A member that reaches etcd at this endpoint, with a session that lives for as long without a sign of life.
async fn member(endpoint: String, name: &str, books: &Books, ttl: Duration) -> CoordinatorHandle {
    let store = connected(prompt(endpoint.split(','))).await;
    let tasks = (0..TASKS).map(|index| Task::new(format!("task-{index:02}"), ""));
    let settings = CoordinatorConfig {
        ttl,
        margin: Duration::from_secs(2),
        settle: Duration::from_millis(100),
        ..CoordinatorConfig::default()
    };
    Coordinator::builder(Arc::new(store), GroupId::new("test", "etcd", "t").unwrap())
        .instance_id(InstanceId::new(name).unwrap())
        .provider(FixedTasks::new(tasks))
        .worker(books.worker(name))
        .config(settings)
        .start()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_join_leave_and_take_over() {
    let (etcd, books) = (Etcd::start(), Books::new());
    // Long enough not to end before it is killed.
    let a = member(etcd.endpoint(), "a", &books, PATIENCE / 2).await;
    books.wait_for_members(TASKS, &["a"]).await;
    let b = member(etcd.endpoint(), "b", &books, LONG).await;
    books.wait_for_members(TASKS, &["a", "b"]).await;
    let c = member(etcd.endpoint(), "c", &books, LONG).await;
    books.wait_for_members(TASKS, &["a", "b", "c"]).await;
    let moves = TASKS / 2 + TASKS.div_ceil(3);
    assert!(books.starts() <= TASKS + moves, "{} starts", books.starts());
    b.close().await;
    books.wait_for_members(TASKS, &["a", "c"]).await;
    // As in a crash: the session ends by itself.
    a.kill().await;
    books.wait_for_members(TASKS, &["c"]).await;
    c.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_group_writes_nothing() {
    let (etcd, books) = (Etcd::start(), Books::new());
    let a = member(etcd.endpoint(), "a", &books, PATIENCE / 2).await;
    let b = member(etcd.endpoint(), "b", &books, PATIENCE / 2).await;
    books.wait_for_members(TASKS, &["a", "b"]).await;
    let store = etcd.store().await;
    let revision = async || store.list("/lrmf/").await.unwrap().revision;
    // What belongs to the joins may still be on its way; then come twelve seconds, and signs of life in them, without any
    // write.
    let idle = async {
        let mut before = revision().await;
        loop {
            tokio::time::sleep(Duration::from_secs(12)).await;
            let now = revision().await;
            if now == before {
                return;
            }
            before = now;
        }
    };
    tokio::time::timeout(PATIENCE, idle).await.unwrap();
    tokio::join!(a.close(), b.close());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_returns_in_time_was_never_missed() {
    let (mut etcd, books) = (Etcd::start(), Books::new());
    let a = member(etcd.endpoint(), "a", &books, LONG).await;
    let b = member(etcd.endpoint(), "b", &books, LONG).await;
    books.wait_for_members(TASKS, &["a", "b"]).await;
    let starts = books.starts();
    etcd.kill();
    etcd.restart();
    b.close().await;
    books.wait_for_members(TASKS, &["a"]).await;
    assert_eq!(books.starts() - starts, TASKS / 2, "only what b handed over was started again");
    a.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_etcd_is_away_everybody_stops_and_then_all_goes_on() {
    let (mut etcd, books) = (Etcd::start(), Books::new());
    let a = member(etcd.endpoint(), "a", &books, SHORT).await;
    let b = member(etcd.endpoint(), "b", &books, SHORT).await;
    books.wait_for_members(TASKS, &["a", "b"]).await;
    etcd.kill();
    books.wait_for(|running| running.is_empty()).await;
    etcd.restart();
    books.wait_for_members(TASKS, &["a", "b"]).await;
    tokio::join!(a.close(), b.close());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_cut_off_stops_before_others_take_over() {
    let (etcd, books) = (Etcd::start(), Books::new());
    let proxy = Proxy::to(etcd.endpoint()).await;
    let others = [
        member(etcd.endpoint(), "b", &books, SHORT).await,
        member(etcd.endpoint(), "c", &books, SHORT).await,
    ];
    let cut_off = member(proxy.endpoint(), "a", &books, SHORT).await;
    books.wait_for_members(TASKS, &["a", "b", "c"]).await;
    proxy.cut();
    books.wait_for_members(TASKS, &["b", "c"]).await;
    proxy.heal();
    books.wait_for_members(TASKS, &["a", "b", "c"]).await;
    // The same with the leader, who is one of the others.
    for member in others {
        member.close().await;
    }
    books.wait_for_members(TASKS, &["a"]).await;
    // Before another one is there that could win the election.
    let leads = async { cut_off.status().wait_for(|status| status.leading).await.map(drop) };
    tokio::time::timeout(PATIENCE, leads).await.unwrap().unwrap();
    let next = member(etcd.endpoint(), "d", &books, SHORT).await;
    books.wait_for_members(TASKS, &["a", "d"]).await;
    proxy.cut();
    books.wait_for_members(TASKS, &["d"]).await;
    proxy.heal();
    books.wait_for_members(TASKS, &["a", "d"]).await;
    tokio::join!(cut_off.close(), next.close());
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_and_a_frozen_etcd_are_survived() {
    let (etcd, books) = (Etcd::start(), Books::new());
    let a = member(etcd.endpoint(), "a", &books, SHORT).await;
    let b = member(etcd.endpoint(), "b", &books, SHORT).await;
    books.wait_for_members(TASKS, &["a", "b"]).await;

    etcd.freeze();
    books.wait_for(|running| running.is_empty()).await;
    etcd.thaw();
    let store = etcd.store().await;
    let now = store.list("/lrmf/").await.unwrap().revision;
    store.client().await.unwrap().compact(i64::try_from(now.0).unwrap(), None).await.unwrap();
    books.wait_for_members(TASKS, &["a", "b"]).await;
    let c = member(etcd.endpoint(), "c", &books, SHORT).await;
    books.wait_for_members(TASKS, &["a", "b", "c"]).await;
    tokio::join!(a.close(), b.close(), c.close());
}

/// The node of these that leads the cluster.
async fn leader_of(nodes: &[Etcd]) -> usize {
    let stores = futures::future::join_all(nodes.iter().map(Etcd::store)).await;
    let asking = async {
        loop {
            for (ix, store) in stores.iter().enumerate() {
                let status = store.client().await.unwrap().status().await.unwrap();
                if status.header().unwrap().member_id() == status.leader() {
                    return ix;
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_its_leader_and_with_one_node_dead_is_enough() {
    let (mut nodes, books) = (Etcd::cluster(3), Books::new());
    let all = nodes.iter().map(Etcd::endpoint).collect::<Vec<_>>().join(",");
    let a = member(all.clone(), "a", &books, LONG).await;
    let b = member(all.clone(), "b", &books, LONG).await;
    books.wait_for_members(TASKS, &["a", "b"]).await;
    let starts = books.starts();
    let leader = leader_of(&nodes).await;
    nodes[leader].kill();
    // With one node dead, everything goes on: a join, a leave.
    let c = member(all, "c", &books, LONG).await;
    books.wait_for_members(TASKS, &["a", "b", "c"]).await;
    b.close().await;
    books.wait_for_members(TASKS, &["a", "c"]).await;
    assert!(books.starts() - starts <= TASKS + 1, "only what a join and a leave move was started again");
    a.close().await;
    c.close().await;
}
