//! Placement by the load that members report.

use std::collections::BTreeSet;

use super::{Assignor, LoadReport, MemberIx, Placement, PlanError, Problem, StickyBalanced, TaskIx};

/// Loads are reckoned in parts this small of a thousandth, so that tasks of little load count.
const SCALE: u64 = 1_000_000;

/// The highest load that counts: a thousand times what a member can bear. A report above it counts as this.
const HIGHEST: u32 = 1_000_000;

/// Relieves members that report much more load than others, a few tasks at a time.
///
/// Members report with [`report_load`](crate::CoordinatorHandle::report_load), in thousandths of what they can bear. Until
/// one of them does, this is [`StickyBalanced`].
///
/// # The problem
/// What a single task costs is not known, only what a member says of all of its tasks together, and that only now and
/// then. So the load of a member is *estimated*: its last report, plus or minus an average task of its own for each task
/// that it has gained or given since; a gained one counts at least an average task of the group. (A member that has not
/// reported is taken to have average tasks.) From where the tasks are, and with no more moves than needed, let no two
/// members' estimates differ by more than the *hysteresis*, where no member gives more than its *churn budget*, a share of
/// the tasks that it had when it reported, before it reports again. Tasks that nobody holds go where the estimate is lowest.
///
/// # The algorithm
/// The highest member that may still give, gives to the lowest, one task at a time, until they differ by no more than the
/// hysteresis, or the move would only swap their places. O(T + moves · log N).
///
/// # Bounds
/// Differences below the hysteresis move nothing, so a newcomer to a group with little load gets little. Estimates depend
/// on reports and numbers of tasks alone: planning again before the next report moves nothing, and each report moves at
/// most the churn budget away from its member.
#[derive(Clone, Copy, Debug)]
pub struct LoadAware {
    hysteresis: u32,
    budget_percent: u32,
}

impl Default for LoadAware {
    /// A hysteresis of 200 thousandths, a churn budget of 10 %.
    fn default() -> Self {
        Self { hysteresis: 200, budget_percent: 10 }
    }
}

impl LoadAware {
    /// The same with another hysteresis, in thousandths of what a member can bear.
    #[must_use]
    pub fn with_hysteresis(self, hysteresis: u32) -> Self {
        Self { hysteresis, ..self }
    }

    /// The same with another churn budget, in percent of a member's tasks; at least one task.
    #[must_use]
    pub fn with_budget_percent(self, budget_percent: u32) -> Self {
        Self { budget_percent, ..self }
    }
}

impl Assignor for LoadAware {
    fn plan(&self, problem: &Problem<'_>) -> Result<Vec<Placement>, PlanError> {
        if problem.members.iter().all(|member| member.load.is_none()) {
            return StickyBalanced.plan(problem);
        }
        let mut relief = Relief::new(*self, problem);
        relief.place_orphans();
        while relief.relieve() {}
        Ok(problem.moves_to(relief.targets.iter().map(|target| target.unwrap_or(0))))
    }

    fn name(&self) -> &'static str {
        "load-aware"
    }
}

struct Relief {
    config: LoadAware,
    reports: Vec<Option<LoadReport>>,
    /// The cost of an average task, by those who reported.
    average: u64,
    targets: Vec<Option<MemberIx>>,
    tasks_of: Vec<Vec<TaskIx>>,
    by_estimate: BTreeSet<(u64, MemberIx)>,
}

impl Relief {
    fn new(config: LoadAware, problem: &Problem<'_>) -> Self {
        let bounded = |report: LoadReport| LoadReport { per_mille: report.per_mille.min(HIGHEST), ..report };
        let reports: Vec<_> = problem.members.iter().map(|member| member.load.map(bounded)).collect();
        let (load, tasks) = reports.iter().flatten().fold((0, 0), |(load, tasks), report| {
            (load + u64::from(report.per_mille), tasks + u64::from(report.tasks))
        });
        let mut tasks_of = vec![Vec::new(); problem.members.len()];
        for (task, holder) in (0..).zip(problem.holders) {
            holder.iter().for_each(|holder| tasks_of[*holder as usize].push(task));
        }
        let average = (load * SCALE / tasks.max(1)).max(1);
        let targets = problem.holders.to_vec();
        let mut relief = Self { config, reports, average, targets, tasks_of, by_estimate: BTreeSet::new() };
        for member in (0..).take(problem.members.len()) {
            relief.by_estimate.insert((relief.estimate(member, relief.held(member)), member));
        }
        relief
    }

    fn held(&self, member: MemberIx) -> u64 {
        self.tasks_of[member as usize].len() as u64
    }

    /// Returns the load of a member with this many tasks.
    fn estimate(&self, member: MemberIx, held: u64) -> u64 {
        let Some(report) = self.reports[member as usize] else { return held * self.average };
        let (load, tasks) = (u64::from(report.per_mille) * SCALE, u64::from(report.tasks));
        let own = load / tasks.max(1);
        if held >= tasks {
            load + (held - tasks) * own.max(self.average)
        } else {
            load.saturating_sub((tasks - held) * own)
        }
    }

    /// Returns true where a member has something left of its churn budget, and something to give.
    fn may_give(&self, member: MemberIx) -> bool {
        let held = self.held(member);
        let had = self.reports[member as usize].map_or(0, |report| u64::from(report.tasks));
        let budget = (had * u64::from(self.config.budget_percent)).div_ceil(100).max(1);
        held > 0 && held + budget > had && self.reports[member as usize].is_some()
    }

    fn place_orphans(&mut self) {
        for task in (0..).take(self.targets.len()) {
            if self.targets[task as usize].is_none()
                && let Some((_, lowest)) = self.by_estimate.first().copied()
            {
                self.change(lowest, |tasks| tasks.push(task));
                self.targets[task as usize] = Some(lowest);
            }
        }
    }

    fn relieve(&mut self) -> bool {
        let high = self.by_estimate.iter().rev().find(|(_, member)| self.may_give(*member)).copied();
        let (Some((high, giver)), Some((low, taker))) = (high, self.by_estimate.first().copied()) else {
            return false;
        };
        let much = high.saturating_sub(low) > u64::from(self.config.hysteresis) * SCALE;
        let helps = self.estimate(taker, self.held(taker) + 1) < high;
        let Some(task) = self.tasks_of[giver as usize].last().copied().filter(|_| much && helps) else {
            return false;
        };
        self.change(giver, |tasks| tasks.truncate(tasks.len() - 1));
        self.change(taker, |tasks| tasks.push(task));
        self.targets[task as usize] = Some(taker);
        true
    }

    fn change(&mut self, member: MemberIx, change: impl FnOnce(&mut Vec<TaskIx>)) {
        self.by_estimate.remove(&(self.estimate(member, self.held(member)), member));
        change(&mut self.tasks_of[member as usize]);
        self.by_estimate.insert((self.estimate(member, self.held(member)), member));
    }
}
