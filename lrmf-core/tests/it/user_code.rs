//! The user's code panics, hangs, takes long or lies: the member lives on, keeps its word, and says what happened.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use lrmf_core::assignor::{Assignor, Placement, PlanError, Problem, StickyBalanced};
use lrmf_core::clock::RuntimeClock;
use lrmf_core::coordination::{Lease, LeaseId, Revision, Snapshot, Txn, TxnLimits, TxnOutcome, WatchStream};
use lrmf_core::memory::Outage;
use lrmf_core::runner::{Declined, RunnerEvent};
use lrmf_core::{
    Assignment, Clock, Coordination, CoordinationError, CoordinatorConfig, CoordinatorHandle, Event, Events,
    Exit, Held, Holding, MemberStage, Task, TaskHub, TaskProvider, TaskRunner, Timestamp, Worker,
};
use tokio::sync::watch;

use crate::support::{self, Booked, Group, config, held_by, holds};

const LONG: Duration = Duration::from_secs(600);

async fn event(events: &mut Events, wanted: impl Fn(&Event) -> bool) -> Event {
    let next = async {
        loop {
            let event = events.next().await.unwrap();
            if wanted(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(LONG, next).await.unwrap()
}

fn tasks(count: usize) -> Vec<Task> {
    (0..count).map(|task| Task::new(format!("task-{task}"), "")).collect()
}

/// A list that the test changes.
#[derive(Clone, Default)]
struct Listed(Arc<Mutex<Vec<Task>>>);

impl Listed {
    fn new(tasks: Vec<Task>) -> Self {
        Self(Arc::new(Mutex::new(tasks)))
    }

    fn add(&self, key: &str) {
        self.0.lock().unwrap().push(Task::new(key, ""));
    }
}

#[async_trait]
impl TaskProvider for Listed {
    async fn tasks(&self) -> anyhow::Result<Vec<Task>> {
        Ok(self.0.lock().unwrap().clone())
    }
}

/// Does as it is told when there is a task named "bad".
struct Unless(fn());

impl Assignor for Unless {
    fn plan(&self, problem: &Problem<'_>) -> Result<Vec<Placement>, PlanError> {
        if problem.tasks.iter().any(|task| task.key.as_ref() == "bad") {
            self.0();
        }
        StickyBalanced.plan(problem)
    }

    fn name(&self) -> &'static str {
        "unless"
    }
}

#[tokio::test(start_paused = true)]
async fn an_assignor_that_panics_is_a_refused_plan_and_disturbs_nobody() {
    let (group, listed) = (Group::new(0), Listed::new(tasks(4)));
    let member = |name| group.member(name).provider(listed.clone()).assignor(Unless(|| panic!("a bug")));
    let a = member("a").start().await.unwrap();
    let b = member("b").start().await.unwrap();
    holds(&b, 2).await;
    let (mut events, before) = (a.events(), group.books.holders());
    listed.add("bad");
    a.trigger_rebalance();
    let refused = event(&mut events, |event| matches!(event, Event::PlanRefused { .. })).await;
    assert!(matches!(refused, Event::PlanRefused { error } if error.contains("panicked: a bug")));
    tokio::time::sleep(LONG).await;
    assert_eq!(group.books.holders(), before);
    assert!(a.tenure().is_valid() && b.tenure().is_valid());
    tokio::join!(a.close(), b.close());
}

/// A start that does not return, at a member that loses sight of the store: it is given up with the session, stopped, and
/// begins again in the next one.
#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_when_the_session_is_lost_is_stopped_in_time() {
    struct HangsOnce {
        begun: AtomicUsize,
        stopped: watch::Sender<usize>,
    }
    #[async_trait]
    impl Worker for HangsOnce {
        async fn assign(&self, _: &[Holding]) -> anyhow::Result<()> {
            if self.begun.fetch_add(1, Ordering::SeqCst) == 0 {
                std::future::pending::<()>().await;
            }
            Ok(())
        }

        async fn revoke(&self, _: &[Holding]) -> anyhow::Result<()> {
            self.stopped.send_modify(|stopped| *stopped += 1);
            Ok(())
        }
    }
    for assign_timeout in [Duration::from_secs(5), Duration::from_secs(60)] {
        let group = Group::new(1);
        let worker = Arc::new(HangsOnce { begun: AtomicUsize::new(0), stopped: watch::Sender::new(0) });
        let link = group.store.connection();
        let settings = CoordinatorConfig { assign_timeout, ..config() };
        let member = group
            .member_over("a", &link)
            .shared_worker(worker.clone())
            .config(settings.clone())
            .start()
            .await
            .unwrap();
        let mut events = member.events();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let begun = group.clock.now();
        link.set_outage(Some(Outage::UnknownNotApplied));
        event(&mut events, |event| matches!(event, Event::Fenced { .. })).await;
        let mut stopped = worker.stopped.subscribe();
        tokio::time::timeout(LONG, stopped.wait_for(|stopped| *stopped == 1)).await.unwrap().unwrap();
        assert!(group.clock.now().since(begun) < settings.ttl, "before the session can end");
        link.set_outage(None);
        holds(&member, 1).await;
        assert_eq!(worker.begun.load(Ordering::SeqCst), 2);
        assert!(matches!(member.status().borrow().stage, MemberStage::Serving(_)));
        member.close().await;
        assert_eq!(member.exit().await, Exit::Asked);
    }
}

/// For tests in real time: in paused time nothing runs on other threads.
fn short() -> CoordinatorConfig {
    let (ttl, margin) = (Duration::from_secs(3), Duration::from_secs(1));
    CoordinatorConfig { ttl, margin, plan_timeout: Duration::from_secs(4), ..config() }
}

static RELEASED: AtomicBool = AtomicBool::new(false);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_assignor_that_takes_longer_than_a_session_loses_the_leadership_and_no_task() {
    let (group, listed) = (Group::new(0), Listed::new(tasks(4)));
    let member = |name| {
        let builder = group.member(name).provider(listed.clone()).config(short());
        builder.clock(Arc::new(RuntimeClock::new()))
    };
    let hangs = Unless(|| {
        while !RELEASED.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(10));
        }
    });
    let a = member("a").assignor(hangs).start().await.unwrap();
    let b = member("b").start().await.unwrap();
    holds(&b, 2).await;
    let (mut of_a, mut of_b, starts) = (a.events(), b.events(), group.books.starts());
    listed.add("bad");
    a.trigger_rebalance();
    let refused = event(&mut of_a, |event| matches!(event, Event::PlanRefused { .. })).await;
    assert!(matches!(refused, Event::PlanRefused { error } if error.contains("no plan within 4s")));
    event(&mut of_b, |event| matches!(event, Event::BecameLeader)).await;
    // The other one has another assignor, so the new task is placed, and nothing else has moved.
    let mut placed = b.held();
    let mut all = a.held();
    let placed = async {
        loop {
            if placed.borrow().len() + all.borrow().len() == 5 {
                return;
            }
            tokio::select! {
                changed = placed.changed() => changed.unwrap(),
                changed = all.changed() => changed.unwrap(),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), placed).await.unwrap();
    assert_eq!(group.books.starts(), starts + 1);
    RELEASED.store(true, Ordering::SeqCst);
    tokio::join!(a.close(), b.close());
}

