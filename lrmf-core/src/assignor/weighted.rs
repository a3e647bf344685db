//! The default planner's idea, for tasks that weigh and members that can hold more or less.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::{Assignor, MemberIx, Placement, PlanError, Problem, TaskIx};

/// Even use of capacity with few moves.
///
/// # The problem
/// Let the *level* of a member be the weight of its tasks divided by its capacity. Place every task such that whoever is
/// above the lowest member by more than an average task, on either of the two, has no task whose move to it would lower
/// the higher of the two levels; from where the tasks are, with few moves. (The evenest placement of all is a bin-packing
/// problem, and would move everything for a gram.)
///
/// # The algorithm
/// Tasks that nobody holds go, heaviest first, each to the lowest member. Then members, from the highest, give the
/// lowest one a task by which both end up lower than the higher one was, until nobody who is more than an average task
/// above the lowest has one. Each such move lowers the ordered list of levels, so this ends. Levels are
/// compared as fractions of integers, never rounded. O(T log T + (N + moves) log N) where weights are alike.
///
/// # Bounds
/// With equal weights and capacities loads differ by at most one, a join moves at most ⌈T/(N+1)⌉ tasks, all to the
/// newcomer, and a loss only the orphans.
#[derive(Clone, Copy, Debug, Default)]
pub struct StickyWeighted;

impl Assignor for StickyWeighted {
    fn plan(&self, problem: &Problem<'_>) -> Result<Vec<Placement>, PlanError> {
        if problem.members.is_empty() {
            return Ok(Vec::new());
        }
        let mut balance = Balance::new(problem);
        balance.place_orphans();
        while balance.even_out() {}
        Ok(problem.moves_to(balance.targets))
    }

    fn name(&self) -> &'static str {
        "sticky-weighted"
    }
}

/// The fill level of a member. Ordered by that, then by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Level {
    load: u64,
    capacity: u32,
    member: MemberIx,
}

impl Level {
    fn with(self, weight: u32) -> Self {
        Self { load: self.load + u64::from(weight), ..self }
    }

    fn without(self, weight: u32) -> Self {
        Self { load: self.load - u64::from(weight), ..self }
    }

    /// Compares the fractions alone.
    fn height(&self, other: &Self) -> Ordering {
        let across = |load: u64, capacity: u32| u128::from(load) * u128::from(capacity.max(1));
        across(self.load, other.capacity).cmp(&across(other.load, self.capacity))
    }
}

impl Ord for Level {
    fn cmp(&self, other: &Self) -> Ordering {
        self.height(other).then(self.member.cmp(&other.member))
    }
}

impl PartialOrd for Level {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

struct Balance<'a> {
    problem: &'a Problem<'a>,
    /// The target of each task; meaningless for orphans until they are placed.
    targets: Vec<MemberIx>,
    /// Each member's tasks as (weight, task); sorted only once the member has to give some away.
    tasks: Vec<Tasks>,
    levels: BTreeSet<Level>,
    now: Vec<Level>,
    /// The weight of an average task, rounded up: smaller differences are left alone.
    average: u32,
}

#[derive(Clone, Debug)]
enum Tasks {
    Listed(Vec<(u32, TaskIx)>),
    Sorted(BTreeSet<(u32, TaskIx)>),
}

impl Tasks {
    fn add(&mut self, task: (u32, TaskIx)) {
        match self {
            Self::Listed(tasks) => tasks.push(task),
            Self::Sorted(tasks) => drop(tasks.insert(task)),
        }
    }

    fn sorted(&mut self) -> &mut BTreeSet<(u32, TaskIx)> {
        if let Self::Listed(tasks) = self {
            *self = Self::Sorted(std::mem::take(tasks).into_iter().collect());
        }
        match self {
            Self::Sorted(tasks) => tasks,
            Self::Listed(_) => unreachable!("it was sorted just now"),
        }
    }
}

