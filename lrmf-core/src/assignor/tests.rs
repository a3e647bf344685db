use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A group that planning is tried on: members come and go by name, tasks by key.
#[derive(Clone, Debug)]
struct Group {
    tasks: Vec<Task>,
    members: Vec<Candidate>,
    holders: Vec<Option<MemberIx>>,
}

fn candidate(index: usize) -> Candidate {
    let instance = InstanceId::new(&format!("member-{index:05}")).unwrap();
    Candidate {
        instance,
        capacity: 1,
        zone: (!index.is_multiple_of(4)).then(|| format!("zone-{}", index % 4).into()),
        load: None,
    }
}

impl Group {
    fn of(tasks: usize, members: usize) -> Self {
        let tasks: Vec<Task> = (0..tasks).map(|index| Task::new(format!("task-{index:04}"), "")).collect();
        let holders = vec![None; tasks.len()];
        Self { tasks, members: (0..members).map(|index| candidate(index * 5000)).collect(), holders }
    }

    fn problem(&self) -> Problem<'_> {
        Problem { tasks: &self.tasks, members: &self.members, holders: &self.holders }
    }

    /// Plans, checks what every plan must keep, and applies it. Returns what moved.
    fn step(&mut self, assignor: &dyn Assignor) -> Vec<Placement> {
        let plan = assignor.plan(&self.problem()).unwrap();
        assert_eq!(self.problem().check(&plan), Ok(()));
        assert_eq!(assignor.plan(&self.problem()).unwrap(), plan, "deterministic");
        for placement in &plan {
            let holder = self.holders[placement.task as usize].replace(placement.to);
            assert_ne!(holder, Some(placement.to), "a move to where it is");
        }
        if !self.members.is_empty() {
            assert!(self.holders.iter().all(Option::is_some), "every task is placed");
        }
        assert_eq!(assignor.plan(&self.problem()).unwrap(), [], "idempotent");
        plan
    }

    /// A member of this name comes, if there is none yet. Returns its index.
    fn join(&mut self, name: u16) -> Option<usize> {
        let newcomer = candidate(name.into());
        let at = self.members.binary_search_by(|member| member.instance.cmp(&newcomer.instance)).err()?;
        self.members.insert(at, newcomer);
        for holder in self.holders.iter_mut().flatten().filter(|holder| **holder as usize >= at) {
            *holder += 1;
        }
        Some(at)
    }

    fn lose(&mut self, at: usize) {
        self.members.remove(at);
        for holder in &mut self.holders {
            *holder = match *holder {
                Some(member) if member as usize == at => None,
                Some(member) if member as usize > at => Some(member - 1),
                other => other,
            };
        }
    }

    fn orphans(&self) -> Vec<TaskIx> {
        (0..).zip(&self.holders).filter(|(_, holder)| holder.is_none()).map(|(task, _)| task).collect()
    }

    fn loads(&self) -> Vec<usize> {
        let mut loads = vec![0; self.members.len()];
        for holder in self.holders.iter().flatten() {
            loads[*holder as usize] += 1;
        }
        loads
    }

    fn spread(&self) -> usize {
        let loads = self.loads();
        loads.iter().max().unwrap_or(&0) - loads.iter().min().unwrap_or(&0)
    }
}

struct RoundRobin;

impl PerformAssignment for RoundRobin {
    fn perform_assignment(
        &self,
        tasks: &[Task],
        instances: &[InstanceId],
    ) -> anyhow::Result<BTreeMap<InstanceId, Vec<Task>>> {
        let mut result: BTreeMap<InstanceId, Vec<Task>> = BTreeMap::new();
        for (task, instance) in tasks.iter().zip(instances.iter().cycle()) {
            result.entry(instance.clone()).or_default().push(task.clone());
        }
        Ok(result)
    }
}

/// Five to a family, but for some that are of none.
fn family(task: &Task) -> Option<String> {
    let number: usize = task.key.strip_prefix("task-")?.parse().ok()?;
    (!number.is_multiple_of(7)).then(|| (number / 5).to_string())
}

