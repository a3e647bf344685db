//! The port to `tbl_task`, the truth about tasks.

use async_trait::async_trait;
use serde::Serialize;
use uuid::Uuid;

use crate::audit::{AuditTable, NotingTable};
use crate::bulk::BulkTable;
use crate::cluster::ClusterTable;
use crate::defined_type::DefinedTypeTable;
use crate::error::{InvalidInput, StoreError};
use crate::failure::FailureTable;
use crate::flow::{FlowMember, FlowTable};
use crate::gateway::GatewayTable;
use crate::group::GroupTable;
use crate::hook::{HookRecord, HookTable, waiting};
use crate::ids::{RunEpoch, TaskId, TaskTypeId};
use crate::items::ItemTable;
use crate::param::TaskParam;
use crate::plugin::TaskResult;
use crate::result::ResultTable;
use crate::schedule::ScheduleTable;
use crate::status::{Control, Counts, TaskStatus};
use crate::text::{MAX_NAME_CHARS, check_length};
use crate::token::TokenTable;
use crate::unique::UniqueTable;

pub use crate::bucket::{BucketMapping, BucketOf};

/// The longest reason that is kept, in characters; what is longer is cut.
pub const MAX_REASON_CHARS: usize = 4096;
/// The largest [`TaskResult`], as JSON text, in bytes.
pub const MAX_TASK_RESULT_BYTES: usize = 1024 * 1024;

/// The most tasks in one answer to a [list](TaskTable::list).
pub const MAX_LIST: u32 = 10_000;

/// A task to be inserted.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTask {
    /// The creation's own name: creating with the same one again makes no second task.
    pub request: Uuid,
    /// Its type.
    pub task_type: TaskTypeId,
    /// The parameters that the user gave.
    pub param: TaskParam,
    /// The time of creation, in milliseconds since the Unix epoch.
    pub now: u64,
}

/// A row of `tbl_task`. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskRow {
    /// Its id.
    pub id: TaskId,
    /// The name of its creation: [`NewTask::request`].
    pub request: Uuid,
    /// Its type.
    pub task_type: TaskTypeId,
    /// The parameters that the user gave.
    pub param: TaskParam,
    /// Its status.
    pub status: TaskStatus,
    /// The control that the users want.
    pub control: Control,
    /// The number of its run; 0 before the first.
    pub run: RunEpoch,
    /// The time of its creation.
    pub created_at: u64,
    /// The time of its first start.
    pub started_at: Option<u64>,
    /// The time of its end.
    pub finished_at: Option<u64>,
    /// The time of the pause that it is in.
    pub paused_at: Option<u64>,
    /// The time that it was paused before, in milliseconds: since it started, once it has; at the end of a task, all of it.
    pub paused_for: u64,
    /// The time at which its end was asked for, by cancelling or aborting it.
    pub cancelled_at: Option<u64>,
    /// The books, as of its end.
    pub counts: Counts,
    /// Why it is what it is, where there is something to say.
    pub reason: String,
    /// The collector's result.
    pub result: Option<TaskResult>,
    /// True while it waits for the end of other tasks: it is not active then.
    pub waits: bool,
    /// Its flow, where it was created with others.
    pub flow: Option<FlowMember>,
    /// True if tasks were created that wait for it.
    pub has_dependents: bool,
    /// Its hooks, and how far their deliveries are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookRecord>,
    /// The time at which its hooks want attention.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hook_at: Option<u64>,
}

impl TaskRow {
    /// The row of a task that was just inserted.
    pub fn created(id: TaskId, task: &NewTask) -> Self {
        Self {
            id,
            request: task.request,
            task_type: task.task_type,
            param: task.param.clone(),
            status: TaskStatus::Created,
            control: Control::Run,
            run: RunEpoch(0),
            created_at: task.now,
            started_at: None,
            finished_at: None,
            paused_at: None,
            paused_for: 0,
            cancelled_at: None,
            counts: Counts::default(),
            reason: String::new(),
            result: None,
            waits: false,
            flow: None,
            has_dependents: false,
            hooks: waiting(&task.param.hooks),
            hook_at: None,
        }
    }

