//! Of which kind and group tasks are.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dtf_model::plugin::PluginRegistry;
use dtf_model::{TaskId, TaskSpec, TaskTypeId};
use metrics::{Label, SharedString};

/// How many tasks are remembered; then all are forgotten, and those that go on are learnt again.
const MOST: usize = 20_000;
/// The most groups that are told apart; the series of all others are one. Every label is kept for as long as the process lives, in
/// every metric by group, and a cluster may have thousands of groups and of processes.
const MOST_GROUPS: usize = 100;
/// The group of those that are not told apart.
const OTHERS: &str = "(others)";

/// Of which kind and group tasks are, as far as this process has seen.
pub(super) struct SupportedTypes {
    names: BTreeMap<TaskTypeId, SharedString>,
    tasks: Mutex<HashMap<TaskId, [Label; 2]>>,
    /// The groups that are told apart: the first ones that this process has seen.
    groups: Mutex<HashSet<String>>,
}

impl SupportedTypes {
    pub(super) fn new(plugins: &PluginRegistry) -> Self {
        let name =
            |known: &dtf_model::plugin::TaskPluginRegistration| (known.task_type, known.name.clone().into());
        let names = plugins.iter().map(name).collect();
        Self { names, tasks: Mutex::default(), groups: Mutex::default() }
    }

    pub(super) fn learn(&self, spec: &TaskSpec) {
        let labels = self.of(spec.task_type, &spec.param.group);
        let mut tasks = self.tasks();
        if tasks.len() >= MOST {
            tasks.clear();
        }
        tasks.insert(spec.id, labels);
    }

    /// A task's type and group, as labels.
    pub(super) fn labels(&self, task: TaskId) -> Vec<Label> {
        let known = self.tasks().get(&task).cloned();
        let unknown = || ["type", "group"].map(|name| Label::from_static_parts(name, "unknown"));
        known.unwrap_or_else(unknown).to_vec()
    }

    /// A type and a group, as labels.
    pub(super) fn of(&self, task_type: TaskTypeId, group: &str) -> [Label; 2] {
        let name = self.names.get(&task_type).cloned();
        let name = name.unwrap_or_else(|| task_type.to_string().into());
        [Label::new("type", name), Label::new("group", self.group(group).to_owned())]
    }

    /// A group, or that it is one of the others.
    fn group<'a>(&self, group: &'a str) -> &'a str {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if groups.contains(group) {
            return group;
        }
        if groups.len() >= MOST_GROUPS {
            return OTHERS;
        }
        groups.insert(group.to_owned());
        group
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<TaskId, [Label; 2]>> {
        // A panic while it is held can only come from an allocation failure.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_groups_are_no_thousand_series() {
        let kinds = SupportedTypes::new(&PluginRegistry::default());
        let groups: HashSet<_> = (0..1000)
            .map(|group| kinds.of(TaskTypeId(1), &format!("g{group}"))[1].value().to_owned())
            .collect();
        assert_eq!(groups.len(), MOST_GROUPS + 1);
        assert_eq!(kinds.of(TaskTypeId(1), "g0")[1].value(), "g0");
        assert_eq!(kinds.of(TaskTypeId(1), "g999")[1].value(), OTHERS);
    }
}
