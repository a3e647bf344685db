//! The machine, case by case.

use super::*;
use crate::coordination::{KeyValue, Snapshot, WatchBatch};
use crate::ids::GroupId;
use crate::keys::{chunk_of, path_of};
use crate::records::{Entry, Failure, Named, encode};
use crate::task::Task;

const SESSION: Incarnation = Incarnation(uuid::Uuid::from_u128(1));

fn keys() -> Keys {
    Keys::new(&GroupId::new("p", "b", "t").unwrap())
}

fn holdings() -> Holdings {
    let settings = CoordinatorConfig {
        companions: Duration::from_millis(10),
        revoke_timeout: Duration::from_secs(5),
        ..CoordinatorConfig::default()
    };
    let name = InstanceId::new("a").unwrap();
    Holdings::new(keys(), name, SESSION, &settings, TxnLimits::ETCD, Rules::ALL, Inherited::default())
}

fn at(millis: u64) -> Now {
    Now { at: Timestamp(Duration::from_millis(millis)), unix_millis: 0 }
}

/// The chunk of `x` at a generation, which is its revision too.
fn record(generation: u64, of: Incarnation, entry: Option<(u64, Option<u64>)>) -> FeedItem {
    let mut chunk = ChunkRecord::empty(of);
    chunk.generation = Generation(generation);
    if let Some((token, releasing)) = entry {
        let entry = Entry::held(&Task::new("x", ""), Token(token));
        chunk.insert(Entry { releasing: releasing.map(Generation), ..entry });
    }
    let revision = Revision(generation);
    let key = keys().chunk(&InstanceId::new("a").unwrap(), chunk_of("x"));
    let value = encode(&chunk);
    let kv = KeyValue { key, value, create_revision: revision, mod_revision: revision, lease: None };
    FeedItem::Changed(WatchBatch { revision, events: vec![WatchEvent::Put(kv)] })
}

fn holding(token: u64) -> Holding {
    Holding { task: Task::new("x", ""), token: Token(token) }
}

fn named(token: u64) -> Option<Vec<Named>> {
    Some(vec![Named { key: key(), token: Token(token) }])
}

fn key() -> Arc<str> {
    "x".into()
}

#[test]
fn a_task_comes_and_goes_and_only_its_going_is_acknowledged() {
    let mut holdings = holdings();
    let actions = holdings.on_record(at(0), &record(1, SESSION, Some((1, None))));
    assert_eq!(actions, [Action::Assign(holding(1))]);
    holdings.on_assigned(at(0), &key(), Token(1), Ok(()));
    assert_eq!(holdings.ack_at(), None);
    let actions = holdings.on_record(at(1), &record(2, SESSION, Some((1, Some(2)))));
    assert_eq!(actions, [Action::Revoke(holding(1))]);
    holdings.on_revoked(at(2), &key(), Token(1), true);
    let ack = holdings.due_ack(at(2)).unwrap();
    assert_eq!((ack.generation, ack.released), (Generation(2), named(1)));
}

#[test]
fn a_slow_revoke_is_acknowledged_as_begun_after_a_while_and_named_when_it_ends() {
    let mut holdings = holdings();
    holdings.on_record(at(0), &record(1, SESSION, Some((1, None))));
    holdings.on_assigned(at(0), &key(), Token(1), Ok(()));
    holdings.on_record(at(0), &record(2, SESSION, Some((1, Some(2)))));
    assert_eq!(holdings.due_ack(at(9)), None);
    let ack = holdings.due_ack(at(10)).unwrap();
    assert_eq!((ack.generation, &ack.released), (Generation(2), &Some(vec![])));
    holdings.on_acked(at(11), &ack);
    assert_eq!(holdings.ack_at(), None);
    holdings.on_revoked(at(500), &key(), Token(1), true);
    assert_eq!(holdings.due_ack(at(500)).unwrap().released, named(1));
}

#[test]
fn a_new_token_in_place_is_a_stop_and_a_start() {
    let mut holdings = holdings();
    holdings.on_record(at(0), &record(1, SESSION, Some((1, None))));
    // It is still being started: nothing overlaps.
    assert_eq!(holdings.on_record(at(0), &record(2, SESSION, Some((2, None)))), []);
    let actions = holdings.on_assigned(at(1), &key(), Token(1), Ok(()));
    assert_eq!(actions[1], Action::Revoke(holding(1)));
    let actions = holdings.on_revoked(at(2), &key(), Token(1), true);
    assert_eq!(actions[1], Action::Assign(holding(2)));
}