/// Every third task prefers a zone, sometimes one that is not there.
fn wish(task: &Task) -> Option<String> {
    let number: usize = task.key.strip_prefix("task-")?.parse().ok()?;
    number.is_multiple_of(3).then(|| format!("zone-{}", number % 5))
}

fn all_assignors() -> Vec<Box<dyn Assignor>> {
    vec![
        Box::new(StickyBalanced),
        Box::new(StickyWeighted),
        Box::new(ConsistentHashing::default()),
        Box::new(ConsistentHashing::with_slack_percent(0)),
        Box::new(StringOrderEvenly),
        Box::new(Simple::new(RoundRobin)),
        Box::new(ZoneAware::new()),
        Box::new(ZoneAware::new().spreading(family).preferring(wish)),
        Box::new(LoadAware::default()),
    ]
}

fn any_group(tasks: usize, members: usize) -> impl Strategy<Value = Group> {
    (0..tasks, 0..members).prop_flat_map(|(tasks, members)| {
        let holder = proptest::option::of(0..u32::try_from(members.max(1)).unwrap());
        proptest::collection::vec(holder, tasks).prop_map(move |holders| {
            let mut group = Group::of(tasks, members);
            if members > 0 {
                group.holders = holders;
            }
            group
        })
    })
}

#[derive(Clone, Debug)]
enum Change {
    Join(u16),
    Lose(prop::sample::Index),
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![any::<u16>().prop_map(Change::Join), any::<prop::sample::Index>().prop_map(Change::Lose)]
}

/// The fewest moves that lead to an even placement, by trying every choice of who gets the larger shares.
fn fewest_moves(group: &Group) -> usize {
    let (tasks, members) = (group.tasks.len(), group.members.len());
    let (share, larger) = (tasks / members, tasks % members);
    let loads = group.loads();
    let kept = |choice: u32| -> usize {
        let share_of = |member: usize| share + (choice >> member & 1) as usize;
        loads.iter().enumerate().map(|(member, load)| *load.min(&share_of(member))).sum()
    };
    let choices = (0..1_u32 << members).filter(|choice| choice.count_ones() as usize == larger);
    tasks - choices.map(kept).max().unwrap_or(0)
}

