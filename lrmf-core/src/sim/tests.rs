//! The properties hold over thousands of seeds, and each rule is needed for that.
//!
//! `LRMF_SEEDS=1000000 cargo test --release -p lrmf-core sim::` runs more; `LRMF_SEED=17` runs one and shows the shortest
//! run that comes of it.

#![cfg(test)]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::assignor::{Assignor, Placement, PlanError, Problem, ReplicaBalanced, StickyBalanced};
use crate::config::GroupMode;
use crate::coordination::{KeyValue, Op, Txn};
use crate::keys::Kind;
use crate::protocol::{Call, Rules};

use super::shrink::shrink;
use super::simulate;
use super::world::{Failure, Plan, World};

const FAULTY_FOR: Duration = Duration::from_secs(25);

fn plan(seed: u64, rules: Rules) -> Plan {
    Plan {
        seed,
        rules,
        assignor: Arc::new(StickyBalanced),
        mode: GroupMode::Exclusive,
        restores: false,
        exclusive: true,
        faulty_for: FAULTY_FOR,
        only: None,
        small: false,
        traced: false,
        driven: false,
        replicas: None,
    }
}

/// The same for the drivers.
fn driven(seed: u64, rules: Rules) -> Plan {
    Plan { driven: true, ..plan(seed, rules) }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

fn report(plan: Plan) -> String {
    let seed = plan.seed;
    let Some(shrunk) = shrink(plan) else {
        return format!("seed {seed} does not fail again: the simulation is not deterministic");
    };
    let Err(failure) = simulate(&Plan { traced: true, ..shrunk.plan }) else {
        return format!("seed {seed} does not fail again once shrunk: the simulation is not deterministic");
    };
    let from = failure.trace.len().saturating_sub(number("LRMF_TRACE").unwrap_or(300) as usize);
    let trace = failure.trace[from..].join("\n");
    let (all, left) = (shrunk.misfortunes, shrunk.left);
    format!(
        "{trace}\nseed {seed}, with {left} of its {all} misfortunes, at {:?}: {}",
        failure.at, failure.violation
    )
}

/// Goes through the seeds that are named, or the first ones.
fn all_hold(seeds: u64, plan: impl Fn(u64) -> Plan + Sync) {
    let fails = |seed: &u64| simulate(&plan(*seed)).is_err();
    let lanes = 2;
    let failed = match number("LRMF_SEED") {
        Some(seed) => Some(seed).filter(fails),
        None => std::thread::scope(|scope| {
            let lane = |lane: u64| move || (lane..seeds).step_by(lanes).find(fails);
            let lanes: Vec<_> = (0..lanes as u64).map(|ix| scope.spawn(lane(ix))).collect();
            lanes.into_iter().filter_map(|lane| lane.join().unwrap()).min()
        }),
    };
    if let Some(seed) = failed {
        panic!("{}", report(plan(seed)));
    }
}

/// The run of a seed in the job: every kind of it now and then. One in a hundred runs with drivers, which take that much
/// longer.
fn any_kind(seed: u64) -> Plan {
    let plan = Plan { restores: seed % 7 == 6, ..plan(seed, Rules::ALL) };
    if seed % 100 == 99 {
        return Plan { driven: true, ..plan };
    }
    let plan = if seed % 5 == 4 { available(plan) } else { plan };
    if seed % 11 == 10 { replicated(plan) } else { plan }
}

/// A job, not a test: `.ci/simulate 1000000` runs it, and prints what it has found. `LRMF_SEED=17` shows the shortest run
/// that comes of one of its seeds.
#[test]
#[ignore = "a job of an hour: .ci/simulate"]
fn as_many_seeds_as_wanted() {
    if let Some(seed) = number("LRMF_SEED") {
        return all_hold(1, |_| any_kind(seed));
    }
    let (seeds, lanes) = (number("LRMF_SEEDS").unwrap_or(1_000_000), 2);
    let begun = std::time::Instant::now();
    let lane = |lane: u64| {
        move || {
            let (mut states, mut steps, mut failed) = (HashSet::new(), 0, Vec::new());
            for seed in (lane..seeds).step_by(lanes) {
                let plan = any_kind(seed);
                let outcome = match plan.driven {
                    true => simulate(&plan),
                    false => World::new(&plan).run_counted(&plan, &mut states),
                };
                match outcome {
                    Ok(taken) => steps += taken,
                    Err(failure) => {
                        eprintln!("seed {seed}: {}", failure.violation);
                        failed.push((seed, failure.violation));
                    }
                }
                if lane == 0 && seed % (seeds / 50).next_multiple_of(lanes as u64).max(1) == 0 {
                    eprintln!("{seed} of {seeds} seeds");
                }
            }
            (states, steps, failed)
        }
    };
    let found: Vec<_> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes as u64).map(|ix| scope.spawn(lane(ix))).collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).collect()
    });
    let (mut states, mut steps, mut failed) = (HashSet::new(), 0, Vec::new());
    for (of_lane, taken, violations) in found {
        states.extend(of_lane);
        steps += taken;
        failed.extend(violations);
    }
    let per_second = seeds as f64 / begun.elapsed().as_secs_f64();
    println!(
        "{seeds} seeds, {per_second:.0} a second, {steps} steps, {} distinct states, {} violations",
        states.len(),
        failed.len()
    );
    failed.iter().for_each(|(seed, violation)| println!("seed {seed}: {violation}"));
    assert!(failed.is_empty());
}

