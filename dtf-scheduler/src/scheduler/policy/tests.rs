use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::levels::bonus_of;
use super::simulation::Slots;
use super::*;

const LOW: Priority = Priority::LOW;
const MEDIUM: Priority = Priority::MEDIUM;
const HIGH: Priority = Priority::HIGH;
/// More than any test runs.
const ENDLESS: u64 = 1 << 40;

fn ms(span: u64) -> Duration {
    Duration::from_millis(span)
}

fn secs(span: u64) -> Duration {
    Duration::from_secs(span)
}

/// Checks that each group had its quota's share of these ten seconds, within 2 % of that.
fn assert_shares(slots: &Slots, from: Timestamp, quotas: &[(&str, u32)]) {
    let got = slots.by_group(from, from + secs(10));
    let all: f64 = got.values().map(Duration::as_secs_f64).sum();
    let total: u32 = quotas.iter().map(|(_, quota)| quota).sum();
    for (group, quota) in quotas {
        let fair = all * f64::from(*quota) / f64::from(total);
        let had = got.get(*group).map_or(0.0, Duration::as_secs_f64);
        assert!((had - fair).abs() <= 0.02 * fair, "{group} had {had:.3} s of {fair:.3} s: {got:?}");
    }
}

fn with_quotas(slots: usize, quotas: &[(&str, u32)]) -> Slots {
    let mut slots = Slots::new(slots);
    for (group, quota) in quotas {
        slots.policy.set_quota(&(*group).into(), *quota);
    }
    slots
}

const FOUR: [(&str, u32); 4] = [("a", 100), ("b", 200), ("c", 300), ("d", 400)];

/// Ten thousand tasks in four groups; every second one of subtasks of 1 ms, in parcels of twenty, the others of 1 s.
fn ten_thousand() -> Slots {
    let mut slots = with_quotas(128, &FOUR);
    for task in 0..10_000 {
        let runs = if task % 8 < 4 { ms(20) } else { secs(1) };
        slots.add(task, FOUR[task as usize % 4].0, MEDIUM, ENDLESS, runs);
    }
    slots
}

#[test]
fn ten_thousand_tasks_share_by_quota_and_a_group_may_rest() {
    let mut slots = ten_thousand();
    slots.run(secs(5));
    let from = slots.now;
    slots.run(secs(10));
    assert_shares(&slots, from, &FOUR);
    // The largest rests: the others have it all, by quota.
    (0..10_000).filter(|task| task % 4 == 3).for_each(|task| slots.empty(task));
    slots.run(secs(2));
    let from = slots.now;
    slots.run(secs(10));
    assert_shares(&slots, from, &FOUR[..3]);
    // It comes back, and has saved nothing up.
    (0..10_000).filter(|task| task % 4 == 3).for_each(|task| slots.give(task, ENDLESS));
    slots.run(secs(2));
    let from = slots.now;
    slots.run(secs(10));
    assert_shares(&slots, from, &FOUR);
}

#[test]
fn a_type_nobody_has_seen_whose_subtasks_are_long_does_not_take_every_slot() {
    let mut slots = with_quotas(100, &[("long", 100), ("short", 100)]);
    for task in 0..1000 {
        slots.add(2 * task, "long", MEDIUM, ENDLESS, secs(60));
        slots.add(2 * task + 1, "short", MEDIUM, ENDLESS, ms(20));
    }
    slots.run(secs(50));
    let used = slots.by_group(Timestamp::default(), slots.now);
    // Half of the first hundred are long, as nothing is known, and some of those that follow until it shows.
    assert!(used["short"] >= secs(50 * 15), "{used:?}");
}

#[test]
fn slot_time_is_shared_and_not_the_number_of_subtasks() {
    let quotas = [("short", 100), ("long", 100), ("longer", 200)];
    let mut slots = with_quotas(50, &quotas);
    slots.add(0, "short", MEDIUM, ENDLESS, ms(1));
    slots.add(1, "long", MEDIUM, ENDLESS, ms(300));
    slots.add(3, "longer", HIGH, ENDLESS, secs(1));
    slots.run(secs(5));
    let from = slots.now;
    slots.run(secs(10));
    assert_shares(&slots, from, &quotas);
}

