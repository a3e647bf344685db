//! The parameters that a user gives when creating a task.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::InvalidInput;
use crate::hook::{self, Hook};
use crate::ids::{RunEpoch, TaskId, TaskTypeId, TypeVersion};
use crate::limits::Limits;
use crate::text::check_length;

pub use crate::text::{MAX_DESCRIPTION_CHARS, MAX_NAME_CHARS};

/// The largest `type_param`, as JSON text, in bytes.
pub const MAX_TYPE_PARAM_BYTES: usize = 64 * 1024;
/// The longest a task may be allowed to run.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// The urgency of a task among those of its group: the larger, the more urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Priority(pub u32);

impl Priority {
    /// Runs when nothing better is there.
    pub const LOW: Priority = Priority(2000);
    /// The default.
    pub const MEDIUM: Priority = Priority(6000);
    /// Runs first.
    pub const HIGH: Priority = Priority(9000);

    fn check(self) -> Result<(), InvalidInput> {
        if (Self::LOW..=Self::HIGH).contains(&self) {
            return Ok(());
        }
        Err(InvalidInput::OutOfRange {
            what: "the priority",
            got: self.0.to_string(),
            allowed: "2000 (low) to 9000 (high); 6000 is medium".to_owned(),
        })
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::MEDIUM
    }
}

/// The creator of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Creator {
    /// The user's number in the users' own system.
    pub uid: u64,
    /// The user's name.
    pub name: String,
}

/// A task to be created.
///
/// ```
/// use dtf_model::{Priority, TaskParam};
/// let param = TaskParam { name: "nightly".into(), priority: Priority::HIGH, ..TaskParam::default() };
/// assert!(param.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskParam {
    /// The name, for people; may be empty.
    pub name: String,
    /// The purpose, for people; may be empty.
    pub description: String,
    /// The creator.
    pub creator: Creator,
    /// The resource group that its execution is charged to.
    pub group: String,
    /// Its urgency within the group.
    pub priority: Priority,
    /// The longest time that it may run; paused time does not count. Default 30 minutes.
    #[serde(with = "crate::millis")]
    pub timeout: Duration,
    /// The earliest time of its start, in milliseconds since the Unix epoch; `None` to start at once.
    pub start_at: Option<u64>,
    /// The limits on its running subtasks, whatever its share; those of its type and of its group hold besides.
    pub limits: Limits,
    /// The task whose failed subtasks it runs again, where it is a retry.
    pub retry_of: Option<TaskId>,
    /// The least version of the type's plugin that may work on it; 0 for any. Whoever creates a task raises it to the
    /// [version](crate::plugin::TaskConf::version) of its own plugin.
    #[serde(skip_serializing_if = "is_any")]
    pub type_version: u32,
    /// Who is told of its end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// The parameter of the task's type.
    pub type_param: serde_json::Value,
}

/// So that a task that needs no version is read by programs that know of none.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_any(version: &u32) -> bool {
    *version == 0
}

impl Default for TaskParam {
    fn default() -> Self {
        Self {
            name: String::new(),
            description: String::new(),
            creator: Creator::default(),
            group: crate::group::DEFAULT_GROUP.to_owned(),
            priority: Priority::default(),
            timeout: Duration::from_secs(30 * 60),
            start_at: None,
            limits: Limits::NONE,
            retry_of: None,
            type_version: 0,
            hooks: Vec::new(),
            type_param: serde_json::Value::Null,
        }
    }
}

impl TaskParam {
    /// Checks everything that does not depend on the type.
    ///
    /// # Errors
    /// The first thing that is wrong, and what is allowed.
    pub fn check(&self) -> Result<(), InvalidInput> {
        check_length("the task's name", &self.name, MAX_NAME_CHARS)?;
        check_length("the description", &self.description, MAX_DESCRIPTION_CHARS)?;
        check_length("the creator's name", &self.creator.name, MAX_NAME_CHARS)?;
        check_length("the resource group", &self.group, MAX_NAME_CHARS)?;
        if self.group.is_empty() {
            return Err(InvalidInput::Empty("the resource group"));
        }
        self.priority.check()?;
        if self.timeout < Duration::from_millis(1) || self.timeout > MAX_TIMEOUT {
            return Err(InvalidInput::OutOfRange {
                what: "the timeout",
                got: format!("{:?}", self.timeout),
                allowed: "1 ms to 365 days".to_owned(),
            });
        }
        self.limits.check()?;
        hook::check(&self.hooks)?;
        let bytes = self.type_param.to_string().len();
        if bytes > MAX_TYPE_PARAM_BYTES {
            return Err(InvalidInput::OutOfRange {
                what: "the size of type_param",
                got: format!("{bytes} bytes"),
                allowed: format!("at most {MAX_TYPE_PARAM_BYTES} bytes"),
            });
        }
        Ok(())
    }
}

/// The description of a running task that every role needs. It travels with the task's queues, so that executors need no
/// connection to `tbl_task`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The task.
    pub id: TaskId,
    /// The name of the task's creation. Nil where it is not known: queues that an earlier version made say nothing of it.
    #[serde(default, skip_serializing_if = "Uuid::is_nil")]
    pub request: Uuid,
    /// The run of the task.
    pub run: RunEpoch,
    /// Its type.
    pub task_type: TaskTypeId,
    /// The parameters that the user gave.
    pub param: Arc<TaskParam>,
}

impl TaskSpec {
    /// Returns whether queues with this specification are those of the same creation of the task, as far as is known. A database
    /// that was restored from a backup gives numbers again that later tasks had.
    pub fn is_same_creation(&self, request: Uuid) -> bool {
        self.request == request || self.request.is_nil() || request.is_nil()
    }

    /// Returns the type and version that a process must know to work on it.
    pub fn kind(&self) -> TypeVersion {
        TypeVersion { task_type: self.task_type, version: self.param.type_version }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_said_with_what_is_allowed() {
        let wrong = TaskParam { priority: Priority(1), ..TaskParam::default() };
        assert_eq!(
            wrong.check().map_err(|error| error.to_string()),
            Err("the priority is 1; allowed is 2000 (low) to 9000 (high); 6000 is medium".to_owned())
        );
        let wrong = TaskParam { timeout: Duration::ZERO, ..TaskParam::default() };
        assert!(matches!(wrong.check(), Err(InvalidInput::OutOfRange { what: "the timeout", .. })));
        let wrong = TaskParam { name: "x".repeat(129), ..TaskParam::default() };
        assert!(matches!(wrong.check(), Err(InvalidInput::TooLong { chars: 129, most: 128, .. })));
        let name = TaskParam { name: "ü".repeat(128), ..TaskParam::default() };
        assert!(name.check().is_ok());
    }
}
