//! Of which kind and group tasks are.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dtf_model::plugin::PluginRegistry;
use dtf_model::{TaskId, TaskSpec, TaskTypeId};
use metrics::{Label, SharedString};

/// How many tasks are remembered; then all are forgotten, and those that go on are learnt again.
const MOST: usize = 20_000;

/// Of which kind and group tasks are, as far as this process has seen.
pub(super) struct SupportedTypes {
    names: BTreeMap<TaskTypeId, SharedString>,
    tasks: Mutex<HashMap<TaskId, [Label; 2]>>,
}

impl SupportedTypes {
    pub(super) fn new(plugins: &PluginRegistry) -> Self {
        let name =
            |known: &dtf_model::plugin::TaskPluginRegistration| (known.task_type, known.name.clone().into());
        Self { names: plugins.iter().map(name).collect(), tasks: Mutex::default() }
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
        [Label::new("type", name), Label::new("group", group.to_owned())]
    }

    fn tasks(&self) -> MutexGuard<'_, HashMap<TaskId, [Label; 2]>> {
        // A panic while it is held can only come from an allocation failure.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
