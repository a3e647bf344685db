//! Members over the in-memory store when things go wrong.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{Group, config, group, held_by, holds};
use async_trait::async_trait;
use lrmf_core::memory::Outage;
use lrmf_core::{
    Clock, Conflict, CoordinatorConfig, Event, Events, FenceReason, FixedTasks, Held, Holding, InstanceId,
    Router, StartError, Task, TaskProvider, TaskRunner, Timestamp, Worker,
};
use tokio::sync::Notify;

async fn event(events: &mut Events, wanted: impl Fn(&Event) -> bool) -> Event {
    let found = async {
        loop {
            let event = events.next().await.expect("the event before the end");
            if wanted(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), found).await.expect("the event in time")
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_cut_off_stops_before_another_one_starts() {
    let group = Group::new(20);
    let connection = group.store.connection();
    let a = group.join("a").await;
    let b = group.member_over("b", &connection).start().await.unwrap();
    holds(&b, 10).await;
    holds(&a, 10).await;
    let mut events = b.events();
    connection.set_outage(Some(Outage::UnknownNotApplied));
    let fenced = event(&mut events, |event| matches!(event, Event::Fenced { .. })).await;
    assert_eq!(fenced, Event::Fenced { reason: FenceReason::Deadline });
    holds(&b, 0).await;
    // The books fail when a task starts here that still runs there.
    holds(&a, 20).await;
    connection.set_outage(None);
    holds(&b, 10).await;
    holds(&a, 10).await;
}

/// The clock of a process that is suspended: it leaps, while nothing in the process happens.
#[derive(Debug, Default)]
struct Leaping(AtomicU64);

impl Clock for Leaping {
    fn now(&self) -> Timestamp {
        Timestamp(Duration::from_secs(self.0.load(Ordering::SeqCst)))
    }

    fn unix_millis(&self) -> u64 {
        self.0.load(Ordering::SeqCst) * 1000
    }
}

/// Between the end of a suspension and the moment when the member notices, its tasks can ask.
#[tokio::test(start_paused = true)]
async fn a_process_that_was_suspended_may_not_work_before_it_has_noticed() {
    let (group, clock) = (Group::new(1), Arc::new(Leaping::default()));
    let (to_test, mut of_test) = tokio::sync::mpsc::channel(4);
    let worker = TaskRunner::new(move |held: Held| {
        let to_test = to_test.clone();
        async move {
            to_test.send(held.clone()).await?;
            held.stop.cancelled().await;
            Ok(())
        }
    });
    let a = group.member("a").worker(worker).clock(clock.clone()).start().await.unwrap();
    let held = of_test.recv().await.unwrap();
    assert!(held.may_work() && a.tenure().left() <= config().ttl);
    clock.0.fetch_add(config().ttl.as_secs(), Ordering::SeqCst);
    // Nobody has run since: not even the member knows.
    assert!(!held.may_work() && !held.stop.is_cancelled() && !a.tenure().is_valid());
    held.stop.cancelled().await;
    // In its next session it may.
    let again = of_test.recv().await.unwrap();
    assert!(again.may_work() && again.token > held.token && !held.may_work());
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_of_the_store_disturbs_nobody() {
    let group = Group::new(20);
    let a = group.join("a").await;
    let b = group.join("b").await;
    holds(&b, 10).await;
    holds(&a, 10).await;
    let starts = group.books.starts();
    group.store.set_outage(Some(Outage::Unreachable));
    tokio::time::sleep(Duration::from_secs(4)).await;
    group.store.set_outage(None);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(group.books.starts(), starts);
    assert_eq!((held_by(&a).len(), held_by(&b).len()), (10, 10));
}

#[tokio::test(start_paused = true)]
async fn a_long_outage_stops_everybody_and_passes_without_help() {
    let group = Group::new(20);
    let a = group.join("a").await;
    let b = group.join("b").await;
    holds(&b, 10).await;
    holds(&a, 10).await;
    let before = (held_by(&a), held_by(&b));
    group.store.set_outage(Some(Outage::Unreachable));
    holds(&a, 0).await;
    holds(&b, 0).await;
    // What is no longer held may still be stopping.
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(group.books.holders().is_empty());
    // The store comes back from a restart: its leases begin anew, so nothing has to move.
    group.store.restart_leases();
    group.store.set_outage(None);
    holds(&a, 10).await;
    holds(&b, 10).await;
    assert_eq!((held_by(&a), held_by(&b)), before);
}

#[tokio::test(start_paused = true)]
async fn lost_and_compacted_watches_lose_nothing() {
    let group = Group::new(12);
    let a = group.join("a").await;
    holds(&a, 12).await;
    for round in 0..5 {
        group.store.break_watches();
        let b = group.join("b").await;
        group.store.compact();
        group.store.break_watches();
        holds(&b, 6).await;
        holds(&a, 6).await;
        b.close().await;
        holds(&a, 12).await;
        assert_eq!(group.books.holders().len(), 12, "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_process_of_one_name_is_refused_or_waits() {
    let group = Group::new(4);
    let a = group.join("a").await;
    holds(&a, 4).await;
    let refusing = CoordinatorConfig { conflict: Conflict::Refuse, ..config() };
    let refused = group.member("a").config(refusing).start().await;
    assert_eq!(refused.unwrap_err(), StartError::Conflict { instance: InstanceId::new("a").unwrap() });
    let second = tokio::spawn(group.member("a").start());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!second.is_finished());
    a.kill().await;
    let a = second.await.unwrap().unwrap();
    holds(&a, 4).await;
}

#[tokio::test(start_paused = true)]
async fn a_successor_takes_over_and_nothing_else_moves() {
    let group = Group::new(12);
    let a = group.join("a").await;
    let b = group.join("b").await;
    holds(&b, 6).await;
    holds(&a, 6).await;
    let (of_a, of_b, starts) = (held_by(&a), held_by(&b), group.books.starts());
    let second = tokio::spawn(group.member("a").start());
    tokio::time::sleep(Duration::from_secs(1)).await;
    // a leads, too.
    a.kill().await;
    let a = second.await.unwrap().unwrap();
    holds(&a, 6).await;
    assert_eq!((held_by(&a), held_by(&b)), (of_a, of_b));
    assert_eq!(group.books.starts(), starts + 6);
}

#[tokio::test(start_paused = true)]
async fn members_that_are_no_candidates_lead_when_all_candidates_are_dead() {
    let group = Group::new(14);
    let mut members = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        members.push(group.join(name).await);
    }
    for member in &members {
        holds(member, 2).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let begun = tokio::time::Instant::now();
    for member in members.drain(..5) {
        member.kill().await;
    }
    holds(&members[0], 7).await;
    holds(&members[1], 7).await;
    assert!(begun.elapsed() <= config().ttl + Duration::from_millis(500), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_idle_group_writes_nothing() {
    let group = Group::new(20);
    let a = group.join("a").await;
    let b = group.join("b").await;
    holds(&b, 10).await;
    holds(&a, 10).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let revision = group.store.revision();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(group.store.revision(), revision);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_stops_the_tasks() {
    let group = Group::new(4);
    let a = group.join("a").await;
    holds(&a, 4).await;
    let (held, other) = (a.held(), a.clone());
    drop(a);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(held.borrow().len(), 4);
    drop(other);
    let mut held = held;
    held.wait_for(|held| held.is_empty()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(group.books.holders().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_comes_too_late_is_a_loss() {
    let group = Group::new(10);
    let a = group.join("a").await;
    let b = group.join("b").await;
    holds(&b, 5).await;
    b.restart().await;
    holds(&a, 10).await;
    let b = group.join("b").await;
    holds(&b, 5).await;
}

/// A list that the test changes.
#[derive(Clone, Default)]
struct Listed(Arc<Mutex<Option<Answer>>>);

type Answer = Result<Vec<Task>, String>;

impl Listed {
    fn set(&self, answer: Answer) {
        *self.0.lock().unwrap() = Some(answer);
    }
}

#[async_trait]
impl TaskProvider for Listed {
    async fn tasks(&self) -> anyhow::Result<Vec<Task>> {
        let answer = self.0.lock().unwrap().clone();
        match answer {
            Some(answer) => answer.map_err(anyhow::Error::msg),
            None => std::future::pending().await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_good_list_outlives_bad_ones() {
    let group = Group::new(0);
    let listed = Listed::default();
    let tasks = |names: &[&str]| names.iter().map(|name| Task::new(*name, "")).collect::<Vec<_>>();
    listed.set(Ok(tasks(&["x", "y"])));
    let a = group.member("a").provider(listed.clone()).start().await.unwrap();
    holds(&a, 2).await;
    let mut events = a.events();
    let bad = [Err("it is down".to_owned()), Ok(tasks(&["x", "x"])), Ok(tasks(&[""]))];
    for answer in bad {
        listed.set(answer);
        a.trigger_rebalance();
        event(&mut events, |event| matches!(event, Event::ProviderFailed { .. })).await;
        assert_eq!(held_by(&a).len(), 2);
    }
    // It hangs.
    *listed.0.lock().unwrap() = None;
    a.trigger_rebalance();
    event(&mut events, |event| matches!(event, Event::ProviderFailed { .. })).await;
    assert_eq!(held_by(&a).len(), 2);
    listed.set(Ok(tasks(&["y", "z"])));
    a.trigger_rebalance();
    let mut held = a.held();
    held.wait_for(|held| held.len() == 2 && held.contains_key("z")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn any_member_can_ask_for_a_new_plan() {
    let group = Group::new(0);
    let listed = Listed::default();
    listed.set(Ok(vec![Task::new("x", "")]));
    let a = group.member("a").provider(listed.clone()).start().await.unwrap();
    holds(&a, 1).await;
    let b = group.member("b").provider(listed.clone()).start().await.unwrap();
    b.status().wait_for(|status| status.leader.is_some()).await.unwrap();
    listed.set(Ok(vec![Task::new("x", ""), Task::new("y", "")]));
    let begun = tokio::time::Instant::now();
    b.trigger_rebalance();
    holds(&b, 1).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_gives_up_keeps_nobody_waiting() {
    let group = Group::new(4);
    let a = group.join("a").await;
    let b = group.join("b").await;
    holds(&b, 2).await;
    let second = tokio::spawn(group.member("b").start());
    tokio::time::sleep(Duration::from_secs(1)).await;
    second.abort();
    tokio::time::sleep(Duration::from_secs(1)).await;
    b.close().await;
    let begun = tokio::time::Instant::now();
    holds(&a, 4).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_changed_value_is_a_new_holding_in_place() {
    let group = Group::new(0);
    let listed = Listed::default();
    listed.set(Ok(vec![Task::new("x", "1"), Task::new("y", "1")]));
    let a = group.member("a").provider(listed.clone()).start().await.unwrap();
    holds(&a, 2).await;
    let before: BTreeMap<_, _> = a.held().borrow().clone();
    listed.set(Ok(vec![Task::new("x", "2"), Task::new("y", "1")]));
    a.trigger_rebalance();
    let mut held = a.held();
    let held =
        held.wait_for(|held| held.get("x").is_some_and(|x| x.task.value.as_ref() == "2")).await.unwrap();
    assert!(held["x"].token > before["x"].token);
    assert_eq!(held["y"], before["y"]);
}

/// Fails to start one task, and takes its time to stop another one.
struct Awkward {
    fails: &'static str,
    slow: &'static str,
    go: Arc<Notify>,
}

#[async_trait]
impl Worker for Awkward {
    async fn assign(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        anyhow::ensure!(holdings.iter().all(|holding| holding.task.key.as_ref() != self.fails), "not here");
        Ok(())
    }

    async fn revoke(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        if holdings.iter().any(|holding| holding.task.key.as_ref() == self.slow) {
            self.go.notified().await;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_fails_here_is_tried_elsewhere() {
    let group = Group::new(6);
    let awkward = Awkward { fails: "task-0", slow: "", go: Arc::default() };
    let a = group.member("a").worker(awkward).start().await.unwrap();
    holds(&a, 5).await;
    let b = group.join("b").await;
    let mut held = b.held();
    held.wait_for(|held| held.contains_key("task-0")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(held_by(&b).contains("task-0"));
    assert_eq!(held_by(&a).len() + held_by(&b).len(), 6);
}

#[tokio::test(start_paused = true)]
async fn one_slow_revoke_delays_only_its_own_task() {
    let group = Group::new(8);
    let go = Arc::new(Notify::new());
    let awkward = Awkward { fails: "", slow: "task-0", go: go.clone() };
    let a = group.member("a").worker(awkward).start().await.unwrap();
    holds(&a, 8).await;
    let closing = {
        let b = group.join("b").await;
        holds(&b, 4).await;
        let a = a.clone();
        let closing = tokio::spawn(async move { a.close().await });
        holds(&b, 7).await;
        (closing, b)
    };
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (closing, b) = closing;
    assert!(!closing.is_finished() && !held_by(&b).contains("task-0"));
    go.notify_one();
    closing.await.unwrap();
    holds(&b, 8).await;
}

#[tokio::test(start_paused = true)]
async fn a_router_follows() {
    let members = Group::new(6);
    let router = Router::start(members.store.clone(), &group(), members.clock.clone());
    assert!(router.route("task-0").is_err());
    router.ready().await;
    assert_eq!(router.route("task-0"), Ok(None));
    let a = members.join("a").await;
    let route = router.settled("task-0").await.unwrap();
    assert_eq!(&route.member, a.instance_id());
    let b = members.join("b").await;
    holds(&b, 3).await;
    holds(&a, 3).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    for (key, route) in router.routes().unwrap() {
        let holder = if &route.member == a.instance_id() { &a } else { &b };
        assert_eq!(holder.held().borrow()[&key].token, route.token);
    }
    assert!(router.age().unwrap() <= Duration::from_secs(1));
    members.store.set_outage(Some(Outage::Unreachable));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(router.age().unwrap() >= Duration::from_secs(5));
    assert!(router.route("task-0").unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn groups_do_not_see_each_other() {
    let one = Group::new(4);
    let a = one.join("a").await;
    let other = lrmf_core::GroupId::new("p", "b", "t2").unwrap();
    let in_other = lrmf_core::Coordinator::builder(one.store.clone(), other)
        .instance_id(InstanceId::new("a").unwrap())
        .provider(FixedTasks::new([Task::new("task-0", "")]))
        .worker(lrmf_core::smooth::SmoothWorker::new(|_| {}))
        .config(config())
        .start()
        .await
        .unwrap();
    holds(&a, 4).await;
    holds(&in_other, 1).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_or_wrong_is_named() {
    let members = Group::new(1);
    let bad = CoordinatorConfig { max_moves: 0, ..config() };
    assert!(matches!(members.member("a").config(bad).start().await, Err(StartError::Config(_))));
    let bare = lrmf_core::Coordinator::builder(members.store.clone(), group());
    assert_eq!(bare.start().await.unwrap_err(), StartError::Missing { what: "an instance id" });
}
