//! Tasks, shown.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use dtf::lrmf::{BootClock, Clock};
use dtf::model::hook::{HookRecord, Receiver};
use dtf::model::table::{TaskFilter, TaskRow};
use dtf::model::{TaskId, TaskStatus};
use dtf::{Progress, TaskStatusView};
use dtf_api as api;
use dtf_control::utc;
use indicatif::{HumanCount, HumanDuration};
use lrmf_core::text::one_line;
use serde_json::{Value, json};

use super::super::args::Output;
use super::super::oneshot::refused;
use super::super::table::Listing;
use super::{Desk, Usage};

/// The conditions of tasks.
#[derive(Debug, Args)]
pub(super) struct Conditions {
    /// Only tasks with this status: created, running, paused, cancelled, completed, exceptional
    #[arg(long, value_parser = status)]
    status: Option<TaskStatus>,
    /// Only tasks of this type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only tasks of this resource group
    #[arg(long)]
    group: Option<String>,
    /// Only tasks of this creator
    #[arg(long)]
    creator: Option<String>,
    /// Only tasks with exactly this name
    #[arg(long)]
    name: Option<String>,
    /// Only tasks whose name begins with this
    #[arg(long, value_name = "TEXT")]
    name_prefix: Option<String>,
    /// Only tasks whose start time (--start-at) is yet to come
    #[arg(long)]
    scheduled: bool,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    conditions: Conditions,
    /// Go on with a list behind this task, the last one of the page before
    #[arg(long, value_name = "ID")]
    before: Option<TaskId>,
    /// The most tasks to list
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "N")]
    limit: u32,
}

impl Conditions {
    /// The conditions, as the HTTP API takes them.
    pub(super) fn query(self) -> api::TaskQuery {
        let status = self.status.and_then(|status| {
            let name = status.to_string();
            api::TaskStatus::ALL.into_iter().find(|known| known.name() == name)
        });
        api::TaskQuery {
            status,
            task_type: self.kind,
            group: self.group,
            creator: self.creator,
            name: self.name,
            name_prefix: self.name_prefix,
            starts_after: self.scheduled.then(|| BootClock.unix_millis()),
            cursor: None,
            limit: None,
        }
    }
}

impl ListArgs {
    /// The conditions, as the HTTP API takes them, and the number of tasks.
    pub(super) fn query(self) -> (api::TaskQuery, u32) {
        let cursor = self.before.map(|before| before.0);
        (api::TaskQuery { cursor, ..self.conditions.query() }, self.limit)
    }
}

fn status(text: &str) -> Result<TaskStatus, String> {
    TaskStatus::ALL.into_iter().find(|status| status.to_string() == text).ok_or_else(|| {
        let known = TaskStatus::ALL.map(|status| status.to_string());
        format!("known are: {}", known.join(", "))
    })
}

/// Prints a JSON document on a line of standard output.
pub(super) fn print(value: &Value) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{value}")
}

/// Prints a line to standard output.
pub(super) fn print_line(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{}", one_line(line))
}

pub(super) async fn list(desk: &Desk, args: ListArgs) -> anyhow::Result<ExitCode> {
    let ListArgs { conditions: of, before, limit } = args;
    let task_type = match &of.kind {
        Some(kind) => Some(desk.task_type(kind).await?),
        None => None,
    };
    let filter = TaskFilter {
        status: of.status,
        task_type,
        group: of.group,
        creator: of.creator,
        name: of.name,
        name_prefix: of.name_prefix,
        starts_after: of.scheduled.then(|| BootClock.unix_millis()),
    };
    let rows = desk.client.list_tasks(&filter, before, limit).await.map_err(refused)?;
    match desk.output {
        Output::Json => {
            let rows = rows.iter().map(|row| as_json(desk, row)).collect::<Result<Vec<_>, _>>()?;
            print(&Value::Array(rows))?;
        }
        Output::Text => {
            let named: Vec<_> = rows.into_iter().map(|row| (desk.name(&row), row)).collect();
            print_table(&named)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a table of tasks with the names of their types.
pub(super) fn print_table(rows: &[(String, TaskRow)]) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{}", table(rows))
}

fn table(rows: &[(String, TaskRow)]) -> String {
    let mut table =
        Listing::new(["id", "type", "status", "group", "name", "created (UTC)", "subtasks", "failed"]);
    for (kind, row) in rows {
        let counts = &row.counts;
        table.row([
            row.id.to_string(),
            kind.clone(),
            row.status.to_string(),
            row.param.group.clone(),
            row.param.name.clone(),
            utc(row.created_at),
            // The row has the books of a task's end.
            if row.status.is_terminal() { HumanCount(counts.created).to_string() } else { String::new() },
            if row.status.is_terminal() {
                HumanCount(counts.failed + counts.timed_out).to_string()
            } else {
                String::new()
            },
        ]);
    }
    table.align_right(&[0, 6, 7]);
    table.to_string()
}

fn as_json(desk: &Desk, row: &TaskRow) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(row)?;
    if let Some(fields) = value.as_object_mut() {
        fields.insert("type".to_owned(), Value::from(desk.name(row)));
    }
    Ok(value)
}

/// The counts, and beside them rate and ETA.
fn progress_json(status: &TaskStatusView) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(status.progress())?;
    if let (Some(fields), Value::Object(pace)) = (value.as_object_mut(), serde_json::to_value(status.pace)?) {
        fields.extend(pace);
    }
    Ok(value)
}

