//! The registry of the types that a process knows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::conf::TaskConf;
use super::{Members, TaskPlugin, members};
use crate::error::InvalidInput;
use crate::ids::{TaskTypeId, TypeVersion};
use crate::param::{TaskParam, TaskSpec};
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
    /// The type that has members, if any has.
    with_members: Option<TaskTypeId>,
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
        if members::is_member(registration.task_type) {
            return Err(InvalidInput::OutOfRange {
                what: "the number of the task type",
                got: registration.task_type.to_string(),
                allowed: "any but 1073741824 to 2147483647, which are those of members of types".to_owned(),
            });
        }
        let conf = registration.plugin.conf();
        conf.check()?;
        if registration.plugin.members().is_some() {
            if let Some(other) = self.with_members {
                let name = self.get(other).map_or_else(|_| other.to_string(), |other| other.name.clone());
                return Err(InvalidInput::TypeTaken(other, name));
            }
            self.with_members = Some(registration.task_type);
        }
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
        let kinds =
            kinds.map(|(task_type, (_, conf))| TypeVersion { task_type: *task_type, version: conf.version });
        let kinds: SupportedTypes = kinds.collect();
        if self.with_members.is_some() { kinds.and_all_members() } else { kinds }
    }

    /// Returns the types that this process can execute now, as the holders of shards say it. Of a type with members they are the members
    /// that are there.
    pub fn executable(&self) -> SupportedTypes {
        let kinds = self.by_type.iter();
        let kinds = kinds.filter(|(task_type, _)| self.with_members != Some(**task_type));
        let kinds =
            kinds.map(|(task_type, (_, conf))| TypeVersion { task_type: *task_type, version: conf.version });
        let members = self.members().map(|(name, members)| {
            let members = members.borrow();
            let numbers = members.iter().map(|member| members::number_of(&name, member));
            numbers.map(|task_type| TypeVersion { task_type, version: 0 }).collect::<Vec<_>>()
        });
        kinds.chain(members.unwrap_or_default()).collect()
    }

    /// Returns the name of the type that has members, and the members that this process can execute now.
    pub fn members(&self) -> Option<(String, Members)> {
        let registration = self.get(self.with_members?).ok()?;
        Some((registration.name.clone(), registration.plugin.members()?))
    }

    /// Returns the number of the type that a task with these parameters is of: of a member, where the type has members.
    pub fn number_for(&self, registration: &TaskPluginRegistration, param: &TaskParam) -> TaskTypeId {
        match registration.plugin.member(param) {
            Some(member) => members::number_of(&registration.name, &member),
            None => registration.task_type,
        }
    }

    /// Returns the number of the type with this name, which may be that of a member, as in `map:thumbnail`.
    ///
    /// # Errors
    /// The type is unknown; the error names those that are known.
    pub fn number_named(&self, name: &str) -> Result<TaskTypeId, InvalidInput> {
        match name.split_once(':') {
            Some((family, member)) if self.by_name(family).is_ok_and(|family| self.has_members(family)) => {
                Ok(members::number_of(family, member))
            }
            _ => Ok(self.by_name(name)?.task_type),
        }
    }

    /// The type that others can be defined of.
    ///
    /// # Errors
    /// This process knows none.
    pub fn definable(&self) -> Result<&TaskPluginRegistration, InvalidInput> {
        let registration = self.with_members.and_then(|number| self.get(number).ok());
        registration.ok_or_else(|| {
            InvalidInput::TypeParam("this process knows no type that others can be defined of".to_owned())
        })
    }

    /// Returns the number of a type that is defined under this name.
    ///
    /// # Errors
    /// This process knows no type that others can be defined of.
    pub fn number_of_defined(&self, name: &str) -> Result<TaskTypeId, InvalidInput> {
        Ok(members::number_of(&self.definable()?.name, &members::of_defined(name)))
    }

    /// Returns the kind that an executor has to offer for the subtasks of this task: of a type that is defined, that of its function.
    pub fn executing_kind(&self, spec: &TaskSpec) -> TypeVersion {
        match self.executing_member(spec) {
            Some((family, member)) => {
                TypeVersion { task_type: members::number_of(&family.name, &member), ..spec.kind() }
            }
            None => spec.kind(),
        }
    }

    /// Returns the [executing kind](Self::executing_kind) of a task, and its name.
    pub fn executing_name(&self, spec: &TaskSpec) -> (TypeVersion, String) {
        let name = match self.executing_member(spec) {
            Some((family, member)) => format!("{}:{member}", family.name),
            None => self.name_of(spec.task_type, &spec.param),
        };
        (self.executing_kind(spec), name)
    }

    fn executing_member(&self, spec: &TaskSpec) -> Option<(&TaskPluginRegistration, String)> {
        let family = self.get(spec.task_type).ok().filter(|family| self.has_members(family))?;
        Some((family, family.plugin.executing_member(&spec.param)?))
    }

    /// Returns the parameters that a task was created with: of a type that is defined, those that its template was filled with.
    pub fn given<'a>(&self, task_type: TaskTypeId, param: &'a TaskParam) -> &'a serde_json::Value {
        self.get(task_type).map_or(&param.type_param, |known| known.plugin.given(param))
    }

    fn has_members(&self, registration: &TaskPluginRegistration) -> bool {
        self.with_members == Some(registration.task_type)
    }

    /// Returns the name of a task's type: of a member, where the type has members; its number, where this process does not know it.
    pub fn name_of(&self, task_type: TaskTypeId, param: &TaskParam) -> String {
        let Ok(registration) = self.get(task_type) else { return task_type.to_string() };
        match registration.plugin.member(param) {
            Some(member) => match members::defined_name(&member) {
                Some(name) => name.to_owned(),
                None => format!("{}:{member}", registration.name),
            },
            None => registration.name.clone(),
        }
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
        let task_type = match self.with_members {
            Some(with_members) if members::is_member(task_type) => with_members,
            _ => task_type,
        };
        self.by_type.get(&task_type).ok_or_else(|| self.unknown(task_type.to_string()))
    }

    fn unknown(&self, asked: String) -> InvalidInput {
        let known: Vec<_> = self.iter().map(|known| known.name.as_str()).collect();
        InvalidInput::UnknownType(asked, if known.is_empty() { "none".to_owned() } else { known.join(", ") })
    }
}
