use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::*;
use crate::clock::{Clock, RuntimeClock};

fn holding(key: &str, token: u64) -> Holding {
    Holding { task: Task::new(key, ""), token: Token(token) }
}

type Events = mpsc::UnboundedReceiver<(Arc<str>, RunnerEvent)>;

/// A runner whose events can be awaited.
fn observed(body: impl RunTask, config: RunnerConfig) -> (TaskRunner, Events) {
    let (sender, events) = mpsc::unbounded_channel();
    let runner = TaskRunner::new(body).configured(config).unwrap();
    let runner = runner.observed(move |holding, event| {
        sender.send((holding.task.key.clone(), event.clone())).unwrap();
    });
    (runner, events)
}

/// Runs until stopped, and counts how many of it run.
struct Counted(Arc<AtomicU32>);

#[async_trait]
impl RunTask for Counted {
    async fn run(&self, held: Held) -> anyhow::Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        held.stop.cancelled().await;
        self.0.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn each_held_task_runs_until_it_is_revoked() {
    let running = Arc::new(AtomicU32::new(0));
    let runner = TaskRunner::new(Counted(running.clone()));
    let [a, b, c] = ["a", "b", "c"].map(|key| holding(key, 1));
    runner.assign(&[a.clone(), b.clone()]).await.unwrap();
    runner.assign(std::slice::from_ref(&c)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(running.load(Ordering::SeqCst), 3);
    runner.revoke(&[a, c]).await.unwrap();
    assert_eq!(running.load(Ordering::SeqCst), 1, "b is undisturbed");
    runner.revoke(&[b.clone(), holding("nobody", 1)]).await.unwrap();
    assert_eq!(running.load(Ordering::SeqCst), 0);
    runner.assign(&[holding("b", 2)]).await.unwrap();
    runner.revoke(&[holding("b", 2)]).await.unwrap();
}

/// A body that works in pieces.
async fn in_pieces(held: Held, pieces: Arc<AtomicU32>) -> anyhow::Result<()> {
    while held.may_work() {
        pieces.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_time_is_over_begins_no_other_piece_and_goes_on_when_it_is_not() {
    let (clock, pieces) = (Arc::new(RuntimeClock::new()), Arc::new(AtomicU32::new(0)));
    let tenure = Tenure::new(clock.clone());
    let done = pieces.clone();
    let (runner, mut events) = observed(move |held| in_pieces(held, done.clone()), RunnerConfig::default());
    tenure.set(Some(clock.now() + Duration::from_secs(1)));
    runner.assign_within(&[holding("a", 1)], &tenure).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    // Nobody has told it to stop: it asked.
    assert_eq!(pieces.load(Ordering::SeqCst), 100);
    assert!(!tenure.is_valid() && tenure.left().is_zero());
    // A sign of life arrives after all.
    tenure.set(Some(clock.now() + Duration::from_secs(1)));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!((190..=200).contains(&pieces.load(Ordering::SeqCst)));
    // It ends when it is revoked, and has finished at no time.
    runner.revoke(&[holding("a", 1)]).await.unwrap();
    assert!(events.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn the_body_is_told_its_task_and_token() {
    let (sender, mut told) = mpsc::unbounded_channel();
    let runner = TaskRunner::new(move |held: Held| {
        let sender = sender.clone();
        async move { Ok(sender.send((held.task, held.token))?) }
    });
    let task = Task::new("key", "value").with_weight(3);
    runner.assign(&[Holding { task: task.clone(), token: Token(7) }]).await.unwrap();
    assert_eq!(told.recv().await, Some((task, Token(7))));
}

#[tokio::test(start_paused = true)]
async fn a_revoke_returns_only_when_the_run_has_ended() {
    let body = |held: Held| async move {
        held.stop.cancelled().await;
        tokio::time::sleep(Duration::from_secs(25)).await;
        Ok(())
    };
    let runner = TaskRunner::new(body);
    let task = holding("slow", 1);
    runner.assign(std::slice::from_ref(&task)).await.unwrap();
    let begun = Instant::now();
    {
        let mut given_up = runner.revoke(std::slice::from_ref(&task));
        assert!(futures::poll!(&mut given_up).is_pending());
    }
    let refused = runner.assign(&[holding("slow", 2)]).await;
    assert!(refused.is_err(), "it still runs, though the first revoke was given up");
    runner.revoke(&[task]).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(25));
    runner.assign(&[holding("slow", 2)]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_well_is_left_alone() {
    let runs = Arc::new(AtomicU32::new(0));
    let count = runs.clone();
    let body = move |_: Held| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok(()) }
    };
    let (runner, mut events) = observed(body, RunnerConfig::default());
    let task = holding("short", 1);
    runner.assign(std::slice::from_ref(&task)).await.unwrap();
    assert_eq!(events.recv().await, Some(("short".into(), RunnerEvent::Finished)));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    runner.assign(std::slice::from_ref(&task)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 1, "assigning the same holding again changes nothing");
    runner.revoke(&[task]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn crashes_are_run_again_after_growing_waits_and_then_quarantined() {
    let body = |held: Held| async move {
        match held.task.key.as_ref() {
            "panics" => panic!("oh no"),
            _ => Err(anyhow::anyhow!("inner").context("outer")),
        }
    };
    let config = RunnerConfig { quarantine_after: 4, ..RunnerConfig::default() };
    let (runner, mut events) = observed(body, config);
    for (key, message) in [("panics", "panicked: oh no"), ("fails", "outer: inner")] {
        let begun = Instant::now();
        let mut waited = Duration::ZERO;
        runner.assign(&[holding(key, 1)]).await.unwrap();
        for full in [100, 200, 400].map(Duration::from_millis) {
            let (_, event) = events.recv().await.unwrap();
            let RunnerEvent::Crashed { error, restart_in } = event else { panic!("{event:?}") };
            assert_eq!(error, message);
            assert!(restart_in <= full && restart_in >= full * 3 / 4, "{restart_in:?} of {full:?}");
            waited += restart_in;
        }
        let quarantined = RunnerEvent::Quarantined { error: message.into() };
        assert_eq!(events.recv().await, Some((key.into(), quarantined)));
        assert!(begun.elapsed() >= waited, "the waits were waited");
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(events.is_empty());
        runner.revoke(&[holding(key, 1)]).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoke_does_not_wait_out_a_backoff() {
    let config = RunnerConfig {
        first_backoff: Duration::from_secs(1000),
        longest_backoff: Duration::from_secs(1000),
        ..RunnerConfig::default()
    };
    let (runner, mut events) = observed(|_: Held| async { anyhow::bail!("no") }, config);
    runner.assign(&[holding("a", 1)]).await.unwrap();
    events.recv().await.unwrap();
    let begun = Instant::now();
    runner.revoke(&[holding("a", 1)]).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

/// Marks when it is dropped.
struct Dropped(Arc<AtomicU32>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_overstays_is_reported_and_aborted_if_so_configured() {
    for overrun in [Overrun::Wait, Overrun::Abort] {
        let dropped = Arc::new(AtomicU32::new(0));
        let mark = dropped.clone();
        let deaf = move |_: Held| {
            let mark = Dropped(mark.clone());
            async move {
                let _mark = mark;
                std::future::pending().await
            }
        };
        let config = RunnerConfig { overrun, ..RunnerConfig::default() };
        let (runner, mut events) = observed(deaf, config);
        runner.assign(&[holding("deaf", 1)]).await.unwrap();
        let task = [holding("deaf", 1)];
        let revoke = tokio::time::timeout(Duration::from_secs(100), runner.revoke(&task)).await;
        assert_eq!(events.recv().await, Some(("deaf".into(), RunnerEvent::Overran)));
        assert_eq!(revoke.is_ok(), overrun == Overrun::Abort);
        assert_eq!(dropped.load(Ordering::SeqCst), u32::from(overrun == Overrun::Abort));
    }
}

#[tokio::test(start_paused = true)]
async fn an_assign_that_is_refused_starts_nothing() {
    let running = Arc::new(AtomicU32::new(0));
    let runner = TaskRunner::new(Counted(running.clone()));
    runner.assign(&[holding("a", 1)]).await.unwrap();
    assert!(runner.assign(&[holding("b", 2), holding("a", 2)]).await.is_err());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(running.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_runner_ends_its_runs() {
    let dropped = Arc::new(AtomicU32::new(0));
    let mark = dropped.clone();
    let runner = TaskRunner::new(move |_: Held| {
        let mark = Dropped(mark.clone());
        async move {
            let _mark = mark;
            std::future::pending().await
        }
    });
    runner.assign(&[holding("a", 1)]).await.unwrap();
    tokio::task::yield_now().await;
    drop(runner);
    tokio::task::yield_now().await;
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

#[test]
fn configurations_are_checked() {
    let default = RunnerConfig::default;
    assert_eq!(default().check(), Ok(()));
    for wrong in [
        RunnerConfig { first_backoff: Duration::ZERO, ..default() },
        RunnerConfig { revoke_timeout: Duration::ZERO, ..default() },
        RunnerConfig { longest_backoff: Duration::from_millis(1), ..default() },
        RunnerConfig { quarantine_after: 0, ..default() },
    ] {
        assert!(wrong.check().is_err(), "{wrong:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_declined_is_given_up_at_once_and_runs_here_no_more() {
    let runs = Arc::new(AtomicU32::new(0));
    let count = runs.clone();
    let body = move |_: Held| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Err(Declined("others know more".to_owned()).into()) }
    };
    let (runner, mut events) = observed(body, RunnerConfig::default());
    let task = holding("a", 3);
    runner.assign(std::slice::from_ref(&task)).await.unwrap();
    let GivenUp { key, token, error } = runner.given_up().await;
    assert_eq!((&*key, token, &*error), ("a", Token(3), "it is declined: others know more"));
    let declined = RunnerEvent::Declined { why: "others know more".to_owned() };
    assert_eq!(events.recv().await, Some(("a".into(), declined)));
    runner.revoke(&[task]).await.unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}
