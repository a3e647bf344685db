//! The port to flows and to what tasks wait for, on either database.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use dtf_model::flow::{Dependency, Dependent, FlowCounts, FlowRow, FlowTable, NewFlow, On};
use dtf_model::table::TaskRow;
use dtf_model::{FlowId, InvalidInput, StoreError, TaskId, TaskStatus};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::audit::{NumberOf, addition_of};
use crate::batches::with_rows;
use crate::call::{Call, Value, bound, kept};
use crate::row::{Created, FlowNumber, Number};
use crate::sql;
use crate::table::{Database, SqlTable, insertion};

/// The rows of a statement.
const ROWS: usize = 64;
/// The ids of a statement.
const IDS: usize = 500;
/// The place of the flow in a row of `insert_flow_tasks.sql`.
const FLOW: &str = "(SELECT id FROM tbl_flow WHERE request_id = ?)";

/// The statements of either database.
struct Statements {
    flow: &'static str,
    tasks: &'static str,
    after: &'static str,
    /// A row of `insert_after.sql`.
    after_row: &'static str,
}

#[async_trait]
impl FlowTable for SqlTable {
    async fn create_flow(&self, flow: &NewFlow) -> Result<Vec<TaskId>, StoreError> {
        flow.check()?;
        for group in
            flow.members.iter().map(|member| &member.param.group).collect::<std::collections::BTreeSet<_>>()
        {
            if dtf_model::group::GroupTable::group(self, group).await?.is_none() {
                return Err(InvalidInput::UnknownGroup(group.clone()).into());
            }
        }
        let existing = self.requests_of(&flow.existing()).await?;
        let mut calls = self.creation(flow, &existing)?;
        let note = self.unwritten();
        if let Some(note) = note {
            let (request, first) = (flow.request.to_string(), flow.request_of(0).to_string());
            let made = match flow.name {
                Some(_) => NumberOf::Flow(&request),
                None => NumberOf::Task(&first),
            };
            calls.push(self.database.adding(&[addition_of(note, made)])?);
        }
        self.database.transaction(calls).await?;
        if let Some(note) = note {
            note.set_written();
        }
        self.ids_of(flow).await
    }

    async fn flow(&self, id: FlowId) -> Result<Option<FlowRow>, StoreError> {
        Ok(self.fetch(Call::new(sql::FLOW).with(bound(id.0))).await?.pop())
    }

    async fn flows(
        &self,
        before: Option<FlowId>,
        most: u32,
    ) -> Result<Vec<(FlowRow, FlowCounts)>, StoreError> {
        let call = Call::new(sql::FLOWS).with(before.map_or(i64::MAX, |before| bound(before.0)));
        let rows: Vec<FlowRow> = self.fetch(call.with(most)).await?;
        let mut counts: BTreeMap<FlowId, FlowCounts> = BTreeMap::new();
        for rows in rows.chunks(IDS) {
            let ids = rows.iter().map(|row| vec![Value::from(bound(row.id.0))]).collect();
            let found: Vec<FlowNumber> = self.fetch(with_rows(sql::FLOW_COUNTS, "?", ", ", ids)).await?;
            for FlowNumber { flow, status, waits, failed, number } in found {
                let failed = dtf_model::Counts { failed: u64::from(failed), ..dtf_model::Counts::default() };
                let of = counts.entry(flow).or_default();
                (0..number).for_each(|_| of.add(status, &failed, waits));
            }
        }
        Ok(rows.into_iter().map(|row| (row.clone(), counts.remove(&row.id).unwrap_or_default())).collect())
    }

    async fn flow_tasks(&self, id: FlowId) -> Result<Vec<TaskRow>, StoreError> {
        self.fetch(Call::new(sql::FLOW_TASKS).with(bound(id.0))).await
    }

