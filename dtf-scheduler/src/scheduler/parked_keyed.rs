//! Tasks with keys that rest until a shard that serves some of their keys has room.
//!
//! # The problem
//! Shards are full and have room again many times a second, and thousands of tasks may rest. So each task stands in line at
//! every spot where something of it could go, and a look for room costs by the number of spots that anything waits at, which
//! is bounded by the shards, and not by the number of tasks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use dtf_model::TaskId;

use super::capacity::Spot;

/// The most tasks of a spot and group that go on at a time.
const TOGETHER: usize = 16;

/// A task that rests: its place in line, its group, and the spots where it stands.
#[derive(Debug)]
struct Standing {
    number: u64,
    group: Arc<str>,
    spots: BTreeSet<Spot>,
}

/// Tasks of a spot by group, in the order in which they were parked.
type Lines = BTreeMap<Arc<str>, BTreeMap<u64, TaskId>>;

#[derive(Debug, Default)]
pub(super) struct ParkedKeyed {
    lines: BTreeMap<Spot, Lines>,
    standing: HashMap<TaskId, Standing>,
    /// Those that stand nowhere yet.
    unplaced: Vec<TaskId>,
    /// The number of tasks parked so far.
    parked: u64,
    /// The layout of the shards by which the tasks were placed.
    layout: u64,
}

impl ParkedKeyed {
    pub(super) fn is_empty(&self) -> bool {
        self.standing.is_empty()
    }

    /// Parks a task; [`place`](Self::place) gives it its spots.
    pub(super) fn park(&mut self, task: TaskId, group: &Arc<str>) {
        self.remove(task);
        self.parked += 1;
        let standing = Standing { number: self.parked, group: group.clone(), spots: BTreeSet::new() };
        self.standing.insert(task, standing);
        self.unplaced.push(task);
    }

    /// Places those that were parked since; all of them, in the same order as before, where shards have moved.
    pub(super) fn place(&mut self, layout: u64, mut spots: impl FnMut(TaskId) -> BTreeSet<Spot>) {
        let mut unplaced = std::mem::take(&mut self.unplaced);
        if layout != self.layout {
            self.layout = layout;
            self.lines.clear();
            unplaced = self.standing.keys().copied().collect();
        }
        for task in unplaced {
            let Some(standing) = self.standing.get_mut(&task) else { continue };
            standing.spots = spots(task);
            for spot in &standing.spots {
                let line = self.lines.entry(*spot).or_default().entry(standing.group.clone()).or_default();
                line.insert(standing.number, task);
            }
        }
    }

    /// The task rests no longer, or is gone.
    pub(super) fn remove(&mut self, task: TaskId) {
        let Some(Standing { number, group, spots }) = self.standing.remove(&task) else { return };
        for spot in spots {
            let Some(lines) = self.lines.get_mut(&spot) else { continue };
            if let Some(line) = lines.get_mut(&group) {
                line.remove(&number);
                if line.is_empty() {
                    lines.remove(&group);
                }
            }
            if lines.is_empty() {
                self.lines.remove(&spot);
            }
        }
    }

    /// Takes out the first tasks of each group at the spots that have room.
    pub(super) fn go_on(&mut self, mut has_room: impl FnMut(Spot) -> bool) -> BTreeSet<TaskId> {
        let ready = self.lines.iter().filter(|(spot, _)| has_room(**spot));
        let first = ready.flat_map(|(_, lines)| lines.values()).flat_map(|line| line.values().take(TOGETHER));
        let going: BTreeSet<_> = first.copied().collect();
        going.iter().for_each(|task| self.remove(*task));
        going
    }
}

#[cfg(test)]
mod tests {
    use dtf_model::{TaskTypeId, TypeVersion};

    use super::*;

    const KIND: TypeVersion = TypeVersion { task_type: TaskTypeId(1), version: 0 };

    fn at(shards: &[u32]) -> BTreeSet<Spot> {
        shards.iter().map(|shard| Spot::On(KIND, *shard)).collect()
    }

    /// Tasks that stand at the shards of their numbers, modulo 8 and 3.
    fn parked(count: u64, group: fn(u64) -> &'static str) -> ParkedKeyed {
        let mut parked = ParkedKeyed::default();
        (0..count).for_each(|task| parked.park(TaskId(task), &group(task).into()));
        place(&mut parked, 1, 0);
        parked
    }

    fn place(parked: &mut ParkedKeyed, layout: u64, moved: u32) {
        let spots = |task: TaskId| at(&[(task.0 % 8) as u32 + moved, 100 + (task.0 % 3) as u32 + moved]);
        parked.place(layout, spots);
    }

    fn numbers(tasks: &BTreeSet<TaskId>) -> Vec<u64> {
        tasks.iter().map(|task| task.0).collect()
    }

    #[test]
    fn a_look_for_room_costs_by_the_shards_and_not_by_the_tasks() {
        let mut parked = parked(20_000, |_| "a");
        let mut looks = 0;
        for _ in 0..100 {
            let going = parked.go_on(|_| {
                looks += 1;
                false
            });
            assert!(going.is_empty());
        }
        assert_eq!(looks, 100 * (8 + 3));
    }

    #[test]
    fn the_first_of_each_group_at_a_shard_with_room_go_on_and_stand_nowhere_else() {
        let mut parked = parked(1000, |task| if task < 900 { "a" } else { "b" });
        let going = numbers(&parked.go_on(|spot| spot == Spot::On(KIND, 5)));
        let of = |from: u64| (from..).filter(|task| task % 8 == 5).take(TOGETHER);
        assert_eq!(going, of(0).chain((900..1000).filter(|task| task % 8 == 5)).collect::<Vec<_>>());
        let again = parked.go_on(|spot| matches!(spot, Spot::On(_, 100..)));
        assert!(again.iter().all(|task| !going.contains(&task.0)));
        let mut left = going.len() + again.len();
        while !parked.is_empty() {
            let going = parked.go_on(|_| true).len();
            assert!(going > 0);
            left += going;
        }
        assert_eq!((left, parked.lines.len()), (1000, 0));
    }

    #[test]
    fn those_whose_shards_move_keep_their_order_at_the_new_ones() {
        let mut parked = parked(64, |_| "a");
        parked.park(TaskId(0), &"a".into());
        place(&mut parked, 2, 10);
        assert!(parked.go_on(|spot| matches!(spot, Spot::On(_, 0..8))).is_empty());
        assert_eq!(numbers(&parked.go_on(|spot| spot == Spot::On(KIND, 10))), [0, 8, 16, 24, 32, 40, 48, 56]);
        parked.remove(TaskId(1));
        assert_eq!(numbers(&parked.go_on(|spot| spot == Spot::On(KIND, 11))), [9, 17, 25, 33, 41, 49, 57]);
    }
}
