//! Tasks that do not run well, or do not stop: who hears of it, and what becomes of them. On paused time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lrmf_core::admin::{Admin, TaskPhase};
use lrmf_core::runner::{Overrun, RunnerConfig};
use lrmf_core::{
    CoordinatorConfig, CoordinatorHandle, Event, Events, Held, Holding, InstanceId, TaskRunner, Worker,
};
use tokio::sync::watch;

use crate::support::{Booked, Group, config, group, holds};

async fn event(events: &mut Events, wanted: impl Fn(&Event) -> bool) -> Event {
    let next = async {
        loop {
            let event = events.next().await.unwrap();
            if wanted(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(600), next).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_task_that_keeps_crashing_is_tried_elsewhere_and_then_here_again() {
    let group = Group::new(1);
    let crash = RunnerConfig { quarantine_after: 2, ..RunnerConfig::default() };
    let crashes =
        || TaskRunner::new(|_: Held| async { anyhow::bail!("no disk") }).configured(crash.clone()).unwrap();
    let a = group.member("a").worker(crashes()).start().await.unwrap();
    let mut at_a = a.events();
    let given_up = event(&mut at_a, |event| matches!(event, Event::GivenUp { .. })).await;
    assert!(matches!(given_up, Event::GivenUp { error, .. } if error.contains("no disk")));
    // There is nobody else: it is tried here again, later and later.
    for _ in 0..3 {
        event(&mut at_a, |event| matches!(event, Event::Assigned(_))).await;
        event(&mut at_a, |event| matches!(event, Event::GivenUp { .. })).await;
    }
    let b = group.join("b").await;
    holds(&b, 1).await;
    a.close().await;
    b.close().await;
}

/// Gives everything back only when it is told to.
struct Slow(Booked, watch::Receiver<bool>);

#[async_trait]
impl Worker for Slow {
    async fn assign(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        self.0.assign(holdings).await
    }

    async fn revoke(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        self.1.clone().wait_for(|may| *may).await?;
        self.0.revoke(holdings).await
    }
}

fn impatient() -> CoordinatorConfig {
    CoordinatorConfig { revoke_timeout: Duration::from_secs(2), ..config() }
}

async fn phase(group: &Group, task: &str) -> TaskPhase {
    let state = Admin::new(group.store.clone(), crate::support::group()).read().await.unwrap();
    state.phase(state.place(task).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_revoke_that_does_not_return_is_heard_of_everywhere_and_waited_for() {
    let group = Group::new(1);
    let (may, wait) = watch::channel(false);
    let a = group.join("a").await;
    let slow = Slow(group.books.worker("b"), wait);
    let b = group.member("b").worker(slow).config(impatient()).start().await.unwrap();
    let admin = Admin::new(group.store.clone(), crate::support::group());
    admin.pin("task-0", &InstanceId::new("b").unwrap()).await.unwrap();
    holds(&b, 1).await;
    let (mut at_a, mut at_b) = (a.events(), b.events());
    assert!(a.status().borrow().leading);
    admin.unpin("task-0").await.unwrap();
    admin.pin("task-0", &InstanceId::new("a").unwrap()).await.unwrap();
    event(&mut at_b, |event| matches!(event, Event::RevokeOverdue { .. })).await;
    let stuck = event(&mut at_a, |event| matches!(event, Event::TaskStuck { .. })).await;
    assert!(matches!(stuck, Event::TaskStuck { instance, .. } if instance.as_str() == "b"));
    assert_eq!(phase(&group, "task-0").await, TaskPhase::Stuck);
    may.send_replace(true);
    holds(&a, 1).await;
    assert_eq!(phase(&group, "task-0").await, TaskPhase::Held);
    tokio::join!(a.close(), b.close());
}

/// The member that holds the only task, and the one that does not.
async fn stuck_in_panic(group: &Group) -> (CoordinatorHandle, CoordinatorHandle) {
    struct Panics;
    #[async_trait]
    impl Worker for Panics {
        async fn assign(&self, _: &[Holding]) -> anyhow::Result<()> {
            Ok(())
        }
        async fn revoke(&self, _: &[Holding]) -> anyhow::Result<()> {
            panic!("nobody knows")
        }
    }
    let a = group.member("a").worker(Panics).start().await.unwrap();
    holds(&a, 1).await;
    (a, group.join("b").await)
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_revoke_panicked_can_be_released_by_force() {
    let group = Group::new(1);
    let (a, b) = stuck_in_panic(&group).await;
    let mut at_a = a.events();
    let admin = Admin::new(group.store.clone(), crate::support::group());
    admin.drain(a.instance_id()).await.unwrap();
    event(&mut at_a, |event| matches!(event, Event::TaskStuck { .. })).await;
    assert_eq!(phase(&group, "task-0").await, TaskPhase::Stuck);
    let released = admin.force_release("task-0").await.unwrap();
    assert_eq!(released.member, *a.instance_id());
    holds(&b, 1).await;
    assert!(b.held().borrow()["task-0"].token > released.token);
    tokio::join!(a.kill(), b.close());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_aborted_is_acknowledged_once_it_has_ended() {
    let tasks = Group::new(1);
    let config = RunnerConfig {
        revoke_timeout: Duration::from_secs(1),
        overrun: Overrun::Abort,
        ..RunnerConfig::default()
    };
    let alive = Arc::new(());
    let run = alive.clone();
    // It does not heed its stop signal, and holds something for as long as it is there.
    let runner = TaskRunner::new(move |_: Held| {
        let run = run.clone();
        async move {
            std::future::pending::<()>().await;
            drop(run);
            Ok(())
        }
    });
    let a = tasks.member("a").worker(runner.configured(config).unwrap()).start().await.unwrap();
    holds(&a, 1).await;
    let running = Arc::strong_count(&alive);
    let b = tasks.join("b").await;
    let admin = Admin::new(tasks.store.clone(), group());
    admin.pin("task-0", b.instance_id()).await.unwrap();
    holds(&b, 1).await;
    assert!(Arc::strong_count(&alive) < running);
    tokio::join!(a.close(), b.close());
}