#[test]
fn nothing_lies_idle_while_somebody_has_work() {
    let mut slots = with_quotas(8, &[("a", 1), ("b", dtf_model::group::MAX_QUOTA)]);
    slots.add(1, "a", LOW, ENDLESS, ms(7));
    slots.add(2, "b", HIGH, 100, ms(5));
    slots.run(secs(3));
    let all: Duration = slots.by_group(Timestamp::default(), slots.now).values().sum();
    assert_eq!(all, secs(3) * 8);
}

#[test]
fn a_held_group_waits_and_the_others_go_on() {
    let mut slots = with_quotas(4, &[("a", 100), ("b", 100)]);
    slots.policy.hold(&"a".into(), true);
    slots.add(1, "a", HIGH, ENDLESS, ms(10));
    slots.add(2, "b", LOW, ENDLESS, ms(10));
    slots.run(secs(1));
    assert_eq!(slots.started(1), None);
    slots.policy.hold(&"a".into(), false);
    let from = slots.now;
    slots.run(secs(10));
    assert_shares(&slots, from, &[("a", 100), ("b", 100)]);
}

#[test]
fn one_subtask_beside_a_million_starts_within_100_ms() {
    for group in ["same", "other"] {
        let mut slots = with_quotas(2, &[("same", 100), ("other", 100)]);
        slots.add(1, "same", HIGH, 1_000_000, ms(10));
        slots.add(2, "other", HIGH, 1_000_000, ms(10));
        slots.run(secs(1000));
        for task in 10..15 {
            let came = slots.now;
            slots.add(task, group, LOW, 1, ms(10));
            slots.run(secs(1));
            let waited = slots.started(task).map(|started| started.since(came));
            assert!(waited.is_some_and(|waited| waited <= ms(100)), "{group}: {waited:?}");
        }
    }
}

#[test]
fn one_subtask_beside_ten_thousand_tasks_starts_as_soon_as_a_slot_is_free_for_its_group() {
    let mut slots = with_quotas(64, &FOUR);
    for task in 0..10_000 {
        slots.add(task, FOUR[task as usize % 4].0, MEDIUM, ENDLESS, ms(10));
    }
    // Nobody is a newcomer any more.
    slots.run(secs(100));
    for (task, (group, _)) in (20_000..).zip(FOUR) {
        let came = slots.now;
        slots.add(task, group, LOW, 1, ms(10));
        slots.run(secs(1));
        let waited = slots.started(task).map(|started| started.since(came));
        assert!(waited.is_some_and(|waited| waited <= ms(100)), "{group}: {waited:?}");
    }
}

#[test]
fn a_burst_of_low_priority_does_not_bury_a_high_one() {
    let mut slots = Slots::new(4);
    for task in 0..1000 {
        slots.add(task, "a", LOW, 1000, ms(10));
    }
    slots.run(secs(1));
    let came = slots.now;
    slots.add(5000, "a", HIGH, ENDLESS, ms(10));
    slots.run(secs(100));
    assert!(slots.started(5000).is_some_and(|started| started.since(came) <= ms(20)));
    // At least half even while newcomers last, and nearly all afterwards.
    let high = slots.by_task(came, slots.now)[&TaskId(5000)];
    assert!(high >= secs(190), "{high:?}");
}