pub(super) async fn get(desk: &Desk, id: TaskId) -> anyhow::Result<ExitCode> {
    let status = desk.client.task_status(id).await.map_err(refused)?;
    let row = &status.row;
    if desk.output == Output::Json {
        let mut value = as_json(desk, row)?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert("progress".to_owned(), progress_json(&status)?);
            fields
                .insert("waits_for".to_owned(), Value::from(status.blocked_on_in_words(desk.client.types())));
        }
        print(&value)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut waits_for = status.blocked_on_in_words(desk.client.types());
    if row.waits {
        let on = desk.client.dependencies(id).await.map_err(refused)?;
        waits_for.extend(on.iter().map(|on| format!("task {} ({})", on.on, on.condition.name())));
    }
    print_status(&desk.name(row), &status, &waits_for)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints how a task is, for people.
pub(super) fn print_status(kind: &str, status: &TaskStatusView, waits_for: &[String]) -> std::io::Result<()> {
    let (row, progress) = (&status.row, status.progress());
    let time = |at: Option<u64>| at.map_or_else(|| "-".to_owned(), |at| format!("{} UTC", utc(at)));
    let total = if progress.generated { "" } else { " so far" };
    let mut lines = vec![
        ("task", row.id.to_string()),
        ("type", kind.to_owned()),
        ("name", row.param.name.clone()),
        ("group", format!("{}, priority {}", row.param.group, row.param.priority.0)),
        ("status", row.status.to_string()),
        ("reason", row.reason.clone()),
        ("waits for", waits_for.join("; ")),
        ("created", time(Some(row.created_at))),
        ("started", time(row.started_at)),
        ("finished", time(row.finished_at)),
        ("subtasks", format!("{}{total}", HumanCount(progress.created))),
        ("waiting", HumanCount(progress.pending + progress.delayed).to_string()),
        ("running", HumanCount(progress.running).to_string()),
        ("succeeded", HumanCount(progress.succeeded).to_string()),
        ("failed", HumanCount(progress.failed).to_string()),
        ("timed out", HumanCount(progress.timed_out).to_string()),
        ("cancelled", HumanCount(progress.cancelled).to_string()),
        ("rate", status.pace.rate.map_or_else(String::new, |rate| format!("{rate:.1} subtasks/s"))),
        ("time left", status.pace.eta_ms.map_or_else(String::new, left)),
        ("generated", generated(&progress)),
    ];
    lines.retain(|(_, value)| !value.is_empty());
    let mut out = std::io::stdout();
    for (name, value) in lines {
        writeln!(out, "{name:<10} {}", one_line(&value))?;
    }
    for (place, record) in row.hooks.iter().enumerate() {
        writeln!(out, "{:<10} {}", format!("hook {place}"), one_line(&delivery(record)))?;
    }
    Ok(())
}

/// A hook and how far its delivery is.
fn delivery(record: &HookRecord) -> String {
    let HookRecord { hook, state, attempts, next_at, error, .. } = record;
    let to = match &hook.to {
        Receiver::Url(url) => url.clone(),
        Receiver::Callback(name) => format!("callback {name}"),
    };
    let mut text = format!("{to} when {}: {}", hook.when.name(), state.name());
    if *attempts > 0 {
        text += &format!(", {attempts} {}", if *attempts == 1 { "attempt" } else { "attempts" });
    }
    if let Some(at) = next_at.filter(|_| !state.is_settled()) {
        text += &format!(", next {} UTC", utc(at));
    }
    if !error.is_empty() {
        text += &format!(" ({error})");
    }
    text
}

fn left(eta_ms: u64) -> String {
    format!("about {}", HumanDuration(Duration::from_millis(eta_ms)))
}

/// Returns the generator's share, while it has not ended.
fn generated(progress: &Progress) -> String {
    let share = progress.generator.filter(|_| !progress.generated);
    share.map_or_else(String::new, |share| format!("{:.0} %", 100.0 * share))
}

pub(super) async fn result(desk: &Desk, id: TaskId) -> anyhow::Result<ExitCode> {
    let row = desk.client.task_status(id).await.map_err(refused)?.row;
    print_result(&row)
}

/// Prints what the collector made of a task that has ended.
pub(super) fn print_result(row: &TaskRow) -> anyhow::Result<ExitCode> {
    let id = row.id;
    if !row.status.is_terminal() {
        let why = format!(
            "task {id} is {} and has no result yet; `dtf task watch {id}` waits for its end",
            row.status
        );
        return Err(Usage(why).into());
    }
    let value = json!({
        "task": id,
        "status": row.status,
        "reason": row.reason,
        "counts": row.counts,
        "result": row.result,
    });
    print(&value)?;
    Ok(ExitCode::SUCCESS)
}
