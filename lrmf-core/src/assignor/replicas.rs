//! The planner of replicas.

use std::collections::BTreeMap;

use super::{Assignor, MemberIx, Placement, PlanError, Problem};
use crate::replicas::parse;

/// The most rounds of evening out; each makes loads more even, and a few are enough.
const MOST_ROUNDS: usize = 64;

/// Replicas of a task on different members, promotion where a standby is, and even loads.
///
/// # The problem
/// Find a holder for every replica, subject to: the replicas of a task are with different members, as far as there are as many;
/// a task that has lost its primary gets one where it has a standby. Then make the numbers of replicas even, and the numbers of
/// primaries, with few moves. Tasks that are no replicas count as primaries without standbys.
///
/// # The algorithm
/// 1. What is held stays, but for a second replica of a task at one member where there are enough members.
/// 2. A primary that nobody holds goes to the standby with the fewest primaries; that standby becomes free.
/// 3. What is free goes to the member with the least replicas (then the fewest primaries, then the first name) of those
///    without one of its task.
/// 4. While two members differ by more than one replica, one moves from the one to the other: a primary where they differ by more
///    than one of those too, else a standby.
/// 5. Of tasks that nobody had a replica of, the primary changes places with a standby, while two members differ by more than one
///    primary.
///
/// # Bounds
/// A loss moves the replicas of the lost member, and one standby for each primary that is promoted. Step 4 takes what the
/// distinct members of each task leave open, so that loads may differ by more than one where most tasks are with most members.
/// Numbers of primaries are even when tasks are new, and after that as far as promotions and step 4 make them so: a primary that
/// works does not change places for the sake of evenness alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplicaBalanced;

/// The replicas of one task: of each, its place in the problem, by number.
struct Group {
    slots: Vec<usize>,
    /// The first of them is the primary.
    has_primary: bool,
}

struct Planner<'a> {
    problem: &'a Problem<'a>,
    groups: Vec<Group>,
    targets: Vec<Option<MemberIx>>,
    loads: Vec<u32>,
    primaries: Vec<u32>,
}

impl Assignor for ReplicaBalanced {
    fn plan(&self, problem: &Problem<'_>) -> Result<Vec<Placement>, PlanError> {
        if problem.members.is_empty() {
            return Ok(Vec::new());
        }
        let mut planner = Planner::new(problem);
        for group in 0..planner.groups.len() {
            planner.part(group);
            planner.promote(group);
        }
        for group in 0..planner.groups.len() {
            planner.fill(group);
        }
        planner.repeat(Planner::even_out);
        planner.repeat(Planner::exchange);
        Ok(problem.moves_to(planner.targets.iter().map(|target| target.unwrap_or(0))))
    }

    fn name(&self) -> &'static str {
        "replica-balanced"
    }
}

impl<'a> Planner<'a> {
    fn new(problem: &'a Problem<'a>) -> Self {
        let mut by_task: BTreeMap<&str, Vec<(u32, usize)>> = BTreeMap::new();
        for (ix, task) in problem.tasks.iter().enumerate() {
            let (name, number) = parse(&task.key).unwrap_or((&task.key, 0));
            by_task.entry(name).or_default().push((number, ix));
        }
        let group = |mut slots: Vec<(u32, usize)>| {
            slots.sort_unstable();
            let has_primary = slots.first().is_some_and(|(number, _)| *number == 0);
            Group { slots: slots.into_iter().map(|(_, ix)| ix).collect(), has_primary }
        };
        let members = problem.members.len();
        let mut planner = Self {
            problem,
            groups: by_task.into_values().map(group).collect(),
            targets: vec![None; problem.tasks.len()],
            loads: vec![0; members],
            primaries: vec![0; members],
        };
        for group in 0..planner.groups.len() {
            for at in 0..planner.groups[group].slots.len() {
                let holder = problem.holders[planner.groups[group].slots[at]];
                planner.set(group, at, holder);
            }
        }
        planner
    }

    /// Gives a slot to a member, or to nobody.
    fn set(&mut self, group: usize, at: usize, to: Option<MemberIx>) {
        let of = &self.groups[group];
        let (ix, primary) = (of.slots[at], u32::from(of.has_primary && at == 0));
        if let Some(from) = std::mem::replace(&mut self.targets[ix], to) {
            self.loads[from as usize] -= 1;
            self.primaries[from as usize] -= primary;
        }
        if let Some(to) = to {
            self.loads[to as usize] += 1;
            self.primaries[to as usize] += primary;
        }
    }

    fn target(&self, group: usize, at: usize) -> Option<MemberIx> {
        self.targets[self.groups[group].slots[at]]
    }

    fn has(&self, group: usize, member: MemberIx) -> bool {
        self.groups[group].slots.iter().any(|ix| self.targets[*ix] == Some(member))
    }

