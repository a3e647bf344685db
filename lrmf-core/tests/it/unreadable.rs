//! Records that are none: written by a tool, or by hand.

use std::time::Duration;

use lrmf_core::coordination::{Coordination, Op, Txn};
use lrmf_core::{CoordinatorHandle, Event, FenceReason, Router};

use crate::support::{Group, group, held_by, holds};

async fn garbage(group: &Group, key: &str) {
    let op = Op::Put { key: format!("/lrmf/p/b/t/{key}"), value: "garbage".into(), lease: None };
    group.store.commit(Txn { guards: vec![], ops: vec![op] }).await.unwrap();
}

async fn shared(members: &[&CoordinatorHandle], each: usize) {
    for member in members {
        holds(member, each).await;
    }
}

/// Garbage of members that are none; the group is led all the same, also by the next leader.
#[tokio::test(start_paused = true)]
async fn records_of_nobody_are_tolerated() {
    for key in [
        "members/zzz/ack",
        "members/zzz/session",
        "members/zzz/successor",
        "members/zzz/contact",
        "members/zzz/notice",
        "assignments/zzz/00",
        "control/freeze",
        "mode",
    ] {
        let group = Group::new(6);
        let a = group.join("a").await;
        holds(&a, 6).await;
        let mut events = a.events();
        garbage(&group, key).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let b = group.join("b").await;
        shared(&[&a, &b], 3).await;
        let reported = async {
            while !matches!(
                events.next().await.unwrap(),
                Event::Unreadable { .. } | Event::ControlRefused { .. }
            ) {}
        };
        tokio::time::timeout(Duration::from_secs(1), reported).await.expect("it is reported");
        a.kill().await;
        holds(&b, 6).await;
    }
}

/// A group whose leader's key, counter or a member's acknowledgement was overwritten goes on, and tokens rise (the books
/// fail otherwise).
#[tokio::test(start_paused = true)]
async fn records_of_the_group_are_made_anew() {
    for key in ["leader", "generation", "members/a/ack", "members/b/ack"] {
        let group = Group::new(6);
        let (a, b) = (group.join("a").await, group.join("b").await);
        shared(&[&a, &b], 3).await;
        garbage(&group, key).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        let c = group.join("c").await;
        shared(&[&a, &b, &c], 2).await;
        c.close().await;
        shared(&[&a, &b], 3).await;
    }
}

/// What a member runs from a record that was overwritten nobody knows but the member: it stops all of it, and nobody
/// starts any of it before (the books fail otherwise). The others are not touched.
#[tokio::test(start_paused = true)]
async fn a_record_of_a_member_fences_that_member_alone() {
    for of in ["a", "b"] {
        let group_ = Group::new(12);
        let (a, b, c) = (group_.join("a").await, group_.join("b").await, group_.join("c").await);
        shared(&[&a, &b, &c], 4).await;
        let router = Router::start(group_.store.clone(), &group(), group_.clock.clone());
        let chunk = |key: &str| lrmf_core::keys::chunk_of(key).to_string();
        let (member, other) = if of == "a" { (&a, &b) } else { (&b, &a) };
        let (key, before) = (held_by(member).into_iter().next().unwrap(), held_by(&c));
        let (mut events, mut others) = (member.events(), other.events());
        garbage(&group_, &format!("assignments/{of}/{}", chunk(&key))).await;
        let fenced = async {
            loop {
                if let Event::Fenced { reason } = events.next().await.unwrap() {
                    return reason;
                }
            }
        };
        let reason = tokio::time::timeout(Duration::from_secs(60), fenced).await.unwrap();
        assert_eq!(reason, FenceReason::Unreadable);
        shared(&[&a, &b, &c], 4).await;
        assert!(router.settled(&key).await.is_some());
        assert!(before.is_subset(&held_by(&c)) || held_by(&c).len() == 4);
        while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(30), others.next()).await {
            assert!(!matches!(event, Event::Fenced { .. }), "{event:?}");
        }
    }
}

/// The only member of a group fences itself once, not for ever.
#[tokio::test(start_paused = true)]
async fn a_member_alone_recovers_from_its_own_record() {
    let group = Group::new(6);
    let a = group.join("a").await;
    holds(&a, 6).await;
    let key = held_by(&a).into_iter().next().unwrap();
    garbage(&group, &format!("assignments/a/{}", lrmf_core::keys::chunk_of(&key))).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let starts = group.books.starts();
    assert_eq!(held_by(&a).len(), 6);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!((held_by(&a).len(), group.books.starts()), (6, starts));
}

/// A process that wants to be the member in whose place there is garbage.
#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_by_garbage_is_free() {
    let group = Group::new(6);
    garbage(&group, "members/a/session").await;
    garbage(&group, "members/a/successor").await;
    let a = tokio::time::timeout(Duration::from_secs(60), group.join("a")).await.unwrap();
    holds(&a, 6).await;
}
