//! Actions on many tasks: counted and written down at once, and worked off afterwards by whichever server gets to it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dtf_api as api;
use dtf_api::{BulkAction, Code};
use dtf_control::ClientError;
use dtf_model::TaskId;
use dtf_model::bulk::{
    BulkCaller, BulkRefusal, BulkRow, BulkSpec, BulkState, BulkUpdate, MAX_BULK_REFUSALS, MAX_BULK_TASKS,
    NewBulk,
};
use futures::future::{BoxFuture, try_join_all};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt, stream};
use tracing::warn;
use uuid::Uuid;

use super::App;
use super::audit::Change;
use crate::auth::Caller;
use crate::problem::Failed;

/// The most tasks that are named in a request.
const MAX_NAMED: usize = 1000;
/// The tasks that an action is applied to at the same time.
const TOGETHER: usize = 16;
/// The tasks after which it is written down how far an action is.
const STEP: usize = 64;
/// The actions that a server works on at the same time.
const AT_ONCE: usize = 4;
/// The time for which a server has an action to itself, in milliseconds; each step begins it anew.
const LEASE_MILLIS: u64 = 30_000;
/// The period of looks for actions that another server has left.
const LOOK: Duration = Duration::from_secs(15);
/// The pause before stores that failed are asked again.
const AGAIN: Duration = Duration::from_secs(1);

impl App {
    /// Begins an action on all tasks that a filter selects, or on those that are named. `request` names the action: sent again, it finds
    /// the one that was begun before.
    ///
    /// # Errors
    /// The filter has no condition, selects too many tasks or another number than is expected, a task that is named does not exist, the
    /// name is that of another action, or a store failed.
    pub async fn bulk(&self, request: Uuid, bulk: api::BulkRequest) -> Result<api::Bulk, Failed> {
        let filter = match bulk.tasks.is_empty() {
            true => serde_json::to_value(&bulk.filter).unwrap_or_default(),
            false => serde_json::json!({ NAMED: bulk.tasks }),
        };
        if !bulk.dry_run
            && let Some(known) = self.client.bulk(request).await?
        {
            return self.found(known, bulk.action, &filter);
        }
        let tasks = match bulk.tasks.is_empty() {
            true => self.select(&bulk.filter).await?,
            false => self.named(&bulk).await?,
        };
        let count = tasks.len() as u64;
        if let Some(expected) = bulk.expect_count.filter(|expected| *expected != count) {
            let what = if bulk.tasks.is_empty() { "the filter selects" } else { "the request names" };
            let detail = format!("{what} {count} tasks, not {expected}; look again and repeat the request");
            return Err(Failed::new(Code::CountDiffers, detail));
        }
        let caller = BulkCaller {
            name: self.caller.name.clone(),
            address: self.caller.address.clone(),
            groups: self.caller.groups.clone(),
        };
        let spec = BulkSpec { caller, action: bulk.action.name().to_owned(), filter, selected: count };
        let now = self.client.now();
        if bulk.dry_run {
            let row =
                BulkRow { id: request, spec, state: BulkState::default(), revision: 0, created_at: now };
            return Ok(api::Bulk { status: api::BulkStatus::DryRun, ..view(row)? });
        }
        let detail = format!("{} of {count} tasks: {}", spec.action, spec.filter);
        let (target, new) = (format!("bulk {request}"), NewBulk { id: request, spec, tasks, now });
        let change = Change { action: "task.bulk", target, detail, request };
        self.noted(change, |client| async move { Ok(client.add_bulk(&new).await?) }).await?;
        self.bulk_added.notify_one();
        self.bulk_state(request).await
    }

    fn found(
        &self,
        row: BulkRow,
        action: BulkAction,
        filter: &serde_json::Value,
    ) -> Result<api::Bulk, Failed> {
        if row.spec.action != action.name() || row.spec.filter != *filter {
            let detail =
                format!("{} names another action on many tasks; choose another Idempotency-Key", row.id);
            return Err(Failed::new(Code::NotAllowed, detail));
        }
        self.shown(row)
    }

    /// Returns how far an action on many tasks is.
    ///
    /// # Errors
    /// There is no such action, or a store failed.
    pub async fn bulk_state(&self, id: Uuid) -> Result<api::Bulk, Failed> {
        let row = self.client.bulk(id).await?.ok_or_else(|| missing(id))?;
        self.shown(row)
    }