#[test]
fn the_properties_hold_whatever_happens() {
    all_hold(number("LRMF_SEEDS").unwrap_or(20_000), |seed| plan(seed, Rules::ALL));
}

/// Seeds in which the job has found what no run before had.
#[test]
fn what_the_job_once_found_stays_mended() {
    let found = [
        31_899, 38_099, 52_436, 102_955, 125_999, 170_799, 202_495, 220_481, 242_999, 253_637, 339_558,
        529_208, 615_643, 761_836, 791_746, 817_060, 875_522, 893_474, 937_776, 946_690,
    ];
    for seed in found {
        if simulate(&any_kind(seed)).is_err() {
            panic!("{}", report(any_kind(seed)));
        }
    }
}

/// Sessions that had ended may live again in a restored copy, so P1 and P2 are not asked for until they have ended once more.
/// P3 is: tokens rise over it, for workers that know the highest.
#[test]
fn the_properties_hold_over_restored_copies_of_the_store() {
    let seeds = number("LRMF_SEEDS").unwrap_or(20_000) / 8;
    all_hold(seeds, |seed| Plan { restores: true, ..plan(seed, Rules::ALL) });
}

/// All of them but P1 on the processes, which this mode gives up: P1 and P3 on the records, P2, P3 on the processes, P4, P6.
#[test]
fn the_properties_of_the_available_mode_hold_whatever_happens() {
    let seeds = number("LRMF_SEEDS").unwrap_or(20_000) / 4;
    all_hold(seeds, |seed| available(plan(seed, Rules::ALL)));
}

/// The properties hold for real drivers too, whatever the user's code does.
#[test]
fn the_properties_hold_for_drivers_whatever_the_code_of_the_user_does() {
    let seeds = number("LRMF_SEEDS").unwrap_or(20_000) / 40;
    all_hold(seeds, |seed| driven(seed, Rules::ALL));
}

fn replicated(plan: Plan) -> Plan {
    let replicas = Some(2 + u32::try_from(plan.seed % 2).unwrap_or(0));
    Plan { replicas, assignor: Arc::new(ReplicaBalanced), ..plan }
}

/// Of each task one replica is the primary, whatever happens; where it dies, a standby goes on, with a higher token.
#[test]
fn the_properties_hold_with_replicas() {
    let seeds = number("LRMF_SEEDS").unwrap_or(20_000) / 8;
    all_hold(seeds, |seed| replicated(plan(seed, Rules::ALL)));
}

/// Two primaries are seen, and so is a new primary where no standby was.
#[test]
fn two_primaries_and_cold_ones_are_found_out() {
    let breaks =
        |plan: Plan, words: &str| simulate(&plan).is_err_and(|failure| failure.violation.contains(words));
    let without_acks = Rules { await_ack: false, ..Rules::ALL };
    assert!((0..400).any(|seed| breaks(replicated(plan(seed, without_acks)), "P1")));
    let cold = |seed| Plan { assignor: Arc::new(StickyBalanced), ..replicated(plan(seed, Rules::ALL)) };
    assert!((0..400).any(|seed| breaks(cold(seed), "its standbys were at")));
}

/// The same seed, the same run, to the last line: else no failure could be looked into.
#[test]
fn a_run_of_drivers_repeats_itself() {
    let without_fencing = Rules { self_fencing: false, ..Rules::ALL };
    let fails = |seed: &u64| simulate(&driven(*seed, without_fencing)).is_err();
    let plan = Plan { traced: true, ..driven((0..4000).find(fails).unwrap(), without_fencing) };
    let trace = || simulate(&plan).unwrap_err().trace;
    let (first, second) = (trace(), trace());
    assert!(first.len() > 20);
    assert_eq!(first, second);
}

fn available(plan: Plan) -> Plan {
    Plan { mode: GroupMode::Available, exclusive: false, ..plan }
}

/// P9 is seen: a group that something happens to all the time does not rest, and writing a record as it is is found out.
#[test]
fn what_costs_without_a_change_is_found_out() {
    let plan = plan(1, Rules::ALL);
    let mut world = World::new(&plan);
    world.begin();
    let restless = world.comes_to_rest().unwrap_err();
    assert!(restless.starts_with("P9"), "{restless}");

    let chunk = world.store.entries().find(|kv| matches!(world.keys.kind(&kv.key), Some(Kind::Chunk(..))));
    let KeyValue { key, value, .. } = chunk.unwrap().clone();
    let txn = Txn { guards: Vec::new(), ops: vec![Op::Put { key, value, lease: None }] };
    let idle = world.oracle.needed(&world.keys, &world.store, &Call::Commit(txn)).unwrap_err();
    assert!(idle.starts_with("P9"), "{idle}");
}