    async fn dependencies(&self, tasks: &[TaskId]) -> Result<Vec<Dependency>, StoreError> {
        let mut found = Vec::new();
        for tasks in tasks.chunks(IDS) {
            found.extend(self.fetch::<Dependency>(of_ids(sql::DEPENDENCIES, Vec::new(), tasks)).await?);
        }
        Ok(found)
    }

    async fn untold(&self, task: TaskId, after: TaskId, most: u32) -> Result<Vec<Dependent>, StoreError> {
        self.fetch(Call::new(sql::UNTOLD).with(bound(task.0)).with(bound(after.0)).with(most)).await
    }

    async fn release(&self, tasks: &[TaskId]) -> Result<(), StoreError> {
        self.each_chunk(sql::RELEASE, &[], tasks).await
    }

    async fn release_with(&self, task: TaskId, type_param: &Json) -> Result<bool, StoreError> {
        let call = Call::new(sql::RELEASE_WITH).with(type_param.to_string().as_str());
        self.execute(call.with(bound(task.0))).await
    }

    async fn end_waiting(
        &self,
        tasks: &[TaskId],
        status: TaskStatus,
        reason: &str,
        now: u64,
    ) -> Result<(), StoreError> {
        let (now, reason) = (kept("the time", now)?, dtf_model::table::kept_reason(reason));
        let before = [now.into(), now.into(), now.into(), now.into(), reason.into(), status.code().into()];
        self.each_chunk(sql::END_WAITING, &before, tasks).await
    }

    async fn told(&self, task: TaskId, dependents: &[TaskId]) -> Result<(), StoreError> {
        self.each_chunk(sql::TOLD, &[bound(task.0).into()], dependents).await
    }

    async fn with_untold(&self, after: TaskId, most: u32) -> Result<Vec<TaskId>, StoreError> {
        let found: Vec<Number> =
            self.fetch(Call::new(sql::WITH_UNTOLD).with(bound(after.0)).with(most)).await?;
        Ok(found.into_iter().map(|number| TaskId(number.0)).collect())
    }
}

