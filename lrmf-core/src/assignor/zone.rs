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
#[derive(Clone, Default)]
pub struct ZoneAware {
    wish: Option<Arc<About>>,
    family: Option<Arc<About>>,
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
        self.wish = Some(Arc::new(zone));
        self
    }

    /// The same with tasks that belong to the family which this names.
    #[must_use]
    pub fn spreading(mut self, family: impl Fn(&Task) -> Option<String> + Send + Sync + 'static) -> Self {
        self.family = Some(Arc::new(family));
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

/// Index of a family.
type FamilyIx = usize;

/// A member's tasks. Most members of a large group neither give nor take any, so theirs stay a list.
#[derive(Clone, Debug)]
enum Tasks {
    /// In order.
    Listed(Vec<TaskIx>),
    Sorted(BTreeSet<TaskIx>),
}

impl Tasks {
    fn sorted(&mut self) -> &mut BTreeSet<TaskIx> {
        if let Self::Listed(tasks) = self {
            *self = Self::Sorted(std::mem::take(tasks).into_iter().collect());
        }
        match self {
            Self::Sorted(tasks) => tasks,
            Self::Listed(_) => unreachable!("it was sorted right above"),
        }
    }

    fn add(&mut self, task: TaskIx) {
        match self {
            Self::Listed(tasks) if tasks.last().is_none_or(|last| *last < task) => tasks.push(task),
            Self::Listed(_) | Self::Sorted(_) => drop(self.sorted().insert(task)),
        }
    }

    fn find(&self, wanted: impl Fn(TaskIx) -> bool) -> Option<TaskIx> {
        match self {
            Self::Listed(tasks) => tasks.iter().copied().find(|task| wanted(*task)),
            Self::Sorted(tasks) => tasks.iter().copied().find(|task| wanted(*task)),
        }
    }
}

/// The families of the tasks.
#[derive(Default)]
struct Families {
    /// Of each task; empty where no task is of any.
    of: Vec<Option<FamilyIx>>,
    members: Vec<Vec<TaskIx>>,
}

impl Families {
    fn new(family: &About, tasks: &[Task]) -> Self {
        let (mut known, mut families) = (HashMap::new(), Self::default());
        for (task, ix) in tasks.iter().zip(0..) {
            let named = (family)(task).map(|name| {
                let family = *known.entry(name).or_insert(families.members.len());
                if family == families.members.len() {
                    families.members.push(Vec::new());
                }
                families.members[family].push(ix);
                family
            });
            families.of.push(named);
        }
        families
    }

    fn of(&self, task: TaskIx) -> Option<FamilyIx> {
        self.of.get(task as usize).copied().flatten()
    }
}

/// The layout, as far as it has been planned.
struct Layout {
    targets: Vec<Option<MemberIx>>,
    /// Of each task, the zone that it must be in; empty where no task has a wish.
    wishes: Vec<Option<ZoneIx>>,
    families: Families,
    /// Of each family, how many of its tasks are in each zone.
    spread: Vec<Vec<u32>>,
    zone_of: Vec<ZoneIx>,
    /// Of each zone, its members by load.
    zones: Vec<BTreeSet<(u32, MemberIx)>>,
    loads: Vec<u32>,
    tasks_of: Vec<Tasks>,
}

impl Layout {
    fn new(assignor: &ZoneAware, problem: &Problem<'_>) -> Self {
        let names: BTreeSet<Option<&str>> =
            problem.members.iter().map(|member| member.zone.as_deref()).collect();
        let index: BTreeMap<Option<&str>, ZoneIx> = names.into_iter().zip(0..).collect();
        let zone_of: Vec<ZoneIx> =
            problem.members.iter().map(|member| index[&member.zone.as_deref()]).collect();
        let families = assignor.family.as_ref();
        let families = families.map(|family| Families::new(&**family, problem.tasks)).unwrap_or_default();
        let zone = |name: String| index.get(&Some(name.as_str())).copied();
        let wishes = assignor.wish.iter().flat_map(|wish| problem.tasks.iter().map(|task| wish(task)));
        let mut layout = Self {
            targets: problem.holders.to_vec(),
            wishes: wishes.map(|wish| wish.and_then(zone)).collect(),
            spread: vec![vec![0; index.len()]; families.members.len()],
            families,
            zones: vec![BTreeSet::new(); index.len()],
            loads: vec![0; zone_of.len()],
            tasks_of: Vec::new(),
            zone_of,
        };
        layout.count();
        layout
    }

    /// Takes in where the tasks are: all at once, as most of them stay there.
    fn count(&mut self) {
        self.targets.iter().flatten().for_each(|member| self.loads[*member as usize] += 1);
        let lists = self.loads.iter().map(|load| Tasks::Listed(Vec::with_capacity(*load as usize)));
        self.tasks_of = lists.collect();
        for (task, member) in (0..).zip(&self.targets) {
            let Some(member) = member else { continue };
            self.tasks_of[*member as usize].add(task);
            if let Some(family) = self.families.of(task) {
                self.spread[family][self.zone_of[*member as usize]] += 1;
            }
        }
        for ((zone, load), member) in self.zone_of.iter().zip(&self.loads).zip(0..) {
            self.zones[*zone].insert((*load, member));
        }
    }

    fn wish(&self, task: TaskIx) -> Option<ZoneIx> {
        self.wishes.get(task as usize).copied().flatten()
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
        self.tasks_of[member as usize].add(task);
        self.set_load(member, self.loads[member as usize] + 1);
        if let Some(family) = self.families.of(task) {
            self.spread[family][self.zone_of[member as usize]] += 1;
        }
    }

    fn take(&mut self, task: TaskIx) {
        let Some(member) = self.targets[task as usize].take() else { return };
        self.tasks_of[member as usize].sorted().remove(&task);
        self.set_load(member, self.loads[member as usize] - 1);
        if let Some(family) = self.families.of(task) {
            self.spread[family][self.zone_of[member as usize]] -= 1;
        }
    }

    /// The lowest member of a zone. Zones have members.
    fn lowest(&self, zone: ZoneIx) -> (u32, MemberIx) {
        self.zones[zone].first().copied().unwrap_or_default()
    }

    fn fulfil_wishes(&mut self) {
        for task in (0..).take(self.wishes.len()) {
            if let Some(zone) = self.wish(task).filter(|zone| self.zone(task) != Some(*zone)) {
                self.put(task, self.lowest(zone).1);
            }
        }
    }

    /// Each to the zone that has the fewest of its family, and there, or where it is of none, to the lowest member.
    fn place_orphans(&mut self) {
        for task in (0..).take(self.targets.len()) {
            if self.targets[task as usize].is_none() {
                let of_family = |zone: ZoneIx| self.families.of(task).map(|family| self.spread[family][zone]);
                let zone = (0..self.zones.len()).min_by_key(|zone| (of_family(*zone), self.lowest(*zone)));
                self.put(task, self.lowest(zone.unwrap_or(0)).1);
            }
        }
    }

    fn spread_families(&mut self) {
        for family in 0..self.families.members.len() {
            while let Some((task, zone)) = self.uneven(family) {
                self.put(task, self.lowest(zone).1);
            }
        }
    }

    /// A task of the family, free to go, in a zone that has at least two more of the family than the one to go to. It is
    /// one of the highest member's.
    fn uneven(&self, family: FamilyIx) -> Option<(TaskIx, ZoneIx)> {
        let counts = &self.spread[family];
        let to = (0..counts.len()).min_by_key(|zone| (counts[*zone], self.lowest(*zone)))?;
        let free = |task: &&TaskIx| {
            let from = self.zone(**task);
            self.wish(**task).is_none() && from.is_some_and(|from| counts[from] >= counts[to] + 2)
        };
        let rank = |task: &&TaskIx| {
            let member = self.targets[**task as usize].unwrap_or(0);
            (self.zone(**task).map_or(0, |from| counts[from]), self.loads[member as usize], **task)
        };
        self.families.members[family].iter().filter(free).max_by_key(rank).map(|task| (*task, to))
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
        let (least, mut below) = (self.lowest(to).0 + 2, u32::MAX);
        loop {
            let highest = |zone: &BTreeSet<(u32, MemberIx)>| zone.range(..(below, 0)).next_back().copied();
            let (load, _) = self.zones.iter().filter_map(highest).max().filter(|(load, _)| *load >= least)?;
            if let Some(task) = self.one_at(load, to) {
                return Some(task);
            }
            below = load;
        }
    }

    /// The same of those alone that have this load, the first by name. There may be thousands, and mostly the first one has
    /// a task that may go.
    fn one_at(&self, load: u32, to: ZoneIx) -> Option<TaskIx> {
        let of_load = |zone: &BTreeSet<(u32, MemberIx)>, from: MemberIx| {
            zone.range((load, from)..=(load, MemberIx::MAX)).next().map(|(_, member)| *member)
        };
        let mut from = 0;
        loop {
            let member = self.zones.iter().filter_map(|zone| of_load(zone, from)).min()?;
            let task = self.tasks_of[member as usize].find(|task| self.may_go(task, to));
            if task.is_some() {
                return task;
            }
            from = member + 1;
        }
    }

    /// Returns true where the move takes nothing away from wishes and families.
    fn may_go(&self, task: TaskIx, to: ZoneIx) -> bool {
        let Some(from) = self.zone(task) else { return true };
        let evens = |family: FamilyIx| self.spread[family][from] > self.spread[family][to];
        from == to || self.wish(task).is_none() && self.families.of(task).is_none_or(evens)
    }
}
