//! The limits to what is asked back from living members.

use std::time::Duration;

use super::table::{Table, tasks};
use super::*;
use crate::clock::Timestamp;
use crate::records::MemberState;

#[test]
fn moves_between_living_members_are_capped() {
    let mut table = Table::new(|config| config.moves.most = 1);
    table.member("a", 1, MemberState::Active);
    table.load();
    table.list(Ok(tasks(6)));
    table.run();
    table.member("b", 2, MemberState::Active);
    let mut rounds = 0;
    loop {
        table.run();
        let all: Vec<_> = (0..6).map(|task| table.entry(&format!("task-{task}")).2).collect();
        let moving = all.iter().filter(|entry| entry.releasing.is_some()).count();
        if moving == 0 {
            break;
        }
        assert_eq!(moving, 1);
        rounds += 1;
        table.ack("a", 1, table.generation(), &[], vec![]);
    }
    assert_eq!(rounds, 3);
}

/// Lets this leader move everything to "b", as "a" gives it back, and says how many were on their way at a time.
fn moves_at_a_time(table: &mut Table, tasks: usize) -> Vec<usize> {
    let mut rounds = Vec::new();
    loop {
        table.run();
        let all: Vec<_> = (0..tasks).map(|task| table.entry(&format!("task-{task}")).2).collect();
        match all.iter().filter(|entry| entry.releasing.is_some()).count() {
            0 => return rounds,
            moving => rounds.push(moving),
        }
        table.ack("a", 1, table.generation(), &[], vec![]);
    }
}

#[test]
fn moves_from_a_zone_are_capped_and_from_others_are_not_for_that() {
    let mut table = Table::new(|config| config.moves.most_of_zone = 2);
    table.zoned("a", 1, "z1");
    table.load();
    table.list(Ok(tasks(8)));
    table.run();
    table.zoned("b", 2, "z2");
    assert_eq!(moves_at_a_time(&mut table, 8), [2, 2]);

    let mut table = Table::new(|config| config.moves.most_of_zone = 2);
    table.zoned("a", 1, "z1");
    table.zoned("b", 2, "z2");
    table.load();
    table.list(Ok(tasks(12)));
    table.run();
    table.zoned("c", 3, "z2");
    table.run();
    let moving = |from: &str| {
        let all = (0..12).map(|task| table.entry(&format!("task-{task}")));
        all.filter(|(holder, _, entry)| holder == from && entry.releasing.is_some()).count()
    };
    assert_eq!((moving("a"), moving("b")), (2, 2));
}

#[test]
fn moves_from_a_zone_within_a_minute_are_capped() {
    let mut table = Table::new(|config| config.moves.zone_per_minute = Some(3));
    table.zoned("a", 1, "z1");
    table.load();
    table.list(Ok(tasks(10)));
    table.run();
    table.zoned("b", 2, "z2");
    assert_eq!(moves_at_a_time(&mut table, 10), [3]);
    let minute = Timestamp(Duration::from_secs(60));
    let due = table.leader.next_wake(table.now());
    assert!(due.is_some_and(|at| at <= minute), "the provider is asked before, or there is room: {due:?}");
    table.later(Duration::from_millis(59_999));
    assert_eq!(moves_at_a_time(&mut table, 10), [0; 0]);
    assert_eq!(table.leader.next_wake(table.now()), Some(minute));
    table.later(Duration::from_millis(1));
    assert_eq!(moves_at_a_time(&mut table, 10), [2], "five of ten are the half");
}

/// What is lost, and what is handed over by who leaves, waits for no limit.
#[test]
fn limits_to_moves_hold_nothing_up_that_stands_still_or_is_going_to() {
    let few = |config: &mut LeaderConfig| {
        config.moves = MoveLimits { most: 1000, most_of_zone: 1, zone_per_minute: Some(1) };
    };
    for state in [None, Some(MemberState::Draining)] {
        let mut table = Table::new(few);
        table.zoned("a", 1, "z1");
        table.load();
        table.list(Ok(tasks(6)));
        table.run();
        match state {
            Some(state) => table.member("a", 1, state),
            None => table.gone("a"),
        }
        table.zoned("b", 2, "z1");
        table.run();
        if state.is_some() {
            table.ack("a", 1, table.generation(), &[], vec![]);
            table.run();
        }
        assert_eq!(table.holders(6), ["b"; 6], "{state:?}");
    }
}
