//! The scenarios of every test run, and the need for each rule.
//!
//! `LRMF_DEPTH=3 cargo test --release -p lrmf-core model:: -- --nocapture` goes deeper: that many faults, of all kinds
//! together, which takes hours from three on.

#![cfg(test)]

use crate::config::GroupMode;
use crate::keys::chunk_of;
use crate::protocol::Rules;

use super::event::Fault::{
    Again, Close, Contact, Crash, Depose, End, Forget, HoldCall, HoldFeed, HoldStop, Lose, Partly, Restart,
    Silent, Slow, Twice, Twin, Unwatch,
};
use super::event::{Fault, Order, Scenario};
use super::search::{Found, explore};

const ALL: &[Fault] = &[
    Crash, End, Lose, Depose, Slow, Twice, Forget, Again, Unwatch, Partly, Twin, Close, Restart, HoldCall,
    HoldFeed, HoldStop, Contact, Silent,
];

/// Tasks whose entries are in chunks of their own, and tasks that share one.
const APART: [&str; 2] = ["x", "y"];
const TOGETHER: [&str; 2] = ["x", "x139"];

fn scenario(order: Order, faults: &'static [Fault], budget: u8) -> Scenario {
    Scenario { mode: GroupMode::Exclusive, order, tasks: APART, faults, budget, rules: Rules::ALL }
}

fn holds(scenario: Scenario) {
    let Scenario { mode, order, tasks, faults, budget, .. } = scenario;
    match explore(scenario) {
        Ok(count) => println!("{mode:?}, {order:?} order, {tasks:?}, {budget} of {faults:?}: {count:?}"),
        Err(Found { violation, events }) => {
            let events: Vec<String> = events.iter().map(|event| format!("{event:?}")).collect();
            panic!(
                "{}\n{violation} ({mode:?}, {order:?} order, {tasks:?}, {budget} of {faults:?})",
                events.join("\n")
            );
        }
    }
}

#[test]
fn a_join_holds_in_every_order() {
    assert_eq!(TOGETHER.map(chunk_of), [chunk_of("x"); 2]);
    assert_ne!(chunk_of(APART[0]), chunk_of(APART[1]));
    for tasks in [APART, TOGETHER] {
        holds(Scenario { tasks, ..scenario(Order::Any, &[], 0) });
    }
}

#[test]
fn whatever_happens_once() {
    let budget = std::env::var("LRMF_DEPTH").map_or(1, |depth| depth.parse().unwrap());
    for tasks in [APART, TOGETHER] {
        holds(Scenario { tasks, ..scenario(Order::Plain, ALL, budget) });
    }
}

fn available(scenario: Scenario) -> Scenario {
    Scenario { mode: GroupMode::Available, ..scenario }
}

#[test]
fn a_join_in_mode_available_holds_in_every_order() {
    holds(available(scenario(Order::Any, &[], 0)));
}

#[test]
fn whatever_happens_once_in_mode_available() {
    let budget = std::env::var("LRMF_DEPTH").map_or(1, |depth| depth.parse().unwrap());
    holds(available(scenario(Order::Plain, ALL, budget)));
}

/// Each member, once.
#[test]
fn contacts_that_are_lost_twice() {
    holds(available(scenario(Order::Plain, &[Contact, Silent], 2)));
}

#[test]
fn silent_members_and_lost_calls() {
    holds(available(scenario(Order::Plain, &[Silent, Lose], 2)));
}

/// A leader that takes tasks from members that it hears of is found out, and so is one that waits for those it does not.
#[test]
fn without_looking_at_contacts_mode_available_breaks() {
    for (rules, property) in
        [(Rules { contact: false, ..Rules::ALL }, "P1"), (Rules { silence: false, ..Rules::ALL }, "P6")]
    {
        let scenario = Scenario { rules, ..available(scenario(Order::Plain, &[Silent, HoldStop], 1)) };
        let found = explore(scenario).map(|count| format!("{count:?}")).unwrap_err();
        assert!(found.violation.starts_with(property), "{}", found.violation);
    }
}

macro_rules! twice {
    ($($name:ident: $($fault:ident)+;)*) => {$(
        #[test]
        fn $name() {
            holds(scenario(Order::Plain, &[$($fault),+], 2));
        }
    )*};
}

twice! {
    crashes_restarts_and_lost_calls: Crash Lose;
    ended_sessions_and_deposed_leaders: End Depose Lose;
    calls_that_are_late_lost_and_repeated: Lose Slow Twice HoldCall Depose;
    watches_that_lag_and_repeat: HoldFeed Again Unwatch Partly End;
    slow_stops_and_new_leaders: HoldStop HoldFeed Depose Forget;
    graceful_ends: Close Restart HoldStop;
    two_processes_with_one_name: Twin End;
}

/// Looks for a state in which this property breaks without a rule.
fn assert_needed(rules: Rules, what: &str, faults: &'static [Fault], property: &str) {
    for tasks in [APART, TOGETHER] {
        for budget in 0..=2 {
            let scenario = Scenario { rules, tasks, ..scenario(Order::Plain, faults, budget) };
            match explore(scenario) {
                Err(found) if found.violation.starts_with(property) => return,
                Err(found) => println!("{tasks:?}, {budget} of {faults:?}: {}", found.violation),
                Ok(count) => println!("{tasks:?}, {budget} of {faults:?}: {count:?}"),
            }
        }
    }
    panic!("{property} holds without {what}");
}

macro_rules! teeth {
    ($($name:ident: $($rule:ident)+ => $property:literal with $($fault:ident)*;)*) => {$(
        #[test]
        fn $name() {
            let rules = Rules { $($rule: false,)+ ..Rules::ALL };
            assert_needed(rules, stringify!($($rule),+), &[$($fault),*], $property);
        }
    )*};
}

teeth! {
    without_releasing_entries: releasing => "P6" with HoldStop;
    without_incarnations: incarnation => "P" with Crash;
    without_waiting_for_acknowledgements: await_ack => "P1" with HoldStop;
    without_the_list_in_acknowledgements: ack_lists_tasks => "P1" with HoldStop;
    without_the_leader_guard: leader_guard => "R8" with Depose Lose;
    without_the_generation_guard: generation_guard => "P" with Twice Lose;
    without_both_guards: leader_guard generation_guard => "R8" with Depose Lose;
    without_the_generation_floor: floor => "P3" with Forget Crash;
    without_forward_only_application: forward_only => "P1" with Again;
}
