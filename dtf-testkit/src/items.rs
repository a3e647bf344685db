//! The conformance suite of [`ItemTable`]: one function per obligation of the trait, and [`run_all`].
//!
//! A function panics where the table breaks its obligation. Each has a task of its own, which need not exist.

use std::sync::Arc;

use bytes::Bytes;
use dtf_model::items::{Appended, Feed, FeedOffset, ItemTable, MAX_CHUNK_BYTES};
use dtf_model::{StoreError, TaskId};
use futures::future::join_all;

use super::{must, unique_number, until_answered};

/// Runs the whole suite, one obligation after another.
pub async fn run_all(table: Arc<dyn ItemTable>) {
    items_are_read_back_in_their_order(&table).await;
    what_is_fed_again_is_there_once(&table).await;
    producers_at_the_same_time_lose_and_double_nothing(&table).await;
    those_without_a_name_lose_and_double_nothing(&table).await;
    a_closed_task_takes_nothing_new(&table).await;
    dropped_items_are_gone_and_offsets_stay(&table).await;
    what_is_no_line_is_refused(&table).await;
}

fn task() -> TaskId {
    TaskId(unique_number())
}

fn numbered(range: std::ops::Range<u64>) -> Vec<Bytes> {
    range.map(|number| Bytes::from(format!("{{\"n\": {number}, \"ü\": \"?\"}}"))).collect()
}

fn at(producer: &str, offset: u64) -> Option<FeedOffset<'_>> {
    Some(FeedOffset { producer, offset })
}

/// All items that are kept, from a number on; they are consecutive.
async fn read(table: &Arc<dyn ItemTable>, task: TaskId, mut from: u64) -> Vec<Bytes> {
    let mut read = Vec::new();
    loop {
        let chunks = must(table.items(task, from).await);
        if chunks.is_empty() {
            return read;
        }
        for chunk in chunks {
            assert!(read.is_empty() || chunk.number == from, "nothing is left out");
            from = chunk.number + chunk.items.len() as u64;
            read.extend(chunk.items);
        }
    }
}

/// Whatever their size.
pub async fn items_are_read_back_in_their_order(table: &Arc<dyn ItemTable>) {
    let task = task();
    assert!(must(table.items(task, 0).await).is_empty());
    assert_eq!(must(table.feed(task, "p").await), (Feed::default(), 0));
    assert_eq!(must(table.feed_items(task, None, &[]).await), Appended::Taken { new: 0 });
    let mut items = numbered(0..1000);
    items.push(Bytes::from(format!("\"{}\"", "ü".repeat(MAX_CHUNK_BYTES / 2 - 2))));
    items.extend((0..9).map(|_| Bytes::from("x".repeat(700_000))));
    items.push(Bytes::new());
    let new = items.len() as u64;
    assert_eq!(must(table.feed_items(task, None, &items[..500]).await), Appended::Taken { new: 500 });
    assert_eq!(must(table.feed_items(task, None, &items[500..]).await), Appended::Taken { new: new - 500 });
    assert!(read(table, task, 0).await == items, "they come back as they were");
    let (feed, _) = must(table.feed(task, "").await);
    let bytes: u64 = items.iter().map(|item| item.len() as u64 + 1).sum();
    assert_eq!(feed, Feed { next: new, bytes, kept_items: new, kept_bytes: bytes, closed: false });
    let chunks = must(table.items(task, 0).await);
    assert!(chunks.len() >= 2, "a chunk has a limit");
    let second = chunks[1].number;
    assert!(read(table, task, second).await == items[second as usize..], "from a chunk on");
}

/// Also a part of it.
pub async fn what_is_fed_again_is_there_once(table: &Arc<dyn ItemTable>) {
    let task = task();
    let items = numbered(0..10);
    let new = |new| Appended::Taken { new };
    assert_eq!(must(table.feed_items(task, at("a", 0), &items[..4]).await), new(4));
    assert_eq!(must(table.feed_items(task, at("a", 0), &items[..4]).await), new(0));
    assert_eq!(must(table.feed_items(task, at("a", 2), &items[2..7]).await), new(3));
    assert_eq!(must(table.feed_items(task, at("a", 8), &items[8..]).await), Appended::Missing(7));
    assert_eq!(must(table.feed_items(task, at("b", 0), &items[7..8]).await), new(1), "each has its own");
    assert_eq!(must(table.feed_items(task, None, &items[8..9]).await), new(1));
    assert_eq!(must(table.feed_items(task, at("b", 1), &items[9..]).await), new(1));
    assert_eq!(read(table, task, 0).await, items);
    assert_eq!(must(table.feed(task, "a").await).1, 7);
    assert_eq!(must(table.feed(task, "b").await).1, 2);
    assert_eq!(must(table.feed(task, "c").await).1, 0);
}

