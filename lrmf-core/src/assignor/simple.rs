//! Users' own assignors, in the original framework's form.

use super::{Assignor, Candidate, MemberIx, PerformAssignment, Placement, PlanError, Problem};
use crate::ids::InstanceId;
use crate::task::Task;

/// Makes an [`Assignor`] of a [`PerformAssignment`], and refuses what that may not do: tasks left out, placed twice or
/// made up, and members that are not there. Tasks are told apart by key.
///
/// ```
/// use std::collections::BTreeMap;
/// use lrmf_core::assignor::{PerformAssignment, Simple};
/// use lrmf_core::{InstanceId, Task};
///
/// struct AllToTheFirst;
/// impl PerformAssignment for AllToTheFirst {
///     fn perform_assignment(
///         &self,
///         tasks: &[Task],
///         instances: &[InstanceId],
///     ) -> anyhow::Result<BTreeMap<InstanceId, Vec<Task>>> {
///         Ok(BTreeMap::from([(instances[0].clone(), tasks.to_vec())]))
///     }
/// }
/// let assignor = Simple::new(AllToTheFirst);
/// # let _: &dyn lrmf_core::assignor::Assignor = &assignor;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Simple<A>(A);

impl<A: PerformAssignment> Simple<A> {
    /// Wraps an assignor.
    pub fn new(assignor: A) -> Self {
        Self(assignor)
    }
}

impl<A: PerformAssignment> Assignor for Simple<A> {
    fn plan(&self, problem: &Problem<'_>) -> Result<Vec<Placement>, PlanError> {
        if problem.members.is_empty() {
            return Ok(Vec::new());
        }
        let instances: Vec<InstanceId> =
            problem.members.iter().map(|member| member.instance.clone()).collect();
        let answer = self.0.perform_assignment(problem.tasks, &instances);
        let answer = answer.map_err(|error| PlanError::Failed(format!("{error:#}")))?;
        let mut targets: Vec<Option<MemberIx>> = vec![None; problem.tasks.len()];
        for (instance, tasks) in answer {
            let member = member_named(problem.members, &instance)?;
            for task in tasks {
                place(problem.tasks, &mut targets, &task, member)?;
            }
        }
        let dropped = |(target, task): (Option<MemberIx>, &Task)| {
            target.ok_or_else(|| PlanError::Dropped(task.key.to_string()))
        };
        let targets = targets.into_iter().zip(problem.tasks).map(dropped).collect::<Result<Vec<_>, _>>()?;
        Ok(problem.moves_to(targets))
    }

    fn name(&self) -> &'static str {
        std::any::type_name::<A>()
    }
}

fn member_named(members: &[Candidate], instance: &InstanceId) -> Result<MemberIx, PlanError> {
    let found = members.binary_search_by(|member| member.instance.cmp(instance)).ok();
    found
        .and_then(|index| MemberIx::try_from(index).ok())
        .ok_or_else(|| PlanError::UnknownMember(instance.clone()))
}

fn place(
    tasks: &[Task],
    targets: &mut [Option<MemberIx>],
    task: &Task,
    member: MemberIx,
) -> Result<(), PlanError> {
    let surplus = || PlanError::Surplus(task.key.to_string());
    let index = tasks.binary_search_by(|known| known.key.cmp(&task.key)).map_err(|_| surplus())?;
    match targets[index].replace(member) {
        Some(_) => Err(surplus()),
        None => Ok(()),
    }
}
