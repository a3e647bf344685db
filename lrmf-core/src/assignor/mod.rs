//! Which task goes where: the planners.
//!
//! # The problem
//! Given tasks, the members that may hold them and who holds what now, find a holder for every task. Planners differ
//! in what they optimise (movement, evenness, stability of a hash); all are deterministic, and place every task
//! exactly once on a given member.

use std::collections::BTreeMap;

use crate::ids::InstanceId;
use crate::task::Task;

/// Index of a task in [`Problem::tasks`].
pub type TaskIx = u32;
/// Index of a member in [`Problem::members`].
pub type MemberIx = u32;

/// A member as planners see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub instance: InstanceId,
    /// How much it can hold, relative to the others; at least 1.
    pub capacity: u32,
    /// The failure domain that it is in, where it said so.
    pub zone: Option<std::sync::Arc<str>>,
}

/// What is to be placed, where it may go and where it is. Tasks are in key order and members in name order, so that
/// the same state always gives the same problem.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    /// The tasks, sorted by key.
    pub tasks: &'a [Task],
    /// The members that may be given tasks, sorted by name.
    pub members: &'a [Candidate],
    /// For each task its holder now: an index into `members`, or none where nobody eligible holds it.
    pub holders: &'a [Option<MemberIx>],
}

/// One decision of a plan: this task goes to this member, which does not hold it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placement {
    /// Which task.
    pub task: TaskIx,
    /// To whom.
    pub to: MemberIx,
}

/// Why no plan was made. The plan before stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A user's assignor named a member that is not there.
    #[error("the assignor named {0}, which is no member of the group")]
    UnknownMember(InstanceId),
    /// A user's assignor left a task out.
    #[error("the assignor gave the task {0:?} to nobody; every task must be placed")]
    Dropped(String),
    /// A user's assignor placed a task twice, or one that does not exist.
    #[error("the assignor placed the task {0:?} twice, or it does not exist")]
    Surplus(String),
    /// A user's assignor failed.
    #[error("the assignor failed: {0}")]
    Failed(String),
}

/// Maps tasks to members.
///
/// # What an implementor guarantees
/// The result depends on the problem alone. Every task that no member of the problem holds is placed, every task at
/// most once, and only on members of the problem. Tasks that are not named stay where they are. With no members the
/// plan is empty.
pub trait Assignor: Send + Sync + 'static {
    /// Plans the changes, in task order.
    ///
    /// # Errors
    /// When no valid plan can be made; nothing changes then.
    fn plan(&self, problem: &Problem<'_>) -> Result<Vec<Placement>, PlanError>;

    /// The name for logs and explanations.
    fn name(&self) -> &'static str;
}

/// The original framework's simple form of an assignor: all tasks and all members in, who gets what out.
/// Wrap it in `Simple` to use it.
pub trait PerformAssignment: Send + Sync + 'static {
    /// Places every task on exactly one of the instances.
    ///
    /// # Errors
    /// Whatever keeps it from doing so.
    fn perform_assignment(
        &self,
        tasks: &[Task],
        instances: &[InstanceId],
    ) -> anyhow::Result<BTreeMap<InstanceId, Vec<Task>>>;
}
