//! The example `delay-queue`, on a real etcd and a real Redis: losing a worker loses and doubles nothing.

#[path = "../../examples/delay-queue/consumer.rs"]
mod consumer;
#[path = "../../examples/delay-queue/queue.rs"]
mod queue;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lrmf_core::{CoordinatorHandle, FixedTasks, TaskRunner, Token};
use test_servers::servers::Redis;
use tokio::sync::{Semaphore, watch};

use crate::support::Etcd;
use crate::support::group::{PATIENCE, SHORT, is_even, member, wait_for};
use crate::support::proxy::Proxy;
use consumer::{Consumer, Handler, Report};
use queue::{Item, Queue, QueueError};

const SHARDS: u32 = 8;
const ITEMS: usize = 400;

/// The work of a worker so far.
#[derive(Clone, Debug, Default)]
struct Done {
    /// How many of its handlers stand in the middle of an item.
    stalled: usize,
    delivered: BTreeSet<String>,
    failed: BTreeSet<String>,
    taken_over: u64,
    refused: Vec<(u32, Token)>,
}

/// A handler that stands still in the middle of an item once its permits are used up.
#[derive(Clone)]
struct Gated {
    permits: Arc<Semaphore>,
    done: Arc<watch::Sender<Done>>,
}

impl Gated {
    fn new(permits: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(permits)), done: Arc::default() }
    }

    async fn wait_for(&self, wanted: impl Fn(&Done) -> bool) -> Done {
        let mut done = self.done.subscribe();
        let waited = tokio::time::timeout(PATIENCE, done.wait_for(|done| wanted(done))).await;
        waited.unwrap_or_else(|_| panic!("still waiting with {:?}", self.done.borrow())).unwrap().clone()
    }
}

#[async_trait]
impl Handler for Gated {
    async fn handle(&self, item: &Item) -> anyhow::Result<()> {
        match self.permits.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(_) => {
                self.done.send_modify(|done| done.stalled += 1);
                self.permits.acquire().await?.forget();
                self.done.send_modify(|done| done.stalled -= 1);
            }
        }
        let first = !self.done.borrow().failed.contains(&item.id);
        anyhow::ensure!(!(first && item.payload == "fails once"), "not now");
        Ok(())
    }

    fn report(&self, shard: u32, token: Token, report: Report) {
        self.done.send_modify(|done| match report {
            Report::Opened(taken_over) => done.taken_over += taken_over,
            Report::Delivered(id) => assert!(done.delivered.insert(id), "delivered twice"),
            Report::Failed(id, _) => drop(done.failed.insert(id)),
            Report::Refused => done.refused.push((shard, token)),
        });
    }
}

async fn worker(endpoint: String, name: &str, redis: String, handler: Gated) -> CoordinatorHandle {
    let queue = Queue::open(&redis, "test", SHARDS).await.unwrap();
    let tasks = FixedTasks::new(queue.tasks());
    let short = Duration::from_millis(20);
    let consumer = Consumer { queue, handler, batch: 16, look: short, retry: short };
    let builder = member(&endpoint, "delay-queue", name, SHORT).await;
    builder.provider(tasks).worker(TaskRunner::new(consumer)).start().await.unwrap()
}

async fn produce(queue: &Queue, items: std::ops::Range<usize>, new: bool) {
    for number in items {
        let payload = if number % 50 == 7 { "fails once" } else { "" };
        let item = Item { id: format!("item-{number}"), payload: payload.to_owned() };
        // Most are due now, the last ones while workers come and go.
        let delay = Duration::from_millis(if number % 5 == 0 { 1500 } else { 0 });
        assert_eq!(queue.produce(&item, delay).await.unwrap(), new);
    }
}

/// Every item is in the book once, nothing is left over, and no token ever came after a higher one.
async fn check_book(queue: &Queue, items: usize) {
    let mut ids = Vec::new();
    for shard in queue.shards() {
        let book = shard.book().await.unwrap();
        assert!(book.is_sorted_by_key(|delivery| delivery.token), "{book:?}");
        let numbers = shard.numbers().await.unwrap();
        assert_eq!((numbers.waiting, numbers.claimed), (0, 0), "of shard {}", shard.number());
        assert_eq!(numbers.delivered, book.len() as u64);
        assert!(book.iter().all(|delivery| delivery.token <= numbers.token));
        ids.extend(book.into_iter().map(|delivery| delivery.id));
    }
    let expected: BTreeSet<String> = (0..items).map(|number| format!("item-{number}")).collect();
    assert_eq!(ids.len(), items, "nothing is doubled");
    assert_eq!(ids.into_iter().collect::<BTreeSet<_>>(), expected, "nothing is lost");
}

