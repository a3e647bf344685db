//! The properties hold over thousands of seeds, and each rule is needed for that.
//!
//! `LRMF_SEEDS=1000000 cargo test --release -p lrmf-core sim::` runs more; `LRMF_SEED=17` runs one and shows it.

#![cfg(test)]

use std::time::Duration;

use crate::protocol::Rules;

use super::world::{Failure, Plan, World};

const FAULTY_FOR: Duration = Duration::from_secs(25);

fn plan(seed: u64, rules: Rules) -> Plan {
    Plan { seed, rules, faulty_for: FAULTY_FOR, traced: false }
}

fn run(plan: Plan) -> Result<u64, Failure> {
    World::new(plan).run(plan)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

fn report(seed: u64, rules: Rules) -> String {
    // The same run again, for its shortest form: faults that come after the violation do not matter.
    let traced = Plan { traced: true, ..plan(seed, rules) };
    match run(traced) {
        Ok(_) => format!("seed {seed} does not fail again: the simulation is not deterministic"),
        Err(failure) => {
            let from = failure.trace.len().saturating_sub(number("LRMF_TRACE").unwrap_or(60) as usize);
            let trace = failure.trace[from..].join("\n");
            format!("{trace}\nseed {seed} at {:?}: {}", failure.at, failure.violation)
        }
    }
}

#[test]
fn the_properties_hold_whatever_happens() {
    if let Some(seed) = number("LRMF_SEED") {
        assert!(run(plan(seed, Rules::ALL)).is_ok(), "{}", report(seed, Rules::ALL));
        return;
    }
    let seeds = number("LRMF_SEEDS").unwrap_or(20_000);
    let lanes = 2;
    let failed = std::thread::scope(|scope| {
        let lane = |lane: u64| {
            move || (lane..seeds).step_by(lanes).find(|seed| run(plan(*seed, Rules::ALL)).is_err())
        };
        let lanes: Vec<_> = (0..lanes as u64).map(|ix| scope.spawn(lane(ix))).collect();
        lanes.into_iter().filter_map(|lane| lane.join().unwrap()).min()
    });
    if let Some(seed) = failed {
        panic!("{}", report(seed, Rules::ALL));
    }
}

/// Looks for a seed in which this property breaks without a rule.
fn assert_needed(rules: Rules, what: &str, property: &str) {
    let broken = |seed| run(plan(seed, rules)).is_err_and(|failure| failure.violation.starts_with(property));
    assert!((0..4000).any(broken), "{property} holds without {what}");
}

macro_rules! teeth {
    ($($name:ident: $($rule:ident),+ => $property:literal;)*) => {$(
        #[test]
        fn $name() {
            assert_needed(Rules { $($rule: false,)+ ..Rules::ALL }, stringify!($($rule),+), $property);
        }
    )*};
}

teeth! {
    without_releasing_entries_it_breaks: releasing => "P1";
    without_incarnations_it_breaks: incarnation => "P6";
    without_waiting_for_acknowledgements_it_breaks: await_ack => "P1";
    without_the_list_in_acknowledgements_it_breaks: ack_lists_tasks => "P1";
    without_the_leader_guard_a_deposed_leader_writes: leader_guard => "R8";
    without_the_generation_guard_it_breaks: generation_guard => "P1";
    without_both_guards_it_breaks: leader_guard, generation_guard => "P1";
    without_the_generation_floor_it_breaks: floor => "P3";
    without_forward_only_application_it_breaks: forward_only => "P1";
    without_self_fencing_it_breaks: self_fencing => "P2";
    without_tokens_in_forced_releases_it_breaks: release_names_token => "P1";
}