/// The mode does what it is for: a task runs elsewhere while the session of a silent holder lives.
#[test]
fn the_available_mode_gives_up_p1_on_the_processes() {
    let p1 = |failure: &Failure| failure.violation.starts_with("P1");
    let broken = |seed| {
        simulate(&Plan { exclusive: true, ..available(plan(seed, Rules::ALL)) }).is_err_and(|f| p1(&f))
    };
    assert!((0..4000).any(broken));
}

/// Its tokens are what protects: without what keeps them rising it has nothing.
#[test]
fn without_the_generation_floor_the_available_mode_breaks() {
    let rules = Rules { floor: false, ..Rules::ALL };
    let broken = |seed| simulate(&available(plan(seed, rules))).is_err_and(|f| f.violation.starts_with("P3"));
    assert!((0..4000).any(broken));
}

/// Looks for a seed in which this property breaks without a rule.
fn assert_needed(rules: Rules, what: &str, property: &str) {
    let broken =
        |seed| simulate(&plan(seed, rules)).is_err_and(|failure| failure.violation.starts_with(property));
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
    without_self_fencing_it_breaks: self_fencing => "P2";
    without_tokens_in_forced_releases_it_breaks: release_names_token => "P1";
    without_the_time_of_sending_it_breaks: sent_time => "P2";
    without_fresh_tokens_for_what_is_inherited_it_breaks: fresh_tokens => "P3";
    without_a_look_at_values_it_breaks: values => "R10";
    without_forward_only_application_tasks_are_disturbed: forward_only => "P4";
    without_forward_only_application_what_was_given_back_starts_again: forward_only => "P3";
    without_waiting_for_who_restarts_tasks_move: awaits_restart => "P7";
    without_deposing_anybody_leads: deposes => "preference";
    without_handing_over_a_leave_is_waited_for: hands_over => "P8";
}

/// Deals the tasks out evenly, whoever holds them now.
struct RoundRobin;

impl Assignor for RoundRobin {
    fn plan(&self, problem: &Problem<'_>) -> Result<Vec<Placement>, PlanError> {
        let members = u32::try_from(problem.members.len()).unwrap_or(u32::MAX);
        let to = |task| (members > 0).then(|| Placement { task, to: task % members });
        let moves = (0..).zip(problem.holders).filter_map(|(task, holder)| Some((to(task)?, *holder)));
        Ok(moves.filter(|(placement, holder)| *holder != Some(placement.to)).map(|(to, _)| to).collect())
    }

    fn name(&self) -> &'static str {
        "round-robin"
    }
}

/// P5 is seen: an assignor that is even and moves more than it must is found out.
#[test]
fn an_assignor_that_is_not_sticky_is_found_out() {
    let plan = |seed| Plan { assignor: Arc::new(RoundRobin), ..plan(seed, Rules::ALL) };
    let breaks = |seed| simulate(&plan(seed)).is_err_and(|failure| failure.violation.starts_with("P5"));
    assert!((0..400).any(breaks));
}

/// P2 is seen of drivers too.
#[test]
fn without_self_fencing_drivers_break_it() {
    let rules = Rules { self_fencing: false, ..Rules::ALL };
    let breaks =
        |seed| simulate(&driven(seed, rules)).is_err_and(|failure| failure.violation.starts_with("P2"));
    assert!((0..400).any(breaks));
}

/// Without waiting for acknowledgements every other seed fails, most after dozens of misfortunes that have nothing to do
/// with it.
#[test]
fn a_failure_is_shrunk_to_what_it_takes() {
    let rules = Rules { await_ack: false, ..Rules::ALL };
    let failure = |plan: &Plan| simulate(plan).err().filter(|failure| failure.violation.starts_with("P1"));
    let long = |seed: &u64| failure(&plan(*seed, rules)).is_some_and(|failure| failure.misfortunes > 20);
    let plan = plan((0..4000).find(long).unwrap(), rules);
    let before = failure(&plan).unwrap();
    let shrunk = shrink(plan).unwrap();
    let after = failure(&shrunk.plan).unwrap();
    assert!(after.steps < before.steps && shrunk.left < 10, "{before:?}, {} left", shrunk.left);
    for number in shrunk.plan.only.iter().flatten() {
        let mut fewer = shrunk.plan.clone();
        fewer.only.iter_mut().for_each(|only| only.retain(|other| other != number));
        let later = failure(&fewer).is_none_or(|failure| failure.steps > after.steps);
        assert!(later, "{number} is not needed: {:?}", shrunk.plan.only);
    }
}
