//! Placement over failure domains.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use super::{Assignor, MemberIx, Placement, PlanError, Problem, TaskIx};
use crate::task::Task;

/// Says something about a task, or nothing: which zone it prefers, which family it is of. It must depend on the task
/// alone.
type About = dyn Fn(&Task) -> Option<String> + Send + Sync;

/// Families of tasks spread over zones, tasks in the zones that they prefer, even loads.
///
/// Zones are what members say in their settings; members that say nothing are a zone of their own together. Zones
/// without members count for nothing.
///
/// # The problem
/// Place every task such that, each as far as the ones before allow,
/// 1. a task that prefers a zone is in it, if that zone has a member;
/// 2. of each family, the numbers of tasks in any two zones differ by at most one;
/// 3. the numbers of tasks of any two members differ by at most one;
/// 4. few tasks move.
///
/// Families are for replicas and the like: with as many zones as replicas, losing one zone loses one of each. Weights
/// and capacities do not count.
///
/// # The algorithm
/// From where the tasks are, single moves that improve the list above, until there is none: orphans and tasks outside
/// of the zone they prefer go to the lowest member there; of families that are uneven, tasks go from the zone with most
/// to the zone with fewest; then the highest members give to the lowest, within zones and, where a task's wish and family
/// allow it, between them. Every move lowers (tasks outside of their zone, Σ over families and zones of tasks²,
/// Σ over members of tasks²), so this ends, and planning again finds nothing to do. O(T log T + moves · (Z² + T/N)), more
/// where many tasks are bound to their zones.
///
/// # Bounds
/// Members of one zone differ by at most one. Without wishes and families it is all as with
/// [`StickyBalanced`](super::StickyBalanced): loads differ by at most one, a join moves at most ⌈T/(N+1)⌉ tasks, all to the
/// newcomer, and a loss only the orphans.
///
/// ```
/// use lrmf_core::assignor::ZoneAware;
/// // "orders-7/2" is a replica of "orders-7".
/// let assignor = ZoneAware::new().spreading(|task| Some(task.key.split_once('/')?.0.to_owned()));
/// # let _: &dyn lrmf_core::assignor::Assignor = &assignor;
/// ```
#[derive(Clone)]
pub struct ZoneAware {
    wish: Arc<About>,
    family: Arc<About>,
}

impl Default for ZoneAware {
    fn default() -> Self {
        Self { wish: Arc::new(|_| None), family: Arc::new(|_| None) }
    }
}

impl fmt::Debug for ZoneAware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ZoneAware")
    }
}

impl ZoneAware {
    /// Even loads; no wishes and no families yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with tasks that prefer the zone which this names.
    #[must_use]
    pub fn preferring(mut self, zone: impl Fn(&Task) -> Option<String> + Send + Sync + 'static) -> Self {
        self.wish = Arc::new(zone);
        self
    }

    /// The same with tasks that belong to the family which this names.
    #[must_use]
    pub fn spreading(mut self, family: impl Fn(&Task) -> Option<String> + Send + Sync + 'static) -> Self {
        self.family = Arc::new(family);
        self
    }
}

impl Assignor for ZoneAware {
    fn plan(&self, problem: &Problem<'_>) -> Result<Vec<Placement>, PlanError> {
        if problem.members.is_empty() {
            return Ok(Vec::new());
        }
        let mut layout = Layout::new(self, problem);
        layout.fulfil_wishes();
        layout.place_orphans();
        layout.spread_families();
        while layout.even_out() {}
        Ok(problem.moves_to(layout.targets.iter().map(|target| target.unwrap_or(0))))
    }

    fn name(&self) -> &'static str {
        "zone-aware"
    }
}

/// Index of a zone, in name order.
type ZoneIx = usize;

/// Where everything is, as far as it has been planned.
struct Layout {
    targets: Vec<Option<MemberIx>>,
    /// Of each task, the zone that it must be in.
    wishes: Vec<Option<ZoneIx>>,
    families: Vec<Option<usize>>,
    /// Of each family, how many of its tasks are in each zone.
    spread: Vec<Vec<u32>>,
    members_of: Vec<Vec<TaskIx>>,
    zone_of: Vec<ZoneIx>,
    /// Of each zone, its members by load.
    zones: Vec<BTreeSet<(u32, MemberIx)>>,
    loads: Vec<u32>,
    tasks_of: Vec<BTreeSet<TaskIx>>,
}

impl Layout {
    fn new(assignor: &ZoneAware, problem: &Problem<'_>) -> Self {
        let names: BTreeSet<Option<&str>> =
            problem.members.iter().map(|member| member.zone.as_deref()).collect();
        let index: BTreeMap<Option<&str>, ZoneIx> = names.into_iter().zip(0..).collect();
        let zone_of: Vec<ZoneIx> =
            problem.members.iter().map(|member| index[&member.zone.as_deref()]).collect();
        let mut known = HashMap::new();
        let mut members_of: Vec<Vec<TaskIx>> = Vec::new();
        let mut family_of = |(task, ix): (&Task, TaskIx)| {
            let name = (assignor.family)(task)?;
            let family = *known.entry(name).or_insert(members_of.len());
            if family == members_of.len() {
                members_of.push(Vec::new());
            }
            members_of[family].push(ix);
            Some(family)
        };
        let families: Vec<_> = problem.tasks.iter().zip(0..).map(&mut family_of).collect();
        let wish = |task| (assignor.wish)(task).and_then(|zone| index.get(&Some(zone.as_str())).copied());
        let mut layout = Self {
            targets: vec![None; problem.tasks.len()],
            wishes: problem.tasks.iter().map(wish).collect(),
            families,
            spread: vec![vec![0; index.len()]; members_of.len()],
            members_of,
            zones: vec![BTreeSet::new(); index.len()],
            loads: vec![0; zone_of.len()],
            tasks_of: vec![BTreeSet::new(); zone_of.len()],
            zone_of,
        };
        for (zone, member) in layout.zone_of.iter().zip(0..) {
            layout.zones[*zone].insert((0, member));
        }
        for (task, holder) in (0..).zip(problem.holders) {
            holder.iter().for_each(|holder| layout.put(task, *holder));
        }
        layout
    }

