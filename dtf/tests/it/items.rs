//! Items that are fed into open tasks of type `map`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dtf::model::items::{Appended, FeedOffset};
use dtf::model::{TaskParam, TaskStatus, param};
use dtf::{Client, Dtf, TaskHandle};
use dtf_types::exchange::{ItemOutcome, Report, WorkerInfo};
use dtf_types::{Exchange, MapParts};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::common::Stage;
use crate::common::wires::{Fate, Faults, wired};

/// The longest time until something is done: below that after which items are looked for without a hint.
const A_MOMENT: Duration = Duration::from_secs(10);

/// A process with all roles that knows the type map, with a remote worker that squares numbers.
async fn start(stage: &Stage, instance: &str, faults: &Faults) -> (Dtf, AbortOnDropHandle<()>) {
    let ports = wired(&stage.ports, faults);
    let exchange = Exchange::start();
    let map = dtf_types::registration(MapParts {
        exchange: Some(exchange.clone()),
        results: Some(ports.table.clone()),
        items: Some((ports.table.clone(), ports.queues.clone())),
        ..MapParts::default()
    });
    let dtf = stage.process_of_wired(instance, vec![map], faults);
    dtf.start_all().await.unwrap();
    let worker = tokio::spawn(async move {
        let session = exchange.begin(WorkerInfo::default(), &["square".to_owned()]).unwrap();
        loop {
            let (given, _) = exchange.poll(session, 100, Duration::from_secs(20)).await.unwrap();
            let report = |given: dtf_types::exchange::Given| {
                let number: u64 = serde_json::from_slice(&given.item.body).unwrap();
                let outcome = ItemOutcome::Succeeded((number * number).to_string().into());
                Report { ticket: given.ticket, outcome }
            };
            exchange.report(session, given.into_iter().map(report).collect()).unwrap();
        }
    });
    (dtf, AbortOnDropHandle::new(worker))
}

async fn open(client: &Client) -> TaskHandle {
    let map = json!({"source": "items", "function": {"worker": "square"}, "sink": "keep"});
    let param = TaskParam { type_param: map, timeout: param::MAX_TIMEOUT, ..TaskParam::default() };
    client.create_task(client.types().number_named("map").unwrap(), param).await.unwrap()
}

fn numbers(range: std::ops::Range<u64>) -> Vec<Bytes> {
    range.map(|number| Bytes::from(number.to_string())).collect()
}

/// Waits until so many items have succeeded, and returns the time that it took.
async fn until_done(task: &TaskHandle, count: u64) -> Duration {
    let begun = Instant::now();
    while task.status().await.unwrap().progress().succeeded < count {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    begun.elapsed()
}

async fn squares(client: &Client, task: &TaskHandle) -> Vec<u64> {
    let mut all = Vec::new();
    loop {
        let page = client.kept_results(task.id(), all.len() as u64, 1000).await.unwrap();
        if page.is_empty() {
            all.sort_unstable();
            return all;
        }
        all.extend(page.iter().map(|(_, body)| serde_json::from_slice::<u64>(body).unwrap()));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_fed_runs_within_a_moment_and_an_open_task_asks_for_nothing() {
    let stage = Stage::new();
    let asked = Arc::new(AtomicU64::new(0));
    let faults: Faults = {
        let asked = asked.clone();
        Arc::new(move |method| {
            asked.fetch_add(u64::from(["items", "feed"].contains(&method)), Ordering::Relaxed);
            Fate::Pass
        })
    };
    let (dtf, _worker) = start(&stage, "one", &faults).await;
    let client = dtf.client();
    let task = open(&client).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    for (offset, range) in [(0, 0..3), (3, 3..5)] {
        let at = Some(FeedOffset { producer: "p", offset });
        let new = range.end - range.start;
        let fed = client.feed_items(task.id(), at, &numbers(range.clone())).await.unwrap();
        assert_eq!(fed, Appended::Taken { new });
        let again = client.feed_items(task.id(), at, &numbers(range.clone())).await.unwrap();
        assert_eq!(again, Appended::Taken { new: 0 });
        let took = until_done(&task, range.end).await;
        assert!(took < A_MOMENT, "{took:?}");
        let before = asked.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let asked = asked.load(Ordering::Relaxed) - before;
        assert!(asked < 300, "asked {asked} times within an hour in which nothing was fed");
    }
    client.close_items(task.id()).await.unwrap();
    let row =
        tokio::time::timeout(A_MOMENT, task.wait()).await.expect("the hint reaches the generator").unwrap();
    assert_eq!((row.status, row.counts.created, row.counts.succeeded), (TaskStatus::Completed, 5, 5));
    assert_eq!(squares(&client, &task).await, [0, 1, 4, 9, 16]);
    assert!(client.feed_items(task.id(), None, &numbers(0..1)).await.is_err(), "it has ended");
    dtf.stop().await;
}

#[tokio::test(start_paused = true)]
async fn each_item_counts_once_whoever_generates_it() {
    let stage = Stage::new();
    let faults: Faults = Arc::new(|_| Fate::Pass);
    let (first, worker) = start(&stage, "one", &faults).await;
    let client = first.client();
    let task = open(&client).await;
    // In requests that end within the batches of the generator, and the other way round.
    for request in 0..30 {
        client.feed_items(task.id(), None, &numbers(request * 70..(request + 1) * 70)).await.unwrap();
    }
    until_done(&task, 500).await;
    drop(worker);
    first.kill().await;
    let (second, _worker) = start(&stage, "two", &faults).await;
    let client = second.client();
    let task = client.task(task.id());
    client.feed_items(task.id(), None, &numbers(2100..5000)).await.unwrap();
    client.close_items(task.id()).await.unwrap();
    let row = task.wait().await.unwrap();
    assert_eq!((row.counts.created, row.counts.succeeded, row.counts.failed), (5000, 5000, 0));
    assert_eq!(squares(&client, &task).await, (0..5000).map(|n| n * n).collect::<Vec<_>>());
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_task_keeps_no_items() {
    let stage = Stage::new();
    let faults: Faults = Arc::new(|_| Fate::Pass);
    let (dtf, worker) = start(&stage, "one", &faults).await;
    drop(worker);
    let client = dtf.client();
    let task = open(&client).await;
    client.feed_items(task.id(), None, &numbers(0..5000)).await.unwrap();
    assert_eq!(client.item_feed(task.id(), "").await.unwrap().0.kept_items, 5000);
    while task.status().await.unwrap().progress().created == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    task.cancel().await.unwrap();
    assert_eq!(task.wait().await.unwrap().status, TaskStatus::Cancelled);
    while client.item_feed(task.id(), "").await.unwrap().0.kept_items > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    dtf.stop().await;
}