#[test]
fn priorities_share_by_their_bonus_and_sink_together() {
    let mut slots = Slots::new(1);
    for (task, priority) in [(1, LOW), (2, MEDIUM), (3, HIGH)] {
        slots.add(task, "a", priority, ENDLESS, ms(100));
    }
    // 40 slices of a second each at P0, times the bonus.
    let all = 40 * (1 + 8 + 256);
    slots.run(secs(all));
    let got = slots.by_task(Timestamp::default(), slots.now);
    for (task, bonus) in [(1, 1), (2, 8), (3, 256)] {
        let (had, fair) = (got[&TaskId(task)].as_secs_f64(), f64::from(40 * bonus));
        assert!((had - fair).abs() <= 0.05 * fair + 2.0, "{task} had {had} of {fair}: {got:?}");
    }
}

#[test]
fn urgent_newcomers_without_end_keep_no_newcomer_out() {
    let mut slots = Slots::new(1);
    slots.add(0, "a", HIGH, 1, ms(80));
    slots.add(1, "a", LOW, ENDLESS, ms(10));
    for task in 2..200 {
        // More than can be done.
        slots.add(task, "a", HIGH, 1, ms(80));
        slots.run(ms(50));
    }
    assert!(slots.started(1).is_some_and(|started| started.since(Timestamp::default()) < secs(2)));
}

#[test]
fn a_task_of_low_priority_is_not_forgotten_beside_hundreds_of_high_priority() {
    let mut slots = Slots::new(4);
    for task in 0..200 {
        slots.add(task, "a", HIGH, ENDLESS, secs(1));
    }
    slots.add(1000, "a", LOW, ENDLESS, secs(1));
    slots.run(secs(1000));
    for _ in 0..3 {
        let from = slots.now;
        // Its share reaches it every three and a half hours.
        slots.run(secs(1300));
        let had = slots.by_task(from, slots.now).get(&TaskId(1000)).copied();
        assert!(had.is_some_and(|had| had >= secs(1)), "{had:?}");
    }
}

#[test]
fn the_long_sink_below_those_that_come_later() {
    let mut slots = Slots::new(1);
    slots.add(1, "a", LOW, ENDLESS, ms(100));
    // 40 slices of 1 s, 40 of 2 s: it is in the last level.
    slots.run(secs(130));
    slots.add(2, "a", LOW, ENDLESS, ms(100));
    let from = slots.now;
    slots.run(secs(40));
    let got = slots.by_task(from, slots.now);
    assert!(got.get(&TaskId(1)).is_none_or(|had| *had <= ms(200)), "{got:?}");
}

#[test]
fn nobody_starves_below_newcomers_that_never_end() {
    let mut slots = Slots::new(1);
    for task in 1..=25 {
        slots.add(task, "a", LOW, ENDLESS, ms(500));
    }
    // All are in the last level.
    slots.run(secs(25 * 125));
    let from = slots.now;
    // More work at P0 than there is room for: a new task every second, each of two seconds.
    for task in 0..1300 {
        slots.add(1000 + task, "a", LOW, 4, ms(500));
        slots.run(secs(1));
    }
    let got = slots.by_task(from, slots.now);
    let starved: Vec<_> = (1..=25).filter(|task| !got.contains_key(&TaskId(*task))).collect();
    assert!(starved.is_empty(), "{starved:?}");
}

#[test]
fn a_quiet_task_keeps_its_level_for_ten_minutes() {
    for (quiet, new) in [(597, false), (599, true)] {
        let mut slots = Slots::new(1);
        slots.add(1, "a", LOW, ENDLESS, ms(100));
        slots.run(secs(130));
        slots.empty(1);
        slots.run(secs(quiet));
        slots.add(2, "a", MEDIUM, ENDLESS, ms(100));
        slots.run(secs(2));
        slots.give(1, ENDLESS);
        let from = slots.now;
        slots.run(secs(1));
        let had = slots.by_task(from, slots.now).contains_key(&TaskId(1));
        assert_eq!(had, new, "after {quiet} s and 2 s");
    }
}

#[test]
fn who_had_it_all_while_nobody_else_was_there_owes_nothing() {
    let mut slots = Slots::new(1);
    slots.add(1, "a", MEDIUM, ENDLESS, ms(10));
    slots.run(secs(100));
    slots.add(2, "b", MEDIUM, ENDLESS, ms(10));
    let from = slots.now;
    slots.run(secs(10));
    assert_shares(&slots, from, &[("a", 100), ("b", 100)]);
}

