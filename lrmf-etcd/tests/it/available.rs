//! A group of mode `available` on a real etcd: a member is cut off, and its tasks do not wait for its session to end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lrmf_core::admin::Admin;
use lrmf_core::{
    Coordinator, CoordinatorConfig, CoordinatorHandle, FixedTasks, GroupId, GroupMode, Holding, InstanceId,
    Task, Token, Worker,
};

use crate::support::group::wait_for;
use crate::support::proxy::Proxy;
use crate::support::{Etcd, PATIENCE, connected, prompt};

const TASKS: usize = 12;

/// Contact lasts for a third of it. What is waited for here comes between the end of the one and that of the other.
const TTL: Duration = Duration::from_secs(45);

/// A store that remembers the highest token of each task and refuses lower ones.
#[derive(Clone, Default)]
struct Fenced(Arc<Mutex<BTreeMap<Arc<str>, Token>>>);

impl Fenced {
    fn write(&self, holding: &Holding) -> bool {
        let mut highest = self.0.lock().unwrap();
        let known = highest.entry(holding.task.key.clone()).or_insert(holding.token);
        let accepted = holding.token >= *known;
        *known = holding.token.max(*known);
        accepted
    }
}

#[async_trait]
impl Worker for Fenced {
    async fn assign(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        anyhow::ensure!(holdings.iter().all(|holding| self.write(holding)), "the token did not rise");
        Ok(())
    }

    async fn revoke(&self, _: &[Holding]) -> anyhow::Result<()> {
        Ok(())
    }
}

fn group() -> GroupId {
    GroupId::new("test", "available", "t").unwrap()
}

async fn member(endpoint: String, name: &str, store: &Fenced) -> CoordinatorHandle {
    let config = CoordinatorConfig {
        mode: GroupMode::Available,
        ttl: TTL,
        margin: Duration::from_secs(2),
        settle: Duration::from_millis(100),
        ..CoordinatorConfig::default()
    };
    let tasks = (0..TASKS).map(|index| Task::new(format!("task-{index:02}"), ""));
    Coordinator::builder(Arc::new(connected(prompt([endpoint])).await), group())
        .instance_id(InstanceId::new(name).unwrap())
        .provider(FixedTasks::new(tasks))
        .worker(store.clone())
        .config(config)
        .start()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tasks_of_a_member_that_is_cut_off_run_elsewhere_before_its_session_ends() {
    let (etcd, store) = (Etcd::start(), Fenced::default());
    let proxy = Proxy::to(etcd.endpoint()).await;
    // Who is cut off leads, so the leader's key must end with its contact too. It does before the others are there:
    // it could lose the election.
    let cut_off = member(proxy.endpoint(), "a", &store).await;
    let leads = async { cut_off.status().wait_for(|status| status.leading).await.map(drop) };
    tokio::time::timeout(PATIENCE, leads).await.unwrap().unwrap();
    let b = member(etcd.endpoint(), "b", &store).await;
    let c = member(etcd.endpoint(), "c", &store).await;
    let third = TASKS / 3;
    let even = |held: &crate::support::group::Holders| {
        held.len() == TASKS && crate::support::group::is_even(held, 3, 0)
    };
    wait_for(&[&cut_off, &b, &c], even).await;
    let (before, session) = (cut_off.held().borrow().clone(), cut_off.status().borrow().stage.clone());
    assert!(cut_off.status().borrow().leading && before.len() == third);

    proxy.cut();
    let after = wait_for(&[&b, &c], |held| held.len() == TASKS).await;
    // Its session is alive, for the store and for itself, and it runs what it ran.
    let state = Admin::new(Arc::new(etcd.store().await), group()).read().await.unwrap();
    let a = state.member_views().into_iter().find(|view| view.member.as_str() == "a").unwrap();
    assert!(a.incarnation.is_some() && a.silent && a.tasks == 0, "{a:?}");
    assert_eq!((cut_off.held().borrow().clone(), state.mode), (before.clone(), GroupMode::Available));
    for (key, held) in &before {
        assert!(after[key].1 > held.token, "the token of {key} did not rise");
        assert!(!store.write(held), "the stale token of {key} is accepted");
    }

    proxy.heal();
    wait_for(&[&cut_off, &b, &c], even).await;
    assert_eq!(cut_off.status().borrow().stage, session, "it was in contact again before its session ended");
    tokio::join!(cut_off.close(), b.close(), c.close());
}
