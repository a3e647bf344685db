//! Rows of the tables as the model's.

use std::time::Duration;

use dtf_model::audit::{AuditEntry, AuditOutcome};
use dtf_model::bulk::BulkRow;
use dtf_model::defined_type::DefinedType;
use dtf_model::failure::{Failure, FailureKey};
use dtf_model::flow::{Condition, Dependency, Dependent, FlowMember, FlowRow};
use dtf_model::gateway::Gateway;
use dtf_model::hook::HookRecord;
use dtf_model::ids::TypeVersion;
use dtf_model::items::Feed;
use dtf_model::schedule::ScheduleRow;
use dtf_model::table::{HistoryOf, TaskHead, TaskRow};
use dtf_model::token::{ApiToken, TokenRole};
use dtf_model::{
    Control, Counts, Creator, EmitEpoch, FlowId, Limits, Priority, ResourceGroup, RunEpoch, ScheduleId, Seq,
    TaskId, TaskParam, TaskStatus, TaskTypeId,
};
use sqlx::{ColumnIndex, Decode, Error, Row, Type};
use uuid::Uuid;

use crate::failure::read_hex;

/// A record that is read from a row.
pub(crate) trait Record: Sized + Send + 'static {
    /// Reads one, by the names of its columns.
    fn read(columns: &Columns<'_>) -> Result<Self, Error>;
}

/// Reads rows.
pub(crate) fn all<T: Record, R: Cells>(rows: &[R]) -> Result<Vec<T>, Error> {
    rows.iter().map(|row| T::read(&Columns(row))).collect()
}

impl Record for TaskRow {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        let hooks: Vec<HookRecord> = columns.json("hooks")?.unwrap_or_default();
        Ok(TaskRow {
            id: TaskId(columns.number("id")?),
            request: columns.text("request_id")?.parse().map_err(|_| wrong("request_id", "no UUID"))?,
            task_type: TaskTypeId(columns.number("task_type")?),
            param: TaskParam {
                hooks: hooks.iter().map(|record| record.hook.clone()).collect(),
                ..param(columns)?
            },
            status: columns.code("task_status", TaskStatus::from_code)?,
            control: columns.code("control", Control::from_code)?,
            run: RunEpoch(columns.number("run_epoch")?),
            created_at: columns.number("create_time")?,
            started_at: columns.maybe("start_time")?,
            finished_at: columns.maybe("finish_time")?,
            paused_at: columns.maybe("paused_time")?,
            paused_for: columns.number("paused_cost")?,
            cancelled_at: columns.maybe("cancel_time")?,
            counts: Counts {
                created: columns.number("created_count")?,
                succeeded: columns.number("succeeded_count")?,
                failed: columns.number("failed_count")?,
                cancelled: columns.number("cancelled_count")?,
                timed_out: columns.number("timed_out_count")?,
            },
            reason: columns.text("reason")?,
            result: columns.json("result")?,
            waits: columns.number::<u8>("phase")? == 3,
            flow: match columns.maybe("flow_id")? {
                None => None,
                Some(flow) => Some(FlowMember {
                    flow: FlowId(flow),
                    name: columns.maybe_text("flow_task")?.unwrap_or_default(),
                }),
            },
            has_dependents: columns.number::<u8>("has_dependents")? != 0,
            hooks,
            hook_at: columns.maybe("hook_at")?,
        })
    }
}

impl Record for TaskHead {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        Ok(TaskHead {
            id: TaskId(columns.number("id")?),
            kind: TypeVersion {
                task_type: TaskTypeId(columns.number("task_type")?),
                version: columns.number("type_version")?,
            },
            group: columns.text("resource_group")?,
            control: columns.code("control", Control::from_code)?,
            run: RunEpoch(columns.number("run_epoch")?),
        })
    }
}

impl Record for HistoryOf {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        let task_type = TaskTypeId(columns.number("task_type")?);
        Ok(HistoryOf { group: columns.text("resource_group")?, task_type })
    }
}

impl Record for Failure {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        let body = columns.maybe_text("body")?;
        let body = body.map(|hex| read_hex(&hex).ok_or_else(|| wrong("body", "no hex"))).transpose()?;
        Ok(Failure {
            key: FailureKey {
                epoch: EmitEpoch(columns.number("emit_epoch")?),
                seq: Seq(columns.number("seq")?),
            },
            timed_out: columns.number::<u8>("timed_out")? != 0,
            error: columns.text("error")?,
            body,
        })
    }
}

impl Record for ScheduleRow {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        Ok(ScheduleRow {
            id: ScheduleId(columns.number("id")?),
            request: columns.text("request_id")?.parse().map_err(|_| wrong("request_id", "no UUID"))?,
            spec: columns.json("spec")?.ok_or_else(|| wrong("spec", "NULL"))?,
            state: columns.json("state")?.ok_or_else(|| wrong("state", "NULL"))?,
            next_at: columns.maybe("next_at")?,
            revision: columns.number("revision")?,
            created_at: columns.number("create_time")?,
        })
    }
}