#[tokio::test]
async fn a_callback_that_blocks_the_runtime_does_not_end_the_session() {
    struct Blocks(Booked);
    #[async_trait]
    impl Worker for Blocks {
        async fn assign(&self, holdings: &[Holding]) -> anyhow::Result<()> {
            if holdings[0].task.key.as_ref() == "bad" {
                // The only thread of the program's runtime.
                std::thread::sleep(Duration::from_secs(5));
            }
            self.0.assign(holdings).await
        }
        async fn revoke(&self, holdings: &[Holding]) -> anyhow::Result<()> {
            self.0.revoke(holdings).await
        }
    }
    let (group, listed) = (Group::new(0), Listed::new(tasks(2)));
    let worker = Blocks(group.books.worker("a"));
    let builder = group.member("a").provider(listed.clone()).worker(worker).config(short());
    let a = builder.clock(Arc::new(RuntimeClock::new())).start().await.unwrap();
    holds(&a, 2).await;
    let mut events = a.events();
    listed.add("bad");
    a.trigger_rebalance();
    let next = event(&mut events, |event| matches!(event, Event::Fenced { .. } | Event::Assigned(_))).await;
    assert!(matches!(next, Event::Assigned(_)), "{next:?}");
    a.close().await;
}

/// Panics wherever it is asked.
struct BadProvider;

