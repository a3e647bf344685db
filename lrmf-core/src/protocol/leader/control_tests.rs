//! The wishes of operators, case by case.

use std::time::Duration;

use super::table::{Table, incarnation, name, tasks};
use super::*;
use crate::control::{DrainRecord, FreezeRecord, Origin, PinRecord, ReleaseRecord};
use crate::coordination::Op;
use crate::ids::Token;
use crate::keys::Control;
use crate::records::{Failure, Format, MemberState};

const TWO: [(&str, u128); 2] = [("a", 1), ("b", 2)];

impl Table {
    fn drain(&mut self, member: &str) {
        let key = self.keys.control(&Control::Drain(name(member)));
        self.put(key, &DrainRecord { format: Format, origin: Origin::default() });
    }

    fn pin(&mut self, task: &str, member: &str) {
        let key = self.keys.control(&Control::Pin(task.into()));
        self.put(key, &PinRecord { format: Format, member: name(member), origin: Origin::default() });
    }

    fn freeze(&mut self) {
        let key = self.keys.control(&Control::Freeze);
        self.put(key, &FreezeRecord { format: Format, origin: Origin::default() });
    }

    fn release(&mut self, task: &str, member: &str, number: u128, token: Token) {
        let key = self.keys.control(&Control::Release(task.into()));
        let (member, incarnation) = (name(member), incarnation(number));
        let record = ReleaseRecord { format: Format, member, incarnation, token, origin: Origin::default() };
        self.put(key, &record);
    }

    fn lift(&mut self, control: &Control) {
        self.delete(self.keys.control(control));
    }

    /// Lets these members acknowledge whatever they are asked for, until nothing is left to do.
    fn settle(&mut self, members: &[(&str, u128)]) {
        loop {
            let before = self.run();
            for (name, number) in members {
                self.ack(name, *number, self.generation(), &[], vec![]);
            }
            self.later(Duration::from_millis(10));
            if before + self.run() == 0 {
                return;
            }
        }
    }

    fn held_by(&self, member: &str, count: usize) -> usize {
        self.holders(count).iter().filter(|holder| *holder == member).count()
    }

    fn is_marked(&self, task: &str) -> bool {
        self.entry(task).2.releasing.is_some()
    }
}

fn failure(task: &str, token: Token) -> Vec<Failure> {
    vec![Failure { key: task.into(), token, error: "no".into() }]
}

#[test]
fn a_drained_member_loses_its_tasks_one_by_one_and_gets_none_until_it_is_undrained() {
    let mut table = Table::placed(&TWO, 6);
    table.leader.config.moves.most = 1;
    table.drain("b");
    table.run();
    assert_eq!((0..6).filter(|task| table.is_marked(&format!("task-{task}"))).count(), 1);
    table.settle(&TWO);
    assert_eq!(table.held_by("a", 6), 6);
    table.list(Ok(tasks(8)));
    table.settle(&TWO);
    assert_eq!(table.held_by("a", 8), 8);
    table.lift(&Control::Drain(name("b")));
    table.settle(&TWO);
    assert_eq!(table.held_by("a", 8), 4);
}

#[test]
fn a_drained_member_that_restarts_is_not_waited_for() {
    let mut table = Table::placed(&TWO, 4);
    table.drain("b");
    table.member("b", 2, MemberState::Restarting);
    table.settle(&TWO[..1]);
    assert_eq!(table.held_by("a", 4), 4);
}

#[test]
fn a_pinned_task_goes_to_its_member_and_comes_back_to_it() {
    let mut table = Table::placed(&TWO, 4);
    let of_a = (0..4).map(|task| format!("task-{task}")).find(|task| table.entry(task).0 == "a").unwrap();
    table.pin(&of_a, "b");
    table.settle(&TWO);
    assert_eq!(table.entry(&of_a).0, "b");
    assert_eq!(table.held_by("a", 4).abs_diff(table.held_by("b", 4) - 1), 1, "the others are balanced");
    // Away: with the other one; and back.
    table.gone("b");
    table.settle(&TWO[..1]);
    assert_eq!(table.entry(&of_a).0, "a");
    let again = [("a", 1), ("b", 3)];
    table.member("b", 3, MemberState::Active);
    table.settle(&again);
    assert_eq!(table.entry(&of_a).0, "b");
    // A pin to nobody is no pin.
    table.pin(&of_a, "z");
    table.settle(&again);
    table.drain("b");
    table.settle(&again);
    assert_eq!(table.entry(&of_a).0, "a");
}

