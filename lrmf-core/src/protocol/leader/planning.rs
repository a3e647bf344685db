//! Planning, as a question that somebody else answers: the assignor is the user's code, and may take long, fail, panic or
//! never return.
//!
//! The leader asks for one plan at a time, and goes on with the goals that it has until the answer comes. What has changed
//! meanwhile makes it ask again. The answer is applied to the group as it is then: moves of tasks or to members that are
//! no longer there are left out.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::assignor::{Assignor, Candidate, MemberIx, Placement, PlanError, Problem, TaskIx};
use crate::event::Event;
use crate::panics::message_of;
use crate::protocol::Now;
use crate::records::Troubles;
use crate::task::Task;

use super::ledger::Touched;
use super::plan::{self, Seen};
use super::situation::Situation;
use super::{InFlight, Leader, LeaderAction, Phase};

/// A problem for the assignor, to be solved anywhere.
#[derive(Clone, PartialEq, Eq)]
pub struct PlanRequest {
    tasks: Arc<Vec<Task>>,
    members: Vec<Candidate>,
    holders: Vec<Option<MemberIx>>,
}

impl fmt::Debug for PlanRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlanRequest({} tasks, {} members)", self.tasks.len(), self.members.len())
    }
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanFailure {
    /// The assignor failed, or its plan is not valid.
    #[error(transparent)]
    Refused(#[from] PlanError),
    /// The assignor panicked.
    #[error("the assignor panicked: {0}")]
    Panicked(String),
    /// The assignor did not return in time.
    #[error("the assignor gave no plan within {0:?}; this member leaves the leadership to another one")]
    TimedOut(Duration),
}

impl PlanRequest {
    pub(super) fn new(situation: &Situation<'_>) -> Self {
        let (tasks, holders) = (situation.tasks.clone(), situation.holders.clone());
        Self { tasks, members: situation.members.clone(), holders }
    }

    /// The problem.
    pub fn problem(&self) -> Problem<'_> {
        Problem { tasks: &self.tasks, members: &self.members, holders: &self.holders }
    }

    /// Asks an assignor, here and now.
    ///
    /// # Errors
    /// When the assignor fails or panics.
    pub fn ask(&self, assignor: &dyn Assignor) -> Result<Vec<Placement>, PlanFailure> {
        let plan = catch_unwind(AssertUnwindSafe(|| assignor.plan(&self.problem())));
        match plan {
            Ok(plan) => plan.map_err(PlanFailure::Refused),
            Err(panic) => Err(PlanFailure::Panicked(message_of(panic.as_ref()).to_owned())),
        }
    }

    /// The moves of a plan, as moves in a situation that may be another one by now.
    fn translate(&self, plan: &[Placement], to: &Situation<'_>) -> Vec<Placement> {
        if Arc::ptr_eq(&self.tasks, &to.tasks) && self.members == to.members {
            return plan.to_vec();
        }
        let member = |ix: MemberIx| {
            let name = &self.members[ix as usize].instance;
            let found = to.members.binary_search_by(|member| member.instance.cmp(name));
            MemberIx::try_from(found.ok()?).ok()
        };
        let task = |ix: TaskIx| {
            let key = &self.tasks[ix as usize].key;
            let found = to.tasks.binary_search_by(|task| task.key.cmp(key));
            TaskIx::try_from(found.ok()?).ok()
        };
        let moves = plan.iter().map(|at| Some(Placement { task: task(at.task)?, to: member(at.to)? }));
        moves.flatten().collect()
    }
}

impl Leader {
    /// Asks for a plan, where the goals are out of date and none is being made.
    pub(super) fn replan(&mut self, now: Now) {
        // What is due since before the last plan was asked for was asked for with it.
        let due = self.failures.next_after(self.planned_at).is_some_and(|at| at <= now.at);
        if self.tasks.is_none() || !(self.stale || due) {
            return;
        }
        self.queue.clear();
        if self.planning.is_some() {
            return;
        }
        (self.stale, self.planned_at) = (false, now.at);
        self.take_stock(now);
        let Some(tasks) = &self.tasks else { return };
        let rules = self.config.rules;
        let seen = Seen { view: &self.view, tasks, ledger: &self.ledger, before: &self.goals, rules };
        let situation = Situation::new(seen, &self.failures, &mut self.asked);
        let request = Arc::new(PlanRequest::new(&situation));
        self.planning = Some(request.clone());
        self.out.push(LeaderAction::Plan(request));
    }

    /// The plan that was asked for, or why there is none.
    pub fn on_planned(
        &mut self,
        now: Now,
        request: &Arc<PlanRequest>,
        answer: Result<Vec<Placement>, PlanFailure>,
    ) -> Vec<LeaderAction> {
        if !self.planning.as_ref().is_some_and(|asked| Arc::ptr_eq(asked, request)) {
            return Vec::new();
        }
        self.planning = None;
        self.queue.clear();
        let valid = |plan: Vec<Placement>| {
            request.problem().check(&plan)?;
            Ok(plan)
        };
        match answer.and_then(valid) {
            Ok(plan) => {
                self.troubles.assignor = None;
                self.adopt(now, request, &plan);
            }
            Err(failure) => {
                self.refused = true;
                self.troubles.assignor = Some(Troubles::kept(&failure.to_string()));
                self.out.push(LeaderAction::Emit(Event::PlanRefused { error: failure.to_string() }));
                if matches!(failure, PlanFailure::TimedOut(_)) {
                    self.phase = Phase::Over;
                    self.out.push(LeaderAction::StepDown { abstain: true });
                }
            }
        }
        self.advance(now)
    }

    /// Brings the books up to date with what was observed.
    fn take_stock(&mut self, now: Now) {
        let Some(tasks) = &self.tasks else { return };
        let touched = self.view.take_touched();
        let touched = if std::mem::take(&mut self.relisted) { Touched::All } else { touched };
        self.ledger.update(&self.view, tasks, touched);
        self.failures.tidy(now.at, |key| tasks.get(key).is_some());
    }

    fn adopt(&mut self, now: Now, request: &PlanRequest, plan: &[Placement]) {
        self.take_stock(now);
        let Some(tasks) = &self.tasks else { return };
        let rules = self.config.rules;
        let seen = Seen { view: &self.view, tasks, ledger: &self.ledger, before: &self.goals, rules };
        let situation = Situation::new(seen, &self.failures, &mut self.asked);
        let plan = request.translate(plan, &situation);
        let goals = plan::goals(seen, &situation, &plan, &mut self.failures, now.at);
        self.overtaken |= matches!(self.in_flight, Some(InFlight::Assignment(_)));
        self.under_way.retain(|key, _| goals.contains_key(key));
        self.goals = goals;
    }
}
