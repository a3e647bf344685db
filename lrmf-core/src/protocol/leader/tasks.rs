//! The tasks that exist, as the provider listed them last.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::error::InvalidTask;
use crate::records::entry_bytes;
use crate::task::{MAX_TASKS, Task};

/// A checked list of tasks in key order. A clone is the same list.
#[derive(Clone, Debug, Default)]
pub(super) struct TaskList {
    tasks: Arc<Vec<Task>>,
    index: Arc<HashMap<Arc<str>, u32, FixedState>>,
}

impl TaskList {
    /// Checks and sorts what a provider said; none where that is what it said `before`.
    pub(super) fn unless_same(
        before: Option<&Self>,
        mut tasks: Vec<Task>,
        most: usize,
    ) -> Result<Option<Self>, InvalidTask> {
        // Providers mostly say the same again, and in the same order.
        tasks.sort_unstable();
        if before.is_some_and(|before| *before.tasks == tasks) {
            Ok(None)
        } else {
            Self::new(tasks, most).map(Some)
        }
    }

    /// Checks and sorts what a provider said. None may take more than `most` bytes in a record.
    pub(super) fn new(mut tasks: Vec<Task>, most: usize) -> Result<Self, InvalidTask> {
        if tasks.len() > MAX_TASKS {
            return Err(InvalidTask::TooMany { count: tasks.len(), most: MAX_TASKS });
        }
        tasks.sort_unstable();
        if let Some(twice) = tasks.windows(2).find(|pair| pair[0].key == pair[1].key) {
            return Err(InvalidTask::Duplicate { key: twice[0].key.clone() });
        }
        let mut index = HashMap::with_capacity_and_hasher(tasks.len(), FixedState::default());
        for (ix, task) in (0u32..).zip(&tasks) {
            task.check()?;
            let bytes = entry_bytes(&task.key, &task.value);
            if bytes > most {
                return Err(InvalidTask::TooLarge { key: task.key.clone(), bytes, most });
            }
            index.insert(task.key.clone(), ix);
        }
        Ok(Self { tasks: Arc::new(tasks), index: Arc::new(index) })
    }

    pub(super) fn all(&self) -> &[Task] {
        &self.tasks
    }

    /// The same, to keep.
    pub(super) fn shared(&self) -> Arc<Vec<Task>> {
        self.tasks.clone()
    }

    /// The number of a task in the list.
    pub(super) fn position(&self, key: &str) -> Option<u32> {
        self.index.get(key).copied()
    }

    pub(super) fn get(&self, key: &str) -> Option<&Task> {
        self.index.get(key).map(|ix| &self.tasks[*ix as usize])
    }
}

/// The tasks without those that the assignor is not asked about, as they were last: mostly it is the same ones again, and
/// the others may be a million.
#[derive(Clone, Default)]
pub(super) struct Asked(Option<Cut>);

#[derive(Clone)]
struct Cut {
    all: Arc<Vec<Task>>,
    /// Their numbers, in order.
    without: Vec<usize>,
    left: Arc<Vec<Task>>,
}

impl fmt::Debug for Asked {
    /// Nothing depends on it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asked")
    }
}

impl Asked {
    /// The list without these.
    pub(super) fn without(&mut self, list: &TaskList, skipped: &[usize]) -> Arc<Vec<Task>> {
        if skipped.is_empty() {
            self.0 = None;
            return list.shared();
        }
        let same = |cut: &&Cut| Arc::ptr_eq(&cut.all, &list.tasks) && cut.without == skipped;
        if let Some(cut) = self.0.as_ref().filter(same) {
            return cut.left.clone();
        }
        let mut numbers = skipped.iter().peekable();
        let kept = |(ix, _): &(usize, &Task)| numbers.next_if(|number| *number == ix).is_none();
        let left: Arc<Vec<_>> =
            Arc::new(list.all().iter().enumerate().filter(kept).map(|(_, task)| task.clone()).collect());
        let cut = Cut { all: list.shared(), without: skipped.to_vec(), left: left.clone() };
        self.0 = Some(cut);
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 1024;

    #[test]
    fn a_task_that_no_record_can_hold_is_refused_with_the_limit() {
        let value = "\n".repeat(500);
        let found = TaskList::new(vec![Task::new("a", ""), Task::new("b", value)], MOST).unwrap_err();
        let said = "task \"b\" takes up to 1089 bytes in a record; at most 1024 are allowed with this store: \
                    shorten its value";
        assert_eq!(found.to_string(), said);
    }

    #[test]
    fn duplicates_are_named() {
        let found = TaskList::new(vec![Task::new("b", "1"), Task::new("a", ""), Task::new("b", "2")], MOST);
        assert_eq!(found.unwrap_err(), InvalidTask::Duplicate { key: "b".into() });
    }

    #[test]
    fn a_list_over_the_limit_is_refused_with_both_numbers() {
        let task = Task::new("a", "");
        let found = TaskList::new(vec![task; MAX_TASKS + 1], MOST).unwrap_err();
        assert_eq!(found, InvalidTask::TooMany { count: MAX_TASKS + 1, most: MAX_TASKS });
    }

    #[test]
    fn what_is_left_is_made_once() {
        let list = |value: &str| {
            let tasks = ["a", "b", "c", "d"].map(|key| Task::new(key, value));
            TaskList::new(tasks.to_vec(), MOST).unwrap()
        };
        let (one, other, mut asked) = (list("1"), list("2"), Asked::default());
        assert!(Arc::ptr_eq(&asked.without(&one, &[]), &one.shared()), "nothing is left out");
        let left = asked.without(&one, &[0, 2]);
        assert_eq!(left.iter().map(|task| task.key.as_ref()).collect::<Vec<_>>(), ["b", "d"]);
        assert!(Arc::ptr_eq(&asked.without(&one, &[0, 2]), &left));
        assert_eq!(asked.without(&one, &[1])[1].key.as_ref(), "c");
        assert_eq!(asked.without(&other, &[1])[1].value.as_ref(), "2");
    }

    #[test]
    fn tasks_are_found_by_key() {
        let list = TaskList::new(vec![Task::new("b", "2"), Task::new("a", "1")], MOST).unwrap();
        assert_eq!(list.get("b").unwrap().value.as_ref(), "2");
        assert!(list.get("c").is_none());
        assert!(TaskList::new(vec![Task::new("", "")], MOST).is_err());
    }
}