/// Two processes may even be the same producer.
pub async fn producers_at_the_same_time_lose_and_double_nothing(table: &Arc<dyn ItemTable>) {
    let task = task();
    let feeding = (0..6_u64).map(|who| async move {
        let producer = (who / 2).to_string();
        for number in 0..10 {
            let item = [Bytes::from(format!("\"{producer} {number}\""))];
            let fed = until_answered(|| table.feed_items(task, at(&producer, number), &item)).await;
            assert!(matches!(fed, Appended::Taken { .. }), "{fed:?}");
        }
    });
    join_all(feeding).await;
    let mut items = read(table, task, 0).await;
    assert_eq!(must(table.feed(task, "").await).0.next, 30);
    for producer in 0..3 {
        let of = format!("\"{producer} ");
        let own: Vec<_> = items.iter().filter(|item| item.starts_with(of.as_bytes())).cloned().collect();
        let expected: Vec<_> = (0..10).map(|number| Bytes::from(format!("{of}{number}\""))).collect();
        assert_eq!(own, expected, "in its order");
    }
    items.sort_unstable();
    items.dedup();
    assert_eq!(items.len(), 30);
}

/// As long as the store answers.
pub async fn those_without_a_name_lose_and_double_nothing(table: &Arc<dyn ItemTable>) {
    let task = task();
    let feeding = (0..8_u64).map(|who| async move {
        for number in 0..10 {
            let items = [2 * number, 2 * number + 1].map(|item| Bytes::from((100 * who + item).to_string()));
            let fed = must(table.feed_items(task, None, &items).await);
            assert_eq!(fed, Appended::Taken { new: 2 });
        }
    });
    join_all(feeding).await;
    let items = read(table, task, 0).await.into_iter();
    let mut numbers: Vec<u64> = items.map(|item| must(String::from_utf8_lossy(&item).parse())).collect();
    numbers.sort_unstable();
    let expected: Vec<_> = (0..8).flat_map(|who| (0..20).map(move |item| 100 * who + item)).collect();
    assert_eq!(numbers, expected);
}

/// What it has already is not new.
pub async fn a_closed_task_takes_nothing_new(table: &Arc<dyn ItemTable>) {
    let task = task();
    let items = numbered(0..3);
    must(table.feed_items(task, at("a", 0), &items).await);
    must(table.close_items(task).await);
    must(table.close_items(task).await);
    assert_eq!(must(table.feed_items(task, at("a", 0), &items).await), Appended::Taken { new: 0 });
    assert_eq!(must(table.feed_items(task, at("a", 3), &items).await), Appended::Closed);
    assert_eq!(must(table.feed_items(task, None, &items).await), Appended::Closed);
    let (feed, next) = must(table.feed(task, "a").await);
    assert_eq!((feed.next, feed.closed, next), (3, true, 3));
    assert_eq!(read(table, task, 0).await, items);
    let other = self::task();
    must(table.close_items(other).await);
    assert!(must(table.feed(other, "").await).0.closed, "before anything is fed, too");
    assert_eq!(must(table.feed_items(other, None, &items).await), Appended::Closed);
}

/// And numbers go on.
pub async fn dropped_items_are_gone_and_offsets_stay(table: &Arc<dyn ItemTable>) {
    let task = task();
    let items = numbered(0..6);
    for (offset, item) in (0..).zip(&items[..4]) {
        let producer = if offset < 2 { "a" } else { "b" };
        must(table.feed_items(task, at(producer, offset % 2), std::slice::from_ref(item)).await);
    }
    must(table.drop_items(task, 3).await);
    assert_eq!(read(table, task, 0).await, items[3..4]);
    assert_eq!(must(table.feed(task, "a").await).0.kept_items, 1);
    must(table.drop_items(task, 4).await);
    must(table.drop_items(task, 4).await);
    assert!(read(table, task, 0).await.is_empty());
    let (feed, next) = must(table.feed(task, "a").await);
    assert_eq!((feed.next, feed.kept_items, feed.kept_bytes, next), (4, 0, 0, 2));
    assert_eq!(must(table.feed_items(task, at("a", 0), &items[..2]).await), Appended::Taken { new: 0 });
    assert_eq!(must(table.feed_items(task, at("b", 2), &items[4..]).await), Appended::Taken { new: 2 });
    let chunks = must(table.items(task, 0).await);
    assert_eq!((chunks[0].number, &chunks[0].items[..]), (4, &items[4..]));
    let bytes: u64 = items[4..].iter().map(|item| item.len() as u64 + 1).sum();
    let (feed, _) = must(table.feed(task, "b").await);
    assert_eq!((feed.next, feed.kept_items, feed.kept_bytes), (6, 2, bytes));
    must(table.close_items(task).await);
    must(table.drop_items(task, 6).await);
    assert!(must(table.feed(task, "b").await).0.closed);
}

/// And nothing is written.
pub async fn what_is_no_line_is_refused(table: &Arc<dyn ItemTable>) {
    let task = task();
    for wrong in [Bytes::from_static(b"\xff"), Bytes::from_static(b"1\n2")] {
        let refused = table.feed_items(task, None, &["1".into(), wrong]).await;
        assert!(matches!(refused, Err(StoreError::InvalidInput(_))), "{refused:?}");
    }
    assert!(must(table.items(task, 0).await).is_empty());
}