#[test]
fn what_is_for_another_session_is_not_started() {
    let mut holdings = holdings();
    let other = Incarnation(uuid::Uuid::from_u128(2));
    assert_eq!(holdings.on_record(at(0), &record(1, other, Some((1, None)))), []);
}

#[test]
fn what_is_older_than_what_was_applied_is_ignored() {
    let mut holdings = holdings();
    holdings.on_record(at(0), &record(1, SESSION, Some((1, None))));
    holdings.on_assigned(at(0), &key(), Token(1), Ok(()));
    holdings.on_record(at(0), &record(5, SESSION, None));
    holdings.on_revoked(at(0), &key(), Token(1), true);
    assert_eq!(holdings.on_record(at(1), &record(1, SESSION, Some((1, None)))), []);
    let old = Snapshot { revision: Revision(4), entries: vec![] };
    assert_eq!(holdings.on_record(at(1), &FeedItem::Loaded(old)), []);
}

/// The store went back, and has come exactly as far as before since: only what the record says can tell.
#[test]
fn a_list_that_is_as_new_with_an_older_record_in_it_is_of_a_store_that_went_back() {
    let list = |item: FeedItem| {
        let FeedItem::Changed(WatchBatch { events, .. }) = item else { panic!("a change") };
        let entries = events.into_iter().map(|event| match event {
            WatchEvent::Put(kv) => kv,
            WatchEvent::Delete { .. } => panic!("a put"),
        });
        FeedItem::Loaded(Snapshot { revision: Revision(5), entries: entries.collect() })
    };
    for (generation, gone_back) in [(5, false), (4, true)] {
        let mut holdings = holdings();
        holdings.on_record(at(0), &record(5, SESSION, Some((5, None))));
        holdings.on_record(at(1), &list(record(generation, SESSION, None)));
        assert_eq!(holdings.has_gone_back(), gone_back);
    }
}

#[test]
fn a_start_that_fails_is_reported_until_the_holding_ends() {
    let mut holdings = holdings();
    holdings.on_record(at(0), &record(1, SESSION, Some((1, None))));
    holdings.on_assigned(at(0), &key(), Token(1), Err(AssignError::Failed("é".repeat(300))));
    let ack = holdings.due_ack(at(0)).unwrap();
    assert_eq!((ack.failed[0].token, ack.failed[0].error.len()), (Token(1), 256));
    holdings.on_acked(at(0), &ack);
    assert_eq!(holdings.ack_at(), None);
    holdings.on_record(at(1), &record(2, SESSION, Some((1, Some(2)))));
    assert_eq!(holdings.due_ack(at(1)).unwrap().failed, []);
    let actions = holdings.on_record(at(2), &record(3, SESSION, Some((3, None))));
    assert_eq!(actions, [Action::Assign(holding(3))]);
}

#[test]
fn what_may_still_run_is_never_acknowledged() {
    let mut holdings = holdings();
    holdings.on_record(at(0), &record(1, SESSION, Some((1, None))));
    holdings.on_assigned(at(0), &key(), Token(1), Ok(()));
    holdings.on_record(at(0), &record(2, SESSION, Some((1, Some(2)))));
    holdings.on_revoked(at(0), &key(), Token(1), false);
    assert_eq!(holdings.due_ack(at(10)).unwrap().released, Some(vec![]));
    assert!(holdings.is_stopped() && !holdings.is_idle());
}