    /// Returns the type and version that a process must know to work on it.
    pub fn kind(&self) -> crate::ids::TypeVersion {
        crate::ids::TypeVersion { task_type: self.task_type, version: self.param.type_version }
    }

    /// Returns the description that the roles need.
    pub fn spec(&self) -> crate::param::TaskSpec {
        crate::param::TaskSpec {
            id: self.id,
            request: self.request,
            run: self.run,
            task_type: self.task_type,
            param: std::sync::Arc::new(self.param.clone()),
        }
    }
}

/// The columns of a task that say what work on it is, for those who look at many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskHead {
    /// Its id.
    pub id: TaskId,
    /// The type and version that a process must know to work on it.
    pub kind: crate::ids::TypeVersion,
    /// Its resource group.
    pub group: String,
    /// The control that the users want.
    pub control: Control,
    /// The number of its run; 0 before the first.
    pub run: RunEpoch,
}

impl From<&TaskRow> for TaskHead {
    fn from(row: &TaskRow) -> Self {
        Self {
            id: row.id,
            kind: row.kind(),
            group: row.param.group.clone(),
            control: row.control,
            run: row.run,
        }
    }
}

/// The tasks of a group and type: those that keep their history together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HistoryOf {
    /// The resource group.
    pub group: String,
    /// The type.
    pub task_type: TaskTypeId,
}

/// The part of a history that stays. What either condition excludes goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Tasks that ended at this time or later, in milliseconds since the Unix epoch; none for all.
    pub ended_since: Option<u64>,
    /// The number of tasks that ended last; those that ended in the same millisecond stay together. None for all; at least 1.
    pub newest: Option<u64>,
}

/// The order of a list, in which its pages follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListOrder {
    /// By id, the newest first.
    NewestFirst,
    /// By name, then by id: of names with a common beginning.
    ByName,
    /// By start time, then by id: of those that are to start later.
    ByStart,
}

impl ListOrder {
    /// Compares two tasks of a list.
    pub fn compare(self, one: &TaskRow, other: &TaskRow) -> std::cmp::Ordering {
        let by_id = one.id.cmp(&other.id);
        match self {
            Self::NewestFirst => by_id.reverse(),
            Self::ByName => one.param.name.cmp(&other.param.name).then(by_id),
            Self::ByStart => one.param.start_at.cmp(&other.param.start_at).then(by_id),
        }
    }
}

/// The conditions on the tasks of a list. Every condition that is given must hold; texts are compared exactly, to the
/// letter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskFilter {
    /// With this status.
    pub status: Option<TaskStatus>,
    /// Of this type.
    pub task_type: Option<TaskTypeId>,
    /// Of this resource group.
    pub group: Option<String>,
    /// Of the creator with exactly this name.
    pub creator: Option<String>,
    /// With exactly this name.
    pub name: Option<String>,
    /// With a name that begins with this.
    pub name_prefix: Option<String>,
    /// With a start time later than this, in milliseconds since the Unix epoch: with the present time, those that are to start
    /// in the future. Tasks without a start time are none of them.
    pub starts_after: Option<u64>,
}

impl TaskFilter {
    /// Checks that a task could fit, as far as the conditions themselves show.
    ///
    /// # Errors
    /// A text that is longer than any task's, or empty where none is.
    pub fn check(&self) -> Result<(), InvalidInput> {
        let texts = [
            ("the resource group to list", &self.group),
            ("the creator's name to list", &self.creator),
            ("the task name to list", &self.name),
            ("the beginning of the task names to list", &self.name_prefix),
        ];
        for (what, text) in texts {
            text.as_ref().map_or(Ok(()), |text| check_length(what, text, MAX_NAME_CHARS))?;
        }
        for (what, text) in [texts[0], texts[3]] {
            if text.as_ref().is_some_and(String::is_empty) {
                return Err(InvalidInput::Empty(what));
            }
        }
        Ok(())
    }

    /// The order of the list: the one in which an index finds what fits.
    pub fn order(&self) -> ListOrder {
        match (&self.starts_after, &self.name, &self.name_prefix) {
            (Some(_), ..) => ListOrder::ByStart,
            (None, None, Some(_)) => ListOrder::ByName,
            _ => ListOrder::NewestFirst,
        }
    }

