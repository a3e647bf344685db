//! A finished task type, and references to task types.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use dtf_model::TaskTypeId;
use dtf_model::plugin::TaskPluginRegistration;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::builder::{Named, TaskTypeBuilder};
use crate::live::Live;

/// A type of task: parameter `P`, items `I`, the output `O` of each item, and the result `R` of the whole task.
///
/// It is made by a [builder](TaskType::named), registered with the processes that work on it, and given to whoever runs tasks
/// of it, so that the compiler checks parameters and results. A clone is the same task type.
///
/// ```
/// use dtf_model::plugin::{PluginRegistry, TaskPluginRegistration};
/// use dtf_typed::TaskType;
///
/// let lengths = TaskType::named("lengths")
///     .input(|words: Vec<String>| words)
///     .execute(|word: String, _ctx| async move { Ok(word.len()) })
///     .build();
/// let mut registry = PluginRegistry::default();
/// registry.register(TaskPluginRegistration::from(&lengths)).expect("its name and number are free");
/// ```
pub struct TaskType<P, I, O, R> {
    pub(crate) registration: TaskPluginRegistration,
    pub(crate) live: Arc<Live>,
    pub(crate) types: PhantomData<Types<P, I, O, R>>,
}

/// The types of a task type, none of which it contains.
type Types<P, I, O, R> = fn(P) -> (I, O, R);

impl TaskType<(), (), (), ()> {
    /// Begins to build a task type of this name. Tasks are created by name, and the type's number is
    /// [derived](crate::number_of) from it.
    pub fn named(name: impl Into<String>) -> TaskTypeBuilder<Named> {
        TaskTypeBuilder::new(name.into())
    }
}

impl<P, I, O, R> TaskType<P, I, O, R> {
    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.registration.name
    }

    /// Returns the number, as it is stored in `tbl_task.task_type`.
    pub fn number(&self) -> TaskTypeId {
        self.registration.task_type
    }

    /// Returns the registration, for whatever takes the untyped one.
    pub fn registration(&self) -> TaskPluginRegistration {
        self.registration.clone()
    }

    /// Returns the outputs of running tasks that are collected in this process.
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }
}

impl<P, I, O, R> Clone for TaskType<P, I, O, R> {
    fn clone(&self) -> Self {
        Self { registration: self.registration.clone(), live: self.live.clone(), types: PhantomData }
    }
}

impl<P, I, O, R> fmt::Debug for TaskType<P, I, O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskType")
            .field("name", &self.name())
            .field("number", &self.number())
            .finish_non_exhaustive()
    }
}

impl<P, I, O, R> From<TaskType<P, I, O, R>> for TaskPluginRegistration {
    fn from(task_type: TaskType<P, I, O, R>) -> Self {
        task_type.registration
    }
}

impl<P, I, O, R> From<&TaskType<P, I, O, R>> for TaskPluginRegistration {
    fn from(task_type: &TaskType<P, I, O, R>) -> Self {
        task_type.registration()
    }
}

/// A reference to a task type with parameters `P` and results `R`.
///
/// A `&TaskType` has the types that it was built with, so the compiler checks them. A name (`&str`) can be used with any
/// types; whether they fit is checked when the task is created and when its result is read.
pub trait TaskRef<P, R> {
    /// Returns the name of the task type.
    fn type_name(&self) -> &str;
}

impl<P: Serialize, R: DeserializeOwned> TaskRef<P, R> for &str {
    fn type_name(&self) -> &str {
        self
    }
}

impl<P, I, O, R> TaskRef<P, R> for &TaskType<P, I, O, R> {
    fn type_name(&self) -> &str {
        self.name()
    }
}