    /// Frees what is a second replica at its member. A primary stays where it is.
    fn part(&mut self, group: usize) {
        let slots = self.groups[group].slots.len();
        let mut seen: Vec<MemberIx> = Vec::with_capacity(slots);
        for at in 0..slots {
            let Some(member) = self.target(group, at) else { continue };
            // With fewer members than replicas some are together, and stay.
            if seen.contains(&member) && seen.len() < self.problem.members.len() && self.is_crowded(group) {
                self.set(group, at, None);
            } else {
                seen.push(member);
            }
        }
    }

    /// Returns true where there is a member without a replica of the task.
    fn is_crowded(&self, group: usize) -> bool {
        (0..self.problem.members.len()).any(|member| !self.has(group, member as MemberIx))
    }

    /// Makes a standby the primary, where there is none.
    fn promote(&mut self, group: usize) {
        let of = &self.groups[group];
        if !of.has_primary || self.target(group, 0).is_some() {
            return;
        }
        let standbys = (1..of.slots.len()).filter_map(|at| Some((self.target(group, at)?, at)));
        let best = standbys.min_by_key(|(member, _)| (self.primaries[*member as usize], *member));
        if let Some((member, at)) = best {
            self.set(group, at, None);
            self.set(group, 0, Some(member));
        }
    }

    fn fill(&mut self, group: usize) {
        for at in 0..self.groups[group].slots.len() {
            if self.target(group, at).is_none() {
                let all = 0..self.problem.members.len() as MemberIx;
                let best = all.min_by_key(|member| {
                    let ix = *member as usize;
                    (self.has(group, *member), self.loads[ix], self.primaries[ix], *member)
                });
                self.set(group, at, best);
            }
        }
    }

    /// Goes through all tasks until that changes nothing.
    fn repeat(&mut self, step: fn(&mut Self, usize) -> bool) {
        for _ in 0..MOST_ROUNDS {
            let mut changed = false;
            for group in 0..self.groups.len() {
                changed |= step(self, group);
            }
            if !changed {
                return;
            }
        }
    }

    /// Moves a replica of the task from a member with more to one with less, where that makes loads more even.
    fn even_out(&mut self, group: usize) -> bool {
        let free = (0..self.problem.members.len() as MemberIx).filter(|member| !self.has(group, *member));
        let Some(to) = free.min_by_key(|member| (self.loads[*member as usize], *member)) else {
            return false;
        };
        // A primary that was just promoted stays: it is where a standby was.
        let is_primary = |at: usize| at == 0 && self.groups[group].has_primary;
        let stays = |at: usize, member| {
            is_primary(at) && self.problem.holders[self.groups[group].slots[0]] != Some(member)
        };
        let leads = |member: MemberIx| self.primaries[member as usize] > self.primaries[to as usize] + 1;
        let held = (0..self.groups[group].slots.len()).filter_map(|at| Some((self.target(group, at)?, at)));
        let best = held.filter(|(member, at)| !stays(*at, *member)).max_by_key(|(member, at)| {
            (self.loads[*member as usize], is_primary(*at) == leads(*member), *at)
        });
        let Some((from, at)) = best else { return false };
        let uneven = self.loads[from as usize] > self.loads[to as usize] + 1;
        if uneven {
            self.set(group, at, Some(to));
        }
        uneven
    }