#[test]
fn the_quiet_and_the_removed_are_never_next() {
    let (mut policy, now) = (Policy::default(), Timestamp::default());
    for task in 1..=2 {
        policy.add(TaskId(task), &"a".into(), LOW);
        policy.pending(TaskId(task), now);
    }
    policy.quiet(TaskId(1), now);
    policy.remove(TaskId(2));
    assert_eq!(policy.next(now), None);
    policy.charge(TaskId(2), 1_000_000);
    policy.pending(TaskId(2), now);
    assert_eq!((policy.next(now), policy.is_idle()), (None, true));
}

#[test]
fn what_goes_ahead_is_next_whoever_else_is_there() {
    let (mut policy, now) = (Policy::default(), Timestamp::default());
    for (task, group, priority) in [(1, "a", HIGH), (2, "a", LOW), (3, "b", LOW)] {
        policy.add(TaskId(task), &group.into(), priority);
        policy.pending(TaskId(task), now);
    }
    policy.charge(TaskId(3), 1_000_000_000);
    policy.ahead(TaskId(3), 2);
    policy.ahead(TaskId(9), 1); // not known
    assert_eq!((policy.next(now), policy.most(TaskId(3))), (Some(TaskId(3)), 2));
    assert_eq!(policy.most(TaskId(1)), u64::MAX);
    // It is charged as ever, and waits where it must.
    policy.charge(TaskId(3), 1_000_000_000);
    policy.hold(&"b".into(), true);
    assert_eq!(policy.next(now), Some(TaskId(1)));
    policy.hold(&"b".into(), false);
    policy.quiet(TaskId(3), now);
    assert_eq!(policy.next(now), Some(TaskId(1)));
    policy.pending(TaskId(3), now);
    assert_eq!(policy.next(now), Some(TaskId(3)));
    policy.ahead(TaskId(3), 0);
    assert_eq!((policy.next(now), policy.most(TaskId(3))), (Some(TaskId(1)), u64::MAX));
    policy.ahead(TaskId(2), 1);
    policy.remove(TaskId(2));
    assert_eq!(policy.next(now), Some(TaskId(1)));
}

#[test]
fn the_bonus_follows_the_priority() {
    assert_eq!([2000, 6000, 9000].map(|priority| bonus_of(Priority(priority))), [1, 8, 256]);
    assert!((2000..9000).all(|priority| bonus_of(Priority(priority)) <= bonus_of(Priority(priority + 1))));
}

