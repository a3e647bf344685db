//! The leader of a group of mode `available`, and groups whose members disagree about the mode.

use std::time::Duration;

use super::table::{Table, incarnation, name, tasks};
use super::*;
use crate::records::{Barred, Cause, ContactRecord, Format, MemberState, ModeRecord, decode};

/// A leader of these members, all in contact, that has not loaded yet.
fn table(members: &[(&str, u128)], settle: Duration) -> Table {
    let mut table = Table::new(|config| {
        config.mode = GroupMode::Available;
        config.settle = settle;
    });
    for (member, number) in members {
        available(&mut table, member, *number, MemberState::Active);
        contact(&mut table, member, *number);
    }
    table
}

fn available(table: &mut Table, member: &str, number: u128, state: MemberState) {
    table.member_of(GroupMode::Available, member, number, state);
}

fn contact(table: &mut Table, member: &str, number: u128) {
    let record = ContactRecord { format: Format, incarnation: incarnation(number) };
    table.put(table.keys.contact(&name(member)), &record);
}

fn silence(table: &mut Table, member: &str) {
    table.delete(table.keys.contact(&name(member)));
}

fn placed(members: &[(&str, u128)], count: usize) -> Table {
    let mut table = table(members, Duration::ZERO);
    table.load();
    table.list(Ok(tasks(count)));
    table.run();
    table
}

fn notice(table: &Table, member: &str) -> Option<Barred> {
    let kv = table.store.get(&table.keys.notice(&name(member)))?;
    Some(decode::<NoticeRecord>(&kv.key, &kv.value).unwrap().barred)
}

#[test]
fn what_a_silent_member_holds_goes_elsewhere_in_one_write_though_its_session_lives() {
    let mut table = placed(&[("a", 1), ("b", 2)], 4);
    let before = table.generation();
    let lost: Vec<_> = (0..4).filter(|task| table.holders(4)[*task] == "a").collect();
    silence(&mut table, "a");
    table.run();
    assert_eq!(table.generation(), before + 1);
    assert!(table.events.contains(&Event::ContactLost { instance: name("a") }));
    assert_eq!(table.holders(4), ["b"; 4]);
    for task in lost {
        let (_, _, entry) = table.entry(&format!("task-{task}"));
        assert_eq!((entry.token.0, entry.releasing, entry.cause), (before + 1, None, Cause::Lost));
    }
    // Back in contact, in the same session: it gets its share again, by handover.
    contact(&mut table, "a", 1);
    table.run();
    table.ack("b", 2, table.generation(), &[], vec![]);
    table.later(Duration::from_millis(10));
    table.run();
    assert_eq!(table.holders(4).iter().filter(|holder| *holder == "a").count(), 2);
}

#[test]
fn a_member_gets_nothing_before_its_contact_exists() {
    let mut table = placed(&[("a", 1)], 4);
    available(&mut table, "b", 2, MemberState::Active);
    contact(&mut table, "b", 77);
    table.run();
    assert_eq!(table.holders(4), ["a"; 4], "the contact is another session's");
    contact(&mut table, "b", 2);
    assert!(table.run() > 0);
}

#[test]
fn a_task_that_is_being_released_does_not_wait_for_a_silent_member() {
    let mut table = placed(&[("a", 1)], 2);
    available(&mut table, "b", 2, MemberState::Active);
    contact(&mut table, "b", 2);
    table.run();
    let marked =
        |table: &Table| (0..2).filter(|t| table.entry(&format!("task-{t}")).2.releasing.is_some()).count();
    assert_eq!((marked(&table), table.holders(2)), (1, vec!["a".to_owned(); 2]));
    silence(&mut table, "a");
    table.run();
    assert_eq!((marked(&table), table.holders(2)), (0, vec!["b".to_owned(); 2]));
}

/// Where a failure cut everybody off, the first one back leads, and finds the others silent.
#[test]
fn a_new_leader_gives_silent_members_a_settle_window_to_come_back() {
    let settle = Duration::from_millis(500);
    let mut table = table(&[("a", 1), ("b", 2)], settle);
    table.load();
    table.list(Ok(tasks(4)));
    table.later(settle);
    table.run();
    let before = table.holders(4);
    silence(&mut table, "a");
    table.succeed();
    table.load();
    table.list(Ok(tasks(4)));
    table.later(settle / 2);
    assert_eq!((table.run(), table.holders(4)), (0, before.clone()));
    contact(&mut table, "a", 1);
    table.run();
    table.later(settle * 4);
    table.run();
    assert_eq!(table.holders(4), before);
}