impl<'a> Balance<'a> {
    fn new(problem: &'a Problem<'a>) -> Self {
        let level = |(member, candidate): (MemberIx, &super::Candidate)| Level {
            load: 0,
            capacity: candidate.capacity,
            member,
        };
        let mut now: Vec<Level> = (0..).zip(problem.members).map(level).collect();
        let mut tasks = vec![Tasks::Listed(Vec::new()); problem.members.len()];
        for ((index, task), holder) in (0..).zip(problem.tasks).zip(problem.holders) {
            if let Some(holder) = *holder {
                now[holder as usize] = now[holder as usize].with(task.weight);
                tasks[holder as usize].add((task.weight, index));
            }
        }
        let targets = problem.holders.iter().map(|holder| holder.unwrap_or(0)).collect();
        let weight: u64 = problem.tasks.iter().map(|task| u64::from(task.weight)).sum();
        let average = weight.div_ceil(problem.tasks.len().max(1) as u64);
        let average = u32::try_from(average).unwrap_or(u32::MAX);
        Self { problem, targets, tasks, levels: now.iter().copied().collect(), now, average }
    }

    fn place_orphans(&mut self) {
        let unheld = (0..).zip(self.problem.holders).filter(|(_, holder)| holder.is_none());
        let weigh = |(task, _): (TaskIx, _)| (self.problem.tasks[task as usize].weight, task);
        let mut orphans: Vec<(u32, TaskIx)> = unheld.map(weigh).collect();
        orphans.sort_unstable_by_key(|(weight, task)| (std::cmp::Reverse(*weight), *task));
        for orphan in orphans {
            if let Some(lowest) = self.levels.first().copied() {
                self.give(orphan, lowest);
            }
        }
    }

    /// Lets every member, from the highest, give to the lowest what evens them out. Whether anything moved.
    fn even_out(&mut self) -> bool {
        let mut moved = false;
        let mut donor = self.levels.last().copied();
        while let (Some(high), Some(low)) = (donor, self.levels.first().copied()) {
            if high.height(&low.with(self.average)).is_le() {
                break;
            }
            let helping = if self.is_near(high, low) { None } else { self.one_that_helps(high, low) };
            match helping {
                Some(task) => {
                    moved = true;
                    self.take(task, high);
                    self.give(task, low);
                    // The next highest, which may be the same member again; those above had nothing to give.
                    donor = self.levels.range(..=high).next_back().copied();
                }
                None => donor = self.levels.range(..high).next_back().copied(),
            }
        }
        moved
    }

    /// Returns true where `high` without an average task is no higher than `low`.
    fn is_near(&self, high: Level, low: Level) -> bool {
        let less = u64::from(self.average).min(high.load);
        Level { load: high.load - less, ..high }.height(&low).is_le()
    }

    /// A task of `high` with which `low` stays below what `high` was: the heaviest up to an average one, so that few are
    /// moved and `high` does not become the next one in need; else the lightest above that.
    fn one_that_helps(&mut self, high: Level, low: Level) -> Option<(u32, TaskIx)> {
        // The most that `low` can take: w with (low + w) / c < high / d, so w < high * c / d - low.
        let room = u128::from(high.load) * u128::from(low.capacity.max(1));
        let most = room.div_ceil(u128::from(high.capacity.max(1))) - 1 - u128::from(low.load);
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let average = most.min(self.average);
        let tasks = self.tasks[high.member as usize].sorted();
        let light = tasks.range(..=(average, TaskIx::MAX)).next_back();
        let heavy = || tasks.range((average, TaskIx::MAX)..).next().filter(|(weight, _)| *weight <= most);
        light.or_else(heavy).copied()
    }

    fn take(&mut self, task: (u32, TaskIx), from: Level) {
        self.tasks[from.member as usize].sorted().remove(&task);
        self.set_level(from.without(task.0));
    }

    fn give(&mut self, task: (u32, TaskIx), to: Level) {
        self.tasks[to.member as usize].add(task);
        self.targets[task.1 as usize] = to.member;
        self.set_level(to.with(task.0));
    }

    fn set_level(&mut self, level: Level) {
        let before = std::mem::replace(&mut self.now[level.member as usize], level);
        self.levels.remove(&before);
        self.levels.insert(level);
    }
}
