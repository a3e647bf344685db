//! From a run that fails to the shortest one found that fails in the same way.

#![cfg(test)]

use std::collections::BTreeSet;
use std::time::Duration;

use super::simulate;
use super::world::{Failure, Plan};

/// A shorter run.
pub(super) struct Shrunk {
    pub(super) plan: Plan,
    /// The number of misfortunes that the run had before it failed, as it was.
    pub(super) misfortunes: u32,
    /// The number of them that are left.
    pub(super) left: usize,
}

/// Tries a shorter time of faults, then leaves misfortunes out, in halves, quarters and so on (as in Zeller and Hildebrandt:
/// *Simplifying and Isolating Failure-Inducing Input*, 2002), until none can be left out; the same with the smallest group;
/// and takes what fails first. Leaving one out changes what the seed does from there on, so any run that breaks
/// the same property, and no later, will do. None where the plan does not fail.
pub(super) fn shrink(plan: Plan) -> Option<Shrunk> {
    let first = fails(&plan)?;
    let misfortunes = first.misfortunes;
    let property = first.violation.chars().take(2).collect::<String>();
    let small = Plan { small: true, ..plan.clone() };
    let fails_small = fails(&small).filter(|failure| failure.violation.starts_with(&property));
    let groups = [Some((plan, first)), fails_small.map(|failure| (small, failure))];
    let shrunk = groups.into_iter().flatten().map(|(plan, failure)| {
        let mut best = Best { property: property.clone(), plan, failure };
        best.shorten();
        best.leave_out();
        best
    });
    let best = shrunk.min_by_key(|best| best.failure.steps)?;
    let left = best.plan.only.as_ref().map_or(0, BTreeSet::len);
    Some(Shrunk { plan: best.plan, misfortunes, left })
}

fn fails(plan: &Plan) -> Option<Failure> {
    simulate(plan).err()
}

struct Best {
    property: String,
    plan: Plan,
    failure: Failure,
}

impl Best {
    /// Takes the plan if it fails in the same way, and no later.
    fn try_plan(&mut self, plan: Plan) -> bool {
        let same = |failure: &Failure| {
            failure.violation.starts_with(&self.property) && failure.steps <= self.failure.steps
        };
        let Some(failure) = fails(&plan).filter(same) else { return false };
        (self.plan, self.failure) = (plan, failure);
        true
    }

    fn shorten(&mut self) {
        for seconds in [1, 2, 4, 8, 16].map(Duration::from_secs) {
            let plan = Plan { faulty_for: seconds, ..self.plan.clone() };
            if seconds < self.plan.faulty_for && self.try_plan(plan) {
                break;
            }
        }
    }

    /// Leaves out misfortunes until every one that is left is needed.
    fn leave_out(&mut self) {
        let mut left: Vec<u32> = (0..self.failure.misfortunes).collect();
        let mut span = left.len();
        while span > 0 {
            let mut shorter = false;
            let mut from = 0;
            while from < left.len() {
                let to = (from + span).min(left.len());
                let fewer: BTreeSet<u32> = left[..from].iter().chain(&left[to..]).copied().collect();
                if self.try_plan(Plan { only: Some(fewer.clone()), ..self.plan.clone() }) {
                    // Those that now come after the failure are gone too.
                    let reached = self.failure.misfortunes;
                    left = fewer.into_iter().filter(|number| *number < reached).collect();
                    shorter = true;
                } else {
                    from = to;
                }
            }
            if !(shorter && span == 1) {
                span /= 2;
            }
        }
        self.try_plan(Plan { only: Some(left.into_iter().collect()), ..self.plan.clone() });
    }
}
