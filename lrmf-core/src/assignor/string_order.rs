//! The original framework's planner for ordered topics.

use super::{Assignor, Placement, PlanError, Problem};

/// Neighbouring keys on the same member, evenly.
///
/// # The problem
/// Cut the tasks, in key order, into one run for each member, in name order, so that the lengths of the runs differ by
/// at most one (longer ones first). The result depends on keys and names alone, not on who holds what: it is easy to
/// predict, and moves many tasks when a member or a task comes or goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct StringOrderEvenly;

impl Assignor for StringOrderEvenly {
    fn plan(&self, problem: &Problem<'_>) -> Result<Vec<Placement>, PlanError> {
        if problem.members.is_empty() {
            return Ok(Vec::new());
        }
        let run = problem.tasks.len() / problem.members.len();
        let longer = problem.tasks.len() % problem.members.len();
        let length = |member: usize| run + usize::from(member < longer);
        let runs = (0..problem.members.len()).zip(0..);
        Ok(problem.moves_to(runs.flat_map(|(index, member)| std::iter::repeat_n(member, length(index)))))
    }

    fn name(&self) -> &'static str {
        "string-order-evenly"
    }
}