#[test]
fn a_revoke_that_takes_too_long_is_reported_once_and_acknowledged_as_stuck() {
    let mut holdings = holdings();
    holdings.on_record(at(0), &record(1, SESSION, Some((1, None))));
    holdings.on_assigned(at(0), &key(), Token(1), Ok(()));
    assert_eq!(holdings.next_wake(), None);
    holdings.on_record(at(1), &record(2, SESSION, Some((1, Some(2)))));
    let ack = holdings.due_ack(at(11)).unwrap();
    assert!(ack.released == Some(vec![]) && ack.stuck.is_empty());
    holdings.on_acked(at(11), &ack);
    let due = holdings.next_wake().unwrap();
    assert_eq!(due, at(5001).at);
    assert_eq!(holdings.tick(at(5000)), []);
    let overdue = Event::RevokeOverdue { key: key(), token: Token(1) };
    assert_eq!(holdings.tick(at(5001)), [Action::Emit(overdue)]);
    assert_eq!((holdings.tick(at(9000)), holdings.next_wake()), (vec![], None));
    let ack = holdings.due_ack(at(9000)).unwrap();
    let stuck = Stuck { key: key(), token: Token(1), by: StuckBy::Overdue };
    assert_eq!((&ack.stuck, &ack.released), (&vec![stuck], &Some(vec![])));
    holdings.on_acked(at(9000), &ack);
    holdings.on_revoked(at(9001), &key(), Token(1), true);
    let ack = holdings.due_ack(at(9001)).unwrap();
    assert!(ack.stuck.is_empty() && ack.released == named(1));
}

#[test]
fn a_revoke_that_panicked_is_acknowledged_as_stuck_at_once() {
    let mut holdings = holdings();
    holdings.on_record(at(0), &record(1, SESSION, Some((1, None))));
    holdings.on_assigned(at(0), &key(), Token(1), Ok(()));
    holdings.on_record(at(1), &record(2, SESSION, Some((1, Some(2)))));
    holdings.on_revoked(at(2), &key(), Token(1), false);
    let ack = holdings.due_ack(at(12)).unwrap();
    assert_eq!(ack.stuck, [Stuck { key: key(), token: Token(1), by: StuckBy::Panicked }]);
    assert_eq!(ack.released, Some(vec![]));
    assert_eq!(holdings.tick(at(9000)), []);
}

#[test]
fn a_task_that_the_worker_gives_up_is_stopped_and_reported_as_failed() {
    let mut holdings = holdings();
    holdings.on_record(at(0), &record(1, SESSION, Some((1, None))));
    holdings.on_assigned(at(0), &key(), Token(1), Ok(()));
    assert_eq!(holdings.on_given_up(at(0), &key(), Token(9), "another".into()), []);
    let actions = holdings.on_given_up(at(1), &key(), Token(1), "crash".into());
    let event = Event::GivenUp { key: key(), token: Token(1), error: "crash".into() };
    assert_eq!(actions, [Action::Emit(event), Action::Revoke(holding(1))]);
    // Not begun again in this holding.
    let actions = holdings.on_revoked(at(2), &key(), Token(1), true);
    assert_eq!(actions, [Action::Emit(Event::Revoked(holding(1)))]);
    let ack = holdings.due_ack(at(2)).unwrap();
    assert_eq!(ack.failed, [Failure { key: key(), token: Token(1), error: "crash".into() }]);
    // In the next one it is.
    let actions = holdings.on_record(at(3), &record(2, SESSION, Some((2, None))));
    assert_eq!(actions, [Action::Assign(holding(2))]);
}

#[test]
fn an_own_record_of_a_newer_format_is_reported_and_changes_nothing() {
    let mut holdings = holdings();
    holdings.on_record(at(0), &record(1, SESSION, Some((1, None))));
    holdings.on_assigned(at(0), &key(), Token(1), Ok(()));
    let FeedItem::Changed(mut batch) = record(2, SESSION, None) else { return };
    let WatchEvent::Put(kv) = &mut batch.events[0] else { return };
    kv.value = br#"{"format":3,"tasks":{}}"#.as_slice().into();
    let actions = holdings.on_record(at(1), &FeedItem::Changed(batch));
    assert!(
        matches!(&actions[..], [Action::Emit(Event::Unreadable { error })] if error.contains("format 3")),
        "{actions:?}"
    );
    assert_eq!(holdings.held().count(), 1);
}