#[test]
fn tasks_wait_for_a_restarting_member_in_contact_or_not() {
    let mut table = placed(&[("a", 1), ("b", 2)], 4);
    let before = table.holders(4);
    available(&mut table, "a", 1, MemberState::Restarting);
    silence(&mut table, "a");
    table.run();
    assert_eq!(table.holders(4), before);
    // It comes back: the session and the contact are made in one write, which arrives as one.
    contact(&mut table, "a", 3);
    available(&mut table, "a", 3, MemberState::Active);
    table.run();
    assert_eq!(table.holders(4), before);
    assert!((0..4).all(|task| table.entry(&format!("task-{task}")).1 != incarnation(1)));
}

#[test]
fn the_mode_is_written_before_anything_is_given_and_not_where_it_is_the_default() {
    let mut table = placed(&[("a", 1)], 1);
    let kv = table.store.get(&table.keys.mode()).unwrap();
    let first = table.store.get(&table.keys.generation()).unwrap().create_revision;
    assert_eq!(decode::<ModeRecord>(&kv.key, &kv.value).unwrap().mode, GroupMode::Available);
    assert!(kv.create_revision < first);
    table.run();
    let plain = Table::placed(&[("a", 1)], 1);
    assert!(plain.store.get(&plain.keys.mode()).is_none());
}

#[test]
fn a_member_of_another_mode_gets_nothing_and_is_told_why_until_it_leaves() {
    let mut table = placed(&[("a", 1)], 2);
    table.member("b", 2, MemberState::Active);
    table.run();
    assert_eq!(table.holders(2), ["a"; 2]);
    assert_eq!(notice(&table, "b"), Some(Barred::Mode { group: GroupMode::Available }));
    // It comes back with the group's mode.
    available(&mut table, "b", 3, MemberState::Active);
    contact(&mut table, "b", 3);
    table.run();
    table.ack("a", 1, table.generation(), &[], vec![]);
    table.later(Duration::from_millis(10));
    table.run();
    assert_eq!(notice(&table, "b"), None);
    assert!(table.holders(2).contains(&"b".to_owned()));
}

#[test]
fn a_leader_of_another_mode_leaves_the_group_to_a_member_of_its_mode() {
    // An exclusive group has no record of its mode.
    let mut table = table(&[("a", 1)], Duration::ZERO);
    table.member("b", 2, MemberState::Active);
    table.load();
    assert!(table.stepped_down);
    assert!(table.events.contains(&Event::Barred(Barred::Mode { group: GroupMode::Exclusive })));
    assert!(table.store.get(&table.keys.mode()).is_none());
}

#[test]
fn the_mode_changes_when_no_session_of_the_old_one_is_left() {
    let mut table = Table::new(|_| {});
    table.put(table.keys.mode(), &ModeRecord { format: Format, mode: GroupMode::Available });
    table.member("a", 1, MemberState::Active);
    table.load();
    table.list(Ok(tasks(1)));
    table.run();
    let kv = table.store.get(&table.keys.mode()).unwrap();
    assert_eq!(decode::<ModeRecord>(&kv.key, &kv.value).unwrap().mode, GroupMode::Exclusive);
    assert_eq!(table.holders(1), ["a"]);
    // One of the old mode that comes back now is the odd one out.
    available(&mut table, "z", 2, MemberState::Active);
    contact(&mut table, "z", 2);
    table.run();
    assert!(!table.stepped_down);
    assert_eq!(notice(&table, "z"), Some(Barred::Mode { group: GroupMode::Exclusive }));
}

#[test]
fn who_finds_the_group_full_is_told_and_told_again_when_a_place_is_free() {
    let mut table = Table::placed(&[("b", 1), ("c", 2)], 4);
    table.most_members(2);
    table.member("a", 3, MemberState::Active);
    table.run();
    assert_eq!(notice(&table, "a"), Some(Barred::Full { most: 2 }));
    assert_eq!((notice(&table, "b"), notice(&table, "c")), (None, None));
    table.gone("c");
    table.run();
    assert_eq!(notice(&table, "a"), None);
}