    /// An action that the caller may see: of groups that it may see.
    fn shown(&self, row: BulkRow) -> Result<api::Bulk, Failed> {
        let of = &row.spec.caller.groups;
        let is_seen = self.caller.groups.is_empty()
            || (!of.is_empty() && of.iter().all(|group| self.caller.sees(group)));
        if is_seen { view(row) } else { Err(missing(row.id)) }
    }

    async fn select(&self, query: &api::TaskQuery) -> Result<Vec<u64>, Failed> {
        if query.cursor.is_some() || query.limit.is_some() {
            return Err(Failed::invalid("the filter of a bulk action takes no cursor and no limit"));
        }
        if *query == api::TaskQuery::default() {
            return Err(Failed::invalid(
                "the filter is empty; give at least one condition, such as status or group",
            ));
        }
        let (filter, most) = (self.filter(query).await?, MAX_BULK_TASKS as u32);
        let rows = self.list(&filter, None, most).await?;
        if rows.len() == MAX_BULK_TASKS
            && !self.list(&filter, rows.last().map(|row| row.id), 1).await?.is_empty()
        {
            let detail =
                format!("the filter selects more than {MAX_BULK_TASKS} tasks; narrow it and act in parts");
            return Err(Failed::invalid(detail));
        }
        Ok(rows.into_iter().map(|row| row.id.0).collect())
    }

    /// Checks the tasks that a request names: all of them are there, and of the caller's groups.
    async fn named(&self, bulk: &api::BulkRequest) -> Result<Vec<u64>, Failed> {
        if bulk.filter != api::TaskQuery::default() {
            return Err(Failed::invalid("tasks and filter exclude each other; give one of them"));
        }
        if bulk.tasks.len() > MAX_NAMED {
            let detail = format!("tasks has {} numbers; at most {MAX_NAMED} are allowed", bulk.tasks.len());
            return Err(Failed::invalid(detail));
        }
        let tasks: BTreeSet<_> = bulk.tasks.iter().copied().collect();
        let rows = try_join_all(tasks.iter().map(|task| self.client.task_row(TaskId(*task)))).await?;
        match rows.iter().find(|row| !self.caller.sees(&row.param.group)) {
            Some(hidden) => Err(ClientError::NoSuchTask(hidden.id).into()),
            None => Ok(tasks.into_iter().collect()),
        }
    }

    /// Works off actions on many tasks, for as long as this is polled; never ends. The servers of this crate do it, and so may a program
    /// that mounts the router.
    pub fn work_off(&self) -> BoxFuture<'static, ()> {
        work_off(self.clone()).boxed()
    }

    /// Goes on with an action, on behalf of its caller, to its end, or until another server has it.
    async fn go_on(&self, mut row: BulkRow) -> Result<(), Failed> {
        if !self.keep(&mut row).await? {
            return Ok(());
        }
        let action = action_of(&row.spec.action)?;
        let tasks = self.client.tasks_of_bulk(row.id).await?;
        let BulkCaller { name, address, groups } = row.spec.caller.clone();
        let acting = self.acting(Caller { groups, ..Caller::trusted(&name, &address) });
        loop {
            let from = usize::try_from(row.state.done).unwrap_or(usize::MAX).min(tasks.len());
            let step = &tasks[from..tasks.len().min(from + STEP)];
            if step.is_empty() {
                row.state.finished_at = Some(self.client.now());
                self.keep(&mut row).await?;
                return Ok(());
            }
            let Some(outcomes) = acting.step(&mut row, action, step).await? else { return Ok(()) };
            note(&mut row.state, &outcomes);
            if !self.keep(&mut row).await? {
                return Ok(());
            }
        }
    }

    /// Applies an action to some tasks; of those that a store failed for again and again. None where another server has the action.
    async fn step(
        &self,
        row: &mut BulkRow,
        action: BulkAction,
        tasks: &[u64],
    ) -> Result<Option<Outcomes>, Failed> {
        let mut outcomes = Outcomes::new();
        loop {
            let left = tasks.iter().copied().filter(|task| !outcomes.contains_key(task));
            let name = row.id.as_u128();
            let applied = stream::iter(left).map(|task| async move {
                // Each task's creation has a name of its own, derived from the action's.
                let of_task = Uuid::from_u128(name ^ u128::from(task));
                (task, self.apply(of_task, TaskId(task), action).await)
            });
            let applied: Vec<_> = applied.buffer_unordered(TOGETHER).collect().await;
            for (task, outcome) in applied {
                match outcome {
                    Ok(_) => drop(outcomes.insert(task, None)),
                    Err(failed) if failed.is_passing() => {}
                    Err(failed) => drop(outcomes.insert(task, Some(failed.0.detail))),
                }
            }
            if outcomes.len() == tasks.len() {
                return Ok(Some(outcomes));
            }
            tokio::time::sleep(AGAIN).await;
            if !self.keep(row).await? {
                return Ok(None);
            }
        }
    }

    /// Writes how far an action is, and has it to itself for another while. Returns false if another server has it.
    async fn keep(&self, row: &mut BulkRow) -> Result<bool, Failed> {
        let until = match row.state.finished_at {
            Some(_) => None,
            None => Some(self.client.now().saturating_add(LEASE_MILLIS)),
        };
        let update = BulkUpdate { id: row.id, revision: row.revision, state: row.state.clone(), until };
        let is_kept = self.client.update_bulk(&update).await?;
        row.revision += 1;
        Ok(is_kept)
    }
}