/// A record of these tasks with these tokens.
fn many(generation: u64, tasks: &BTreeMap<Arc<str>, Token>, releasing: bool) -> FeedItem {
    let revision = Revision(generation);
    let mut chunks = BTreeMap::<_, ChunkRecord>::new();
    for (key, token) in tasks {
        let chunk = chunks.entry(chunk_of(key)).or_insert_with(|| ChunkRecord::empty(SESSION));
        chunk.generation = Generation(generation);
        let entry = Entry::held(&Task::new(key.clone(), ""), *token);
        chunk.tasks.push(Entry { releasing: releasing.then_some(Generation(generation)), ..entry });
    }
    let put = |(id, chunk): (ChunkId, ChunkRecord)| {
        let (key, value) = (keys().chunk(&InstanceId::new("a").unwrap(), id), encode(&chunk));
        WatchEvent::Put(KeyValue {
            key,
            value,
            create_revision: revision,
            mod_revision: revision,
            lease: None,
        })
    };
    FeedItem::Changed(WatchBatch { revision, events: chunks.into_iter().map(put).collect() })
}

fn numbered(count: u64) -> BTreeMap<Arc<str>, Token> {
    (1..=count).map(|number| (format!("task-{number:05}").into(), Token(number))).collect()
}

fn assigned(actions: &[Action]) -> Vec<(Arc<str>, Token)> {
    let of = |action: &Action| match action {
        Action::Assign(Holding { task, token }) => Some((task.key.clone(), *token)),
        _ => None,
    };
    actions.iter().filter_map(of).collect()
}

/// Seven thousand failures with long errors made a record that no store took, and nothing was said any more.
#[test]
fn failures_that_do_not_fit_are_named_when_those_before_them_were_tried_again() {
    let (mut holdings, mut tasks) = (holdings(), numbered(7000));
    let mut starts = assigned(&holdings.on_record(at(0), &many(1, &tasks, false)));
    let mut waiting: BTreeSet<Arc<str>> = tasks.keys().cloned().collect();
    for generation in 2.. {
        for (key, token) in starts {
            holdings.on_assigned(at(0), &key, token, Err(AssignError::Failed("x".repeat(300))));
        }
        let ack = holdings.due_ack(at(0)).unwrap();
        assert!(encode(&ack).len() <= 64 * 1024 + 256, "{} bytes", encode(&ack).len());
        holdings.on_acked(at(0), &ack);
        // The leader tries them again, and they fail again.
        for failure in &ack.failed {
            let first = waiting.remove(&failure.key);
            assert!(first || waiting.is_empty(), "{} again, before others", failure.key);
            tasks.insert(failure.key.clone(), Token(10_000 + generation));
        }
        if waiting.is_empty() {
            break;
        }
        starts = assigned(&holdings.on_record(at(0), &many(generation, &tasks, false)));
        assert_eq!(starts.len(), ack.failed.len());
    }
}

#[test]
fn releases_that_do_not_fit_are_named_when_those_before_them_have_left_the_record() {
    let (mut holdings, mut tasks) = (holdings(), numbered(3000));
    for (key, token) in assigned(&holdings.on_record(at(0), &many(1, &tasks, false))) {
        holdings.on_assigned(at(0), &key, token, Ok(()));
    }
    holdings.on_record(at(0), &many(2, &tasks, true));
    // One never stops, and holds up nobody.
    let slow: Arc<str> = "task-00007".into();
    for (key, token) in tasks.iter().filter(|(key, _)| **key != slow) {
        holdings.on_revoked(at(0), key, *token, true);
    }
    for generation in 3.. {
        let ack = holdings.due_ack(at(20 * generation)).unwrap();
        assert!(encode(&ack).len() <= 64 * 1024 + 256, "{} bytes", encode(&ack).len());
        holdings.on_acked(at(20 * generation), &ack);
        assert_eq!(holdings.ack_at(), None, "it is said once");
        for named in ack.released.unwrap() {
            assert_eq!(tasks.remove(&named.key), Some(named.token));
        }
        if tasks.len() == 1 {
            assert!(tasks.contains_key(&slow));
            break;
        }
        let gone = FeedItem::Loaded(match many(generation, &tasks, true) {
            FeedItem::Changed(batch) => {
                let entries = batch.events.into_iter().map(|event| match event {
                    WatchEvent::Put(kv) => kv,
                    WatchEvent::Delete { key } => panic!("{key}"),
                });
                Snapshot { revision: batch.revision, entries: entries.collect() }
            }
            FeedItem::Loaded(snapshot) => snapshot,
        });
        holdings.on_record(at(20 * generation), &gone);
    }
}

