//! Types of task.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// A type of task: one that is compiled into the server, or one that is defined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskType {
    /// Its name.
    pub name: String,
    /// Its number, in `tbl_task`.
    pub number: u32,
    /// The version of its plugin, or the number of times that it was defined.
    pub version: u32,
    /// Its purpose.
    pub description: String,
    /// True if data defines it; false if it is compiled in.
    #[serde(default)]
    pub defined: bool,
    /// The most attempts at a subtask.
    pub max_attempts: u32,
    /// The longest that an attempt may take.
    pub subtask_timeout_ms: u64,
    /// The JSON schema of its parameters, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub schema: Option<Value>,
    /// Its definition, where it is defined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Definition>,
}

/// The definition of a type: parameters of the type `map`, with places for those of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Definition {
    /// The template. `{"$param": "/pointer"}` stands for the value at that JSON pointer of a task's parameters, with a `"default"` beside it
    /// for that one where there is none; `{{/pointer}}` in a string stands for the text there.
    #[schema(value_type = Value)]
    pub template: Value,
    /// The time at which it was written, in milliseconds since the Unix epoch.
    pub updated_at: u64,
    /// The definer.
    pub updated_by: String,
}

/// Defines a type, or gives it another definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DefineType {
    /// The purpose of its tasks.
    #[serde(default)]
    pub description: String,
    /// The JSON schema of the parameters that its tasks are created with. Default: they may be anything.
    #[serde(default)]
    #[schema(value_type = Value)]
    pub schema: Value,
    /// The template: `{"source", "function", "sink", "failed", "attempts", "timeout_ms"}` of the type `map`, with places.
    #[schema(value_type = Value)]
    pub template: Value,
}

/// A page of types.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct TypeQuery {
    /// List the types that are defined with names above this one, and none that is compiled in. Default: all, of those that are defined the
    /// first thousand.
    pub after: Option<String>,
}