impl SqlTable {
    fn statements(&self) -> Statements {
        match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => Statements {
                flow: sql::sqlite::INSERT_FLOW,
                tasks: sql::sqlite::INSERT_FLOW_TASKS,
                after: sql::sqlite::INSERT_AFTER,
                after_row: "SELECT ? AS task, ? AS predecessor, ? AS cond, ? AS label",
            },
            #[cfg(feature = "mysql")]
            Database::MySql(_) => Statements {
                flow: sql::mysql::INSERT_FLOW,
                tasks: sql::mysql::INSERT_FLOW_TASKS,
                after: sql::mysql::INSERT_AFTER,
                // In the collation of the requests, so that their index is used.
                after_row: "SELECT CONVERT(? USING ascii) COLLATE ascii_bin AS task, CONVERT(? USING ascii) COLLATE ascii_bin AS predecessor, \
                    CAST(? AS SIGNED) AS cond, ? AS label",
            },
        }
    }

    /// The names of the creations of tasks that exist.
    async fn requests_of(&self, tasks: &[TaskId]) -> Result<HashMap<TaskId, String>, StoreError> {
        let mut requests = HashMap::new();
        for ids in tasks.chunks(IDS) {
            let found: Vec<Created> = self.fetch(of_ids(sql::REQUESTS, Vec::new(), ids)).await?;
            requests.extend(found.into_iter().map(|found| (found.id, found.request)));
        }
        match tasks.iter().find(|task| !requests.contains_key(task)) {
            Some(missing) => Err(InvalidInput::NoSuchTask(*missing).into()),
            None => Ok(requests),
        }
    }

    /// The statements of a creation, to be made in one transaction. Nothing of it depends on ids that are given out within.
    fn creation(&self, flow: &NewFlow, existing: &HashMap<TaskId, String>) -> Result<Vec<Call>, StoreError> {
        let (statements, mut calls) = (self.statements(), Vec::new());
        let request = flow.request.to_string();
        if let Some(name) = &flow.name {
            let retry_of = Value::Number(flow.retry_of.map(|of| bound(of.0)));
            let call = Call::new(statements.flow).with(request.as_str()).with(name.as_str()).with(retry_of);
            calls.push(call.with(kept("the time", flow.now)?));
        }
        let mut depended_on = vec![false; flow.members.len()];
        for on in flow.members.iter().flat_map(|member| &member.after) {
            if let On::Member(place) = on.on {
                depended_on[place] = true;
            }
        }
        let (mut tasks, mut after) = (Vec::new(), Vec::new());
        for (index, member) in flow.members.iter().enumerate() {
            let mut row = insertion(&flow.task(index))?.row;
            row.push(u8::from(!member.after.is_empty()).saturating_mul(WAITS).into());
            row.push(Value::Text(flow.name.as_ref().map(|_| request.clone())));
            row.push(Value::Text(flow.name.as_ref().map(|_| member.name.clone())));
            row.push(u8::from(member.takes_results()).into());
            row.push(u8::from(depended_on[index]).into());
            tasks.push(row);
            for on in &member.after {
                let predecessor = match on.on {
                    On::Member(place) => flow.request_of(place).to_string(),
                    On::Task(task) => existing[&task].clone(),
                };
                let of = flow.request_of(index).to_string();
                let (of, predecessor) = (of.as_str().into(), predecessor.as_str().into());
                after.push(vec![of, predecessor, on.condition.code().into(), on.label.as_str().into()]);
            }
        }
        let row = format!("({}?, {FLOW}, ?, ?, ?, 1, '')", "?, ".repeat(tasks[0].len() - 5));
        calls.extend(tasks.chunks(ROWS).map(|rows| with_rows(statements.tasks, &row, ", ", rows.to_vec())));
        calls.extend(
            after
                .chunks(ROWS)
                .map(|rows| with_rows(statements.after, statements.after_row, " UNION ALL ", rows.to_vec())),
        );
        let ids: Vec<_> = existing.keys().copied().collect();
        calls.extend(ids.chunks(IDS).map(|ids| of_ids(sql::DEPENDED_ON, Vec::new(), ids)));
        Ok(calls)
    }

    async fn ids_of(&self, flow: &NewFlow) -> Result<Vec<TaskId>, StoreError> {
        let requests: Vec<Uuid> = (0..flow.members.len()).map(|index| flow.request_of(index)).collect();
        let mut ids: HashMap<String, TaskId> = HashMap::new();
        for requests in requests.chunks(IDS) {
            let rows =
                requests.iter().map(|request| vec![Value::from(request.to_string().as_str())]).collect();
            let found: Vec<Created> = self.fetch(with_rows(sql::CREATED, "?", ", ", rows)).await?;
            ids.extend(found.into_iter().map(|found| (found.request, found.id)));
        }
        let lost = || StoreError::Unknown { store: "SQL", cause: "a task inserted was not found".to_owned() };
        requests.iter().map(|request| ids.get(&request.to_string()).copied().ok_or_else(lost)).collect()
    }

    /// Makes a change of many tasks, so many a statement. Making it again changes nothing.
    async fn each_chunk(
        &self,
        statement: &'static str,
        before: &[Value],
        tasks: &[TaskId],
    ) -> Result<(), StoreError> {
        for ids in tasks.chunks(IDS) {
            self.execute(of_ids(statement, before.to_vec(), ids).repeatable()).await?;
        }
        Ok(())
    }
}

/// The phase of a task that waits for others.
const WAITS: u8 = 3;

/// A statement on some tasks, with the arguments before their ids.
fn of_ids(statement: &'static str, before: Vec<Value>, ids: &[TaskId]) -> Call {
    let places = vec!["?"; ids.len()].join(", ");
    let call = Call::assembled(statement.replacen("/* rows */", &places, 1));
    let ids = ids.iter().map(|id| Value::from(bound(id.0)));
    before.into_iter().chain(ids).fold(call, Call::with)
}