#[test]
fn a_pinned_task_that_fails_is_tried_again_where_it_is_pinned() {
    let mut table = Table::placed(&TWO, 1);
    let (holder, _, entry) = table.entry("task-0");
    let number = if holder == "a" { 1 } else { 2 };
    table.pin("task-0", &holder);
    table.ack(&holder, number, table.generation(), &[], failure("task-0", entry.token));
    table.run();
    let (at, _, again) = table.entry("task-0");
    assert!(at == holder && again.token > entry.token);
    // The next time it has to wait.
    table.ack(&holder, number, table.generation(), &[], failure("task-0", again.token));
    table.run();
    assert_eq!(table.entry("task-0").2, again);
    table.later(Duration::from_secs(61));
    table.run();
    assert!(table.entry("task-0").2.token > again.token);
}

#[test]
fn a_frozen_group_moves_nothing_that_runs_and_places_what_does_not() {
    let mut table = Table::placed(&TWO, 6);
    let before = table.holders(6);
    table.freeze();
    table.member("c", 3, MemberState::Active);
    table.drain("a");
    let other = if before[0] == "a" { "b" } else { "a" };
    table.pin("task-0", other);
    table.settle(&TWO);
    assert_eq!(table.holders(6), before);
    // A new task, and what a dead member held; nothing for the drained one.
    table.list(Ok(tasks(7)));
    table.gone("b");
    table.settle(&TWO[..1]);
    for (task, holder) in before.iter().enumerate() {
        let now = table.entry(&format!("task-{task}")).0;
        assert_eq!(now, if holder == "b" { "c" } else { "a" });
    }
    assert_eq!(table.entry("task-6").0, "c");
    table.lift(&Control::Freeze);
    table.settle(&[("a", 1), ("c", 3)]);
    assert_eq!(table.holders(7), ["c"; 7]);
}

#[test]
fn a_member_that_leaves_hands_over_in_a_frozen_group_too() {
    let mut table = Table::placed(&TWO, 4);
    table.freeze();
    table.member("b", 2, MemberState::Draining);
    table.settle(&TWO);
    assert_eq!(table.held_by("a", 4), 4);
}

/// A task that `a` is asked for and does not give back.
fn stuck() -> (Table, &'static str, Token) {
    let mut table = Table::placed(&TWO[..1], 2);
    table.member("b", 2, MemberState::Active);
    table.run();
    let task = if table.is_marked("task-0") { "task-0" } else { "task-1" };
    let token = table.entry(task).2.token;
    table.ack("a", 1, table.generation(), &[(task, token.0)], vec![]);
    table.later(Duration::from_secs(1));
    assert_eq!((table.run(), table.entry(task).0.as_str()), (0, "a"));
    (table, task, token)
}

#[test]
fn what_is_released_by_force_goes_elsewhere_with_a_higher_token() {
    let (mut table, task, token) = stuck();
    table.release(task, "a", 1, token);
    table.run();
    let (holder, _, entry) = table.entry(task);
    assert!(holder == "b" && entry.token > token);
}

#[test]
fn a_forced_release_is_about_one_holding_and_no_later_one() {
    let (mut table, task, token) = stuck();
    table.release(task, "a", 1, token);
    table.settle(&TWO[1..]);
    // The same again, of another token, and of another session: nothing.
    let after = table.entry(task);
    for (member, number, token) in [("a", 1, token), ("b", 2, token), ("b", 1, after.2.token)] {
        table.release(task, member, number, token);
        table.settle(&TWO[1..]);
        assert_eq!(table.entry(task), after);
    }
}

#[test]
fn what_runs_without_being_asked_for_can_be_released_too() {
    let mut table = Table::placed(&TWO, 4);
    let (holder, of, entry) = table.entry("task-0");
    let (other, number) = if holder == "a" { ("b", 1) } else { ("a", 2) };
    assert_eq!(of, incarnation(number));
    table.release("task-0", &holder, number, entry.token);
    table.settle(&TWO);
    assert_eq!(table.entry("task-0").0, other);
    // It does not go back to that session while there is another member, and does when there is none.
    table.pin("task-0", &holder);
    table.settle(&TWO);
    assert_eq!(table.entry("task-0").0, other);
    table.gone(other);
    table.settle(&[(&holder, number)]);
    assert_eq!(table.entry("task-0").0, holder);
}

/// With nobody else to go to, what was released by force begins anew where it was.
#[test]
fn what_is_released_by_force_from_the_only_member_is_a_new_holding_there() {
    let mut table = Table::placed(&TWO[..1], 3);
    let (holder, of, before) = table.entry("task-0");
    let others = ["task-1", "task-2"].map(|task| table.entry(task));
    table.release("task-0", "a", 1, before.token);
    table.settle(&TWO[..1]);
    let (after_holder, after_of, after) = table.entry("task-0");
    assert_eq!((&after_holder, after_of), (&holder, of));
    assert!(after.token > before.token && after.releasing.is_none());
    // Once, and no other task.
    table.settle(&TWO[..1]);
    assert_eq!(table.entry("task-0").2, after);
    assert_eq!(["task-1", "task-2"].map(|task| table.entry(task)), others);
}