    /// Lets the primary change places with a standby, where that makes the numbers of primaries more even.
    fn exchange(&mut self, group: usize) -> bool {
        let is_new = self.groups[group].slots.iter().all(|ix| self.problem.holders[*ix].is_none());
        if !self.groups[group].has_primary || !is_new {
            return false;
        }
        let Some(from) = self.target(group, 0) else { return false };
        let standbys =
            (1..self.groups[group].slots.len()).filter_map(|at| Some((self.target(group, at)?, at)));
        let best = standbys.min_by_key(|(member, _)| (self.primaries[*member as usize], *member));
        let Some((to, at)) = best else { return false };
        let uneven = self.primaries[from as usize] > self.primaries[to as usize] + 1;
        if uneven {
            self.set(group, 0, Some(to));
            self.set(group, at, Some(from));
        }
        uneven
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignor::Candidate;
    use crate::ids::InstanceId;
    use crate::replicas::key_of;
    use crate::task::Task;

    /// A group that plans again and again.
    struct Table {
        tasks: Vec<Task>,
        members: Vec<Candidate>,
        holders: Vec<Option<MemberIx>>,
    }

    impl Table {
        fn new(tasks: u32, replicas: u32, members: &[&str]) -> Self {
            let key = |task: u32, number| key_of(&format!("t{task:03}"), number);
            let all = (0..tasks).flat_map(|task| (0..replicas).map(move |number| key(task, number)));
            let mut tasks: Vec<Task> = all.map(|key| Task::new(key, "")).collect();
            tasks.sort();
            let holders = vec![None; tasks.len()];
            let mut table = Self { tasks, members: Vec::new(), holders };
            table.members = members.iter().map(|name| Self::candidate(name)).collect();
            table
        }

        fn candidate(name: &str) -> Candidate {
            Candidate { instance: InstanceId::new(name).unwrap(), capacity: 1, zone: None, load: None }
        }

        /// Plans, and says how many moved that somebody held.
        fn plan(&mut self) -> usize {
            let problem = Problem { tasks: &self.tasks, members: &self.members, holders: &self.holders };
            let plan = ReplicaBalanced.plan(&problem).unwrap();
            problem.check(&plan).unwrap();
            let moved = plan.iter().filter(|at| self.holders[at.task as usize].is_some()).count();
            for at in plan {
                self.holders[at.task as usize] = Some(at.to);
            }
            let problem = Problem { tasks: &self.tasks, members: &self.members, holders: &self.holders };
            assert_eq!(ReplicaBalanced.plan(&problem).unwrap(), [], "planning again changes nothing");
            moved
        }

        fn lose(&mut self, member: usize) {
            self.members.remove(member);
            for holder in &mut self.holders {
                *holder = holder.filter(|holder| *holder as usize != member);
                *holder = holder.map(|holder| if holder as usize > member { holder - 1 } else { holder });
            }
        }

        fn of(&self, task: &str) -> Vec<MemberIx> {
            let of = |(held, _): &(&Task, _)| parse(&held.key).is_some_and(|(name, _)| name == task);
            self.tasks.iter().zip(&self.holders).filter(of).map(|(_, holder)| holder.unwrap()).collect()
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<_> =
                self.tasks.iter().filter_map(|task| Some(parse(&task.key)?.0.to_owned())).collect();
            names.dedup();
            names
        }

        fn loads(&self, primaries: bool) -> Vec<usize> {
            let counts = |task: &Task| !primaries || parse(&task.key).is_some_and(|(_, number)| number == 0);
            let of = |member: usize| {
                let held = self.tasks.iter().zip(&self.holders);
                held.filter(|(task, holder)| counts(task) && **holder == Some(member as MemberIx)).count()
            };
            (0..self.members.len()).map(of).collect()
        }

        fn assert_apart_and_even(&self, primaries_differ_by: usize) {
            for name in self.names() {
                let mut members = self.of(&name);
                let replicas = members.len();
                members.sort_unstable();
                members.dedup();
                assert_eq!(members.len(), replicas.min(self.members.len()), "{name}: {members:?}");
            }
            for (loads, by) in [(self.loads(false), 1), (self.loads(true), primaries_differ_by)] {
                let (most, least) = (loads.iter().max().unwrap(), loads.iter().min().unwrap());
                assert!(most - least <= by, "{loads:?}");
            }
        }
    }

    #[test]
    fn replicas_are_apart_and_loads_are_even() {
        for members in [&["a"][..], &["a", "b"], &["a", "b", "c"], &["a", "b", "c", "d", "e"]] {
            for replicas in 1..=3 {
                let mut table = Table::new(30, replicas, members);
                table.plan();
                table.assert_apart_and_even(1);
            }
        }
    }

    #[test]
    fn a_task_that_loses_its_primary_goes_on_where_a_standby_was() {
        let mut table = Table::new(40, 3, &["a", "b", "c", "d", "e"]);
        table.plan();
        let before: Vec<_> = table.names().iter().map(|name| (name.clone(), table.of(name))).collect();
        table.lose(2);
        let shifted = |member: MemberIx| if member > 2 { member - 1 } else { member };
        let moved = table.plan();
        let mut promoted = 0;
        for (name, was) in before {
            let now = table.of(&name);
            if was[0] == 2 {
                promoted += 1;
                assert!(
                    was[1..].iter().any(|standby| shifted(*standby) == now[0]),
                    "{name}: {was:?}, {now:?}"
                );
            }
        }
        assert_eq!(promoted, 8);
        // The promoted ones leave their standbys' places, and a few even out.
        assert!(moved <= promoted * 2, "{moved} moved");
        table.assert_apart_and_even(3);
    }

    #[test]
    fn a_join_moves_its_share() {
        let mut table = Table::new(40, 2, &["a", "b", "c"]);
        table.plan();
        table.members.push(Table::candidate("d"));
        let moved = table.plan();
        assert_eq!((moved, table.loads(false)[3]), (20, 20));
        assert!(table.loads(true)[3] > 0, "some of them are primaries");
        table.assert_apart_and_even(10);
    }
}