proptest! {
    #[test]
    fn every_assignor_places_every_task_once_whatever_comes_and_goes(
        mut group in any_group(60, 8),
        changes in proptest::collection::vec(any_change(), 0..6),
    ) {
        for assignor in all_assignors() {
            group.step(assignor.as_ref());
            for change in &changes {
                match change {
                    Change::Join(name) => _ = group.join(*name),
                    Change::Lose(_) if group.members.is_empty() => {}
                    Change::Lose(at) => group.lose(at.index(group.members.len())),
                }
                group.step(assignor.as_ref());
            }
        }
    }

    #[test]
    fn sticky_is_even_and_no_even_placement_moves_fewer(mut group in any_group(40, 7)) {
        prop_assume!(!group.members.is_empty());
        let fewest = fewest_moves(&group);
        let moves = group.step(&StickyBalanced);
        prop_assert!(group.spread() <= 1, "{:?}", group.loads());
        prop_assert_eq!(moves.len(), fewest);
    }

    #[test]
    fn sticky_moves_a_share_on_a_join_and_orphans_on_a_loss(
        mut group in any_group(200, 9),
        changes in proptest::collection::vec(any_change(), 1..12),
        which in 0..4_usize,
    ) {
        // With equal weights and capacities, without wishes, families and reports, others keep the same bounds.
        let (zone_aware, load_aware) = (ZoneAware::new(), LoadAware::default());
        let assignors: [&dyn Assignor; 4] = [&StickyBalanced, &StickyWeighted, &zone_aware, &load_aware];
        let assignor = assignors[which];
        group.step(assignor);
        for change in changes {
            let members = group.members.len();
            match change {
                Change::Join(name) => {
                    let Some(at) = group.join(name) else { continue };
                    let moves = group.step(assignor);
                    prop_assert!(moves.len() <= group.tasks.len().div_ceil(members + 1));
                    prop_assert!(moves.iter().all(|placement| placement.to as usize == at), "only to the newcomer");
                }
                Change::Lose(_) if members < 2 => {}
                Change::Lose(at) => {
                    group.lose(at.index(members));
                    let orphans = group.orphans();
                    let moves = group.step(assignor);
                    prop_assert_eq!(moves.iter().map(|placement| placement.task).collect::<Vec<_>>(), orphans);
                }
            }
            prop_assert!(group.spread() <= 1, "{:?}", group.loads());
        }
    }

    #[test]
    fn weighted_leaves_no_move_that_would_even_out(
        mut group in any_group(60, 8),
        weights in proptest::collection::vec(prop_oneof![1_u32..5, 1_u32..1000, Just(u32::MAX)], 60),
        capacities in proptest::collection::vec(1_u32..20, 8),
    ) {
        for (task, weight) in group.tasks.iter_mut().zip(weights) {
            task.weight = weight;
        }
        for (member, capacity) in group.members.iter_mut().zip(capacities) {
            member.capacity = capacity;
        }
        group.step(&StickyWeighted);
        let mut loads = vec![0_u64; group.members.len()];
        for (task, holder) in group.tasks.iter().zip(&group.holders) {
            if let Some(holder) = holder {
                loads[*holder as usize] += u64::from(task.weight);
            }
        }
        let level = |load: u64, member: usize| -> (u128, u128) {
            (load.into(), group.members[member].capacity.into())
        };
        let below = |a: (u128, u128), b: (u128, u128)| a.0 * b.1 < b.0 * a.1;
        let lowest = (0..loads.len()).reduce(|low, member| {
            if below(level(loads[member], member), level(loads[low], low)) { member } else { low }
        });
        let weight: u64 = loads.iter().sum();
        let average = weight.div_ceil(group.tasks.len().max(1) as u64);
        for (task, holder) in group.tasks.iter().zip(&group.holders) {
            let (Some(holder), Some(lowest)) = (holder.map(|holder| holder as usize), lowest) else { continue };
            let near = !below(level(loads[lowest] + average, lowest), level(loads[holder], holder))
                || !below(level(loads[lowest], lowest), level(loads[holder].saturating_sub(average), holder));
            if near {
                continue;
            }
            let moved = level(loads[lowest] + u64::from(task.weight), lowest);
            prop_assert!(holder == lowest || !below(moved, level(loads[holder], holder)), "{:?}", task);
        }
    }

    #[test]
    fn zone_aware_heeds_wishes_then_families_then_loads(mut group in any_group(80, 9), wishes in any::<bool>()) {
        prop_assume!(!group.members.is_empty());
        let assignor = ZoneAware::new().spreading(family);
        let assignor = if wishes { assignor.preferring(wish) } else { assignor };
        group.step(&assignor);
        let zone = |task: usize| group.members[group.holders[task].unwrap() as usize].zone.as_deref();
        let zones: std::collections::BTreeSet<_> = group.members.iter().map(|member| member.zone.as_deref()).collect();
        let mut families: BTreeMap<String, BTreeMap<Option<&str>, usize>> = BTreeMap::new();
        for (ix, task) in group.tasks.iter().enumerate() {
            if let Some(wish) = wish(task).filter(|wish| wishes && zones.contains(&Some(wish.as_str()))) {
                prop_assert_eq!(zone(ix), Some(wish.as_str()));
            }
            if let Some(family) = family(task) {
                *families.entry(family).or_default().entry(zone(ix)).or_default() += 1;
            }
        }
        for counts in families.values().filter(|_| !wishes) {
            let count = |zone: &Option<&str>| counts.get(zone).copied().unwrap_or(0);
            let (most, least) = (zones.iter().map(count).max(), zones.iter().map(count).min());
            prop_assert!(most <= least.map(|least| least + 1), "{:?}", counts);
        }
        let loads = group.loads();
        for of in &zones {
            let of_zone = || (0..loads.len()).filter(|ix| group.members[*ix].zone.as_deref() == *of).map(|ix| loads[ix]);
            prop_assert!(of_zone().max() <= of_zone().min().map(|least| least + 1), "{:?}", loads);
        }
    }

    #[test]
    fn load_aware_relieves_within_its_budget(
        mut group in any_group(80, 6),
        reports in proptest::collection::vec(proptest::option::of(0_u32..1500), 6),
        percent in 0_u32..60,
    ) {
        prop_assume!(!group.members.is_empty());
        group.step(&StickyBalanced);
        let loads = group.loads();
        for ((member, tasks), report) in group.members.iter_mut().zip(&loads).zip(reports) {
            let tasks = u32::try_from(*tasks).unwrap();
            member.load = report.map(|per_mille| LoadReport { per_mille, tasks });
        }
        group.step(&LoadAware::default().with_budget_percent(percent));
        for ((member, before), after) in group.members.iter().zip(&loads).zip(group.loads()) {
            let budget = (before * percent as usize).div_ceil(100).max(1);
            prop_assert!(after + budget >= *before || member.load.is_none(), "{:?}", member);
            prop_assert!(after >= *before || member.load.is_some() || group.members.iter().all(|m| m.load.is_none()));
        }
    }

    #[test]
    fn consistent_hashing_keeps_its_bound_and_forgets_history(
        group in any_group(200, 12),
        slack in 0_u32..200,
    ) {
        prop_assume!(!group.members.is_empty());
        let assignor = ConsistentHashing::with_slack_percent(slack);
        let mut from_here = group.clone();
        from_here.step(&assignor);
        let mut from_nothing = Group::of(group.tasks.len(), group.members.len());
        from_nothing.step(&assignor);
        prop_assert_eq!(&from_here.holders, &from_nothing.holders);
        let bound = assignor.bound(group.tasks.len(), group.members.len());
        prop_assert!(from_here.loads().iter().all(|load| *load as u64 <= bound));
    }

    #[test]
    fn string_order_is_even_and_in_order(mut group in any_group(200, 12)) {
        prop_assume!(!group.members.is_empty());
        group.step(&StringOrderEvenly);
        prop_assert!(group.holders.is_sorted());
        prop_assert!(group.spread() <= 1);
        prop_assert!(group.loads().is_sorted_by(|a, b| a >= b), "longer runs first");
    }
}

