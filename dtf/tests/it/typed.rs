//! Typed task types: what their closures are given, and how what is wrong with them is told.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dtf::model::TaskStatus;
use dtf::model::plugin::{ExecuteError, SubtaskResult, TaskPluginRegistration};
use dtf::typed::{Ended, TaskType, final_error};
use dtf::{ClientError, Dtf, RunError};
use futures::{StreamExt, TryStreamExt};

use crate::common::Stage;

type Sums<P> = TaskType<P, u64, u64, u64>;

/// Adds up the squares of the numbers below a limit.
fn squares() -> Sums<u64> {
    TaskType::named("squares")
        .input(|limit: u64| 0..limit)
        .check(|limit| if *limit <= 1000 { Ok(()) } else { Err(format!("{limit} is over 1000")) })
        .execute(|n: u64, _ctx| async move { Ok(n * n) })
        .fold(0, |sum, square| sum + square)
        .build()
}

async fn started(types: Vec<TaskPluginRegistration>) -> Dtf {
    let dtf = Stage::new().process_of("a", types);
    dtf.start_all().await.unwrap();
    dtf
}

#[tokio::test(start_paused = true)]
async fn a_task_is_run_by_its_type_or_by_name() {
    let squares = squares();
    let dtf = started(vec![(&squares).into()]).await;
    assert_eq!(dtf.run(&squares, 100).await.unwrap(), 328_350);
    let sum: u64 = dtf.run("squares", 10).await.unwrap();
    assert_eq!(sum, 285);
    assert_eq!(dtf.run(&squares, 0).await.unwrap(), 0, "of nothing the beginning");
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_parameter_is_told_in_one_line_and_nothing_is_created() {
    let dtf = started(vec![squares().into()]).await;
    let text = dtf.run::<_, u64, _>("squares", "ten").await.unwrap_err().to_string();
    assert_eq!(text, "the parameter of squares is no u64: invalid type: string \"ten\", expected u64");
    let text = dtf.run::<_, u64, _>("squares", 1001).await.unwrap_err().to_string();
    assert_eq!(text, "the parameter of squares: 1001 is over 1000");
    let unknown = dtf.run::<_, u64, _>("circles", 1).await.unwrap_err().to_string();
    assert_eq!(unknown, "task type \"circles\" is unknown; registered are: squares");
    assert!(dtf.client().list_tasks(&Default::default(), None, 10).await.unwrap().is_empty());
    let other = dtf.run::<_, String, _>("squares", 10).await.unwrap_err();
    assert!(matches!(&other, RunError::OtherType { what: "the result", .. }), "{other}");
    assert!(
        other
            .to_string()
            .ends_with("is no alloc::string::String: invalid type: integer `285`, expected a string")
    );
    dtf.stop().await;
}

#[tokio::test]
async fn names_and_numbers_that_are_taken_are_refused_at_the_start() {
    let one =
        || TaskType::named("one").input(|n: u64| 0..n).execute(|n: u64, _| async move { Ok(n) }).build();
    let same_number = TaskType::named("other")
        .number(one().number().0)
        .input(|n: u64| 0..n)
        .execute(|n: u64, _| async move { Ok(n) })
        .build();
    let text =
        Dtf::embedded().register(one()).register(one()).start().await.map(drop).unwrap_err().to_string();
    let number = one().number();
    let taken = format!(
        "a task type \"one\" with the number {number} is registered already; give this one another name or number"
    );
    assert_eq!(text, taken);
    let text = Dtf::embedded().register(one()).register(same_number).start().await.map(drop).unwrap_err();
    assert_eq!(text.to_string(), taken);
    let no_attempts = TaskType::named("none")
        .max_attempts(0)
        .input(|n: u64| 0..n)
        .execute(|n: u64, _| async move { Ok(n) })
        .build();
    let text = Dtf::embedded().register(no_attempts).start().await.map(drop).unwrap_err().to_string();
    assert_eq!(text, "the number of attempts is 0; allowed is at least 1");
}

#[tokio::test(start_paused = true)]
async fn errors_are_tried_again_unless_they_are_final() {
    let calls = Arc::new(AtomicU32::new(0));
    let counting = calls.clone();
    let flaky = TaskType::named("flaky")
        .max_attempts(3)
        .input(|items: Vec<String>| items)
        .execute(move |item: String, ctx| {
            counting.fetch_add(1, Ordering::Relaxed);
            async move {
                match item.as_str() {
                    "late" if ctx.attempt < 2 => Err(anyhow::anyhow!("not yet")),
                    "never" => Err(anyhow::anyhow!("never")),
                    "final" => Err(final_error(anyhow::anyhow!("for good"))),
                    _ => Ok(item.len()),
                }
            }
        })
        .collect(Vec::new(), |ends: &mut Vec<String>, ended, _| {
            ends.push(match ended {
                Ended::Succeeded(length) => format!("{length}"),
                Ended::Failed { item, error } => format!("{}: {error}", item.unwrap_or_default()),
                other => format!("{other:?}"),
            });
            Ok(())
        })
        .build();
    let dtf = started(vec![(&flaky).into()]).await;
    let items = ["late", "never", "final"].map(str::to_owned).to_vec();
    let mut output = dtf.new_task(&flaky, items.clone()).submit().await.unwrap().output().await.unwrap();
    output.value.as_mut().unwrap().sort();
    assert_eq!(output.value.unwrap(), ["4", "final: for good", "never: never"]);
    assert_eq!((output.counts.succeeded, output.counts.failed), (1, 2));
    assert_eq!(calls.load(Ordering::Relaxed), 3 + 3 + 1);
    let text = dtf.run(&flaky, items[2..].to_vec()).await.unwrap_err().to_string();
    assert!(text.starts_with("1 of 1 subtasks") && text.ends_with("failed; the first: for good"), "{text}");
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_closure_harms_its_own_task_only() {
    let dtf = started(vec![
        squares().into(),
        TaskType::named("execute panics")
            .max_attempts(1)
            .input(|n: u64| 0..n)
            .execute_blocking(|n: u64, _ctx| {
                assert!(n != 3, "three");
                Ok(n)
            })
            .fold(0, |sum: u64, n| sum + n)
            .build()
            .into(),
        TaskType::named("fold panics")
            .conf(|conf| conf.call_attempts = 1)
            .input(|n: u64| 0..n)
            .execute(|n: u64, _ctx| async move { Ok(n) })
            .fold(0, |_: u64, n: u64| -> u64 { panic!("no fold of {n}") })
            .build()
            .into(),
        TaskType::named("input panics")
            .conf(|conf| conf.call_attempts = 1)
            .input(|n: u64| (0..n).inspect(|n| assert!(*n != 5, "five")))
            .execute(|n: u64, _ctx| async move { Ok(n) })
            .build()
            .into(),
    ])
    .await;
    let text = dtf.run::<_, u64, _>("execute panics", 10).await.unwrap_err().to_string();
    assert!(text.contains("1 of 10 subtasks") && text.contains("the plugin panicked: three"), "{text}");
    let text = dtf.run::<_, u64, _>("fold panics", 1).await.unwrap_err().to_string();
    assert!(text.contains("exceptional") && text.contains("no fold of 0"), "{text}");
    let text = dtf.run::<_, (), _>("input panics", 10).await.unwrap_err().to_string();
    assert!(text.contains("exceptional") && text.contains("five"), "{text}");
    assert_eq!(dtf.run::<_, u64, _>("squares", 10).await.unwrap(), 285);
    dtf.stop().await;
}

/// Returns the same text for every item.
struct Says(&'static str);

#[async_trait::async_trait]
impl dtf::plugin::TaskExecutor for Says {
    async fn execute(
        &self,
        _: &bytes::Bytes,
        _: &dtf::plugin::ExecuteContext,
    ) -> Result<SubtaskResult, ExecuteError> {
        Ok(SubtaskResult::new(self.0))
    }
}

#[tokio::test(start_paused = true)]
async fn an_output_that_does_not_decode_ends_its_task_with_the_reason() {
    let wrong = TaskType::named("wrong")
        .conf(|conf| conf.call_attempts = 1)
        .input(|n: u64| 0..n)
        .executor::<u64>(|_, _| Ok(Arc::new(Says("\"seven\""))))
        .fold(0, |sum, n| sum + n)
        .build();
    let dtf = started(vec![(&wrong).into()]).await;
    let text = dtf.run(&wrong, 1).await.unwrap_err().to_string();
    assert!(text.contains("exceptional"), "{text}");
    assert!(text.contains("is no u64: invalid type: string \"seven\", expected u64"), "{text}");
    assert!(!text.contains('\n'), "{text}");
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn items_with_an_ordered_key_are_executed_in_their_order() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noting = seen.clone();
    let entries = TaskType::named("entries")
        .input(|(accounts, entries): (u64, u64)| {
            (0..entries).flat_map(move |entry| (0..accounts).map(move |account| (account, entry)))
        })
        .ordered_by(|(account, _)| account.to_string())
        .execute(move |(account, entry): (u64, u64), ctx| {
            let seen = noting.clone();
            async move {
                tokio::time::sleep(Duration::from_millis((account * 7 + entry * 3) % 10)).await;
                anyhow::ensure!((account, entry, ctx.attempt) != (1, 2, 0), "once more");
                seen.lock().unwrap().push((account, entry));
                Ok(())
            }
        })
        .build();
    let dtf = started(vec![(&entries).into()]).await;
    dtf.run(&entries, (5, 20)).await.unwrap();
    let seen = seen.lock().unwrap().clone();
    for account in 0..5 {
        let own: Vec<_> = seen.iter().filter(|entry| entry.0 == account).map(|entry| entry.1).collect();
        assert_eq!(own, (0..20).collect::<Vec<_>>(), "account {account}");
    }
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_collector_adds_follow_ups_and_keeps_subtasks_open() {
    let halves = TaskType::named("halves")
        .input(|start: u64| [start])
        .execute(|n: u64, _ctx| async move { Ok(n / 2) })
        .collect(Vec::new(), |seen, ended, follow_ups| {
            let Ended::Succeeded(half) = ended else { return Ok(()) };
            seen.push(half);
            match half {
                0 => Ok(()),
                // The subtask goes on, as another round of itself.
                8 => follow_ups.keep_open(&6, Duration::from_secs(60)),
                _ => follow_ups.add(&half),
            }
        })
        .finish(|seen, counts| Ok((seen, counts.created)))
        .build();
    let dtf = started(vec![(&halves).into()]).await;
    assert_eq!(dtf.run(&halves, 32).await.unwrap(), (vec![16, 8, 3, 1, 0], 4));
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_item_is_run_again_with_its_key() {
    let broken = Arc::new(AtomicU32::new(1));
    let breaking = broken.clone();
    let keyed = TaskType::named("keyed")
        .max_attempts(1)
        .input(|n: u64| 0..n)
        .keyed_by(|n| format!("key {}", n % 2))
        .execute(move |n: u64, ctx| {
            let fails = breaking.load(Ordering::Relaxed) == 1 && n == 1;
            async move {
                anyhow::ensure!(!fails, "broken");
                anyhow::ensure!(
                    ctx.key == Some(dtf::model::ShardKey::new(format!("key {}", n % 2))),
                    "no key"
                );
                Ok(n)
            }
        })
        .fold(0, |sum, n| sum + n)
        .build();
    let dtf = started(vec![(&keyed).into()]).await;
    let first = dtf.new_task(&keyed, 3).submit().await.unwrap();
    assert_eq!(first.output().await.unwrap().value, Some(2));
    broken.store(0, Ordering::Relaxed);
    let again = dtf.client().retry_failures(first.id()).await.unwrap().result().await.unwrap();
    assert_eq!(again.result.unwrap().data, 1, "of the failed one alone");
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn limits_and_the_parameter_reach_the_executions() {
    let running = Arc::new(AtomicU64::new(0));
    let most = Arc::new(AtomicU64::new(0));
    let (now, peak) = (running.clone(), most.clone());
    let limited = TaskType::named("limited")
        .max_running(2)
        .input(|(n, _): (u64, String)| 0..n)
        .execute(move |_: u64, ctx| {
            let (now, peak) = (now.clone(), peak.clone());
            async move {
                peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(1)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(ctx.param().1.clone())
            }
        })
        .fold(String::new(), |all, word: String| all + &word)
        .build();
    let dtf = started(vec![(&limited).into()]).await;
    assert_eq!(dtf.run(&limited, (20, "x".to_owned())).await.unwrap(), "x".repeat(20));
    assert!(most.load(Ordering::SeqCst) <= 2);
    dtf.stop().await;
}

#[tokio::test]
async fn outputs_are_streamed_and_failures_are_items() {
    let odd = TaskType::named("odd")
        .max_attempts(1)
        .input(|n: u64| 0..n)
        .execute(|n: u64, _ctx| async move {
            anyhow::ensure!(n % 2 == 1, "{n} is even");
            Ok(n)
        })
        .build();
    let dtf = Dtf::embedded().jobs(2).register(&odd).start().await.unwrap();
    let items: Vec<_> = dtf.stream(&odd, 5000).await.unwrap().collect().await;
    let mut odds: Vec<_> = items.iter().filter_map(|item| item.as_ref().ok().copied()).collect();
    odds.sort_unstable();
    assert_eq!(odds, (1..5000).step_by(2).collect::<Vec<_>>());
    let failed = |item: &Result<u64, RunError>| matches!(item, Err(RunError::SubtaskFailed { error, .. }) if error.ends_with("is even"));
    assert_eq!(items.iter().filter(|item| failed(item)).count(), 2500);
    assert_eq!(items.len(), 5000);
    // Whoever stops reading does not stop the task.
    let mut stream = dtf.stream(&odd, 5000).await.unwrap();
    assert!(stream.next().await.is_some());
    let task = stream.task().clone();
    drop(stream);
    assert_eq!(task.wait().await.unwrap().counts.counted(), 5000);
    dtf.stop().await;
}

#[tokio::test]
async fn a_stream_ends_with_the_reason_of_its_task() {
    let sleepy = TaskType::named("sleepy")
        .input(|n: u64| 0..n)
        .execute(|n: u64, ctx| async move {
            if n > 0 {
                ctx.cancelled.cancelled().await;
            }
            Ok(n)
        })
        .build();
    let dtf = Dtf::embedded().jobs(2).register(&sleepy).start().await.unwrap();
    let mut stream = dtf.stream(&sleepy, 10).await.unwrap();
    assert_eq!(stream.try_next().await.unwrap(), Some(0));
    stream.task().cancel().await.unwrap();
    let last = stream.collect::<Vec<_>>().await.pop().unwrap().unwrap_err();
    assert!(matches!(last, RunError::Ended { status: TaskStatus::Cancelled, .. }), "{last}");
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn outputs_cannot_be_streamed_where_they_may_be_collected_elsewhere() {
    let squares = squares();
    let dtf = started(vec![(&squares).into()]).await;
    let refused = dtf.stream(&squares, 10).await.map(drop).unwrap_err();
    assert!(matches!(refused, ClientError::Invalid(_)));
    assert!(refused.to_string().starts_with("outputs of squares cannot be streamed"), "{refused}");
    assert!(dtf.client().list_tasks(&Default::default(), None, 10).await.unwrap().is_empty());
    dtf.stop().await;
}