    fn zone(&self, task: TaskIx) -> Option<ZoneIx> {
        self.targets[task as usize].map(|member| self.zone_of[member as usize])
    }

    fn set_load(&mut self, member: MemberIx, load: u32) {
        let zone = &mut self.zones[self.zone_of[member as usize]];
        let before = std::mem::replace(&mut self.loads[member as usize], load);
        zone.remove(&(before, member));
        zone.insert((load, member));
    }

    fn put(&mut self, task: TaskIx, member: MemberIx) {
        self.take(task);
        self.targets[task as usize] = Some(member);
        self.tasks_of[member as usize].insert(task);
        self.set_load(member, self.loads[member as usize] + 1);
        if let Some(family) = self.families[task as usize] {
            self.spread[family][self.zone_of[member as usize]] += 1;
        }
    }

    fn take(&mut self, task: TaskIx) {
        let Some(member) = self.targets[task as usize].take() else { return };
        self.tasks_of[member as usize].remove(&task);
        self.set_load(member, self.loads[member as usize] - 1);
        if let Some(family) = self.families[task as usize] {
            self.spread[family][self.zone_of[member as usize]] -= 1;
        }
    }

    /// The lowest member of a zone. Zones have members.
    fn lowest(&self, zone: ZoneIx) -> (u32, MemberIx) {
        self.zones[zone].first().copied().unwrap_or_default()
    }

    fn fulfil_wishes(&mut self) {
        for task in (0..).take(self.targets.len()) {
            if let Some(zone) = self.wishes[task as usize].filter(|zone| self.zone(task) != Some(*zone)) {
                self.put(task, self.lowest(zone).1);
            }
        }
    }

    /// Each to the zone that has the fewest of its family, and there, or where it is of none, to the lowest member.
    fn place_orphans(&mut self) {
        for task in (0..).take(self.targets.len()) {
            if self.targets[task as usize].is_none() {
                let of_family =
                    |zone: ZoneIx| self.families[task as usize].map(|family| self.spread[family][zone]);
                let zone = (0..self.zones.len()).min_by_key(|zone| (of_family(*zone), self.lowest(*zone)));
                self.put(task, self.lowest(zone.unwrap_or(0)).1);
            }
        }
    }

    fn spread_families(&mut self) {
        for family in 0..self.members_of.len() {
            while let Some((task, zone)) = self.uneven(family) {
                self.put(task, self.lowest(zone).1);
            }
        }
    }

    /// A task of the family, free to go, in a zone that has at least two more of the family than the one to go to. It is
    /// one of the highest member's.
    fn uneven(&self, family: usize) -> Option<(TaskIx, ZoneIx)> {
        let counts = &self.spread[family];
        let to = (0..counts.len()).min_by_key(|zone| (counts[*zone], self.lowest(*zone)))?;
        let free = |task: &&TaskIx| {
            let from = self.zone(**task);
            self.wishes[**task as usize].is_none() && from.is_some_and(|from| counts[from] >= counts[to] + 2)
        };
        let rank = |task: &&TaskIx| {
            let member = self.targets[**task as usize].unwrap_or(0);
            (self.zone(**task).map_or(0, |from| counts[from]), self.loads[member as usize], **task)
        };
        self.members_of[family].iter().filter(free).max_by_key(rank).map(|task| (*task, to))
    }

    /// Moves a task from a high member to a low one, if there is one that may.
    fn even_out(&mut self) -> bool {
        let mut receivers: Vec<ZoneIx> = (0..self.zones.len()).collect();
        receivers.sort_unstable_by_key(|zone| self.lowest(*zone));
        for to in receivers {
            if let Some(task) = self.one_for(to) {
                self.put(task, self.lowest(to).1);
                return true;
            }
        }
        false
    }

    /// A task of somebody who has at least two more than the lowest member of the zone: of the highest that has one.
    fn one_for(&self, to: ZoneIx) -> Option<TaskIx> {
        let (low, _) = self.lowest(to);
        let mut donors: Vec<(u32, MemberIx)> = Vec::new();
        for zone in &self.zones {
            donors.extend(zone.range((low + 2, 0)..));
        }
        donors.sort_unstable_by_key(|(load, member)| (std::cmp::Reverse(*load), *member));
        let may = |task: &&TaskIx| self.may_go(**task, to);
        donors.into_iter().find_map(|(_, member)| self.tasks_of[member as usize].iter().find(may).copied())
    }

    /// Whether the move takes nothing away from wishes and families.
    fn may_go(&self, task: TaskIx, to: ZoneIx) -> bool {
        let Some(from) = self.zone(task) else { return true };
        let evens = |family: usize| self.spread[family][from] > self.spread[family][to];
        from == to || self.wishes[task as usize].is_none() && self.families[task as usize].is_none_or(evens)
    }
}
