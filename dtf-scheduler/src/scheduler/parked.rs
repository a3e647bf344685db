//! Tasks that rest until there is room for what they have to give. They cost nothing until then.
//!
//! A task is parked when its turn has come and no shard that knows its kind has room; others of its kind follow as their
//! turns come. When there is room for the kind, the first of each group go on, in the order in which they were parked, so
//! that groups share that room as their quotas say; the rest stay.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use dtf_model::{TaskId, TypeVersion};

/// The most tasks of a kind and group that go on at a time.
const TOGETHER: usize = 16;

/// Tasks of one kind, by group, in the order in which they were parked. One that went on meanwhile is in line still, until its
/// turn comes, and passed over.
type Lines = BTreeMap<Arc<str>, VecDeque<TaskId>>;

#[derive(Debug, Default)]
pub(super) struct Parked {
    lines: BTreeMap<TypeVersion, Lines>,
    /// The tasks in the lines, with the number of times that each stands there.
    standing: BTreeMap<TaskId, (bool, usize)>,
}

impl Parked {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Parks a task until there is room for its kind.
    pub(super) fn park(&mut self, task: TaskId, kind: TypeVersion, group: &Arc<str>) {
        let (is_parked, times) = self.standing.entry(task).or_default();
        if std::mem::replace(is_parked, true) && *times > 0 {
            return;
        }
        *times += 1;
        self.lines.entry(kind).or_default().entry(group.clone()).or_default().push_back(task);
    }

    /// Returns true if a task is parked until there is room for its type.
    pub(super) fn awaits_kind(&self, task: TaskId) -> bool {
        self.standing.get(&task).is_some_and(|(is_parked, _)| *is_parked)
    }

    /// The task rests no longer, or is gone.
    pub(super) fn remove(&mut self, task: TaskId) {
        if let Some((is_parked, _)) = self.standing.get_mut(&task) {
            *is_parked = false;
        }
    }

    /// Takes out the first tasks of each group of the kinds that there is room for.
    pub(super) fn go_on(&mut self, has_room: impl Fn(TypeVersion) -> bool) -> Vec<TaskId> {
        let mut going = Vec::new();
        let (lines, standing) = (&mut self.lines, &mut self.standing);
        lines.retain(|kind, groups| {
            if has_room(*kind) {
                groups.retain(|_, line| {
                    let before = going.len();
                    while going.len() < before + TOGETHER
                        && let Some(task) = line.pop_front()
                    {
                        if is_next(standing, task) {
                            going.push(task);
                        }
                    }
                    !line.is_empty()
                });
            }
            !groups.is_empty()
        });
        going
    }
}

/// Takes a task out of line, and says whether it was parked still.
fn is_next(standing: &mut BTreeMap<TaskId, (bool, usize)>, task: TaskId) -> bool {
    let Some((is_parked, times)) = standing.get_mut(&task) else { return false };
    *times -= 1;
    let is_next = std::mem::take(is_parked);
    if *times == 0 {
        standing.remove(&task);
    }
    is_next
}

#[cfg(test)]
mod tests {
    use dtf_model::TaskTypeId;

    use super::*;

    const ONE: TypeVersion = TypeVersion { task_type: TaskTypeId(1), version: 0 };
    const TWO: TypeVersion = TypeVersion { task_type: TaskTypeId(2), version: 0 };

    fn parked(tasks: impl IntoIterator<Item = (u64, TypeVersion, &'static str)>) -> Parked {
        let mut parked = Parked::default();
        for (task, kind, group) in tasks {
            parked.park(TaskId(task), kind, &group.into());
        }
        parked
    }

    fn numbers(tasks: &[TaskId]) -> Vec<u64> {
        tasks.iter().map(|task| task.0).collect()
    }

    #[test]
    fn the_first_of_each_group_go_on_in_their_order() {
        let many = (0..100).rev().map(|task| (task, ONE, "a"));
        let mut parked = parked(many.chain([(200, ONE, "b"), (300, TWO, "b")]));
        let going = numbers(&parked.go_on(|kind| kind == ONE));
        assert_eq!(going, (84..100).rev().chain([200]).collect::<Vec<_>>());
        assert_eq!(numbers(&parked.go_on(|kind| kind == TWO)), [300]);
        let mut left = 0;
        while !parked.is_empty() {
            left += parked.go_on(|_| true).len();
        }
        assert_eq!(left, 84);
        assert!(parked.standing.is_empty());
    }

    #[test]
    fn a_task_that_went_on_meanwhile_is_passed_over() {
        let mut parked = parked([(1, ONE, "a"), (2, ONE, "a"), (3, ONE, "a")]);
        parked.remove(TaskId(1));
        parked.remove(TaskId(2));
        parked.park(TaskId(2), ONE, &"a".into());
        assert_eq!(numbers(&parked.go_on(|_| true)), [2, 3]);
        assert!(parked.is_empty() && parked.standing.is_empty());
    }
}
