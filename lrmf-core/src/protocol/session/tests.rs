use super::*;
use crate::coordination::{KeyValue, LeaseId, Revision, Snapshot, WatchBatch, WatchEvent};
use crate::ids::GroupId;
use crate::protocol::FeedItem;

const SECOND: Duration = Duration::from_secs(1);

fn keys() -> Keys {
    Keys::new(&GroupId::new("p", "b", "t").unwrap())
}

fn me() -> InstanceId {
    InstanceId::new("a").unwrap()
}

fn session(number: u128) -> Incarnation {
    Incarnation(uuid::Uuid::from_u128(number))
}

fn at(seconds: u32) -> Now {
    Now { at: Timestamp(SECOND * seconds), unix_millis: 0 }
}

fn joining(conflict: Conflict, former: Vec<Incarnation>) -> Joining {
    let config = CoordinatorConfig { conflict, ..CoordinatorConfig::default() };
    Joining::new(keys(), me(), config, "sticky", former)
}

/// The own keys with somebody's session in them.
fn own(revision: u64, of: Option<(Incarnation, MemberState)>) -> OwnKeys {
    let revision = Revision(revision);
    let entries = of.map(|(incarnation, state)| {
        let record = MemberRecord { state, ..joining(Conflict::Wait, vec![]).record(incarnation) };
        let (key, value) = (keys().session(&me()), encode(&record));
        KeyValue { key, value, create_revision: revision, mod_revision: revision, lease: None }
    });
    let mut own = OwnKeys::default();
    let snapshot = Snapshot { revision, entries: entries.into_iter().collect() };
    assert!(own.on_feed(&keys(), &FeedItem::Loaded(snapshot)));
    own
}

fn granted(number: u128) -> Result<(Lease, Incarnation), CoordinationError> {
    Ok((Lease { id: LeaseId(1), ttl: SECOND * 10 }, session(number)))
}

fn claimed(actions: &[JoinAction]) -> &Txn {
    let [JoinAction::Claim(txn)] = actions else { panic!("{actions:?}") };
    txn
}

#[test]
fn a_free_name_is_claimed_and_lived_in_from_the_sending_of_the_grant() {
    let mut own = own(5, None);
    let mut joining = joining(Conflict::Wait, vec![]);
    assert!(matches!(joining.tick(at(0), &own)[..], [JoinAction::Grant]));
    let actions = joining.on_granted(at(2), &own, at(1).at, granted(1));
    assert_eq!(claimed(&actions).guards, [Guard::Absent { key: keys().session(&me()) }]);
    let actions = joining.on_claimed(at(3), &mut own, Ok(TxnOutcome::Applied { revision: Revision(6) }));
    let [JoinAction::Joined(session)] = &actions[..] else { panic!("{actions:?}") };
    // TTL 10 s, margin 3 s, sent at 1 s.
    assert_eq!(session.deadline, at(8).at);
}

#[test]
fn a_claim_that_nobody_answered_is_adopted_when_it_is_there() {
    let mut before = own(5, None);
    let mut joining = joining(Conflict::Wait, vec![]);
    joining.tick(at(0), &before);
    joining.on_granted(at(0), &before, at(0).at, granted(1));
    let actions = joining.on_claimed(at(1), &mut before, Err(CoordinationError::Unknown("?".into())));
    assert!(matches!(actions[..], [JoinAction::Reload]));
    let after = own(6, Some((session(1), MemberState::Active)));
    let actions = joining.on_own(at(1), &after, true);
    assert!(matches!(actions[..], [JoinAction::Joined(_)]), "{actions:?}");
}

#[test]
fn a_living_other_is_refused_or_waited_for_as_its_successor() {
    let taken = own(5, Some((session(7), MemberState::Active)));
    let refused = joining(Conflict::Refuse, vec![]).tick(at(0), &taken);
    assert!(matches!(refused[..], [JoinAction::Conflict]));
    let mut waiting = joining(Conflict::Wait, vec![]);
    waiting.tick(at(0), &taken);
    let actions = waiting.on_granted(at(0), &taken, at(0).at, granted(1));
    // Late, when the other one is no member any more, it is refused.
    let waits_for = Guard::ModifiedAt { key: keys().session(&me()), revision: Revision(5) };
    assert_eq!(claimed(&actions).guards, [Guard::Absent { key: keys().successor(&me()) }, waits_for]);
    assert!(waiting.begins_to_wait() && !waiting.begins_to_wait());
}

#[test]
fn restarting_and_former_sessions_are_taken_over_by_revision() {
    let cases = [(vec![], MemberState::Restarting), (vec![session(7)], MemberState::Active)];
    for (former, state) in cases {
        let taken = own(5, Some((session(7), state)));
        let mut joining = joining(Conflict::Wait, former);
        joining.tick(at(0), &taken);
        let actions = joining.on_granted(at(0), &taken, at(0).at, granted(1));
        let guard = Guard::ModifiedAt { key: keys().session(&me()), revision: Revision(5) };
        assert_eq!(claimed(&actions).guards, [guard]);
    }
}

#[test]
fn a_lease_that_is_too_old_to_live_in_is_given_up() {
    let free = own(5, None);
    let mut joining = joining(Conflict::Wait, vec![]);
    joining.tick(at(0), &free);
    let actions = joining.on_granted(at(8), &free, at(0).at, granted(1));
    assert!(actions.iter().any(|action| matches!(action, JoinAction::Abandon(_))), "{actions:?}");
    assert!(matches!(actions.last(), Some(JoinAction::Grant)));
}

/// Found by the simulation: the own write at revision 6 hid the end of the other session at revision 5.
#[test]
fn an_own_write_hides_nothing_that_happened_before_it() {
    let mut own = own(4, Some((session(7), MemberState::Active)));
    own.wrote_successor(Revision(6), session(1));
    own.wrote_ack(Revision(6));
    let events = vec![WatchEvent::Delete { key: keys().session(&me()) }];
    own.on_feed(&keys(), &FeedItem::Changed(WatchBatch { revision: Revision(5), events }));
    assert!(own.session().is_none());
    assert_eq!((own.successor(), own.ack()), (Some(session(1)), Some(Revision(6))));
}
