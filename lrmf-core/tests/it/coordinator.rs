//! Members over the in-memory store, on paused time: whole lives, seen from outside.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use lrmf_core::admin::{Admin, AdminError};
use lrmf_core::assignor::LoadAware;
use lrmf_core::{Coordination, Event, Task, TaskProvider};
use tokio::sync::mpsc;

use crate::support::{Group, config, group, held_by, holds};

#[tokio::test(start_paused = true)]
async fn one_member_runs_everything_within_milliseconds() {
    let group = Group::new(100);
    let begun = tokio::time::Instant::now();
    let a = group.join("a").await;
    holds(&a, 100).await;
    assert!(begun.elapsed() < Duration::from_millis(20), "{:?}", begun.elapsed());
    a.close().await;
    assert!(group.books.holders().is_empty());
    assert_eq!(group.books.starts(), 100);
}

#[tokio::test(start_paused = true)]
async fn members_share_and_a_join_moves_no_more_than_it_must() {
    let group = Group::new(90);
    let a = group.join("a").await;
    holds(&a, 90).await;
    let b = group.join("b").await;
    holds(&b, 45).await;
    holds(&a, 45).await;
    assert_eq!(group.books.starts(), 90 + 45);
    let c = group.join("c").await;
    holds(&c, 30).await;
    holds(&a, 30).await;
    holds(&b, 30).await;
    assert_eq!(group.books.starts(), 90 + 45 + 30);
    for member in [a, b, c] {
        member.close().await;
    }
    assert!(group.books.holders().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_graceful_leave_waits_for_no_ttl() {
    let group = Group::new(30);
    let a = group.join("a").await;
    let b = group.join("b").await;
    let c = group.join("c").await;
    for member in [&a, &b, &c] {
        holds(member, 10).await;
    }
    let (of_b, of_c) = (held_by(&b), held_by(&c));
    let before = group.books.starts();
    let begun = tokio::time::Instant::now();
    // The leader itself leaves.
    a.close().await;
    holds(&b, 15).await;
    holds(&c, 15).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(held_by(&b).is_superset(&of_b) && held_by(&c).is_superset(&of_c));
    assert_eq!(group.books.starts(), before + 10);
}

#[tokio::test(start_paused = true)]
async fn a_dead_leader_moves_nothing_but_its_own_tasks() {
    let group = Group::new(30);
    let a = group.join("a").await;
    let b = group.join("b").await;
    let c = group.join("c").await;
    for member in [&a, &b, &c] {
        holds(member, 10).await;
    }
    let before = group.books.starts();
    let (of_b, of_c) = (held_by(&b), held_by(&c));
    let begun = tokio::time::Instant::now();
    a.kill().await;
    holds(&b, 15).await;
    holds(&c, 15).await;
    assert!(begun.elapsed() <= config().ttl + Duration::from_millis(500), "{:?}", begun.elapsed());
    assert_eq!(group.books.starts(), before + 10);
    assert!(held_by(&b).is_superset(&of_b) && held_by(&c).is_superset(&of_c));
}

#[tokio::test(start_paused = true)]
async fn a_restart_within_the_ttl_moves_nothing() {
    let group = Group::new(30);
    let a = group.join("a").await;
    let b = group.join("b").await;
    holds(&b, 15).await;
    holds(&a, 15).await;
    let (of_a, of_b) = (held_by(&a), held_by(&b));
    let before = group.books.starts();
    b.restart().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(held_by(&a), of_a);
    let b = group.join("b").await;
    holds(&b, 15).await;
    assert_eq!(held_by(&b), of_b);
    assert_eq!(group.books.starts(), before + 15);
    // The leader too.
    a.restart().await;
    let a = group.join("a").await;
    holds(&a, 15).await;
    assert_eq!((held_by(&a), held_by(&b)), (of_a, of_b));
    assert_eq!(group.books.starts(), before + 30);
}

/// A member that is busy gives tasks up, a few at a time; what changes little is not even written.
#[tokio::test(start_paused = true)]
async fn a_busy_member_is_relieved_and_small_changes_are_not_written() {
    let group = Group::new(40);
    let join = async |name: &str| group.member(name).assignor(LoadAware::default()).start().await.unwrap();
    let (a, b) = (join("a").await, join("b").await);
    holds(&a, 20).await;
    holds(&b, 20).await;
    b.report_load(300);
    a.report_load(900);
    holds(&b, 22).await;
    holds(&a, 18).await;
    let revision = group.store.revision();
    a.report_load(850);
    b.report_load(380);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(group.store.revision(), revision, "neither differs by a step");
    a.report_load(800);
    holds(&a, 16).await;
    holds(&b, 24).await;
    assert_eq!(group.books.starts(), 40 + 20 + 4);
    a.close().await;
    b.close().await;
}

/// Says when its list changes.
struct Listed {
    list: Arc<Mutex<Vec<Task>>>,
    changes: Mutex<Option<mpsc::Receiver<()>>>,
}

#[async_trait]
impl TaskProvider for Listed {
    async fn tasks(&self) -> anyhow::Result<Vec<Task>> {
        Ok(self.list.lock().unwrap().clone())
    }

    fn changes(&self) -> Option<BoxStream<'static, ()>> {
        let receiver = self.changes.lock().unwrap().take()?;
        let next = |mut receiver: mpsc::Receiver<()>| async move { Some((receiver.recv().await?, receiver)) };
        Some(futures::stream::unfold(receiver, next).boxed())
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_says_so_is_asked_at_once() {
    let group = Group::new(0);
    let (changed, changes) = mpsc::channel(1);
    let list = Arc::new(Mutex::new(vec![Task::new("x", "")]));
    let provider = Listed { list: list.clone(), changes: Mutex::new(Some(changes)) };
    let begun = tokio::time::Instant::now();
    let a = group.member("a").provider(provider).start().await.unwrap();
    holds(&a, 1).await;
    list.lock().unwrap().push(Task::new("y", ""));
    changed.send(()).await.unwrap();
    holds(&a, 2).await;
    // A stream that ends leaves the period.
    drop(changed);
    list.lock().unwrap().clear();
    assert!(begun.elapsed() < config().provider_period, "{:?}", begun.elapsed());
    holds(&a, 0).await;
    a.close().await;
}

/// Its key goes with the write that says that it restarts: the others do not wait for the end of its lease.
#[tokio::test(start_paused = true)]
async fn a_leader_that_restarts_leaves_the_leadership_at_once() {
    let group = Group::new(6);
    let (a, b) = (group.join("a").await, group.join("b").await);
    holds(&b, 3).await;
    assert!(a.status().borrow().leading);
    a.restart().await;
    let mut status = b.status();
    let leads = status.wait_for(|status| status.leading);
    // Far less than what is left of the session.
    tokio::time::timeout(Duration::from_secs(2), leads).await.unwrap().unwrap();
}

/// Most members plan with another assignor than the leader: one of them leads, and what each assignor would move does not
/// go to and fro with the leadership.
#[tokio::test(start_paused = true)]
async fn a_member_with_another_assignor_than_most_does_not_lead() {
    let group = Group::new(6);
    let odd =
        group.member("a").assignor(lrmf_core::assignor::ConsistentHashing::default()).start().await.unwrap();
    holds(&odd, 6).await;
    let mut events = odd.events();
    let others = [group.join("b").await, group.join("c").await];
    let led = async {
        while !others.iter().any(|other| other.status().borrow().leading) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), led).await.unwrap();
    let abstains = async { while !matches!(events.next().await.unwrap(), Event::Abstains { .. }) {} };
    tokio::time::timeout(Duration::from_secs(1), abstains).await.unwrap();
    holds(&odd, 2).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!odd.status().borrow().leading);
}

/// A supervisor knows that a process is dead: nobody waits for its session.
#[tokio::test(start_paused = true)]
async fn the_tasks_of_a_member_that_is_known_to_be_dead_move_at_once() {
    let group_ = Group::new(6);
    let (a, b) = (group_.join("a").await, group_.join("b").await);
    holds(&a, 3).await;
    holds(&b, 3).await;
    let admin = Admin::new(group_.store.clone(), group());
    let dead = a.instance_id().clone();
    // The leader, even.
    a.kill().await;
    admin.declare_dead(&dead).await.unwrap();
    tokio::time::timeout(Duration::from_secs(2), holds(&b, 6)).await.unwrap();
    assert!(matches!(admin.declare_dead(&dead).await, Err(AdminError::NoMember { .. })));
    // One that lives after all stops when it hears of it, and comes back.
    let mut events = b.events();
    admin.declare_dead(b.instance_id()).await.unwrap();
    let fenced = async { while !matches!(events.next().await.unwrap(), Event::Fenced { .. }) {} };
    tokio::time::timeout(Duration::from_secs(2), fenced).await.unwrap();
    holds(&b, 6).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_without_members_can_be_deleted() {
    let group_ = Group::new(300);
    let admin = Admin::new(group_.store.clone(), group());
    let a = group_.join("a").await;
    holds(&a, 300).await;
    assert!(matches!(admin.delete_group().await, Err(AdminError::HasMembers { .. })));
    a.close().await;
    assert!(admin.delete_group().await.unwrap() > 0);
    assert!(matches!(admin.read().await, Err(AdminError::NoGroup { .. })));
    assert!(group_.store.list("/lrmf/p/b/t/").await.unwrap().entries.is_empty());
}