/// Waits until these workers have brought all items into the book.
async fn all_delivered(by: &[&Gated], items: usize) {
    let seen = |worker: &Gated| worker.done.borrow().delivered.len();
    for last in by {
        let others = by.iter().filter(|worker| !Arc::ptr_eq(&worker.done, &last.done));
        let others: usize = others.map(|worker| seen(worker)).sum();
        last.wait_for(|done| done.delivered.len() + others >= items).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stands_still_past_its_session_is_refused() {
    let (etcd, redis) = (Etcd::start(), Redis::private().unwrap());
    let proxy = Proxy::to(etcd.endpoint()).await;
    let queue = Queue::open(&redis.url(), "test", SHARDS).await.unwrap();
    produce(&queue, 0..ITEMS, true).await;
    // Sent again by somebody in doubt.
    produce(&queue, 0..ITEMS, false).await;

    let (slow, fast) = (Gated::new(ITEMS / 10), Gated::new(Semaphore::MAX_PERMITS));
    let a = worker(proxy.endpoint(), "a", redis.url(), slow.clone()).await;
    slow.wait_for(|done| done.stalled == SHARDS as usize).await;
    // It stands in the middle of an item on each shard, and its session ends.
    proxy.cut();
    let b = worker(etcd.endpoint(), "b", redis.url(), fast.clone()).await;
    wait_for(&[&b], |holders| holders.len() == SHARDS as usize).await;
    let before = slow.done.borrow().delivered.len();
    all_delivered(&[&fast], ITEMS - before).await;
    assert!(fast.done.borrow().taken_over >= u64::from(SHARDS), "what a had claimed");
    check_book(&queue, ITEMS).await;

    // It goes on where it stood, and comes too late.
    slow.permits.add_permits(ITEMS * 10);
    let done = slow.wait_for(|done| done.refused.len() == SHARDS as usize).await;
    assert_eq!(done.delivered.len(), before);
    for (shard, token) in done.refused {
        let shard = queue.shard(shard);
        assert!(matches!(shard.claim(token, 1).await, Err(QueueError::Fenced)));
        assert!(matches!(shard.open(token).await, Err(QueueError::Fenced)));
    }
    check_book(&queue, ITEMS).await;

    proxy.heal();
    wait_for(&[&a, &b], |holders| holders.len() == SHARDS as usize && is_even(holders, 2, 1)).await;
    produce(&queue, ITEMS..2 * ITEMS, true).await;
    let (both, total) = ([&slow, &fast], 2 * ITEMS);
    tokio::time::timeout(PATIENCE, wait_until_sum(both, total)).await.unwrap();
    check_book(&queue, total).await;
    tokio::join!(a.close(), b.close());
}

async fn wait_until_sum(workers: [&Gated; 2], items: usize) {
    let [mut one, mut other] = workers.map(|worker| worker.done.subscribe());
    while one.borrow_and_update().delivered.len() + other.borrow_and_update().delivered.len() < items {
        tokio::select! {
            changed = one.changed() => changed.unwrap(),
            changed = other.changed() => changed.unwrap(),
        }
    }
}

#[test]
fn a_worker_that_dies_in_the_middle_loses_and_doubles_nothing() {
    let (own, doomed) = (runtime(), runtime());
    let (etcd, redis) = (Etcd::start(), Redis::private().unwrap());
    let (dying, fast) = (Gated::new(ITEMS / 10), Gated::new(Semaphore::MAX_PERMITS));
    let queue = own.block_on(async {
        let queue = Queue::open(&redis.url(), "test", SHARDS).await.unwrap();
        produce(&queue, 0..ITEMS, true).await;
        queue
    });
    let a = doomed.block_on(worker(etcd.endpoint(), "a", redis.url(), dying.clone()));
    own.block_on(dying.wait_for(|done| done.stalled == SHARDS as usize));
    // Everything of it is gone at once, its connections too, and nobody is told.
    doomed.shutdown_timeout(PATIENCE);
    drop(a);
    own.block_on(async {
        let b = worker(etcd.endpoint(), "b", redis.url(), fast.clone()).await;
        // What died between the call and its answer is in the book too, though nobody heard of it.
        fast.wait_for(|done| done.taken_over >= u64::from(SHARDS)).await;
        all_waited_for(&queue, &fast).await;
        check_book(&queue, ITEMS).await;
        b.close().await;
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Waits until the books have all items, looking each time the worker has delivered one.
async fn all_waited_for(queue: &Queue, worker: &Gated) {
    let mut done = worker.done.subscribe();
    let waiting = async {
        loop {
            done.borrow_and_update();
            let mut delivered = 0;
            for shard in queue.shards() {
                delivered += shard.numbers().await.unwrap().delivered;
            }
            if delivered >= ITEMS as u64 {
                return;
            }
            done.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
}

#[tokio::test]
async fn a_queue_keeps_its_number_of_shards() {
    let redis = Redis::private().unwrap();
    Queue::open(&redis.url(), "test", 4).await.unwrap();
    let error = Queue::open(&redis.url(), "test", 5).await.err().unwrap();
    assert!(matches!(error, QueueError::Shards { there: 4, asked: 5, .. }), "{error}");
}
