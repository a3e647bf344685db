//! `tbl_task` in memory: for the roles' own tests, and as the plainest statement of what the port means.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use dtf_model::audit::{Note, NotingTable};
use dtf_model::error::{InvalidInput, StoreError};
use dtf_model::ids::{RunEpoch, TaskId};
use dtf_model::status::{Control, TaskStatus};
use dtf_model::table::{
    BucketOf, Finish, HistoryOf, Keep, ListOrder, NewTask, TaskFilter, TaskHead, TaskRow, TaskTable,
    check_list, kept_reason,
};
use uuid::Uuid;

use super::audit::Audit;
use super::bulks::Bulks;
use super::defined_types::DefinedTypes;
use super::failures::Failures;
use super::flows::Flows;
use super::gateways::Gateways;
use super::groups::Groups;
use super::items::Items;
use super::results::Results;
use super::schedules::Schedules;
use super::tokens::Tokens;
use super::unique::Keys;

/// A [`TaskTable`] that lives as long as the process.
#[derive(Debug, Default)]
pub struct MemoryTable {
    state: Arc<Mutex<State>>,
    /// The entry of the audit that is written together with the next change.
    note: Option<Note>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) rows: BTreeMap<TaskId, Stored>,
    pub(super) by_request: HashMap<Uuid, TaskId>,
    last: TaskId,
    pub(super) groups: Groups,
    pub(super) failures: Failures,
    pub(super) schedules: Schedules,
    pub(super) flows: Flows,
    pub(super) keys: Keys,
    pub(super) notes: HashMap<String, String>,
    pub(super) results: Results,
    pub(super) items: Items,
    pub(super) defined_types: DefinedTypes,
    pub(super) gateways: Gateways,
    pub(super) tokens: Tokens,
    pub(super) audit: Audit,
    pub(super) bulks: Bulks,
}

#[derive(Debug)]
pub(super) struct Stored {
    pub(super) row: TaskRow,
    purged: bool,
}

impl State {
    /// Inserts a task that is not there.
    pub(super) fn insert(&mut self, task: &NewTask) -> TaskId {
        let id = TaskId(self.last.0 + 1);
        self.last = id;
        self.by_request.insert(task.request, id);
        self.rows.insert(id, Stored { row: TaskRow::created(id, task), purged: false });
        id
    }
}

impl MemoryTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the entry that belongs to a change that was made, if there is one that is not written yet. Of a creation, `created` is
    /// the number of what was made.
    pub(super) fn write_entry(&self, state: &mut State, created: u64) {
        if let Some(note) = self.note.as_ref().filter(|note| !note.is_written()) {
            let entry = note.entry_of(created);
            state.audit.entry(entry.id).or_insert(entry);
            note.set_written();
        }
    }

    /// Changes the row of a task that has not ended; false where there is none.
    fn change(&self, id: TaskId, change: impl FnOnce(&mut TaskRow) -> bool) -> bool {
        let mut state = self.state();
        let applied = match state.rows.get_mut(&id) {
            Some(stored) if !stored.row.status.is_terminal() => change(&mut stored.row),
            _ => false,
        };
        if applied {
            self.write_entry(&mut state, id.0);
        }
        applied
    }
}

impl NotingTable for MemoryTable {
    fn noting(&self, note: &Note) -> Arc<dyn TaskTable> {
        Arc::new(Self { state: self.state.clone(), note: Some(note.clone()) })
    }
}

#[async_trait]
impl TaskTable for MemoryTable {
    async fn insert(&self, task: &NewTask) -> Result<TaskId, StoreError> {
        task.param.check()?;
        let mut state = self.state();
        if !state.groups.has(&task.param.group) {
            return Err(InvalidInput::UnknownGroup(task.param.group.clone()).into());
        }
        let known = state.by_request.get(&task.request).copied();
        let id = known.unwrap_or_else(|| state.insert(task));
        self.write_entry(&mut state, id.0);
        Ok(id)
    }

    async fn get(&self, id: TaskId) -> Result<Option<TaskRow>, StoreError> {
        Ok(self.state().rows.get(&id).map(|stored| stored.row.clone()))
    }

    async fn active(&self, share: BucketOf, after: TaskId, most: u32) -> Result<Vec<TaskHead>, StoreError> {
        let state = self.state();
        let rows = state.rows.values().map(|stored| &stored.row);
        let fits =
            |row: &&TaskRow| row.id > after && share.has(row.id) && !row.status.is_terminal() && !row.waits;
        Ok(rows.filter(fits).take(most as usize).map(TaskHead::from).collect())
    }

    async fn list(
        &self,
        filter: &TaskFilter,
        last: Option<TaskId>,
        most: u32,
    ) -> Result<Vec<TaskRow>, StoreError> {
        check_list(filter, most)?;
        let (state, order) = (self.state(), filter.order());
        let rows = state.rows.values().map(|stored| &stored.row);
        let mut rows: Vec<_> = rows.filter(|row| filter.has(row)).collect();
        rows.sort_by(|one, other| order.compare(one, other));
        if let Some(id) = last {
            match (order, state.rows.get(&id)) {
                (ListOrder::NewestFirst, _) => rows.retain(|row| row.id < id),
                (_, Some(last)) => rows.retain(|row| order.compare(row, &last.row).is_gt()),
                (_, None) => return Err(InvalidInput::NoSuchTask(id).into()),
            }
        }
        Ok(rows.into_iter().take(most as usize).cloned().collect())
    }