/// The outcome for each task: none where the action was applied, else the reason.
type Outcomes = BTreeMap<u64, Option<String>>;

/// Adds a step to the progress.
fn note(state: &mut BulkState, outcomes: &Outcomes) {
    for (task, outcome) in outcomes {
        state.done += 1;
        let Some(detail) = outcome else {
            state.applied += 1;
            continue;
        };
        state.refused += 1;
        if state.refusals.len() < MAX_BULK_REFUSALS {
            state.refusals.push(BulkRefusal { task: *task, detail: detail.clone() });
        }
    }
}

async fn work_off(app: App) {
    let mut working = FuturesUnordered::new();
    loop {
        let added = app.bulk_added.notified();
        let room = AT_ONCE - working.len();
        match app.client.due_bulks(room as u32).await {
            // One that another server takes up first is left at once.
            Ok(due) => working.extend(due.into_iter().map(|row| named(&app, row))),
            Err(error) => warn!(%error, "actions on many tasks cannot be read; that is tried again"),
        }
        tokio::select! {
            Some((id, done)) = working.next() => {
                if let Err(failed) = done {
                    let error = failed.0.detail;
                    warn!(%id, error, "an action on many tasks stands still; it goes on later");
                }
            }
            () = added, if working.len() < AT_ONCE => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Goes on with an action, and says which it is. One that fails rests, so that its stores are not asked again at once.
async fn named(app: &App, row: BulkRow) -> (Uuid, Result<(), Failed>) {
    let (id, done) = (row.id, app.go_on(row).await);
    if done.is_err() {
        tokio::time::sleep(AGAIN).await;
    }
    (id, done)
}

fn missing(id: Uuid) -> Failed {
    Failed::not_found(format!("there is no action {id} on many tasks"))
}

fn action_of(name: &str) -> Result<BulkAction, Failed> {
    let known = [BulkAction::Pause, BulkAction::Resume, BulkAction::Cancel, BulkAction::Retry];
    let known = known.into_iter().find(|action| action.name() == name);
    known.ok_or_else(|| {
        Failed::new(Code::Refused, format!("the action {name:?} is not known to this program"))
    })
}

/// The field of a kept filter that has the numbers of tasks that were named.
const NAMED: &str = "tasks";

fn view(row: BulkRow) -> Result<api::Bulk, Failed> {
    let BulkRow { id, spec, state, created_at, .. } = row;
    let named = spec.filter.get(NAMED).cloned().map(serde_json::from_value);
    let refused = |refusal: BulkRefusal| api::Refused { id: refusal.task, detail: refusal.detail };
    Ok(api::Bulk {
        id,
        action: action_of(&spec.action)?,
        filter: serde_json::from_value(spec.filter).unwrap_or_default(),
        tasks: named.transpose().unwrap_or_default().unwrap_or_default(),
        status: if state.finished_at.is_some() {
            api::BulkStatus::Finished
        } else {
            api::BulkStatus::Running
        },
        selected: spec.selected,
        applied: state.applied,
        refused_count: state.refused,
        refused: state.refusals.into_iter().map(refused).collect(),
        by: spec.caller.name,
        created_at,
        finished_at: state.finished_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_added_to_the_progress_and_refusals_have_an_end() {
        let mut state = BulkState::default();
        for step in 0..3_u64 {
            let outcome =
                |task: u64| (task, task.is_multiple_of(2).then(|| format!("task {task} has ended")));
            note(&mut state, &(step * 100..(step + 1) * 100).map(outcome).collect());
        }
        assert_eq!((state.done, state.applied, state.refused), (300, 150, 150));
        assert_eq!(state.refusals.len(), MAX_BULK_REFUSALS);
        assert_eq!(state.refusals[1], BulkRefusal { task: 2, detail: "task 2 has ended".to_owned() });
    }
}
