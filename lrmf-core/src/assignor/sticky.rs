//! The default planner.

use std::collections::VecDeque;

use super::{Assignor, MemberIx, Placement, PlanError, Problem};

/// Even loads with the fewest moves.
///
/// # The problem
/// Minimise the number of tasks that change their holder, subject to: every task has a holder, and the numbers of tasks
/// of any two members differ by at most one. Weights and capacities do not count here; see
/// [`StickyWeighted`](super::StickyWeighted).
///
/// # The algorithm
/// With T tasks on N members, T mod N of them hold ⌈T/N⌉ and the others ⌊T/N⌋. A member keeps at most its share, so the
/// tasks that stay are most when the larger shares go to those who hold most. Each member then gives up only what is
/// over its share, and those tasks and the orphans are dealt to the members below theirs. O(T + N log N).
///
/// # Bounds
/// No even placement moves fewer. From an even state a join moves ⌊T/(N+1)⌋ tasks, all of them to the newcomer, and a loss
/// only the tasks of the lost member. The same idea without a proof of its bound is Kafka's sticky assignor (KIP-54).
#[derive(Clone, Copy, Debug, Default)]
pub struct StickyBalanced;

impl Assignor for StickyBalanced {
    fn plan(&self, problem: &Problem<'_>) -> Result<Vec<Placement>, PlanError> {
        if problem.members.is_empty() {
            return Ok(Vec::new());
        }
        let mut room = shares(problem);
        let moving: Vec<_> =
            (0..).zip(problem.holders).filter(|(_, holder)| !stays(**holder, &mut room)).collect();
        let mut open: VecDeque<(MemberIx, u32)> = (0..).zip(room).filter(|(_, room)| *room > 0).collect();
        let deal = moving.into_iter().map_while(|(task, _)| {
            let (to, room) = open.pop_front()?;
            if room > 1 {
                open.push_back((to, room - 1));
            }
            Some(Placement { task, to })
        });
        Ok(deal.collect())
    }

    fn name(&self) -> &'static str {
        "sticky-balanced"
    }
}

/// Returns true where a task stays where it is; it then takes a place of its holder's share.
fn stays(holder: Option<MemberIx>, room: &mut [u32]) -> bool {
    match holder.map(|holder| &mut room[holder as usize]) {
        Some(room) if *room > 0 => {
            *room -= 1;
            true
        }
        _ => false,
    }
}

/// Returns the number of tasks that each member shall hold: the larger shares go to those who hold most, then by name.
fn shares(problem: &Problem<'_>) -> Vec<u32> {
    let members = problem.members.len();
    let share = u32::try_from(problem.tasks.len() / members).unwrap_or(u32::MAX);
    let mut loads = vec![0_u32; members];
    for holder in problem.holders.iter().flatten() {
        loads[*holder as usize] += 1;
    }
    let mut by_load: Vec<usize> = (0..members).collect();
    by_load.sort_by_key(|member| std::cmp::Reverse(loads[*member]));
    let mut shares = vec![share; members];
    for member in by_load.into_iter().take(problem.tasks.len() % members) {
        shares[member] += 1;
    }
    shares
}
