//! The tasks that exist, as the provider listed them last.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::error::InvalidTask;
use crate::task::{MAX_TASKS, Task};

/// A checked list of tasks in key order.
#[derive(Clone, Debug, Default)]
pub(super) struct TaskList {
    tasks: Vec<Task>,
    index: HashMap<Arc<str>, u32, FixedState>,
}

impl TaskList {
    /// Checks and sorts what a provider said; none where that is what it said `before`.
    pub(super) fn unless_same(
        before: Option<&Self>,
        mut tasks: Vec<Task>,
    ) -> Result<Option<Self>, InvalidTask> {
        // Providers mostly say the same again, and in the same order.
        tasks.sort_unstable();
        if before.is_some_and(|before| before.tasks == tasks) { Ok(None) } else { Self::new(tasks).map(Some) }
    }

    /// Checks and sorts what a provider said.
    pub(super) fn new(mut tasks: Vec<Task>) -> Result<Self, InvalidTask> {
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
            index.insert(task.key.clone(), ix);
        }
        Ok(Self { tasks, index })
    }

    pub(super) fn all(&self) -> &[Task] {
        &self.tasks
    }

    /// The number of a task in the list.
    pub(super) fn position(&self, key: &str) -> Option<u32> {
        self.index.get(key).copied()
    }

    pub(super) fn get(&self, key: &str) -> Option<&Task> {
        self.index.get(key).map(|ix| &self.tasks[*ix as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_named() {
        let found = TaskList::new(vec![Task::new("b", "1"), Task::new("a", ""), Task::new("b", "2")]);
        assert_eq!(found.unwrap_err(), InvalidTask::Duplicate { key: "b".into() });
    }

    #[test]
    fn a_list_over_the_limit_is_refused_with_both_numbers() {
        let task = Task::new("a", "");
        let found = TaskList::new(vec![task; MAX_TASKS + 1]).unwrap_err();
        assert_eq!(found, InvalidTask::TooMany { count: MAX_TASKS + 1, most: MAX_TASKS });
    }

    #[test]
    fn tasks_are_found_by_key() {
        let list = TaskList::new(vec![Task::new("b", "2"), Task::new("a", "1")]).unwrap();
        assert_eq!(list.get("b").unwrap().value.as_ref(), "2");
        assert!(list.get("c").is_none());
        assert!(TaskList::new(vec![Task::new("", "")]).is_err());
    }
}
