//! The planners, which place tasks on members.
//!
//! # The problem
//! Given tasks, the members that may hold them and who holds what now, find a holder for every task. Planners differ
//! in what they optimise (movement, evenness, stability of a hash); all are deterministic, and place every task
//! exactly once on a given member.

mod consistent;
mod hash;
mod load;
mod replicas;
mod simple;
mod sticky;
mod string_order;
mod weighted;
mod zone;

use std::collections::BTreeMap;

use crate::ids::InstanceId;
use crate::task::Task;

pub use self::consistent::ConsistentHashing;
pub use self::load::LoadAware;
pub use self::replicas::ReplicaBalanced;
pub use self::simple::Simple;
pub use self::sticky::StickyBalanced;
pub use self::string_order::StringOrderEvenly;
pub use self::weighted::StickyWeighted;
pub use self::zone::ZoneAware;
pub use crate::records::LoadReport;

/// Index of a task in [`Problem::tasks`].
pub type TaskIx = u32;
/// Index of a member in [`Problem::members`].
pub type MemberIx = u32;

/// A member as planners see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub instance: InstanceId,
    /// Its capacity, relative to that of others; at least 1.
    pub capacity: u32,
    /// The failure domain that it is in, where it said so.
    pub zone: Option<std::sync::Arc<str>>,
    /// The load that it reported, if it did.
    pub load: Option<LoadReport>,
}

/// The tasks to be placed, the members that may have them, and the present placement. Tasks are in key order and members in
/// name order, so that the same state always gives the same problem.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    /// The tasks, sorted by key.
    pub tasks: &'a [Task],
    /// The members that may be given tasks, sorted by name.
    pub members: &'a [Candidate],
    /// For each task its holder now: an index into `members`, or none where nobody eligible holds it.
    pub holders: &'a [Option<MemberIx>],
}

impl Problem<'_> {
    /// The plan that leads from the holders now to these: `targets` has one member for each task, in task order.
    fn moves_to(&self, targets: impl IntoIterator<Item = MemberIx>) -> Vec<Placement> {
        (0..)
            .zip(self.holders)
            .zip(targets)
            .filter(|((_, holder), to)| **holder != Some(*to))
            .map(|((task, _), to)| Placement { task, to })
            .collect()
    }

    /// Checks a plan against the obligations of [`Assignor::plan`]. Cost follows tasks that nobody holds and moves.
    ///
    /// # Errors
    /// The first obligation that the plan breaks.
    pub fn check(&self, plan: &[Placement]) -> Result<(), PlanError> {
        let mut unnamed =
            (0..).zip(self.holders).filter(|(_, holder)| holder.is_none()).map(|(task, _)| task);
        let mut last = None;
        for placement in plan {
            let task = self.tasks.get(placement.task as usize);
            let task = task.ok_or(PlanError::NoSuchIndex(*placement))?;
            self.members.get(placement.to as usize).ok_or(PlanError::NoSuchIndex(*placement))?;
            if last.is_some_and(|last| last >= placement.task) {
                return Err(PlanError::Surplus(task.key.to_string()));
            }
            last = Some(placement.task);
            if self.holders[placement.task as usize].is_none() {
                self.must_be_named(unnamed.next(), placement.task)?;
            }
        }
        match unnamed.next() {
            Some(task) if !self.members.is_empty() => self.must_be_named(Some(task), TaskIx::MAX),
            _ => Ok(()),
        }
    }

    /// Tasks without a holder come in order, so the next one due must be the one named.
    fn must_be_named(&self, due: Option<TaskIx>, named: TaskIx) -> Result<(), PlanError> {
        match due.filter(|due| *due != named) {
            Some(due) => Err(PlanError::Dropped(self.tasks[due as usize].key.to_string())),
            None => Ok(()),
        }
    }
}

/// One decision of a plan: this task goes to this member, which does not hold it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placement {
    /// The task.
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
    /// A user's assignor used an index that is out of the problem's range.
    #[error("the assignor placed task number {} on member number {}, which the problem does not have", .0.task, .0.to)]
    NoSuchIndex(Placement),
    /// A user's assignor failed.
    #[error("the assignor failed: {0}")]
    Failed(String),
}

/// Maps tasks to members.
///
/// # What an implementor guarantees
/// The result depends on the problem alone. Every task that no member of the problem holds is placed, every task at
/// most once, and only on members of the problem. Tasks that are not named stay where they are. With no members the
/// plan is empty. Planning again from the state that a plan leads to gives an empty plan.
///
/// All of it but the first and the last is checked by [`Problem::check`]; a plan that fails is refused and the plan
/// before stays.
pub trait Assignor: Send + Sync + 'static {
    /// Plans the changes, in strictly ascending task order.
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

#[cfg(test)]
mod tests;
