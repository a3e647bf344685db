//! The leader, case by case.

use std::sync::Arc;
use std::time::Duration;

use super::table::{Table, incarnation, name, tasks};
use super::*;
use crate::clock::Timestamp;
use crate::coordination::{Guard, Op, WatchBatch};
use crate::ids::{Generation, Token};
use crate::keys::{ChunkId, chunk_of};
use crate::records::{ChunkRecord, Entry, Failure, MemberState, Troubles, decode};
use crate::task::Task;

#[test]
fn a_young_group_gets_its_counter_first_and_everything_then() {
    let mut table = Table::new(|_| {});
    table.member("a", 1, MemberState::Active);
    table.load();
    table.list(Ok(tasks(3)));
    let counter = table.commits[0].clone();
    assert_eq!(counter.ops.len(), 1);
    assert!(counter.guards.contains(&Guard::Absent { key: table.keys.generation() }));
    // The counter, the grant, and who campaigns next.
    assert_eq!(table.run(), 3);
    assert_eq!(table.holders(3), ["a", "a", "a"]);
    assert!(table.generation() > 1000);
}

#[test]
fn a_move_waits_for_the_right_acknowledgement() {
    let mut table = Table::placed(&[("a", 1)], 2);
    table.member("b", 2, MemberState::Active);
    table.run();
    let marked = if table.entry("task-0").2.releasing.is_some() { "task-0" } else { "task-1" };
    let (_, _, entry) = table.entry(marked);
    let mark = entry.releasing.unwrap();
    assert_eq!(mark.0, table.generation());
    type Listed<'a> = &'a [(&'a str, u64)];
    let not_enough: [(u128, u64, Listed<'_>); 4] = [
        (1, mark.0 - 1, &[]),
        (3, mark.0, &[]),
        (1, mark.0, &[(marked, entry.token.0)]),
        // An earlier holding of the task still runs.
        (1, mark.0 + 1, &[(marked, entry.token.0 - 1)]),
    ];
    for (number, generation, releasing) in not_enough {
        table.ack("a", number, generation, releasing, vec![]);
        table.run();
        assert_eq!(table.entry(marked).0, "a");
    }
    table.ack("a", 1, mark.0, &[], vec![]);
    table.run();
    let (holder, of, granted) = table.entry(marked);
    assert_eq!((holder.as_str(), of), ("b", incarnation(2)));
    assert!(granted.releasing.is_none() && granted.token > entry.token);
}

#[test]
fn what_a_dead_member_held_is_granted_in_one_transaction() {
    let mut table = Table::placed(&[("a", 1), ("b", 2)], 4);
    let before = table.generation();
    table.gone("b");
    table.deliver();
    assert!(matches!(table.events.last(), Some(Event::MemberLost { .. })));
    let txn = table.commits[0].clone();
    let of_b =
        |op: &Op| matches!(op, Op::Delete { key } if key.starts_with(&table.keys.assignment(&name("b"))));
    assert_eq!(txn.ops.iter().filter(|op| of_b(op)).count(), 2);
    table.run();
    assert_eq!(table.holders(4), ["a", "a", "a", "a"]);
    assert_eq!(table.generation(), before + 1);
}

#[test]
fn a_new_session_inherits_with_new_tokens() {
    let mut table = Table::placed(&[("a", 1), ("b", 2)], 4);
    let before = table.holders(4);
    let tokens: Vec<_> = (0..4).map(|task| table.entry(&format!("task-{task}")).2.token).collect();
    table.member("b", 3, MemberState::Active);
    table.run();
    assert_eq!(table.holders(4), before);
    for (task, token) in tokens.iter().enumerate() {
        let (holder, of, entry) = table.entry(&format!("task-{task}"));
        let renewed = holder == "b";
        assert_eq!((of, entry.token > *token), (incarnation(if renewed { 3 } else { 1 }), renewed));
    }
}

#[test]
fn a_restarting_member_keeps_its_tasks_until_its_key_ends() {
    let mut table = Table::placed(&[("a", 1), ("b", 2)], 4);
    let before = table.holders(4);
    table.member("b", 2, MemberState::Restarting);
    assert_eq!((table.run(), table.holders(4)), (1, before), "only the list of candidates changes");
    table.gone("b");
    table.run();
    assert_eq!(table.holders(4), ["a"; 4]);
}

#[test]
fn a_draining_member_is_emptied_and_gets_nothing() {
    let mut table = Table::placed(&[("a", 1), ("b", 2)], 4);
    table.member("b", 2, MemberState::Draining);
    table.run();
    let mark = table.generation();
    table.ack("b", 2, mark, &[], vec![]);
    table.list(Ok(tasks(8)));
    table.run();
    assert_eq!(table.holders(8), ["a"; 8]);
}

#[test]
fn with_nobody_left_to_take_them_tasks_stay_marked_in_their_record() {
    let mut table = Table::placed(&[("a", 1)], 2);
    table.member("a", 1, MemberState::Draining);
    table.run();
    let mark = table.entry("task-0").2.releasing.unwrap();
    table.ack("a", 1, mark.0, &[], vec![]);
    assert_eq!(table.run(), 0);
    table.gone("a");
    table.run();
    assert_eq!(table.holders(2), ["a", "a"]);
    table.member("b", 2, MemberState::Active);
    table.run();
    assert_eq!(table.holders(2), ["b", "b"]);
}

#[test]
fn the_next_leader_goes_on_where_the_last_one_stopped() {
    let mut table = Table::placed(&[("a", 1)], 2);
    table.member("b", 2, MemberState::Active);
    table.run();
    let mark = table.generation();
    // What the next one sees is what is in the store.
    let record =
        LeaderRecord { instance: name("m"), incarnation: incarnation(8), ..table.leader.record.clone() };
    table.delete(table.keys.leader());
    table.put(table.keys.leader(), &record);
    table.run();
    assert!(table.stepped_down);
    let lease = crate::coordination::LeaseId(1);
    table.leader =
        Leader::new(table.leader.config.clone(), table.store.revision(), record, lease, table.now()).0;
    table.load();
    table.list(Ok(tasks(2)));
    table.run();
    assert_eq!(table.holders(2), ["a", "a"]);
    table.ack("a", 1, mark, &[], vec![]);
    table.run();
    let mut holders = table.holders(2);
    holders.sort();
    assert_eq!(holders, ["a", "b"]);
}

#[test]
fn a_refused_or_unknown_write_is_read_back() {
    for outcome in [Ok(TxnOutcome::Refused), Err(CoordinationError::Unknown("?".into()))] {
        let mut table = Table::placed(&[("a", 1)], 2);
        table.member("b", 2, MemberState::Active);
        table.deliver();
        assert_eq!(table.commits.len(), 1);
        table.commits.clear();
        let actions = table.leader.on_committed(table.now(), &outcome);
        table.take(actions);
        assert_eq!((table.reloads, table.commits.len()), (1, 0));
        // What is watched meanwhile is not built on.
        table.member("c", 3, MemberState::Active);
        table.deliver();
        assert_eq!(table.commits.len(), 0);
        table.later(Duration::from_secs(1));
        table.load();
        table.run();
        assert!(table.entry("task-0").2.releasing.is_some() || table.entry("task-1").2.releasing.is_some());
    }
}

#[test]
fn a_late_write_of_a_deposed_leader_is_refused() {
    let mut table = Table::placed(&[("a", 1)], 2);
    table.member("b", 2, MemberState::Active);
    table.deliver();
    let late = table.commits.pop().unwrap();
    table.delete(table.keys.leader());
    assert_eq!(table.store.commit(&late).unwrap(), TxnOutcome::Refused);
}

#[test]
fn large_changes_are_split_and_each_part_is_valid() {
    let mut table = Table::new(|config| config.limits = TxnLimits { ops: 4, bytes: 1 << 20 });
    table.member("a", 1, MemberState::Active);
    table.member("b", 2, MemberState::Active);
    table.load();
    table.list(Ok(tasks(40)));
    assert!(table.run() > 10);
    let holders = table.holders(40);
    assert_eq!(holders.iter().filter(|holder| *holder == "a").count(), 20);
}

#[test]
fn a_task_that_no_record_can_hold_is_refused_at_the_provider_and_the_last_list_stays() {
    let mut table = Table::new(|config| config.limits = TxnLimits { ops: 128, bytes: 8000 });
    table.member("a", 1, MemberState::Active);
    table.load();
    table.list(Ok(tasks(2)));
    table.run();
    let mut all = tasks(3);
    all.push(Task::new("big", "x".repeat(2000)));
    table.list(Ok(all));
    table.run();
    let refused =
        |event: &Event| matches!(event, Event::ProviderFailed { error } if error.contains("at most 2000"));
    assert!(table.events.iter().any(refused), "{:?}", table.events);
    assert_eq!(table.holders(2), ["a", "a"]);
}

#[test]
fn troubles_with_the_users_code_are_in_the_leaders_record_until_they_are_over() {
    let mut table = Table::placed(&[("a", 1)], 2);
    let troubles = |table: &Table| {
        let kv = table.store.get(&table.keys.leader()).unwrap();
        decode::<LeaderRecord>(&kv.key, &kv.value).unwrap().troubles
    };
    table.list(Err("the catalogue is down".to_owned()));
    table.run();
    let down = Troubles { provider: Some("the catalogue is down".to_owned()), assignor: None };
    assert_eq!(troubles(&table), down);
    // The same answer again is no news.
    table.list(Err("the catalogue is down".to_owned()));
    assert_eq!(table.run(), 0);
    table.list(Err("\u{e9}".repeat(5000)));
    table.run();
    assert_eq!(troubles(&table).provider, Some("\u{e9}".repeat(500)));

    let good = std::mem::replace(&mut table.assignor, Arc::new(Refuses));
    table.list(Ok(tasks(3)));
    table.run();
    let seen = troubles(&table);
    assert!(seen.provider.is_none() && seen.assignor.is_some_and(|error| error.contains("no plan today")));
    table.assignor = good;
    table.list(Ok(tasks(3)));
    table.run();
    assert_eq!((troubles(&table), table.holders(3).len()), (Troubles::default(), 3));
}

/// An assignor that makes no plan.
#[derive(Debug)]
struct Refuses;

impl crate::assignor::Assignor for Refuses {
    fn plan(
        &self,
        _: &crate::assignor::Problem<'_>,
    ) -> Result<Vec<crate::assignor::Placement>, crate::assignor::PlanError> {
        Err(crate::assignor::PlanError::Failed("no plan today".to_owned()))
    }

    fn name(&self) -> &'static str {
        "refuses"
    }
}

/// A record that an earlier version wrote may be larger than any write of this one.
#[test]
fn what_fits_into_no_write_is_reported_and_holds_nobody_up() {
    let mut table = Table::new(|config| config.limits = TxnLimits { ops: 128, bytes: 4000 });
    table.member("b", 2, MemberState::Active);
    let mut chunk = ChunkRecord::empty(incarnation(1));
    chunk.generation = Generation(1);
    let large: Vec<_> = (0..300).map(|task| Task::new(format!("large-{task:03}"), "")).collect();
    large.iter().for_each(|task| chunk.insert(Entry::held(task, Token(1))));
    table.put(table.keys.chunk(&name("a"), ChunkId::base(0)), &chunk);
    table.load();
    table.list(Ok(tasks(2).into_iter().chain(large).collect()));
    table.run();
    assert!(table.events.contains(&Event::Oversize { key: "large-000".into() }));
    assert_eq!(table.holders(2), ["b", "b"]);
}

#[test]
fn many_large_tasks_are_kept_in_chunks_of_the_size_aimed_at_and_go_elsewhere() {
    let limits = TxnLimits { ops: 40, bytes: 16 * 1024 };
    let large = |value: &str| {
        let tasks =
            (0..400).map(|task| Task::new(format!("task-{task}"), value.repeat(100 + 7 * (task % 40))));
        tasks.collect::<Vec<_>>()
    };
    let mut table = Table::new(|config| config.limits = limits);
    table.member("a", 1, MemberState::Active);
    table.load();
    table.list(Ok(large("v")));
    table.run();
    let within = |table: &Table| {
        let chunks = table.store.list(&table.keys.assignments()).entries;
        assert!(chunks.iter().all(|kv| kv.value.len() <= limits.bytes / 4), "a chunk is too large");
        assert!(table.commits.iter().all(|txn| txn.check(limits).is_ok()));
        chunks.len()
    };
    assert!(within(&table) > 30);
    assert_eq!(table.holders(400), vec!["a"; 400]);
    let tokens: Vec<_> = (0..400).map(|task| table.entry(&format!("task-{task}")).2.token).collect();
    // Another leader finds what this one wrote, and touches nothing.
    table.succeed();
    table.load();
    table.list(Ok(large("v")));
    assert_eq!(table.run(), 0);
    // A new session takes what the former one had, with new tokens; another member takes half of it.
    table.member("a", 2, MemberState::Active);
    table.member("b", 3, MemberState::Active);
    table.run();
    for _ in 0..9 {
        table.ack("a", 2, table.generation(), &[], vec![]);
        table.later(Duration::from_millis(50));
        table.run();
    }
    within(&table);
    let holders = table.holders(400);
    assert_eq!(holders.iter().filter(|holder| *holder == "b").count(), 200);
    for (task, before) in tokens.into_iter().enumerate() {
        let (_, _, entry) = table.entry(&format!("task-{task}"));
        assert!(entry.releasing.is_none() && entry.token > before);
    }
    assert_eq!(table.run(), 0, "it rests");
}

#[test]
fn a_write_that_the_store_finds_too_large_is_made_smaller() {
    let mut table = Table::new(|config| config.limits = TxnLimits { ops: 128, bytes: 1 << 20 });
    table.member("a", 1, MemberState::Active);
    table.load();
    let large = (0..400).map(|task| Task::new(format!("task-{task}"), "v".repeat(1000)));
    table.list(Ok(large.collect()));
    table.run_with(|txn| {
        if txn.bytes() > 100_000 { Err(CoordinationError::TooLarge("test".into())) } else { Ok(()) }
    });
    assert_eq!(table.holders(400), vec!["a"; 400]);
    assert!(table.events.iter().any(|event| matches!(event, Event::CommitFailed { .. })));
}

#[test]
fn handovers_that_are_due_wait_for_others_but_not_long() {
    let mut table = Table::placed(&[("a", 1), ("b", 2)], 6);
    table.member("c", 3, MemberState::Active);
    table.run();
    let mark = table.generation();
    table.ack("a", 1, mark, &[], vec![]);
    assert_eq!(table.run(), 0);
    table.later(Duration::from_millis(9));
    assert_eq!(table.run(), 0);
    let due = table.leader.next_wake(table.now()).unwrap();
    assert_eq!(due, Timestamp(Duration::from_millis(10)));
    table.later(Duration::from_millis(1));
    assert_eq!(table.run(), 1);
    table.ack("b", 2, mark, &[], vec![]);
    // The last one waits for nobody.
    assert_eq!(table.run(), 1);
    assert_eq!(table.holders(6).iter().filter(|holder| *holder == "c").count(), 2);
}

#[test]
fn those_with_the_highest_preference_campaign_when_the_leader_goes() {
    let mut table = Table::placed(&[("a", 1), ("l", 9)], 2);
    assert_eq!(table.leader.record.candidates, [name("a"), name("l")]);
    table.preferred("b", 2, 1);
    table.preferred("c", 3, 1);
    table.run();
    assert_eq!(table.leader.record.candidates, [name("b"), name("c")]);
    table.gone("b");
    table.gone("c");
    table.run();
    assert_eq!(table.leader.record.candidates, [name("a"), name("l")]);
}

#[test]
fn a_start_up_is_gathered_before_anything_is_placed() {
    let mut table = Table::new(|config| config.settle = Duration::from_millis(100));
    table.member("a", 1, MemberState::Active);
    table.load();
    table.list(Ok(tasks(6)));
    for number in 2..6 {
        table.later(Duration::from_millis(60));
        table.member(&format!("m{number}"), number, MemberState::Active);
        assert_eq!(table.run(), 0);
    }
    table.later(Duration::from_millis(99));
    assert_eq!(table.run(), 0);
    table.later(Duration::from_millis(1));
    assert!(table.run() > 0);
    let mut holders = table.holders(6);
    holders.sort();
    holders.dedup();
    assert_eq!(holders.len(), 5);
    assert!((0..6).all(|task| table.entry(&format!("task-{task}")).2.releasing.is_none()));
}

#[test]
fn a_task_that_fails_is_tried_elsewhere_and_later_again() {
    let mut table = Table::placed(&[("a", 1), ("b", 2)], 2);
    let (holder, _, entry) = table.entry("task-0");
    let (other, number) = if holder == "a" { ("b", 1) } else { ("a", 2) };
    let failure = |token| vec![Failure { key: "task-0".into(), token, error: "no".into() }];
    table.ack(&holder, number, table.generation(), &[], failure(entry.token));
    table.run();
    let mark = table.entry("task-0").2.releasing.unwrap();
    table.ack(&holder, number, mark.0, &[], vec![]);
    table.run();
    let (now_at, _, again) = table.entry("task-0");
    assert_eq!(now_at, other);
    // There too: the next try has to wait.
    table.ack(other, 3 - number, again.token.0, &[], failure(again.token));
    table.run();
    assert_eq!(table.entry("task-0").2, again);
    table.later(Duration::from_secs(61));
    table.run();
    assert_ne!(table.entry("task-0").2, again);
}

/// Fails a task where it is, and hands it over. Says who has it then.
fn fail(table: &mut Table, key: &str, numbers: &[(&str, u128)]) -> String {
    let (holder, _, entry) = table.entry(key);
    let number = numbers.iter().find(|(member, _)| *member == holder).unwrap().1;
    let failure = vec![Failure { key: key.into(), token: entry.token, error: "declined".into() }];
    table.ack(&holder, number, table.generation(), &[], failure);
    table.run();
    if let Some(mark) = table.entry(key).2.releasing {
        table.ack(&holder, number, mark.0, &[], vec![]);
        table.run();
        // It waits for companions.
        table.later(Duration::from_millis(50));
        table.run();
    }
    table.entry(key).0
}

#[test]
fn what_failed_does_not_go_back_for_the_sake_of_balance_while_that_is_remembered() {
    let members = [("a", 1), ("b", 2)];
    let mut table = Table::placed(&members, 8);
    let all: Vec<_> = (0..8).map(|ix| format!("task-{ix}")).collect();
    // Everything fails at a, what comes there later too.
    for _ in 0..3 {
        for task in &all {
            let (holder, _, entry) = table.entry(task);
            if let Some(mark) = entry.releasing {
                table.ack(&holder, if holder == "a" { 1 } else { 2 }, mark.0, &[], vec![]);
                table.later(Duration::from_millis(50));
                table.run();
            }
            if table.entry(task).0 == "a" {
                assert_eq!(fail(&mut table, task, &members), "b");
            }
        }
    }
    for wait in [0, 60, 59] {
        table.later(Duration::from_secs(wait));
        table.run();
        let rests = |task: &String| {
            let (holder, _, entry) = table.entry(task);
            holder == "b" && entry.releasing.is_none()
        };
        assert!(all.iter().all(rests));
        // Something that makes the leader plan again.
        table.labelled("b", 2, &format!("{wait}"));
    }
}

#[test]
fn what_failed_is_tried_first_where_things_are_different() {
    let mut table = Table::new(|_| {});
    let names = ["a", "b", "c", "d", "e"];
    let members: Vec<_> = names.iter().copied().zip(1..).collect();
    for (member, number) in &members {
        table.labelled(member, *number, if *member == "d" { "everything" } else { "little" });
    }
    table.load();
    table.list(Ok(tasks(10)));
    table.run();
    for task in (0..10).map(|ix| format!("task-{ix}")) {
        if table.entry(&task).0 != "d" {
            assert_eq!(fail(&mut table, &task, &members), "d");
        }
    }
}

#[test]
fn a_bad_plan_changes_nothing() {
    #[derive(Debug)]
    struct Bad;
    impl crate::assignor::Assignor for Bad {
        fn plan(
            &self,
            problem: &crate::assignor::Problem<'_>,
        ) -> Result<Vec<crate::assignor::Placement>, crate::assignor::PlanError> {
            Ok(problem.tasks.iter().map(|_| crate::assignor::Placement { task: 0, to: 7 }).collect())
        }
        fn name(&self) -> &'static str {
            "bad"
        }
    }
    let mut table = Table::placed(&[("a", 1)], 2);
    table.assignor = Arc::new(Bad);
    table.member("b", 2, MemberState::Active);
    table.run();
    assert!(matches!(table.events.last(), Some(Event::PlanRefused { .. })));
    assert_eq!(table.holders(2), ["a", "a"]);
}

#[test]
fn a_record_of_a_newer_format_ends_the_leadership() {
    let mut table = Table::placed(&[("a", 1)], 2);
    let value = bytes::Bytes::from_static(br#"{"format":99,"all":"different"}"#);
    let op = Op::Put { key: table.keys.session(&name("z")), value, lease: None };
    table.store.commit(&Txn { guards: vec![], ops: vec![op] }).unwrap();
    table.run();
    assert!(table.stepped_down);
    assert!(matches!(table.events.last(), Some(Event::Unreadable { .. })));
}

#[test]
fn a_lost_counter_never_lets_tokens_fall() {
    let mut table = Table::placed(&[("a", 1)], 2);
    let token = table.entry("task-0").2.token;
    table.delete(table.keys.generation());
    table.gone("a");
    table.member("b", 2, MemberState::Active);
    table.run();
    assert!(table.entry("task-0").2.token > token);
}

#[test]
fn tasks_that_no_longer_exist_leave_the_records() {
    let mut table = Table::placed(&[("a", 1)], 3);
    table.list(Ok(tasks(1)));
    table.run();
    table.ack("a", 1, table.generation(), &[], vec![]);
    table.run();
    let chunk = |task: &str| table.keys.chunk(&name("a"), chunk_of(task));
    assert!(table.store.get(&chunk("task-0")).is_some());
    assert!(table.store.get(&chunk("task-1")).is_none() && table.store.get(&chunk("task-2")).is_none());
}

#[test]
fn a_provider_that_never_answered_leaves_the_tasks_in_the_records() {
    let mut table = Table::placed(&[("a", 1)], 2);
    let record = table.leader.record.clone();
    let (created, lease) = (table.leader.created, table.leader.lease);
    table.leader = Leader::new(table.leader.config.clone(), created, record, lease, table.now()).0;
    table.gone("a");
    table.member("b", 2, MemberState::Active);
    table.load();
    table.list(Err("down".into()));
    table.run();
    assert_eq!(table.holders(2), ["b", "b"]);
}

#[test]
fn own_writes_that_the_feed_repeats_change_nothing() {
    let mut table = Table::placed(&[("a", 1)], 2);
    let stale = table.store.list(&table.keys.assignments());
    table.gone("a");
    table.member("b", 2, MemberState::Active);
    table.run();
    let events = stale.entries.into_iter().map(crate::coordination::WatchEvent::Put).collect();
    let batch = WatchBatch { revision: stale.revision, events };
    let actions = table.leader.on_feed(table.now(), &FeedItem::Changed(batch));
    assert_eq!(actions, []);
    assert_eq!(table.leader.view.entries().count(), 2);
}

#[test]
fn members_over_the_limit_wait_until_one_before_them_leaves() {
    let mut table = Table::placed(&[("b", 1), ("c", 2)], 4);
    table.most_members(2);
    table.member("a", 3, MemberState::Active);
    assert!(table.run() < 2, "at most the list of candidates changes");
    assert!(table.events.contains(&Event::GroupFull { members: 3, most: 2 }));
    assert!(table.holders(4).iter().all(|holder| holder != "a"));
    // Who comes back keeps the place; who comes after the one that waits does not get it.
    table.member("b", 4, MemberState::Active);
    table.member("z", 5, MemberState::Active);
    table.run();
    assert!(table.holders(4).iter().all(|holder| holder == "b" || holder == "c"));
    table.gone("c");
    table.run();
    let holders = table.holders(4);
    assert!(holders.contains(&"a".to_owned()) && !holders.contains(&"z".to_owned()));
}
