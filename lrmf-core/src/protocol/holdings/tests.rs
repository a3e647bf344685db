//! The machine, case by case.

use super::*;
use crate::coordination::{KeyValue, Snapshot, WatchBatch};
use crate::ids::GroupId;
use crate::keys::chunk_of;
use crate::records::{Entry, Named, encode};
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
    Holdings::new(keys(), InstanceId::new("a").unwrap(), SESSION, &settings, Rules::ALL)
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
    assert_eq!((ack.generation, ack.releasing), (Generation(2), vec![]));
}

#[test]
fn a_slow_revoke_is_named_after_a_while_and_again_when_it_ends() {
    let mut holdings = holdings();
    holdings.on_record(at(0), &record(1, SESSION, Some((1, None))));
    holdings.on_assigned(at(0), &key(), Token(1), Ok(()));
    holdings.on_record(at(0), &record(2, SESSION, Some((1, Some(2)))));
    assert_eq!(holdings.due_ack(at(9)), None);
    let ack = holdings.due_ack(at(10)).unwrap();
    assert_eq!(ack.releasing, [Named { key: key(), token: Token(1) }]);
    holdings.on_acked(at(11), ack);
    assert_eq!(holdings.ack_at(), None);
    holdings.on_revoked(at(500), &key(), Token(1), true);
    assert_eq!(holdings.due_ack(at(500)).unwrap().releasing, []);
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

#[test]
fn a_start_that_fails_is_reported_until_the_holding_ends() {
    let mut holdings = holdings();
    holdings.on_record(at(0), &record(1, SESSION, Some((1, None))));
    holdings.on_assigned(at(0), &key(), Token(1), Err("é".repeat(300)));
    let ack = holdings.due_ack(at(0)).unwrap();
    assert_eq!((ack.failed[0].token, ack.failed[0].error.len()), (Token(1), 256));
    holdings.on_acked(at(0), ack);
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
    assert_eq!(holdings.due_ack(at(10)).unwrap().releasing.len(), 1);
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
    assert!(ack.releasing.len() == 1 && ack.stuck.is_empty());
    holdings.on_acked(at(11), ack);
    let due = holdings.next_wake().unwrap();
    assert_eq!(due, at(5001).at);
    assert_eq!(holdings.tick(at(5000)), []);
    let overdue = Event::RevokeOverdue { key: key(), token: Token(1) };
    assert_eq!(holdings.tick(at(5001)), [Action::Emit(overdue)]);
    assert_eq!((holdings.tick(at(9000)), holdings.next_wake()), (vec![], None));
    let ack = holdings.due_ack(at(9000)).unwrap();
    let stuck = Stuck { key: key(), token: Token(1), by: StuckBy::Overdue };
    assert_eq!((ack.stuck.clone(), ack.releasing.len()), (vec![stuck], 1));
    holdings.on_acked(at(9000), ack);
    holdings.on_revoked(at(9001), &key(), Token(1), true);
    let ack = holdings.due_ack(at(9001)).unwrap();
    assert!(ack.stuck.is_empty() && ack.releasing.is_empty());
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
    assert_eq!(ack.releasing.len(), 1);
    assert_eq!(holdings.tick(at(9000)), []);
}

#[test]
fn a_task_that_the_worker_gives_up_is_stopped_and_reported_as_failed() {
    let mut holdings = holdings();
    holdings.on_record(at(0), &record(1, SESSION, Some((1, None))));
    assert_eq!(holdings.on_given_up(at(0), &key(), Token(1), "early".into()), []);
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
    kv.value = br#"{"format":2,"tasks":{}}"#.as_slice().into();
    let actions = holdings.on_record(at(1), &FeedItem::Changed(batch));
    assert!(
        matches!(&actions[..], [Action::Emit(Event::Unreadable { error })] if error.contains("format 2")),
        "{actions:?}"
    );
    assert_eq!(holdings.held().count(), 1);
}