/// Something that happens to a policy.
#[derive(Clone, Debug)]
enum Event {
    Add(u64, usize, u32),
    Pending(u64),
    Quiet(u64),
    Remove(u64),
    Hold(usize, bool),
    Quota(usize, u32),
    /// The task that is next runs so long.
    Serve(u32),
    /// A charge was too high or too low.
    Correct(u64, i64),
    Pass(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let task = 0..12u64;
    prop_oneof![
        (task.clone(), 0..3usize, 2000..=9000u32)
            .prop_map(|(task, group, priority)| Event::Add(task, group, priority)),
        task.clone().prop_map(Event::Pending),
        task.clone().prop_map(Event::Quiet),
        task.clone().prop_map(Event::Remove),
        (0..3usize, any::<bool>()).prop_map(|(group, held)| Event::Hold(group, held)),
        (0..3usize, 1..1000u32).prop_map(|(group, quota)| Event::Quota(group, quota)),
        (0..3_000_000_000u32).prop_map(Event::Serve),
        (task, -5_000_000_000..5_000_000_000i64).prop_map(|(task, nanos)| Event::Correct(task, nanos)),
        (0..400_000u32).prop_map(Event::Pass),
    ]
}

/// The calls of the policy, recorded in the plainest way.
#[derive(Default)]
struct Model {
    group_of: BTreeMap<TaskId, usize>,
    pending: BTreeMap<TaskId, bool>,
    held: [bool; 3],
}

impl Model {
    fn may_be_next(&self) -> Vec<TaskId> {
        let fits = |task: &TaskId| self.pending[task] && !self.held[self.group_of[task]];
        self.group_of.keys().copied().filter(fits).collect()
    }
}

fn name(group: usize) -> Arc<str> {
    ["a", "b", "c"][group].into()
}

fn apply(policy: &mut Policy, model: &mut Model, now: &mut Timestamp, event: &Event) -> Option<TaskId> {
    match *event {
        Event::Add(task, group, priority) => {
            policy.add(TaskId(task), &name(group), Priority(priority));
            model.group_of.entry(TaskId(task)).or_insert(group);
            model.pending.entry(TaskId(task)).or_insert(false);
        }
        Event::Pending(task) => {
            policy.pending(TaskId(task), *now);
            model.pending.entry(TaskId(task)).and_modify(|pending| *pending = true);
        }
        Event::Quiet(task) => {
            policy.quiet(TaskId(task), *now);
            model.pending.entry(TaskId(task)).and_modify(|pending| *pending = false);
        }
        Event::Remove(task) => {
            policy.remove(TaskId(task));
            model.group_of.remove(&TaskId(task));
            model.pending.remove(&TaskId(task));
        }
        Event::Hold(group, held) => {
            // A group is known once it was named.
            policy.set_quota(&name(group), 100);
            policy.hold(&name(group), held);
            model.held[group] = held;
        }
        Event::Quota(group, quota) => policy.set_quota(&name(group), quota),
        Event::Serve(nanos) => {
            let next = policy.next(*now);
            if let Some(task) = next {
                policy.charge(task, i128::from(nanos));
            }
            return next;
        }
        Event::Correct(task, nanos) => policy.charge(TaskId(task), i128::from(nanos)),
        Event::Pass(millis) => *now = *now + ms(u64::from(millis)),
    }
    None
}

proptest! {
    /// Whatever happens: somebody is next exactly where somebody may be, it is one that may be, and the same history has the
    /// same outcome.
    #[test]
    fn work_conserving_and_deterministic(events in prop::collection::vec(event(), 1..200)) {
        let (mut policy, mut twin) = (Policy::default(), Policy::default());
        let (mut model, mut twin_model) = (Model::default(), Model::default());
        let (mut now, mut twin_now) = (Timestamp::default(), Timestamp::default());
        for event in &events {
            let may = model.may_be_next();
            let served = apply(&mut policy, &mut model, &mut now, event);
            prop_assert_eq!(served, apply(&mut twin, &mut twin_model, &mut twin_now, event));
            if matches!(event, Event::Serve(_)) {
                prop_assert_eq!(served.is_some(), !may.is_empty(), "of {:?}", may);
            }
            prop_assert!(served.is_none_or(|task| may.contains(&task)), "{:?} of {:?}", served, may);
            prop_assert_eq!(policy.is_idle(), model.may_be_next().is_empty());
            for (task, pending) in &model.pending {
                prop_assert_eq!(policy.is_pending(*task), *pending);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Of tasks that always have work, everybody is served before long, however priorities, quotas and run times are.
    #[test]
    fn nobody_starves(tasks in prop::collection::vec((0..3usize, 2000..=9000u32, 100..2000u64), 1..12)) {
        let mut slots = Slots::new(2);
        for (task, (group, priority, runs)) in (0..).zip(&tasks) {
            slots.add(task, &name(*group), Priority(*priority), ENDLESS, ms(*runs));
        }
        slots.run(secs(120));
        let from = slots.now;
        slots.run(secs(2500));
        let got = slots.by_task(from, slots.now);
        prop_assert_eq!(got.values().filter(|had| !had.is_zero()).count(), tasks.len(), "{:?}", got);
    }
}