#[async_trait]
impl TaskProvider for BadProvider {
    async fn tasks(&self) -> anyhow::Result<Vec<Task>> {
        panic!("no tasks")
    }

    fn changes(&self) -> Option<BoxStream<'static, ()>> {
        panic!("no stream")
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_panics_is_one_that_fails() {
    let group = Group::new(2);
    let a = group.join("a").await;
    holds(&a, 2).await;
    let b = group.member("b").provider(BadProvider).start().await.unwrap();
    holds(&b, 1).await;
    // It leads by what the records have.
    a.close().await;
    holds(&b, 2).await;
    b.close().await;
}

async fn all_are_declined(count: usize) {
    let group = Group::new(count);
    let declines = TaskRunner::new(|_: Held| async { Err(Declined("no".into()).into()) });
    let a = group.member("a").worker(declines).start().await.unwrap();
    let b = group.join("b").await;
    holds(&b, count).await;
    tokio::join!(a.close(), b.close());
}

/// A run may end before its start is heard of.
#[tokio::test(start_paused = true)]
async fn every_task_that_is_given_up_goes_elsewhere() {
    all_are_declined(2000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_task_that_is_given_up_goes_elsewhere_in_real_time_too() {
    all_are_declined(500).await;
}

#[tokio::test(start_paused = true)]
async fn members_that_share_a_worker_hear_of_their_own_tasks_alone() {
    let group = Group::new(20);
    let declines = Arc::new(TaskRunner::new(|_: Held| async { Err(Declined("no".into()).into()) }));
    let a = group.member("a").shared_worker(declines.clone()).start().await.unwrap();
    let b = group.member("b").shared_worker(declines).start().await.unwrap();
    let c = group.join("c").await;
    holds(&c, 20).await;
    tokio::join!(a.close(), b.close(), c.close());
}

/// Never comes back for one task, whether it is to start or to stop it.
struct Hangs {
    starting: &'static str,
    stopping: &'static str,
}

#[async_trait]
impl Worker for Hangs {
    async fn assign(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        if holdings[0].task.key.as_ref() == self.starting {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn revoke(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        if holdings[0].task.key.as_ref() == self.stopping {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_is_reported_given_up_and_tried_elsewhere() {
    let group = Group::new(4);
    let a = group.member("a").worker(Hangs { starting: "task-0", stopping: "" }).start().await.unwrap();
    let mut events = a.events();
    let b = group.join("b").await;
    let overdue = event(&mut events, |event| matches!(event, Event::AssignOverdue { .. })).await;
    assert!(matches!(overdue, Event::AssignOverdue { key, .. } if key.as_ref() == "task-0"));
    event(&mut events, |event| matches!(event, Event::AssignFailed { .. })).await;
    let mut held = b.held();
    held.wait_for(|held| held.contains_key("task-0")).await.unwrap();
    a.close().await;
    assert_eq!(a.exit().await, Exit::Asked);
    b.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_hangs_keeps_a_member_from_coming_back_for_one_task_alone() {
    let group = Group::new(10);
    let a = group.member("a").worker(Hangs { starting: "", stopping: "task-0" }).start().await.unwrap();
    holds(&a, 10).await;
    group.store.set_outage(Some(Outage::Unreachable));
    tokio::time::sleep(Duration::from_secs(30)).await;
    group.store.set_outage(None);
    holds(&a, 9).await;
    assert!(!held_by(&a).contains("task-0"), "it still runs in the session before");
    // Elsewhere it may begin: that session has ended.
    let b = group.join("b").await;
    b.held().wait_for(|held| held.contains_key("task-0")).await.unwrap();
    a.close().await;
    assert_eq!(a.exit().await, Exit::StillRunning(vec!["task-0".into()]));
    b.close().await;
}

#[tokio::test(start_paused = true)]
async fn closing_ends_with_the_tasks_that_do_not_stop() {
    let group = Group::new(3);
    let a = group.member("a").worker(Hangs { starting: "", stopping: "task-1" }).start().await.unwrap();
    holds(&a, 3).await;
    let begun = group.clock.now();
    a.close().await;
    assert_eq!(a.exit().await, Exit::StillRunning(vec!["task-1".into()]));
    let config = config();
    let most = config.drain_timeout + config.assign_timeout + config.revoke_timeout;
    assert!(group.clock.now().since(begun) <= most);
    assert!(!a.tenure().is_valid());
}

/// Takes longer to stop than a session lives.
struct SlowToStop(Booked, watch::Receiver<bool>);

#[async_trait]
impl Worker for SlowToStop {
    async fn assign(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        self.0.assign(holdings).await
    }

    async fn revoke(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        self.1.clone().wait_for(|may| *may).await?;
        self.0.revoke(holdings).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_was_dropped_keeps_its_session_until_everything_has_stopped() {
    let group = Group::new(2);
    let (may, wait) = watch::channel(false);
    let worker = SlowToStop(group.books.worker("a"), wait);
    let a = group.member("a").worker(worker).start().await.unwrap();
    holds(&a, 2).await;
    let b = group.join("b").await;
    let mut status = a.status();
    drop(a);
    // Twice the TTL, and within `revoke_timeout`.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(held_by(&b).is_empty(), "the books say who runs what: {:?}", group.books.holders());
    may.send_replace(true);
    status.wait_for(|status| status.stage == MemberStage::Ended(Exit::Asked)).await.unwrap();
    holds(&b, 2).await;
    b.close().await;
}

/// Panics when it is to start the task, once.
#[derive(Default)]
struct PanicsOnce {
    panicked: AtomicBool,
    revoked: AtomicUsize,
}

#[async_trait]
impl TaskHub for PanicsOnce {
    async fn assign(&self, gained: &[Holding], current: &Assignment) -> anyhow::Result<()> {
        assert!(gained.iter().all(|holding| current.contains_key(&holding.task.key)));
        assert!(self.panicked.swap(true, Ordering::SeqCst), "a bug");
        Ok(())
    }

    async fn revoke(&self, lost: &[Holding], current: &Assignment) -> anyhow::Result<()> {
        assert!(lost.iter().all(|holding| !current.contains_key(&holding.task.key)));
        self.revoked.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_panicked_while_it_was_started_is_stopped_before_it_is_tried_again() {
    let group = Group::new(1);
    let hub = Arc::new(lrmf_core::hub::HubWorker::new(PanicsOnce::default()));
    let a = group.member("a").shared_worker(hub.clone()).start().await.unwrap();
    holds(&a, 1).await;
    assert_eq!(hub.hub().revoked.load(Ordering::SeqCst), 1);
    assert_eq!(hub.assignment().len(), 1);
    a.close().await;
}

#[tokio::test]
async fn a_hub_whose_assign_panics_does_not_hold_the_task() {
    let hub = Arc::new(lrmf_core::hub::HubWorker::new(PanicsOnce::default()));
    let holding = Holding { task: Task::new("a", ""), token: lrmf_core::Token(1) };
    let assigning = hub.clone();
    let assigned = tokio::spawn(async move { assigning.assign(&[holding]).await });
    assert!(assigned.await.unwrap_err().is_panic());
    assert!(hub.assignment().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_ends_no_run() {
    let group = Group::new(1);
    let runs = Arc::new(AtomicUsize::new(0));
    let count = runs.clone();
    let runner = TaskRunner::new(move |held: Held| {
        let run = count.fetch_add(1, Ordering::SeqCst);
        async move {
            anyhow::ensure!(run > 0, "the first one fails");
            held.stop.cancelled().await;
            Ok(())
        }
    });
    let runner = runner.observed(|_, event| panic!("{:?}", matches!(event, RunnerEvent::Finished)));
    let a = group.member("a").worker(runner).start().await.unwrap();
    holds(&a, 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    a.close().await;
    assert_eq!(a.exit().await, Exit::Asked);
}

/// A store whose adapter panics at every seventh call.
#[derive(Debug)]
struct BadStore(lrmf_core::MemoryStore, AtomicUsize);

impl BadStore {
    fn luck(&self) {
        assert!(!self.1.fetch_add(1, Ordering::SeqCst).is_multiple_of(7), "a bug in the adapter");
    }
}

#[async_trait]
impl Coordination for BadStore {
    async fn grant_lease(&self, ttl: Duration) -> Result<Lease, CoordinationError> {
        self.luck();
        self.0.grant_lease(ttl).await
    }
    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, CoordinationError> {
        self.luck();
        self.0.keep_alive(lease).await
    }
    async fn revoke_lease(&self, lease: LeaseId) -> Result<(), CoordinationError> {
        self.0.revoke_lease(lease).await
    }
    async fn list(&self, prefix: &str) -> Result<Snapshot, CoordinationError> {
        self.luck();
        self.0.list(prefix).await
    }
    async fn commit(&self, txn: Txn) -> Result<TxnOutcome, CoordinationError> {
        self.luck();
        self.0.commit(txn).await
    }
    fn watch(&self, prefix: &str, after: Revision) -> WatchStream {
        self.luck();
        self.0.watch(prefix, after)
    }
    fn limits(&self) -> TxnLimits {
        TxnLimits::ETCD
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_whose_adapter_panics_is_one_that_does_not_answer() {
    let group = Group::new(4);
    let store = Arc::new(BadStore((*group.store).clone(), AtomicUsize::new(0)));
    let builder = lrmf_core::Coordinator::builder(store, support::group());
    let builder = builder.instance_id(lrmf_core::InstanceId::new("a").unwrap()).config(config());
    let builder = builder.worker(group.books.worker("a")).provider(Listed::new(tasks(4)));
    let a = builder.clock(group.clock.clone()).start().await.unwrap();
    holds(&a, 4).await;
    tokio::time::sleep(LONG / 10).await;
    assert_eq!(held_by(&a).len(), 4);
    a.close().await;
}

/// A clock that panics when it is told to.
#[derive(Debug)]
struct BadClock(RuntimeClock, AtomicBool);

impl Clock for BadClock {
    fn now(&self) -> Timestamp {
        assert!(!self.1.load(Ordering::SeqCst), "no time");
        self.0.now()
    }

    fn unix_millis(&self) -> u64 {
        self.0.unix_millis()
    }
}

/// The one thing that the user supplies and the machine cannot go on without.
#[tokio::test(start_paused = true)]
async fn a_member_that_fails_stops_its_tasks_first_and_says_so() {
    let group = Group::new(3);
    let clock = Arc::new(BadClock(RuntimeClock::new(), AtomicBool::new(false)));
    let a = group.member("a").clock(clock.clone()).start().await.unwrap();
    holds(&a, 3).await;
    let mut events = a.events();
    clock.1.store(true, Ordering::SeqCst);
    let failed = event(&mut events, |event| matches!(event, Event::Failed { .. })).await;
    assert_eq!(failed, Event::Failed { error: "no time".into() });
    assert_eq!(a.exit().await, Exit::Failed("no time".into()));
    assert!(group.books.holders().is_empty() && held_by(&a).is_empty());
    let b: CoordinatorHandle = group.join("b").await;
    holds(&b, 3).await;
    b.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_stuck_does_not_use_up_the_moves() {
    let group = Group::new(9);
    let few = CoordinatorConfig { max_moves: 1, revoke_timeout: Duration::from_secs(2), ..config() };
    let hangs = Hangs { starting: "", stopping: "task-0" };
    let a = group.member("a").worker(hangs).config(few.clone()).start().await.unwrap();
    holds(&a, 9).await;
    let b = group.member("b").config(few.clone()).start().await.unwrap();
    let admin = lrmf_core::admin::Admin::new(group.store.clone(), support::group());
    admin.pin("task-0", b.instance_id()).await.unwrap();
    let c = group.member("c").config(few).start().await.unwrap();
    let mut held = c.held();
    tokio::time::timeout(LONG, held.wait_for(|held| held.len() >= 2)).await.unwrap().unwrap();
    tokio::join!(b.close(), c.close(), a.kill());
}