#[test]
fn consistent_hashing_moves_little_when_one_of_many_members_goes() {
    let mut group = Group::of(2000, 20);
    group.step(&ConsistentHashing::default());
    group.lose(7);
    let moves = group.step(&ConsistentHashing::default());
    // An even share is 100; a plain ring moves the lost member's tasks, the bound a few times that.
    assert!(moves.len() < 400, "{} of 2000 moved", moves.len());
}

#[test]
fn string_order_is_what_the_original_did() {
    let tasks = ["a", "b", "c"].map(|key| Task::new(key, ""));
    let members =
        ["bar", "foo"].map(|name| Candidate { instance: InstanceId::new(name).unwrap(), ..candidate(0) });
    let problem = Problem { tasks: &tasks, members: &members, holders: &[None; 3] };
    let targets: Vec<u32> =
        StringOrderEvenly.plan(&problem).unwrap().iter().map(|placement| placement.to).collect();
    assert_eq!(targets, [0, 0, 1]);
}

/// Answers what it was told to.
struct Fixed(Result<BTreeMap<InstanceId, Vec<Task>>, &'static str>);

impl PerformAssignment for Fixed {
    fn perform_assignment(
        &self,
        _: &[Task],
        _: &[InstanceId],
    ) -> anyhow::Result<BTreeMap<InstanceId, Vec<Task>>> {
        self.0.clone().map_err(anyhow::Error::msg)
    }
}

#[test]
fn a_simple_assignor_that_errs_is_refused() {
    let group = Group::of(2, 1);
    let (first, second) = (group.tasks[0].clone(), group.tasks[1].clone());
    let stranger = InstanceId::new("stranger").unwrap();
    let answer = |instance: &InstanceId, tasks: &[&Task]| {
        Ok(BTreeMap::from([(instance.clone(), tasks.iter().copied().cloned().collect::<Vec<_>>())]))
    };
    let member = &group.members[0].instance;
    let dropped = PlanError::Dropped(second.key.to_string());
    let twice = PlanError::Surplus(first.key.to_string());
    let cases = [
        (answer(member, &[&first]), dropped),
        (answer(member, &[&first, &first, &second]), twice),
        (answer(member, &[&first, &second, &Task::new("x", "")]), PlanError::Surplus("x".into())),
        (answer(&stranger, &[&first, &second]), PlanError::UnknownMember(stranger.clone())),
        (Err("no"), PlanError::Failed("no".into())),
    ];
    for (answer, refusal) in cases {
        assert_eq!(Simple::new(Fixed(answer)).plan(&group.problem()), Err(refusal));
    }
}

#[test]
fn plans_that_break_their_obligations_are_found() {
    let mut group = Group::of(3, 2);
    group.holders[1] = Some(0);
    let at = |task, to| Placement { task, to };
    let problem = group.problem();
    assert_eq!(problem.check(&[at(0, 0), at(2, 1)]), Ok(()));
    assert_eq!(problem.check(&[at(0, 0), at(1, 1), at(2, 1)]), Ok(()));
    let dropped = |task: usize| Err(PlanError::Dropped(group.tasks[task].key.to_string()));
    assert_eq!(problem.check(&[]), dropped(0));
    assert_eq!(problem.check(&[at(0, 0)]), dropped(2));
    assert_eq!(problem.check(&[at(1, 1), at(2, 0)]), dropped(0));
    let surplus = Err(PlanError::Surplus(group.tasks[0].key.to_string()));
    assert_eq!(problem.check(&[at(0, 0), at(0, 1), at(2, 1)]), surplus);
    assert_eq!(problem.check(&[at(0, 2), at(2, 1)]), Err(PlanError::NoSuchIndex(at(0, 2))));
    assert_eq!(problem.check(&[at(0, 0), at(3, 1)]), Err(PlanError::NoSuchIndex(at(3, 1))));
}

#[test]
fn a_busy_member_gives_a_few_tasks_a_report_and_small_differences_move_nothing() {
    let mut group = Group::of(40, 2);
    group.step(&StickyBalanced);
    let assignor = LoadAware::default();
    let mut report = |loads: [u32; 2]| {
        let tasks = group.loads();
        for ((member, per_mille), tasks) in group.members.iter_mut().zip(loads).zip(tasks) {
            member.load = Some(LoadReport { per_mille, tasks: u32::try_from(tasks).unwrap() });
        }
        group.step(&assignor);
        group.loads()
    };
    assert_eq!(report([500, 400]), [20, 20]);
    // A tenth of twenty a report.
    assert_eq!(report([900, 300]), [18, 22]);
    assert_eq!(report([810, 330]), [16, 24]);
    // 240 apart: one task brings them below 200.
    assert_eq!(report([600, 360]), [15, 25]);
    assert_eq!(report([560, 375]), [15, 25]);
}

#[test]
fn a_report_of_any_number_is_only_a_number() {
    let mut group = Group::of(10_000, 2);
    group.step(&StickyBalanced);
    for (per_mille, tasks) in [(u32::MAX, 0), (u32::MAX, u32::MAX), (0, u32::MAX), (0, 0)] {
        let report = LoadReport { per_mille, tasks };
        group.members.iter_mut().for_each(|member| member.load = Some(report));
        let plan = LoadAware::default().plan(&group.problem()).unwrap();
        assert_eq!(group.problem().check(&plan), Ok(()));
    }
}
