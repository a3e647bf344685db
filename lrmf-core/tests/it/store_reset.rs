//! Members and routers over a store that loses its data, or goes back to an older copy of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lrmf_core::{
    CoordinatorBuilder, CoordinatorHandle, Event, FenceReason, GenerationFloor, MemoryStore, Router, Token,
};

use crate::support::{Books, Group, group, held_by, holds};

/// The highest token that a worker was given, as a store that compares tokens knows it.
struct Highest {
    books: Books,
    away: AtomicBool,
}

impl Highest {
    fn of(books: &Books) -> Arc<Self> {
        Arc::new(Self { books: books.clone(), away: AtomicBool::new(false) })
    }
}

#[async_trait]
impl GenerationFloor for Highest {
    async fn highest(&self) -> anyhow::Result<u64> {
        anyhow::ensure!(!self.away.load(Ordering::Relaxed), "the database is away");
        Ok(self.books.highest().0)
    }
}

/// A member whose stores outlive the coordination store's data, and know the highest token.
async fn join(group: &Group, name: &str) -> CoordinatorHandle {
    member(group, name).start().await.unwrap()
}

fn member(group: &Group, name: &str) -> CoordinatorBuilder {
    group.member(name).generation_floor(Highest::of(&group.books))
}

/// Raises the revisions and generations.
async fn busy(group: &Group, a: &CoordinatorHandle, rounds: usize) {
    for _ in 0..rounds {
        let passing = join(group, "passing").await;
        holds(&passing, group.tasks / 2).await;
        passing.close().await;
        holds(a, group.tasks).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_router_follows_the_new_records_after_a_loss() {
    let group_ = Group::new(6);
    let nothing = group_.store.backup();
    let router = Router::start(group_.store.clone(), &group(), group_.clock.clone());
    let a = join(&group_, "a").await;
    holds(&a, 6).await;
    busy(&group_, &a, 20).await;
    assert_eq!(router.settled("task-0").await.unwrap().member.as_str(), "a");
    a.close().await;
    group_.store.restore(&nothing);
    let c = join(&group_, "c").await;
    holds(&c, 6).await;
    let found = tokio::time::timeout(Duration::from_secs(60), async {
        while router.settled("task-0").await.is_none_or(|route| route.member.as_str() != "c") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert!(found.await.is_ok(), "{:?}, {:?} old", router.route("task-0"), router.age());
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_waits_during_a_loss_becomes_the_member() {
    let group = Group::new(6);
    let nothing = group.store.backup();
    let a = join(&group, "a").await;
    holds(&a, 6).await;
    busy(&group, &a, 5).await;
    let second = tokio::spawn(member(&group, "a").start());
    tokio::time::sleep(Duration::from_secs(5)).await;
    // The first process and the data die together: one machine.
    a.kill().await;
    group.store.restore(&nothing);
    let second = tokio::time::timeout(Duration::from_secs(60), second).await;
    holds(&second.expect("it waits for a member that is in no store").unwrap().unwrap(), 6).await;
}

#[tokio::test(start_paused = true)]
async fn a_restored_copy_of_a_session_that_waits_is_not_waited_for() {
    // The copy has the first process's session, whose lease lives again for a while; then it ends.
    let group = Group::new(6);
    let a = join(&group, "a").await;
    holds(&a, 6).await;
    let copy = group.store.backup();
    busy(&group, &a, 5).await;
    let second = tokio::spawn(member(&group, "a").start());
    tokio::time::sleep(Duration::from_secs(5)).await;
    a.kill().await;
    group.store.restore(&copy);
    let second = tokio::time::timeout(Duration::from_secs(60), second).await;
    holds(&second.expect("it never becomes the member").unwrap().unwrap(), 6).await;
}

async fn fenced(member: &CoordinatorHandle) -> tokio::task::JoinHandle<FenceReason> {
    let mut events = member.events();
    tokio::spawn(async move {
        loop {
            if let Event::Fenced { reason } = events.next().await.unwrap() {
                return reason;
            }
        }
    })
}

/// The tokens of a restored copy are lower than what stores have seen. The books fail where one is given twice.
#[tokio::test(start_paused = true)]
async fn tokens_rise_over_a_restored_copy_where_their_floor_is_known() {
    let group = Group::new(6);
    let floor = Highest::of(&group.books);
    let a = group.member("a").generation_floor(floor.clone()).start().await.unwrap();
    let b = group.member("b").generation_floor(floor.clone()).start().await.unwrap();
    holds(&a, 3).await;
    holds(&b, 3).await;
    let copy = group.store.backup();
    b.close().await;
    busy(&group, &a, 20).await;
    let highest = group.books.highest();
    let reason = fenced(&a).await;
    floor.away.store(true, Ordering::Relaxed);
    group.store.restore(&copy);
    // `b` is back in the copy, and dies there. While the floor is not known nobody is given anything.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(reason.await.unwrap(), FenceReason::StoreReset);
    assert_eq!(held_by(&a).len(), 0);
    floor.away.store(false, Ordering::Relaxed);
    holds(&a, 6).await;
    assert!(a.held().borrow().values().all(|holding| holding.token > highest));
    assert!(highest > Token(0));
}

#[tokio::test(start_paused = true)]
async fn all_members_are_back_after_a_loss() {
    let group = Group::new(6);
    let nothing: lrmf_core::memory::Backup = MemoryStore::new().backup();
    let (a, b) = (join(&group, "a").await, join(&group, "b").await);
    holds(&a, 3).await;
    holds(&b, 3).await;
    group.store.restore(&nothing);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((held_by(&a).len(), held_by(&b).len()), (3, 3));
}
