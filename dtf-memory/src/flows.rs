//! Flows, and what tasks wait for, in memory.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use dtf_model::flow::{Dependency, Dependent, End, FlowCounts, FlowMember, FlowRow, FlowTable, NewFlow, On};
use dtf_model::table::{TaskRow, kept_reason};
use dtf_model::{FlowId, InvalidInput, StoreError, TaskId, TaskStatus};
use serde_json::Value;

use super::MemoryTable;
use super::table::{State, make_hooks_due};

/// The flows, and what tasks wait for.
#[derive(Debug, Default)]
pub(super) struct Flows {
    rows: BTreeMap<FlowId, FlowRow>,
    last: u64,
    /// By task and predecessor; true once the task was told of the end.
    after: BTreeMap<(TaskId, TaskId), (Dependency, bool)>,
    /// The tasks that wait or waited for each.
    on: BTreeMap<TaskId, BTreeSet<TaskId>>,
}

impl Flows {
    /// The tasks that wait or waited for one.
    pub(super) fn dependents(&self, on: TaskId) -> impl Iterator<Item = TaskId> {
        self.on.get(&on).into_iter().flatten().copied()
    }

    /// Deletes what a task waited for.
    pub(super) fn forget(&mut self, task: TaskId) {
        let on: Vec<_> = self.of(task).map(|(dependency, _)| dependency.on).collect();
        for on in on {
            self.after.remove(&(task, on));
            if let Some(dependents) = self.on.get_mut(&on) {
                dependents.remove(&task);
            }
        }
    }

    fn of(&self, task: TaskId) -> impl Iterator<Item = &(Dependency, bool)> {
        self.after.range((task, TaskId(0))..=(task, TaskId(u64::MAX))).map(|(_, entry)| entry)
    }

    fn add(&mut self, dependency: Dependency) {
        self.on.entry(dependency.on).or_default().insert(dependency.task);
        self.after.insert((dependency.task, dependency.on), (dependency, false));
    }
}

impl State {
    fn end(&self, task: TaskId) -> Option<End> {
        let row = &self.rows.get(&task)?.row;
        End::of(row.status, &row.counts)
    }

    fn dependent(&self, dependency: &Dependency) -> Dependent {
        let row = self.rows.get(&dependency.task).map(|stored| &stored.row);
        let is_met = |(dependency, _): &&(Dependency, bool)| {
            self.end(dependency.on).is_some_and(|end| dependency.condition.is_met_by(end))
        };
        Dependent {
            task: dependency.task,
            condition: dependency.condition,
            waits: row.is_some_and(|row| row.waits),
            unmet: self.flows.of(dependency.task).filter(|entry| !is_met(entry)).count() as u64,
            takes_results: row.is_some_and(|row| dtf_model::flow::takes_results(&row.param.type_param)),
            has_dependents: row.is_some_and(|row| row.has_dependents),
        }
    }

    fn waiting(&mut self, task: TaskId) -> Option<&mut TaskRow> {
        self.rows.get_mut(&task).map(|stored| &mut stored.row).filter(|row| row.waits)
    }

    /// The id of a flow: of one that is there, or of a new one. None for tasks of no flow.
    fn flow_id(&mut self, flow: &NewFlow) -> Option<FlowId> {
        let name = flow.name.clone()?;
        if let Some(row) = self.flows.rows.values().find(|row| row.request == flow.request) {
            return Some(row.id);
        }
        self.flows.last += 1;
        let id = FlowId(self.flows.last);
        let (request, retry_of, created_at) = (flow.request, flow.retry_of, flow.now);
        self.flows.rows.insert(id, FlowRow { id, request, name, retry_of, created_at });
        Some(id)
    }
}

#[async_trait]
impl FlowTable for MemoryTable {
    async fn create_flow(&self, flow: &NewFlow) -> Result<Vec<TaskId>, StoreError> {
        flow.check()?;
        let state = &mut *self.state();
        for member in &flow.members {
            if !state.groups.has(&member.param.group) {
                return Err(InvalidInput::UnknownGroup(member.param.group.clone()).into());
            }
        }
        if let Some(missing) = flow.existing().into_iter().find(|task| !state.rows.contains_key(task)) {
            return Err(InvalidInput::NoSuchTask(missing).into());
        }
        let flow_id = state.flow_id(flow);
        let mut ids = Vec::with_capacity(flow.members.len());
        for (index, member) in flow.members.iter().enumerate() {
            let task = flow.task(index);
            if let Some(id) = state.by_request.get(&task.request) {
                ids.push(*id);
                continue;
            }
            let id = state.insert(&task);
            ids.push(id);
            let name = member.name.clone();
            if let Some(stored) = state.rows.get_mut(&id) {
                stored.row.waits = !member.after.is_empty();
                stored.row.flow = flow_id.map(|flow| FlowMember { flow, name });
            }
            for on in &member.after {
                let predecessor = match on.on {
                    On::Task(task) => task,
                    On::Member(place) => ids[place],
                };
                let (condition, label) = (on.condition, on.label.clone());
                state.flows.add(Dependency { task: id, on: predecessor, condition, label });
                if let Some(stored) = state.rows.get_mut(&predecessor) {
                    stored.row.has_dependents = true;
                }
            }
        }
        self.write_entry(state, flow_id.map_or(ids[0].0, |flow| flow.0));
        Ok(ids)
    }