#[test]
fn an_acknowledgement_that_the_store_finds_too_large_is_shorter_the_next_time() {
    let (mut holdings, tasks) = (holdings(), numbered(500));
    for (key, token) in assigned(&holdings.on_record(at(0), &many(1, &tasks, false))) {
        holdings.on_assigned(at(0), &key, token, Err(AssignError::Failed("x".repeat(100))));
    }
    let first = holdings.due_ack(at(0)).unwrap();
    holdings.on_not_acked(at(0), true);
    let second = holdings.due_ack(at(0)).unwrap();
    assert!(!second.failed.is_empty() && second.failed.len() <= first.failed.len() / 2);
}

#[test]
fn a_task_that_comes_to_another_chunk_is_not_disturbed_whichever_is_heard_first() {
    let (low, high) = chunk_of("x").halves().unwrap();
    let half = if low.contains(path_of("x")) { low } else { high };
    let half = keys().chunk(&InstanceId::new("a").unwrap(), half);
    for reversed in [false, true] {
        let mut holdings = holdings();
        holdings.on_record(at(0), &record(1, SESSION, Some((1, None))));
        holdings.on_assigned(at(0), &key(), Token(1), Ok(()));
        let FeedItem::Changed(mut batch) = record(2, SESSION, Some((1, None))) else { panic!("no change") };
        let WatchEvent::Put(kv) = &mut batch.events[0] else { panic!("no write") };
        let gone = std::mem::replace(&mut kv.key, half.clone());
        batch.events.push(WatchEvent::Delete { key: gone });
        if reversed {
            batch.events.reverse();
        }
        assert_eq!(holdings.on_record(at(0), &FeedItem::Changed(batch)), []);
        assert_eq!(holdings.held_count(), 1);
        // And it is found there.
        let FeedItem::Changed(mut batch) = record(3, SESSION, Some((1, Some(3)))) else {
            panic!("no change")
        };
        let WatchEvent::Put(kv) = &mut batch.events[0] else { panic!("no write") };
        kv.key.clone_from(&half);
        assert_eq!(holdings.on_record(at(0), &FeedItem::Changed(batch)), [Action::Revoke(holding(1))]);
    }
}

#[test]
fn a_task_that_is_given_up_while_it_starts_is_stopped_when_it_has_started() {
    let mut holdings = holdings();
    holdings.on_record(at(0), &record(1, SESSION, Some((1, None))));
    let event = Event::GivenUp { key: key(), token: Token(1), error: "early".into() };
    let actions = holdings.on_given_up(at(0), &key(), Token(1), "early".into());
    assert_eq!(actions, [Action::Emit(event)]);
    let actions = holdings.on_assigned(at(0), &key(), Token(1), Ok(()));
    assert_eq!(actions, [Action::Emit(Event::Assigned(holding(1))), Action::Revoke(holding(1))]);
    holdings.on_revoked(at(1), &key(), Token(1), true);
    assert_eq!(holdings.due_ack(at(1)).unwrap().failed.len(), 1);
}

#[test]
fn a_start_that_takes_too_long_is_given_up_and_stopped_before_it_counts_as_failed() {
    let mut holdings = holdings();
    holdings.on_record(at(0), &record(1, SESSION, Some((1, None))));
    let late = 30_000;
    assert_eq!(holdings.tick(at(late - 1)), []);
    let overdue = Event::AssignOverdue { key: key(), token: Token(1) };
    assert_eq!(holdings.tick(at(late)), [Action::Emit(overdue), Action::AbandonAssign(holding(1))]);
    let gone = Err(AssignError::Unknown("it did not return".into()));
    let actions = holdings.on_assigned(at(late), &key(), Token(1), gone);
    assert!(actions.contains(&Action::Revoke(holding(1))));
    assert!(holdings.due_ack(at(late)).is_none_or(|ack| ack.failed.is_empty()), "it may still run");
    holdings.on_revoked(at(late + 1), &key(), Token(1), true);
    assert_eq!(holdings.due_ack(at(late + 1)).unwrap().failed.len(), 1);
}
