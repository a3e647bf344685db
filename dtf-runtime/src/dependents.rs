//! Telling the dependents of tasks that have ended: those whose conditions are met begin, those whose conditions cannot be met any more
//! are skipped, and so on downwards.
//!
//! # The problem
//! A task ends once, and whoever waits for it is to begin once, also where thousands wait, where managers die between the end and
//! the telling, and where the last two predecessors of a task end at the same moment. So nothing is counted down. Each end is looked at
//! together with the rows of all predecessors, and begins or skips what that says, conditionally on the dependent still waiting;
//! only then it is noted that the dependents have been told. Whoever died before is found by that missing note:
//! [`FlowTable::with_untold`](dtf_model::flow::FlowTable::with_untold), which a manager asks for on a period.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use dtf_model::flow::{Dependent, End, substituted};
use dtf_model::table::{TaskRow, TaskTable};
use dtf_model::wake::Topic;
use dtf_model::{StoreError, TaskId, TaskStatus};
use futures::future::try_join_all;
use serde_json::Value;
use tracing::{info, warn};

use crate::RoleContext;

/// The dependents that are told at a time.
const PAGE: u32 = 1000;

/// Tells the dependents of tasks that have ended.
#[derive(Clone)]
pub struct Dependents {
    table: Arc<dyn TaskTable>,
    context: RoleContext,
}

impl Dependents {
    /// Tells dependents in a table.
    pub fn new(table: Arc<dyn TaskTable>, context: RoleContext) -> Self {
        Self { table, context }
    }

    /// Tells all dependents of a task that have not been told, if it has ended, and those of the tasks that end by that.
    ///
    /// # Errors
    /// The store failed. Asked again, it goes on where it was.
    pub async fn tell(&self, task: TaskId) -> Result<(), StoreError> {
        let mut ended = VecDeque::from([task]);
        while let Some(task) = ended.pop_front() {
            let Some(row) = self.table.get(task).await? else { continue };
            let Some(end) = End::of(row.status, &row.counts) else { continue };
            let mut after = TaskId(0);
            loop {
                let page = self.table.untold(task, after, PAGE).await?;
                let Some(last) = page.last() else { break };
                after = last.task;
                ended.extend(self.tell_page(&row, end, &page).await?);
                let told: Vec<_> = page.iter().map(|dependent| dependent.task).collect();
                self.table.told(task, &told).await?;
            }
        }
        Ok(())
    }

    /// Tells dependents of a task's end. Returns those that have ended by that and have dependents of their own.
    async fn tell_page(
        &self,
        row: &TaskRow,
        end: End,
        page: &[Dependent],
    ) -> Result<Vec<TaskId>, StoreError> {
        let waiting = || page.iter().filter(|dependent| dependent.waits);
        let is_met = |dependent: &&Dependent| dependent.condition.is_met_by(end);
        let (ready, full): (Vec<&Dependent>, Vec<&Dependent>) = waiting()
            .filter(is_met)
            .filter(|dependent| dependent.unmet == 0)
            .partition(|dependent| !dependent.takes_results);
        let ready: Vec<_> = ready.into_iter().map(|dependent| dependent.task).collect();
        if !ready.is_empty() {
            self.table.release(&ready).await?;
            self.hint(&ready);
        }
        let filled = try_join_all(full.iter().map(|dependent| self.fill(dependent.task))).await?;
        let refused =
            full.iter().zip(filled).filter(|(_, is_filled)| !is_filled).map(|(dependent, _)| **dependent);

        let skipped: Vec<_> = waiting().filter(|dependent| !is_met(dependent)).copied().collect();
        let ids: Vec<_> = skipped.iter().map(|dependent| dependent.task).collect();
        if !ids.is_empty() {
            let reason = format!("skipped: task {} {}", named(row), end.words());
            let now = self.context.clock.unix_millis();
            self.table.end_waiting(&ids, TaskStatus::Skipped, &reason, now).await?;
            info!(task_id = %row.id, skipped = ids.len(), "dependents skipped");
            self.hint_at_ends(&ids);
        }
        Ok(skipped
            .into_iter()
            .chain(refused)
            .filter(|ended| ended.has_dependents)
            .map(|ended| ended.task)
            .collect())
    }

    /// Lets a task begin with the results of its predecessors in its parameter. Returns false where they cannot be put there: it
    /// has ended then.
    async fn fill(&self, task: TaskId) -> Result<bool, StoreError> {
        let Some(row) = self.table.get(task).await? else { return Ok(true) };
        match self.filled(&row).await? {
            Ok(param) => {
                self.table.release_with(task, &param).await?;
                self.hint(&[task]);
                Ok(true)
            }
            Err(reason) => {
                warn!(task_id = %task, %reason, "task not filled");
                let now = self.context.clock.unix_millis();
                let reason = format!("the parameter cannot be filled: {reason}");
                self.table.end_waiting(&[task], TaskStatus::Exceptional, &reason, now).await?;
                self.hint_at_ends(&[task]);
                Ok(false)
            }
        }
    }

    async fn filled(&self, row: &TaskRow) -> Result<Result<Value, String>, StoreError> {
        let on = self.table.dependencies(&[row.id]).await?;
        let rows = try_join_all(on.iter().map(|dependency| self.table.get(dependency.on))).await?;
        let results: HashMap<&str, Option<&Value>> = on
            .iter()
            .zip(&rows)
            .map(|(dependency, row)| {
                let result = row.as_ref().and_then(|row| row.result.as_ref());
                (dependency.label.as_str(), result.map(|result| &result.data))
            })
            .collect();
        let result = |of: Option<&str>| {
            let label =
                of.or_else(|| on.first().map(|dependency| dependency.label.as_str())).unwrap_or_default();
            results.get(label).copied().flatten().ok_or_else(|| format!("task {label} has no result"))
        };
        let filled = substituted(&row.param.type_param, &result).and_then(|type_param| {
            let param = dtf_model::TaskParam { type_param, ..row.param.clone() };
            param.check().map_err(|error| error.to_string())?;
            // Where the type is not known here, its generator refuses what is wrong.
            if let Ok(known) = self.context.plugins.get(row.task_type) {
                known.plugin.check(&param).map_err(|error| error.to_string())?;
            }
            Ok(param.type_param)
        });
        Ok(filled)
    }

    /// Hints at tasks that may begin.
    fn hint(&self, tasks: &[TaskId]) {
        for task in tasks {
            self.context.wake.notify(self.context.shape.watch(*task), *task);
        }
    }

    fn hint_at_ends(&self, tasks: &[TaskId]) {
        for task in tasks {
            self.context.wake.notify(Topic::Row(*task), *task);
        }
        // Whoever hears it looks at all that are due.
        if let Some(last) = tasks.last() {
            self.context.wake.notify(Topic::Hooks, *last);
        }
    }
}

/// The local name and the id of a task, for people.
fn named(row: &TaskRow) -> String {
    match &row.flow {
        Some(member) => format!("{:?} ({})", member.name, row.id),
        None => row.id.to_string(),
    }
}