impl Record for FlowRow {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        Ok(FlowRow {
            id: FlowId(columns.number("id")?),
            request: columns.text("request_id")?.parse().map_err(|_| wrong("request_id", "no UUID"))?,
            name: columns.text("name")?,
            retry_of: columns.maybe("retry_of")?.map(FlowId),
            created_at: columns.number("create_time")?,
        })
    }
}

/// A number of tasks of a flow.
pub(crate) struct FlowNumber {
    pub(crate) flow: FlowId,
    pub(crate) status: TaskStatus,
    pub(crate) waits: bool,
    /// True if subtasks of them failed or timed out.
    pub(crate) failed: bool,
    pub(crate) number: u64,
}

impl Record for FlowNumber {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        Ok(Self {
            flow: FlowId(columns.number("flow_id")?),
            status: columns.code("task_status", TaskStatus::from_code)?,
            waits: columns.number::<u8>("waits")? != 0,
            failed: columns.number::<u8>("failed")? != 0,
            number: columns.number("number")?,
        })
    }
}

impl Record for Dependency {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        Ok(Dependency {
            task: TaskId(columns.number("task_id")?),
            on: TaskId(columns.number("on_id")?),
            condition: columns.code("cond", Condition::from_code)?,
            label: columns.text("label")?,
        })
    }
}

impl Record for Dependent {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        Ok(Dependent {
            task: TaskId(columns.number("task_id")?),
            condition: columns.code("cond", Condition::from_code)?,
            waits: columns.number::<u8>("phase")? == 3,
            unmet: columns.number("unmet")?,
            takes_results: columns.number::<u8>("takes_results")? != 0,
            has_dependents: columns.number::<u8>("has_dependents")? != 0,
        })
    }
}

/// A result that is kept.
pub(crate) struct StoredResult {
    pub(crate) number: u64,
    pub(crate) body: String,
}

impl Record for StoredResult {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        Ok(Self { number: columns.number("number")?, body: columns.text("body")? })
    }
}

/// The state of the items of a task.
#[derive(Default)]
pub(crate) struct StoredFeed {
    pub(crate) feed: Feed,
    /// The next offset of the producer that was asked for.
    pub(crate) producer_next: u64,
    /// The name of the call that appended the chunk that was asked for; empty where it is not there.
    pub(crate) nonce: String,
}

impl Record for StoredFeed {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        let (next, bytes): (u64, u64) = (columns.number("next")?, columns.number("bytes")?);
        let feed = Feed {
            next,
            bytes,
            kept_items: next.saturating_sub(columns.number("kept_from")?),
            kept_bytes: bytes.saturating_sub(columns.number("kept_behind")?),
            closed: columns.number::<u8>("closed")? != 0,
        };
        Ok(Self { feed, producer_next: columns.number("producer_next")?, nonce: columns.text("nonce")? })
    }
}

/// The answer to how many there are.
pub(crate) struct Number(pub(crate) u64);

impl Record for Number {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        columns.number("number").map(Self)
    }
}

/// A task that was just inserted.
pub(crate) struct Created {
    pub(crate) id: TaskId,
    /// The name of the creation.
    pub(crate) request: String,
}

impl Record for Created {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        Ok(Self { id: TaskId(columns.number("id")?), request: columns.text("request_id")? })
    }
}

/// The name of a resource group.
pub(crate) struct GroupName(pub(crate) String);

impl Record for GroupName {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        columns.text("name").map(Self)
    }
}

/// The text that is noted under a name.
pub(crate) struct Note(pub(crate) String);

impl Record for Note {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        columns.text("value").map(Self)
    }
}

/// A migration that a database has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) version: i64,
    pub(crate) checksum: Vec<u8>,
    /// True if it came to its end.
    pub(crate) success: bool,
}

impl Record for Applied {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        let checksum = columns.text("checksum")?;
        Ok(Self {
            version: columns.number("version")?,
            checksum: read_hex(&checksum).ok_or_else(|| wrong("checksum", "no hex"))?.to_vec(),
            success: columns.number::<i64>("success")? != 0,
        })
    }
}

impl Record for ApiToken {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        Ok(ApiToken {
            id: columns.text("id")?,
            digest: columns.text("digest")?,
            name: columns.text("name")?,
            role: columns.code("role", TokenRole::from_code)?,
            groups: columns.json("of_groups")?.unwrap_or_default(),
            types: columns.json("of_types")?.unwrap_or_default(),
            created_at: columns.number("create_time")?,
            created_by: columns.text("creator")?,
            expires_at: columns.maybe("expire_time")?,
            last_used: columns.maybe("use_time")?,
        })
    }
}

impl Record for BulkRow {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        Ok(BulkRow {
            id: columns.text("id")?.parse().map_err(|_| wrong("id", "no UUID"))?,
            spec: columns.json("spec")?.ok_or_else(|| wrong("spec", "empty"))?,
            state: columns.json("state")?.ok_or_else(|| wrong("state", "empty"))?,
            revision: columns.number("revision")?,
            created_at: columns.number("create_time")?,
        })
    }
}