#[test]
fn forced_releases_go_when_their_session_has_ended() {
    let (mut table, task, token) = stuck();
    let key = table.keys.control(&Control::Release(task.into()));
    table.release(task, "a", 1, token);
    table.settle(&TWO[1..]);
    assert!(table.store.get(&key).is_some());
    table.gone("a");
    table.settle(&TWO[1..]);
    assert!(table.store.get(&key).is_none());
}

#[test]
fn a_control_record_of_a_newer_format_has_no_effect_and_is_reported() {
    let mut table = Table::placed(&TWO, 4);
    let before = table.holders(4);
    let records = [Control::Drain(name("a")), Control::Freeze, Control::Pin("task-0".into())];
    for control in records {
        let value = bytes::Bytes::from_static(br#"{"format":99,"all":"different"}"#);
        let op = Op::Put { key: table.keys.control(&control), value, lease: None };
        table.store.commit(&Txn { guards: vec![], ops: vec![op] }).unwrap();
        table.settle(&TWO);
        let refused = table.events.last().unwrap();
        assert!(
            matches!(refused, Event::ControlRefused { error } if error.contains("format 99")),
            "{refused:?}"
        );
    }
    assert!(!table.stepped_down);
    assert_eq!(table.holders(4), before);
    table.member("c", 3, MemberState::Active);
    table.settle(&[("a", 1), ("b", 2), ("c", 3)]);
    assert_eq!(table.held_by("c", 4), 1);
}

/// Found by the simulation: the mark stayed, and the task was nobody's.
#[test]
fn an_own_write_that_arrives_after_its_goal_was_given_up_is_made_good() {
    let mut table = Table::placed(&TWO[..1], 2);
    table.member("b", 2, MemberState::Active);
    table.deliver();
    let mark = table.commits.pop().unwrap();
    let actions = table.leader.on_committed(table.now(), &Err(CoordinationError::Unknown("?".into())));
    table.take(actions);
    table.freeze();
    table.load();
    table.later(Duration::from_secs(1));
    assert_eq!(table.run(), 1, "who campaigns next");
    table.store.commit(&mark).unwrap();
    table.settle(&TWO);
    assert!((0..2).all(|task| !table.is_marked(&format!("task-{task}"))));
}

#[test]
fn every_grant_says_why() {
    use crate::records::Cause;
    let mut table = Table::placed(&TWO, 6);
    let cause = |table: &Table, task: &str| table.entry(task).2.cause;
    let of_a: Vec<String> = (0..6).map(|task| format!("task-{task}")).collect();
    let of_a: Vec<String> = of_a.into_iter().filter(|task| table.entry(task).0 == "a").collect();
    assert_eq!(cause(&table, &of_a[0]), Cause::New);
    table.pin(&of_a[0], "b");
    let token = table.entry(&of_a[1]).2.token;
    table.release(&of_a[1], "a", 1, token);
    table.settle(&TWO);
    assert_eq!(cause(&table, &of_a[0]), Cause::Pinned);
    assert_eq!(cause(&table, &of_a[1]), Cause::Forced);
    table.member("c", 3, MemberState::Active);
    table.settle(&[("a", 1), ("b", 2), ("c", 3)]);
    let of_c =
        |table: &Table| (0..6).map(|task| format!("task-{task}")).find(|t| table.entry(t).0 == "c").unwrap();
    assert_eq!(cause(&table, &of_c(&table)), Cause::Planned);
    table.member("a", 4, MemberState::Active);
    table.settle(&[("a", 4), ("b", 2), ("c", 3)]);
    let of_a = (0..6).map(|task| format!("task-{task}")).find(|task| table.entry(task).0 == "a").unwrap();
    assert_eq!(cause(&table, &of_a), Cause::Renewed);
    let moved = of_c(&table);
    table.drain("c");
    table.settle(&[("a", 4), ("b", 2), ("c", 3)]);
    assert_eq!(cause(&table, &moved), Cause::Left);
    table.gone("b");
    table.settle(&[("a", 4)]);
    assert_eq!(cause(&table, &of_a), Cause::Renewed);
    assert_eq!(table.held_by("a", 6), 6);
    assert!((0..6).any(|task| cause(&table, &format!("task-{task}")) == Cause::Lost));
}

#[test]
fn a_member_that_leaves_is_asked_for_what_was_released_by_force_too() {
    let mut table = Table::placed(&TWO[..1], 1);
    let token = table.entry("task-0").2.token;
    table.release("task-0", "a", 1, token);
    table.member("a", 1, MemberState::Draining);
    table.settle(&TWO[..1]);
    assert!(table.is_marked("task-0"));
}
