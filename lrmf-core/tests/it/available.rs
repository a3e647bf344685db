//! Groups of mode `available` over the in-memory store: what a member does that is out of contact, and groups whose
//! members disagree.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Group, config, held_by, holds};
use async_trait::async_trait;
use lrmf_core::memory::Outage;
use lrmf_core::{
    Barred, CoordinatorConfig, CoordinatorHandle, Event, GroupMode, Holding, MemoryStore, Task, Token, Worker,
};

fn available() -> CoordinatorConfig {
    CoordinatorConfig { mode: GroupMode::Available, ..config() }
}

/// What protects in this mode: a store that remembers the highest token of each task.
#[derive(Clone, Default)]
struct Fenced(Arc<Mutex<BTreeMap<Arc<str>, Token>>>);

impl Fenced {
    fn write(&self, task: &Task, token: Token) -> bool {
        let mut highest = self.0.lock().unwrap();
        let known = highest.entry(task.key.clone()).or_insert(token);
        let accepted = token >= *known;
        *known = token.max(*known);
        accepted
    }
}

#[async_trait]
impl Worker for Fenced {
    async fn assign(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        let all = holdings.iter().all(|held| self.write(&held.task, held.token));
        anyhow::ensure!(all, "the token did not rise");
        Ok(())
    }

    async fn revoke(&self, _: &[Holding]) -> anyhow::Result<()> {
        Ok(())
    }
}

async fn join(group: &Group, name: &str, connection: &MemoryStore, store: &Fenced) -> CoordinatorHandle {
    group.member_over(name, connection).worker(store.clone()).config(available()).start().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_a_silent_member_holds_runs_elsewhere_while_its_session_lives() {
    let (group, store) = (Group::new(20), Fenced::default());
    let connection = group.store.connection();
    // Whoever is cut off leads: its key ends with its contact.
    let a = join(&group, "a", &connection, &store).await;
    let b = join(&group, "b", &group.store, &store).await;
    holds(&b, 10).await;
    holds(&a, 10).await;
    assert!(a.status().borrow().leading);
    let (mut events, before) = (a.events(), a.held().borrow().clone());
    connection.set_outage(Some(Outage::UnknownNotApplied));
    holds(&b, 20).await;
    assert!(b.status().borrow().leading);
    // The former holder has not heard of it and is within its session: all that stops it is its tokens.
    assert_eq!(*a.held().borrow(), before);
    assert!(before.values().all(|held| !store.write(&held.task, held.token)));
    connection.set_outage(None);
    holds(&b, 10).await;
    holds(&a, 10).await;
    let mut seen = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(1), events.next()).await {
        seen.push(event);
    }
    assert!(seen.contains(&Event::OutOfContact), "{seen:?}");
    assert!(!seen.iter().any(|event| matches!(event, Event::Fenced { .. })), "{seen:?}");
    let now = a.held().borrow().clone();
    assert!(now.values().all(|held| before.values().all(|old| old.token < held.token)));
}

#[tokio::test(start_paused = true)]
async fn a_dead_member_is_replaced_within_a_third_of_the_ttl() {
    let (group, store) = (Group::new(20), Fenced::default());
    let a = join(&group, "a", &group.store, &store).await;
    let b = join(&group, "b", &group.store, &store).await;
    holds(&b, 10).await;
    holds(&a, 10).await;
    let begin = tokio::time::Instant::now();
    a.kill().await;
    holds(&b, 20).await;
    // Time is the test's own: it passes only when nothing else can.
    assert!(begin.elapsed() < config().ttl / 2, "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_restart_moves_nothing_in_this_mode_either() {
    let (group, store) = (Group::new(20), Fenced::default());
    let a = join(&group, "a", &group.store, &store).await;
    let b = join(&group, "b", &group.store, &store).await;
    holds(&b, 10).await;
    holds(&a, 10).await;
    let before = (held_by(&a), b.held().borrow().clone());
    a.restart().await;
    // Longer than the contact lives, and shorter than the session.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let a = join(&group, "a", &group.store, &store).await;
    holds(&a, 10).await;
    assert_eq!((held_by(&a), b.held().borrow().clone()), before);
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_cuts_everybody_off_moves_nothing_when_it_is_over() {
    let (group, store) = (Group::new(20), Fenced::default());
    let with_settle = |name: &str| {
        let config = CoordinatorConfig { settle: Duration::from_secs(1), ..available() };
        group.member(name).worker(store.clone()).config(config)
    };
    let a = with_settle("a").start().await.unwrap();
    let b = with_settle("b").start().await.unwrap();
    holds(&a, 10).await;
    holds(&b, 10).await;
    let before = (a.held().borrow().clone(), b.held().borrow().clone());
    group.store.set_outage(Some(Outage::Unreachable));
    tokio::time::sleep(Duration::from_secs(5)).await;
    group.store.set_outage(None);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((a.held().borrow().clone(), b.held().borrow().clone()), before);
}

#[tokio::test(start_paused = true)]
async fn a_member_of_another_mode_gets_nothing_and_says_why() {
    let (group, store) = (Group::new(4), Fenced::default());
    let a = join(&group, "a", &group.store, &store).await;
    holds(&a, 4).await;
    let odd = group.member("odd").worker(store.clone()).config(config()).start().await.unwrap();
    let barred = Barred::Mode { group: GroupMode::Available };
    odd.status().wait_for(|status| status.barred == Some(barred)).await.unwrap();
    assert!(barred.to_string().contains("mode = \"available\""));
    // It does not become the leader's problem when it wins the election: it leaves that to the others.
    a.kill().await;
    let b = join(&group, "b", &group.store, &store).await;
    holds(&b, 4).await;
    assert!(odd.held().borrow().is_empty());
    b.close().await;
    // Nobody of the other mode is left: the group takes the mode of those who are.
    holds(&odd, 4).await;
    assert_eq!(odd.status().borrow().barred, None);
}