/// The tasks of an action on many.
pub(crate) struct TasksOfBulk(pub(crate) Vec<u64>);

impl Record for TasksOfBulk {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        columns.json("tasks")?.map(Self).ok_or_else(|| wrong("tasks", "empty"))
    }
}

impl Record for Gateway {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        Ok(Gateway {
            id: columns.text("id")?.parse().map_err(|_| wrong("id", "no UUID"))?,
            process: columns.text("process")?,
            workers: columns.json("workers")?.unwrap_or_default(),
            connected: columns.number("connected")?,
            until: columns.number("until_time")?,
        })
    }
}

impl Record for DefinedType {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        Ok(DefinedType {
            name: columns.text("name")?,
            version: columns.number("version")?,
            description: columns.text("description")?,
            schema: columns.json("param_schema")?.unwrap_or_default(),
            template: columns.json("template")?.unwrap_or_default(),
            updated_at: columns.number("update_time")?,
            updated_by: columns.text("updater")?,
        })
    }
}

impl Record for AuditEntry {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        let id =
            |name: &str| columns.text(name)?.parse::<Uuid>().map_err(|error| wrong(name, &error.to_string()));
        Ok(AuditEntry {
            id: id("id")?,
            at: columns.number("asked_time")?,
            actor: columns.text("actor")?,
            address: columns.text("address")?,
            action: columns.text("action")?,
            target: columns.text("target")?,
            detail: columns.text("detail")?,
            outcome: columns.code("outcome", AuditOutcome::from_code)?,
            request: id("request_id")?,
        })
    }
}

impl Record for ResourceGroup {
    fn read(columns: &Columns<'_>) -> Result<Self, Error> {
        Ok(ResourceGroup {
            name: columns.text("name")?,
            quota: columns.number("quota")?,
            limits: limits(columns)?,
            description: columns.text("description")?,
            paused: columns.number::<u8>("paused")? != 0,
        })
    }
}

fn limits(columns: &Columns<'_>) -> Result<Limits, Error> {
    Ok(Limits { running: columns.maybe("max_running")?, rate: columns.maybe("max_rate")? })
}

fn param(columns: &Columns<'_>) -> Result<TaskParam, Error> {
    Ok(TaskParam {
        name: columns.text("name")?,
        description: columns.text("description")?,
        creator: Creator { uid: columns.number("uid")?, name: columns.text("creator")? },
        group: columns.text("resource_group")?,
        priority: Priority(columns.number("priority")?),
        timeout: Duration::from_millis(columns.number("timeout")?),
        start_at: columns.maybe("next_check_time")?,
        limits: limits(columns)?,
        retry_of: columns.maybe("retry_of")?.map(TaskId),
        type_version: columns.number("type_version")?,
        hooks: Vec::new(),
        type_param: columns.json("type_param")?.unwrap_or_default(),
    })
}

/// A row of either database. Every value in the tables is a number of 64 bits or a text.
pub(crate) trait Cells {
    fn number(&self, name: &str) -> Result<Option<i64>, Error>;
    fn text(&self, name: &str) -> Result<Option<String>, Error>;
}

impl<R> Cells for R
where
    R: Row,
    for<'c> &'c str: ColumnIndex<R>,
    for<'r> Option<i64>: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> Option<String>: Decode<'r, R::Database> + Type<R::Database>,
{
    fn number(&self, name: &str) -> Result<Option<i64>, Error> {
        self.try_get(name)
    }

    fn text(&self, name: &str) -> Result<Option<String>, Error> {
        self.try_get(name)
    }
}

/// The columns of a row, as what they are to the model.
pub(crate) struct Columns<'a>(&'a dyn Cells);

impl Columns<'_> {
    fn maybe<T: TryFrom<i64>>(&self, name: &str) -> Result<Option<T>, Error> {
        let Some(number) = self.0.number(name)? else { return Ok(None) };
        T::try_from(number).map(Some).map_err(|_| wrong(name, &number.to_string()))
    }

    fn number<T: TryFrom<i64>>(&self, name: &str) -> Result<T, Error> {
        self.maybe(name)?.ok_or_else(|| wrong(name, "NULL"))
    }

    fn code<T>(&self, name: &str, known: impl Fn(u8) -> Option<T>) -> Result<T, Error> {
        let code = self.number(name)?;
        known(code).ok_or_else(|| wrong(name, &code.to_string()))
    }

    fn text(&self, name: &str) -> Result<String, Error> {
        self.maybe_text(name)?.ok_or_else(|| wrong(name, "NULL"))
    }

    fn maybe_text(&self, name: &str) -> Result<Option<String>, Error> {
        self.0.text(name)
    }

    fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let Some(text) = self.0.text(name)? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|error| wrong(name, &error.to_string()))
    }
}

fn wrong(column: &str, what: &str) -> Error {
    Error::Decode(format!("column {column} holds what this program does not know: {what}").into())
}