    async fn flow(&self, id: FlowId) -> Result<Option<FlowRow>, StoreError> {
        Ok(self.state().flows.rows.get(&id).cloned())
    }

    async fn flows(
        &self,
        before: Option<FlowId>,
        most: u32,
    ) -> Result<Vec<(FlowRow, FlowCounts)>, StoreError> {
        let state = self.state();
        let rows = state.flows.rows.values().rev().filter(|row| before.is_none_or(|before| row.id < before));
        let with_counts = rows.take(most as usize).map(|row| {
            let mut counts = FlowCounts::default();
            let tasks = state.rows.values().map(|stored| &stored.row);
            for task in tasks.filter(|task| task.flow.as_ref().is_some_and(|member| member.flow == row.id)) {
                counts.add(task.status, &task.counts, task.waits);
            }
            (row.clone(), counts)
        });
        Ok(with_counts.collect())
    }

    async fn flow_tasks(&self, id: FlowId) -> Result<Vec<TaskRow>, StoreError> {
        let state = self.state();
        let rows = state.rows.values().map(|stored| &stored.row);
        Ok(rows.filter(|row| row.flow.as_ref().is_some_and(|member| member.flow == id)).cloned().collect())
    }

    async fn dependencies(&self, tasks: &[TaskId]) -> Result<Vec<Dependency>, StoreError> {
        let (state, tasks) = (self.state(), tasks.iter().copied().collect::<BTreeSet<_>>());
        let found =
            tasks.into_iter().flat_map(|task| state.flows.of(task).map(|(dependency, _)| dependency.clone()));
        Ok(found.collect())
    }

    async fn untold(&self, task: TaskId, after: TaskId, most: u32) -> Result<Vec<Dependent>, StoreError> {
        let state = self.state();
        let dependents = state.flows.dependents(task).filter(|dependent| *dependent > after);
        let untold = dependents.filter_map(|dependent| {
            let (dependency, told) = state.flows.after.get(&(dependent, task))?;
            (!told).then(|| state.dependent(dependency))
        });
        Ok(untold.take(most as usize).collect())
    }

    async fn release(&self, tasks: &[TaskId]) -> Result<(), StoreError> {
        let state = &mut *self.state();
        for task in tasks {
            if let Some(row) = state.waiting(*task) {
                row.waits = false;
            }
        }
        Ok(())
    }

    async fn release_with(&self, task: TaskId, type_param: &Value) -> Result<bool, StoreError> {
        let state = &mut *self.state();
        let Some(row) = state.waiting(task) else { return Ok(false) };
        row.waits = false;
        row.param.type_param = type_param.clone();
        Ok(true)
    }

    async fn end_waiting(
        &self,
        tasks: &[TaskId],
        status: TaskStatus,
        reason: &str,
        now: u64,
    ) -> Result<(), StoreError> {
        let state = &mut *self.state();
        for task in tasks {
            if let Some(row) = state.waiting(*task) {
                row.waits = false;
                row.status = status;
                row.finished_at = Some(now);
                row.reason = kept_reason(reason).to_owned();
                make_hooks_due(row, now);
                if let Some(since) = row.paused_at.take() {
                    row.paused_for += now.saturating_sub(since);
                }
            }
        }
        Ok(())
    }

    async fn told(&self, task: TaskId, dependents: &[TaskId]) -> Result<(), StoreError> {
        let state = &mut *self.state();
        for dependent in dependents {
            if let Some((_, told)) = state.flows.after.get_mut(&(*dependent, task)) {
                *told = true;
            }
        }
        Ok(())
    }

    async fn with_untold(&self, after: TaskId, most: u32) -> Result<Vec<TaskId>, StoreError> {
        let state = self.state();
        let untold: BTreeSet<_> = state
            .flows
            .after
            .values()
            .filter(|(dependency, told)| !told && dependency.on > after && state.end(dependency.on).is_some())
            .map(|(dependency, _)| dependency.on)
            .collect();
        Ok(untold.into_iter().take(most as usize).collect())
    }
}