    /// Returns true if a task fits.
    pub fn has(&self, row: &TaskRow) -> bool {
        let Self { status, task_type, group, creator, name, name_prefix, starts_after } = self;
        status.is_none_or(|status| row.status == status)
            && task_type.is_none_or(|of| row.task_type == of)
            && group.as_ref().is_none_or(|group| row.param.group == *group)
            && creator.as_ref().is_none_or(|creator| row.param.creator.name == *creator)
            && name.as_ref().is_none_or(|name| row.param.name == *name)
            && name_prefix.as_ref().is_none_or(|prefix| row.param.name.starts_with(prefix.as_str()))
            && starts_after.is_none_or(|after| row.param.start_at.is_some_and(|at| at > after))
    }
}

/// Checks what is asked of a [list](TaskTable::list).
///
/// # Errors
/// A condition that no task can meet, or a page of more than [`MAX_LIST`].
pub fn check_list(filter: &TaskFilter, most: u32) -> Result<(), InvalidInput> {
    filter.check()?;
    if most > MAX_LIST {
        let allowed = format!("at most {MAX_LIST}; the next page begins before the last task of this one");
        return Err(InvalidInput::OutOfRange {
            what: "the number of tasks to list",
            got: most.to_string(),
            allowed,
        });
    }
    Ok(())
}

/// The end of a task. The terminal row is the only commit of a task's end.
#[derive(Clone, Debug, PartialEq)]
pub struct Finish {
    /// The run that ended.
    pub run: RunEpoch,
    /// A terminal status.
    pub status: TaskStatus,
    /// The books.
    pub counts: Counts,
    /// Why, where there is something to say. An earlier reason in the row is kept where this is empty.
    pub reason: String,
    /// The collector's result.
    pub result: Option<TaskResult>,
    /// The time, in milliseconds since the Unix epoch.
    pub now: u64,
}

impl Finish {
    /// Checks that a task can end like this and that what is to be kept of it fits.
    ///
    /// # Errors
    /// What is wrong, and what is allowed.
    pub fn check(&self) -> Result<(), InvalidInput> {
        if !self.status.is_terminal() {
            return Err(InvalidInput::OutOfRange {
                what: "the status at a task's end",
                got: self.status.to_string(),
                allowed: "cancelled, completed, exceptional or skipped".to_owned(),
            });
        }
        self.result.as_ref().map_or(Ok(()), check_result)
    }
}

/// Checks that what a collector made of a task fits.
///
/// # Errors
/// How large it is, and what is allowed.
pub fn check_result(result: &TaskResult) -> Result<(), InvalidInput> {
    let bytes = serde_json::to_string(result).map_or(usize::MAX, |text| text.len());
    if bytes > MAX_TASK_RESULT_BYTES {
        return Err(InvalidInput::OutOfRange {
            what: "the size of the task's result",
            got: format!("{bytes} bytes"),
            allowed: format!("at most {MAX_TASK_RESULT_BYTES} bytes"),
        });
    }
    Ok(())
}

/// As much of a reason as is kept.
pub fn kept_reason(reason: &str) -> &str {
    reason.char_indices().nth(MAX_REASON_CHARS).map_or(reason, |(end, _)| &reason[..end])
}

