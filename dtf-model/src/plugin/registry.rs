//! The registry of the types that a process knows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::TaskPlugin;
use super::conf::TaskConf;
use crate::error::InvalidInput;
use crate::ids::{TaskTypeId, TypeVersion};
use crate::shard::SupportedTypes;

/// A kind of task, as it is registered.
#[derive(Clone)]
pub struct TaskPluginRegistration {
    /// Its number, in `tbl_task` and on the wire.
    pub task_type: TaskTypeId,
    /// Its name, for people.
    pub name: String,
    /// Its purpose, for people.
    pub description: String,
    /// The plugin.
    pub plugin: Arc<dyn TaskPlugin>,
}

impl fmt::Debug for TaskPluginRegistration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskPluginRegistration")
            .field("task_type", &self.task_type)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The kinds of task that a process knows.
#[derive(Clone, Debug, Default)]
pub struct PluginRegistry {
    by_type: BTreeMap<TaskTypeId, (TaskPluginRegistration, TaskConf)>,
}

impl PluginRegistry {
    /// Registers a kind of task.
    ///
    /// # Errors
    /// Its number or name is taken, its name is empty, or its configuration is out of range.
    pub fn register(&mut self, registration: TaskPluginRegistration) -> Result<(), InvalidInput> {
        if registration.name.is_empty() {
            return Err(InvalidInput::Empty("the task type's name"));
        }
        let taken = |other: &TaskPluginRegistration| {
            other.task_type == registration.task_type || other.name == registration.name
        };
        if let Some(other) = self.iter().find(|other| taken(other)) {
            return Err(InvalidInput::TypeTaken(other.task_type, other.name.clone()));
        }
        let conf = registration.plugin.conf();
        conf.check()?;
        self.by_type.insert(registration.task_type, (registration, conf));
        Ok(())
    }

    /// The plugin of a type.
    ///
    /// # Errors
    /// No plugin has this type.
    pub fn get(&self, task_type: TaskTypeId) -> Result<&TaskPluginRegistration, InvalidInput> {
        self.entry(task_type).map(|(registration, _)| registration)
    }

    /// The plugin that may work on tasks of a kind.
    ///
    /// # Errors
    /// No plugin has this type, or the one that has it is of an earlier version.
    pub fn able(&self, kind: TypeVersion) -> Result<&TaskPluginRegistration, InvalidInput> {
        let (registration, conf) = self.entry(kind.task_type)?;
        match conf.version {
            version if version < kind.version => Err(InvalidInput::OldVersion { kind, version }),
            _ => Ok(registration),
        }
    }

    /// Returns the types and versions that this process can work on.
    pub fn kinds(&self) -> SupportedTypes {
        let kinds = self.by_type.iter();
        kinds
            .map(|(task_type, (_, conf))| TypeVersion { task_type: *task_type, version: conf.version })
            .collect()
    }

    /// The configuration of a type, as it was when the plugin was registered.
    ///
    /// # Errors
    /// No plugin has this type.
    pub fn conf(&self, task_type: TaskTypeId) -> Result<&TaskConf, InvalidInput> {
        self.entry(task_type).map(|(_, conf)| conf)
    }

    /// Checks that no kind of task has a longer subtask timeout.
    ///
    /// # Errors
    /// Which has, and what is allowed.
    pub fn check_subtask_timeouts(&self, most: Duration) -> Result<(), InvalidInput> {
        self.by_type.values().try_for_each(|(_, conf)| conf.check_subtask_timeout(most))
    }

    /// The plugin with this name.
    ///
    /// # Errors
    /// No plugin has this name.
    pub fn by_name(&self, name: &str) -> Result<&TaskPluginRegistration, InvalidInput> {
        self.iter().find(|known| known.name == name).ok_or_else(|| self.unknown(format!("{name:?}")))
    }

    /// All of them, by number.
    pub fn iter(&self) -> impl Iterator<Item = &TaskPluginRegistration> {
        self.by_type.values().map(|(registration, _)| registration)
    }

    fn entry(&self, task_type: TaskTypeId) -> Result<&(TaskPluginRegistration, TaskConf), InvalidInput> {
        self.by_type.get(&task_type).ok_or_else(|| self.unknown(task_type.to_string()))
    }

    fn unknown(&self, asked: String) -> InvalidInput {
        let known: Vec<_> = self.iter().map(|known| known.name.as_str()).collect();
        InvalidInput::UnknownType(asked, if known.is_empty() { "none".to_owned() } else { known.join(", ") })
    }
}
