//! Typed task types across crashes: inputs go on at their position, and folds stay exact.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dtf::model::plugin::TaskPluginRegistration;
use dtf::typed::{Page, TaskType};
use dtf::{Dtf, RunningTask};
use futures::stream;

use crate::common::Stage;
use crate::common::dice::{self, Dice};
use crate::common::wires::{Fate, Faults};

const ITEMS: u64 = 400;

/// The positions or cursors that an input was begun at.
type Begun = Arc<Mutex<Vec<u64>>>;
/// The items that were executed, as often as they were.
type Executed = Arc<Mutex<Vec<u64>>>;

/// Types that sum up the numbers below a limit, generated slowly: at most 20 wait, and each takes 100 ms.
fn types(begun: &Begun, executed: &Executed) -> Vec<TaskPluginRegistration> {
    let note = |begun: &Begun| {
        let begun = begun.clone();
        move |at: u64| begun.lock().unwrap().push(at)
    };
    macro_rules! summed {
        ($with_input:expr) => {{
            let executed = executed.clone();
            $with_input
                .conf(|conf| conf.backlog = 20)
                .conf(|conf| conf.max_executor_losses = 7)
                .execute(move |n: u64, _ctx| {
                    let executed = executed.clone();
                    async move {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        executed.lock().unwrap().push(n);
                        Ok(n)
                    }
                })
                .fold((0, 0), |(count, sum): (u64, u64), n| (count + 1, sum + n))
                .build()
                .into()
        }};
    }
    let (of_items, of_streams, of_pages) = (note(begun), note(begun), note(begun));
    vec![
        summed!(TaskType::named("items").input(move |limit: u64| {
            of_items(0);
            0..limit
        })),
        summed!(TaskType::named("vectors").input(|limit: u64| (0..limit).collect::<Vec<_>>())),
        summed!(TaskType::named("streams").input_stream(move |limit: u64, from: u64| {
            of_streams(from);
            stream::iter((from..limit).map(Ok))
        })),
        summed!(TaskType::named("pages").input_pages(move |limit: u64, cursor: Option<u64>| {
            let first = cursor.unwrap_or(0);
            of_pages(first);
            async move {
                let end = limit.min(first + 30);
                Ok(Page { items: (first..end).collect(), next: (end < limit).then_some(end) })
            }
        })),
    ]
}

fn sum() -> (u64, u64) {
    (ITEMS, (0..ITEMS).sum())
}

async fn process(stage: &Stage, instance: &str, types: Vec<TaskPluginRegistration>) -> Dtf {
    let dtf = stage.process_of(instance, types);
    dtf.start_all().await.unwrap();
    dtf
}

#[tokio::test(start_paused = true)]
async fn generating_goes_on_at_the_position_that_was_reached() {
    for name in ["items", "vectors", "streams", "pages"] {
        let (stage, begun, executed) = (Stage::new(), Begun::default(), Executed::default());
        let first = process(&stage, "a", types(&begun, &executed)).await;
        let task: RunningTask<(u64, u64)> = first.new_task(name, ITEMS).submit().await.unwrap();
        while executed.lock().unwrap().len() < 100 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        first.kill().await;
        let before = begun.lock().unwrap().len();
        let second = process(&stage, "b", types(&begun, &executed)).await;
        let id = task.id();
        let outcome = second.client().task(id).result().await.unwrap();
        let got: (u64, u64) = serde_json::from_value(outcome.result.unwrap().data).unwrap();
        assert_eq!(got, sum(), "{name}");
        assert_eq!(outcome.counts.created, ITEMS, "{name}: nothing is generated twice");
        let begun = begun.lock().unwrap()[before..].to_vec();
        match name {
            "items" => assert_eq!(begun, [0], "the second process iterates once, and skips"),
            "streams" => assert!(matches!(begun[..], [from] if from >= 100), "{begun:?}"),
            "pages" => assert!(begun[0] >= 90 && begun[0].is_multiple_of(30), "{begun:?}"),
            _ => {}
        }
        second.stop().await;
    }
}

/// Kills and replaces processes at random moments, on wires that lose pushes, commits and their answers.
async fn killed_at_random(seed: u64) {
    let (stage, dice) = (Stage::new(), Dice::new(seed));
    let (begun, executed) = (Begun::default(), Executed::default());
    let chance = dice.clone();
    let faults: Faults = Arc::new(move |call| match (call, chance.below(8)) {
        ("commit" | "push" | "conclude", 0) => Fate::Unknown,
        ("commit" | "push" | "peek", 1) => Fate::Unreachable,
        _ => Fate::Pass,
    });
    let start = async |number: u64| {
        let dtf = stage.process_of_wired(&format!("p{number}"), types(&begun, &executed), &faults);
        dtf.start_all().await.unwrap();
        dtf
    };
    let mut dtf = start(0).await;
    let mut tasks = Vec::new();
    for name in ["items", "vectors", "streams", "pages"] {
        tasks.push(dtf.new_task::<_, (u64, u64), _>(name, ITEMS).submit().await.unwrap().id());
    }
    for number in 1..6 {
        tokio::time::sleep(Duration::from_millis(dice.below(15_000))).await;
        if dice.below(3) == 0 {
            dtf.stop().await;
        } else {
            dtf.kill().await;
        }
        dtf = start(number).await;
    }
    for task in tasks {
        let outcome = dtf.client().task(task).result().await.unwrap();
        let result = outcome.result.unwrap_or_else(|| panic!("task {task}: {}", outcome.reason));
        let got: (u64, u64) = serde_json::from_value(result.data).unwrap();
        assert_eq!(got, sum(), "task {task}");
        assert_eq!((outcome.counts.created, outcome.counts.succeeded), (ITEMS, ITEMS), "task {task}");
    }
    dtf.stop().await;
}

#[test]
fn folds_are_exact_whatever_is_killed() {
    dice::run_seeds(12, killed_at_random);
}

#[tokio::test(start_paused = true)]
async fn a_reader_is_given_each_output_once_whoever_collects() {
    let stage = Stage::new();
    let echo = TaskType::named("echo")
        .conf(|conf| conf.max_executor_losses = 7)
        .input(|limit: u64| 0..limit)
        .execute(|n: u64, _ctx| async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(n)
        })
        .fold(0, |count: u64, _| count + 1)
        .build();
    // No commit gets through at first, so that the second collector is told everything again.
    let faults: Faults = Arc::new(|call| if call == "commit" { Fate::Unreachable } else { Fate::Pass });
    let first = stage.process_of_wired("a", vec![(&echo).into()], &faults);
    first.start_all().await.unwrap();
    let opening = echo.live().open().await;
    let task = first.new_task(&echo, ITEMS).submit().await.unwrap();
    let mut results = opening.attach(task.id(), 10_000);
    let mut outputs = vec![results.next().await.unwrap()];
    tokio::time::sleep(Duration::from_secs(2)).await;
    first.kill().await;
    let second = process(&stage, "b", vec![(&echo).into()]).await;
    second.client().task(task.id()).wait().await.unwrap();
    outputs.extend(std::iter::from_fn(|| results.try_next()));
    let mut numbers: Vec<u64> =
        outputs.into_iter().map(|result| serde_json::from_slice(&result.output.unwrap()).unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..ITEMS).collect::<Vec<_>>());
    second.stop().await;
}