/// The table of tasks. The resource groups that they are in, the failures of their subtasks, the tokens of the API and its audit
/// are kept beside it.
///
/// # What an implementor guarantees
/// - A call that returned `Ok` is durable. Ids are given out once, in growing order, and never again.
/// - Every change is one conditional update on the status or the run that it expects; it says whether it applied. A row
///   with a terminal status never changes again, but for [`purged`](Self::purged). [`TaskStatus::may_become`] is the rule.
/// - Texts are kept and compared exactly: case, trailing spaces and all of Unicode.
/// - What does not fit is refused with [`StoreError::InvalidInput`] and nothing is written; only a reason is cut.
///
/// ```
/// use dtf_memory::MemoryTable;
/// use dtf_model::table::{NewTask, TaskTable};
/// use dtf_model::{Control, RunEpoch, TaskParam, TaskStatus, TaskTypeId};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// let table = MemoryTable::new();
/// let (request, param, now) = (uuid::Uuid::new_v4(), TaskParam::default(), 1_800_000_000_000);
/// let task = NewTask { request, task_type: TaskTypeId(1), param, now };
/// let id = table.insert(&task).await?;
/// assert_eq!(table.insert(&task).await?, id, "one request makes one task");
/// assert!(table.begin_run(id, RunEpoch(0), now).await?);
/// assert!(!table.begin_run(id, RunEpoch(0), now).await?, "a run begins once");
/// table.set_control(id, Control::Pause, "", now).await?;
/// assert_eq!(table.get(id).await?.expect("it was inserted").status, TaskStatus::Paused);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait TaskTable:
    GroupTable
    + FailureTable
    + ClusterTable
    + ScheduleTable
    + FlowTable
    + HookTable
    + UniqueTable
    + ResultTable
    + ItemTable
    + DefinedTypeTable
    + GatewayTable
    + TokenTable
    + AuditTable
    + NotingTable
    + BulkTable
{
    /// Inserts a task with status *created*, or finds the one that this request made before, whatever it says now. A task of
    /// a group that is not there is refused with [`InvalidInput::UnknownGroup`].
    async fn insert(&self, task: &NewTask) -> Result<TaskId, StoreError>;

    /// One task.
    async fn get(&self, id: TaskId) -> Result<Option<TaskRow>, StoreError>;

    /// The tasks of a share that have not ended, with ids above `after`, by id, at most so many.
    async fn active(&self, share: BucketOf, after: TaskId, most: u32) -> Result<Vec<TaskHead>, StoreError>;

    /// The tasks that fit, in the [order](TaskFilter::order) of the filter, at most so many: from the beginning, or those behind
    /// the task `last` of the page before. Of the newest first, `last` need not exist; in the other orders it is refused with
    /// [`InvalidInput::NoSuchTask`] where it does not. What [`check_list`] does not allow is refused with what it says.
    async fn list(
        &self,
        filter: &TaskFilter,
        last: Option<TaskId>,
        most: u32,
    ) -> Result<Vec<TaskRow>, StoreError>;

    /// Starts the next run of a task that has not ended and is at run `expected`: raises the run, and makes a task that
    /// was created a running one. The time of the first start stays; pauses before it count no more, and one that goes on
    /// counts from then. Says whether it applied.
    async fn begin_run(&self, id: TaskId, expected: RunEpoch, now: u64) -> Result<bool, StoreError>;

    /// Changes what is wanted of a task that has not ended, with the reason for it. Pausing a running task makes its
    /// status *paused*, and so it does to one that was created only; resuming makes either *running* (the run of the
    /// latter is still 0, so it waits for its [`begin_run`](Self::begin_run)); a wish that [ends](Control::ends) the task
    /// leaves the status as it is, and no other wish is taken after it. The wish that it has already applies, and
    /// changes nothing. Says whether it applied.
    async fn set_control(
        &self,
        id: TaskId,
        control: Control,
        reason: &str,
        now: u64,
    ) -> Result<bool, StoreError>;

    /// Ends a task that has not ended and is at the run named, if its status may become the one named. Says whether it
    /// applied.
    async fn finish(&self, id: TaskId, finish: &Finish) -> Result<bool, StoreError>;

    /// The ended tasks of a share whose queues may still be there and that ended at or before `finished_by`, by id.
    async fn unpurged(
        &self,
        share: BucketOf,
        finished_by: u64,
        most: u32,
    ) -> Result<Vec<TaskHead>, StoreError>;

    /// Notes that the queues of an ended task are gone; nothing happens to a task that has not ended.
    async fn purged(&self, id: TaskId) -> Result<(), StoreError>;

    /// The first group and type behind `after`, in their order, of which there are tasks.
    async fn next_history(&self, after: Option<&HistoryOf>) -> Result<Option<HistoryOf>, StoreError>;

    /// Deletes tasks of a group and type that are not to be kept, with their failures, those first that ended first, at most so
    /// many. Only tasks that have ended and are [purged](Self::purged) go, and of those none whose failures a task that has not
    /// ended runs again. Returns the number of tasks deleted.
    async fn forget(&self, of: &HistoryOf, keep: Keep, most: u32) -> Result<u64, StoreError>;
}