    async fn begin_run(&self, id: TaskId, expected: RunEpoch, now: u64) -> Result<bool, StoreError> {
        Ok(self.change(id, |row| {
            if row.run != expected || row.waits {
                return false;
            }
            row.run = RunEpoch(expected.0 + 1);
            if row.started_at.is_none() {
                row.started_at = Some(now);
                row.paused_at = row.paused_at.map(|_| now);
                row.paused_for = 0;
            }
            if row.status == TaskStatus::Created {
                row.status = TaskStatus::Running;
            }
            true
        }))
    }

    async fn set_control(
        &self,
        id: TaskId,
        control: Control,
        reason: &str,
        now: u64,
    ) -> Result<bool, StoreError> {
        Ok(self.change(id, |row| wish(row, control, reason, now)))
    }

    async fn finish(&self, id: TaskId, finish: &Finish) -> Result<bool, StoreError> {
        finish.check()?;
        Ok(self.change(id, |row| end(row, finish)))
    }

    async fn unpurged(
        &self,
        share: BucketOf,
        finished_by: u64,
        most: u32,
    ) -> Result<Vec<TaskHead>, StoreError> {
        let state = self.state();
        let fits = |stored: &&Stored| {
            let ended = stored.row.finished_at.is_some_and(|at| at <= finished_by);
            ended && !stored.purged && share.has(stored.row.id)
        };
        let found = state.rows.values().filter(fits).take(most as usize);
        Ok(found.map(|stored| TaskHead::from(&stored.row)).collect())
    }

    async fn purged(&self, id: TaskId) -> Result<(), StoreError> {
        if let Some(stored) = self.state().rows.get_mut(&id) {
            stored.purged |= stored.row.status.is_terminal();
        }
        Ok(())
    }

    async fn next_history(&self, after: Option<&HistoryOf>) -> Result<Option<HistoryOf>, StoreError> {
        let state = self.state();
        let all = state.rows.values().map(|stored| history_of(&stored.row));
        Ok(all.filter(|of| after.is_none_or(|after| of > after)).min())
    }

    async fn forget(&self, of: &HistoryOf, keep: Keep, most: u32) -> Result<u64, StoreError> {
        let mut state = self.state();
        let is_history = |stored: &&Stored| stored.purged && history_of(&stored.row) == *of;
        let mut ended: Vec<_> = state.rows.values().filter(is_history).map(|stored| &stored.row).collect();
        ended.sort_by_key(|row| (row.finished_at, row.id));
        let newest = keep.newest.and_then(|newest| ended.iter().rev().nth(newest.max(1) as usize - 1));
        let before = keep.ended_since.max(newest.and_then(|row| row.finished_at));
        let is_run_again = |id: TaskId| {
            let mut all = state.rows.values().map(|stored| &stored.row);
            all.any(|row| row.param.retry_of == Some(id) && !row.status.is_terminal())
        };
        let is_waited_for = |id: TaskId| {
            state
                .flows
                .dependents(id)
                .any(|task| state.rows.get(&task).is_some_and(|stored| stored.row.waits))
        };
        let goes = |row: &&&TaskRow| {
            row.finished_at < before
                && row.hook_at.is_none()
                && !is_run_again(row.id)
                && !is_waited_for(row.id)
        };
        let ids: Vec<_> = ended.iter().filter(goes).take(most as usize).map(|row| row.id).collect();
        for id in &ids {
            state.rows.remove(id);
            state.by_request.retain(|_, task| task != id);
            state.failures.retain(|(task, _), _| task != id);
            state.flows.forget(*id);
            state.results.retain(|(task, _), _| task != id);
            state.items.remove(id);
        }
        Ok(ids.len() as u64)
    }
}

fn history_of(row: &TaskRow) -> HistoryOf {
    HistoryOf { group: row.param.group.clone(), task_type: row.task_type }
}

fn wish(row: &mut TaskRow, control: Control, reason: &str, now: u64) -> bool {
    if row.control == control {
        return true;
    }
    match control {
        _ if row.control.ends() => return false,
        Control::Pause => {
            row.paused_at = Some(now);
            row.status = TaskStatus::Paused;
        }
        Control::Run => {
            end_pause(row, now);
            row.status = if row.waits { TaskStatus::Created } else { TaskStatus::Running };
        }
        Control::Cancel | Control::Abort => {
            row.cancelled_at = Some(now);
            row.waits = false;
        }
    }
    row.control = control;
    row.reason = kept_reason(reason).to_owned();
    true
}

/// Has the hooks of a task looked at that ends now.
pub(super) fn make_hooks_due(row: &mut TaskRow, now: u64) {
    row.hook_at = (!row.hooks.is_empty()).then_some(now);
}

fn end_pause(row: &mut TaskRow, now: u64) {
    if let Some(since) = row.paused_at.take() {
        row.paused_for += now.saturating_sub(since);
    }
}

fn end(row: &mut TaskRow, finish: &Finish) -> bool {
    if row.waits || row.run != finish.run || !row.status.may_become(finish.status) {
        return false;
    }
    end_pause(row, finish.now);
    row.status = finish.status;
    row.counts = finish.counts;
    row.finished_at = Some(finish.now);
    row.result.clone_from(&finish.result);
    make_hooks_due(row, finish.now);
    if !finish.reason.is_empty() {
        row.reason = kept_reason(&finish.reason).to_owned();
    }
    true
}
