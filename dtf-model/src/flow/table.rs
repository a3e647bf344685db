//! The port to what waits for what.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::result_ref::{check_references, takes_results};
use super::{Condition, End};
use crate::error::{InvalidInput, StoreError};
use crate::ids::{FlowId, TaskId, TaskTypeId};
use crate::param::TaskParam;
use crate::status::{Counts, TaskStatus};
use crate::table::{NewTask, TaskRow};
use crate::text::{MAX_NAME_CHARS, check_length};

/// The most tasks of a flow.
pub const MAX_FLOW_TASKS: usize = 10_000;
/// The most tasks that one task waits for.
pub const MAX_DEPENDENCIES: usize = 1000;

/// A predecessor of a task that is to be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum On {
    /// A task that exists.
    Task(TaskId),
    /// An earlier task of the same creation, by its index.
    Member(usize),
}

/// A task that another one waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnTask {
    /// The task.
    pub on: On,
    /// The condition on its end.
    pub condition: Condition,
    /// The name by which the parameter of the waiting task refers to it: the local name, or the id.
    pub label: String,
}

/// A task to be created, and what it waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct NewMember {
    /// The local name; empty for a task of no flow.
    pub name: String,
    /// The type.
    pub task_type: TaskTypeId,
    /// The parameters.
    pub param: TaskParam,
    /// The tasks that it waits for.
    pub after: Vec<OnTask>,
}

/// Tasks to be created in one transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct NewFlow {
    /// The name of the creation: creating with the same one again makes nothing more.
    pub request: Uuid,
    /// The name of the flow, for people; `None` for a single task that is in no flow.
    pub name: Option<String>,
    /// The flow whose failed tasks it runs again.
    pub retry_of: Option<FlowId>,
    /// The tasks; each waits only for earlier ones.
    pub members: Vec<NewMember>,
    /// The time, in milliseconds since the Unix epoch.
    pub now: u64,
}

impl NewFlow {
    /// Returns the name of the creation of a task.
    pub fn request_of(&self, member: usize) -> Uuid {
        match self.name {
            None => self.request,
            Some(_) => Uuid::new_v5(&self.request, &(member as u64).to_be_bytes()),
        }
    }

    /// Returns a task as it is inserted.
    pub fn task(&self, member: usize) -> NewTask {
        let NewMember { task_type, param, .. } = &self.members[member];
        NewTask {
            request: self.request_of(member),
            task_type: *task_type,
            param: param.clone(),
            now: self.now,
        }
    }

    /// Returns the existing tasks that these wait for.
    pub fn existing(&self) -> Vec<TaskId> {
        let on = self.members.iter().flat_map(|member| &member.after);
        let mut tasks: Vec<_> = on
            .filter_map(|on| match on.on {
                On::Task(task) => Some(task),
                On::Member(_) => None,
            })
            .collect();
        tasks.sort_unstable();
        tasks.dedup();
        tasks
    }

    /// Checks everything that does not depend on types and on what exists.
    ///
    /// # Errors
    /// The first thing that is wrong, and what is allowed.
    pub fn check(&self) -> Result<(), InvalidInput> {
        let wrong = |why: String| Err(InvalidInput::Flow(why));
        if let Some(name) = &self.name {
            check_length("the flow's name", name, MAX_NAME_CHARS)?;
        }
        if self.members.is_empty() || self.members.len() > MAX_FLOW_TASKS {
            return wrong(format!(
                "the flow has {} tasks; allowed are 1 to {MAX_FLOW_TASKS}",
                self.members.len()
            ));
        }
        for (index, member) in self.members.iter().enumerate() {
            member.param.check()?;
            check_length("the task's name in the flow", &member.name, MAX_NAME_CHARS)?;
            if member.after.len() > MAX_DEPENDENCIES {
                let number = member.after.len();
                return wrong(format!(
                    "task {:?} waits for {number} tasks; allowed are {MAX_DEPENDENCIES}",
                    member.name
                ));
            }
            let mut seen = std::collections::BTreeSet::new();
            for on in &member.after {
                if matches!(on.on, On::Member(earlier) if earlier >= index) {
                    return wrong(format!(
                        "task {:?} waits for a later one; only earlier ones can be waited for",
                        member.name
                    ));
                }
                if !seen.insert(on.on) {
                    return wrong(format!(
                        "task {:?} waits for {:?} twice; name it once",
                        member.name, on.label
                    ));
                }
            }
            let labels: Vec<_> = member.after.iter().map(|on| on.label.as_str()).collect();
            check_references(&member.param.type_param, &labels)?;
        }
        Ok(())
    }
}

impl NewMember {
    /// Returns true if its parameter takes results of the tasks that it waits for.
    pub fn takes_results(&self) -> bool {
        takes_results(&self.param.type_param)
    }
}

/// The membership of a task in a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowMember {
    /// The flow.
    pub flow: FlowId,
    /// The local name.
    pub name: String,
}

/// The numbers of a flow's tasks by their ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowCounts {
    /// All tasks.
    pub tasks: u64,
    /// Tasks that have not ended and wait for others.
    pub waiting: u64,
    /// Tasks that have not ended and wait for no other.
    pub running: u64,
    /// Tasks that completed, with no subtask failed.
    pub completed: u64,
    /// Tasks that ended as exceptional, or with failed subtasks.
    pub failed: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Tasks that were skipped.
    pub skipped: u64,
}

impl FlowCounts {
    /// Counts a task.
    pub fn add(&mut self, status: TaskStatus, counts: &Counts, waits: bool) {
        self.tasks += 1;
        *match (End::of(status, counts), status) {
            (None, _) if waits => &mut self.waiting,
            (None, _) => &mut self.running,
            (Some(End::Completed), _) => &mut self.completed,
            (Some(End::Failed), _) => &mut self.failed,
            (Some(End::Other), TaskStatus::Skipped) => &mut self.skipped,
            (Some(End::Other), _) => &mut self.cancelled,
        } += 1;
    }
}

/// A flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRow {
    /// The id.
    pub id: FlowId,
    /// The name of the creation.
    pub request: Uuid,
    /// The name.
    pub name: String,
    /// The flow whose failed tasks it runs again.
    pub retry_of: Option<FlowId>,
    /// The time of creation, in milliseconds since the Unix epoch.
    pub created_at: u64,
}

/// What one task waits for of another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependency {
    /// The task that waits or waited.
    pub task: TaskId,
    /// The task that it waits for.
    pub on: TaskId,
    /// The condition on its end.
    pub condition: Condition,
    /// The name by which the parameter refers to it.
    pub label: String,
}

/// A dependent of a task that has ended, which has not been told of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependent {
    /// The dependent.
    pub task: TaskId,
    /// Its condition on the end of the task.
    pub condition: Condition,
    /// True if it waits still; others have ended already.
    pub waits: bool,
    /// The number of its conditions that are not met, this one and others.
    pub unmet: u64,
    /// True if its parameter takes results.
    pub takes_results: bool,
    /// True if others depend on it.
    pub has_dependents: bool,
}

/// The table of flows, and of what tasks wait for.
///
/// A task that waits for others has [`TaskRow::waits`]; it is not [active](crate::table::TaskTable::active), and no run of it
/// begins. A wish to end it ([`set_control`](crate::table::TaskTable::set_control)) makes it active.
///
/// # What an implementor guarantees
/// - [`create_flow`](Self::create_flow) makes everything or nothing.
/// - Every change is conditional, and can be repeated.
#[async_trait]
pub trait FlowTable: Send + Sync + 'static {
    /// Creates tasks with what they wait for, or finds those that this request made before. Returns the ids of the tasks in their
    /// order. What [`NewFlow::check`] does not allow, a group that is unknown, and a task to wait for that does not exist are refused.
    async fn create_flow(&self, flow: &NewFlow) -> Result<Vec<TaskId>, StoreError>;

    /// Returns a flow.
    async fn flow(&self, id: FlowId) -> Result<Option<FlowRow>, StoreError>;

    /// Returns the flows with ids below `before`, the newest first, at most so many, with the numbers of their tasks.
    async fn flows(
        &self,
        before: Option<FlowId>,
        most: u32,
    ) -> Result<Vec<(FlowRow, FlowCounts)>, StoreError>;

    /// Returns the tasks of a flow, by id.
    async fn flow_tasks(&self, id: FlowId) -> Result<Vec<TaskRow>, StoreError>;

    /// Returns what tasks wait for or waited for, by task and predecessor.
    async fn dependencies(&self, tasks: &[TaskId]) -> Result<Vec<Dependency>, StoreError>;

    /// Returns the dependents of a task that has ended which have not been told, with ids above `after`, by id, at most so many.
    async fn untold(&self, task: TaskId, after: TaskId, most: u32) -> Result<Vec<Dependent>, StoreError>;

    /// Lets tasks that wait begin: they wait no more and are active. Others stay as they are.
    async fn release(&self, tasks: &[TaskId]) -> Result<(), StoreError>;

    /// Lets a task that waits begin, with this parameter of its type. Says whether it applied.
    async fn release_with(&self, task: TaskId, type_param: &Value) -> Result<bool, StoreError>;

    /// Ends tasks that wait: as skipped or exceptional, for a reason. Others stay as they are.
    async fn end_waiting(
        &self,
        tasks: &[TaskId],
        status: TaskStatus,
        reason: &str,
        now: u64,
    ) -> Result<(), StoreError>;

    /// Notes that these dependents of a task that has ended have been told.
    async fn told(&self, task: TaskId, dependents: &[TaskId]) -> Result<(), StoreError>;

    /// Returns tasks that have ended and have dependents that have not been told, with ids above `after`, by id, at most so many.
    async fn with_untold(&self, after: TaskId, most: u32) -> Result<Vec<TaskId>, StoreError>;
}
