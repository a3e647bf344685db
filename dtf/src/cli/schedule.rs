//! `dtf schedule`: tasks that are created again and again.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use dtf::model::plugin::TaskPluginRegistration;
use dtf::model::schedule::{DEFAULT_ZONE, Outcome, OutcomeKind, Overlap, ScheduleSpec, Template, parse_time};
use dtf::model::{Priority, TaskParam};
use dtf::{BackfillPeriod, Client, ClientError, ScheduleView, utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::args::{Output, duration};
use super::oneshot::refused;
use super::settings::Head;
use super::table::Listing;
use super::{flow, say, task};

/// The schedules of a page.
const PAGE: u32 = 1000;

#[derive(Debug, Args)]
pub(crate) struct ScheduleArgs {
    #[command(flatten)]
    head: Head,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Create a schedule: `dtf schedule create nightly '30 2 * * *' TYPE --zone Europe/Berlin --param '{"day": "{{due}}"}'`
    Create(Box<CreateArgs>),
    /// List the schedules with their next due times
    List,
    /// Show one schedule: its next due times and its history
    Get(Named),
    /// Let due times pass without effect
    Pause(Named),
    /// Go on with the next due time
    Resume(Named),
    /// Create a task at once, and print its id
    Trigger {
        #[command(flatten)]
        of: Named,
        /// The creation's own name: the same one twice makes one task
        #[arg(long, value_name = "UUID")]
        request_id: Option<Uuid>,
    },
    /// Create the tasks of the due times of a period that have none
    Backfill {
        #[command(flatten)]
        of: Named,
        /// The earliest due time, as in 2026-03-29T03:00:00Z
        #[arg(long, value_parser = time, value_name = "TIME")]
        from: u64,
        /// The latest due time
        #[arg(long, value_parser = time, value_name = "TIME")]
        until: u64,
        /// The number of its tasks that run at once
        #[arg(long, default_value_t = 1, value_name = "N")]
        concurrency: u32,
    },
    /// Delete a schedule; its tasks stay as they are
    Delete(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// The schedule
    #[arg(value_name = "SCHEDULE")]
    name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum WhileRunning {
    Skip,
    QueueOne,
    Allow,
    CancelOther,
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// The name of the schedule
    #[arg(value_name = "SCHEDULE")]
    name: String,
    /// Cron of 5 fields, or 6 with the second first; @hourly, @daily, @weekly, @monthly, @yearly; or an interval: "@every 90s"
    #[arg(value_name = "WHEN")]
    when: String,
    /// The kind of task
    #[arg(value_name = "TYPE", required_unless_present = "flow")]
    kind: Option<String>,
    /// Create a flow each time, as this file describes it, in YAML, JSON or TOML
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kind", "param", "task_name", "group", "priority", "timeout"])]
    flow: Option<PathBuf>,
    /// The time zone of WHEN, by its name in the IANA database
    #[arg(long, default_value = DEFAULT_ZONE)]
    zone: String,
    /// The parameter of the type, as JSON; @FILE reads it from a file, @- from standard input; {{due}} and {{due_ms}} in texts stand
    /// for the due time
    #[arg(long, value_name = "JSON", default_value = "null")]
    param: String,
    /// What happens at a due time while a task of the schedule runs
    #[arg(long, value_enum, default_value_t = WhileRunning::Skip)]
    overlap: WhileRunning,
    /// How long ago a due time may be to create a task, once managers run again
    #[arg(long, value_parser = duration, default_value = "1h", value_name = "TIME")]
    catch_up: Duration,
    /// Put each due time off by a span below this one, to spread them
    #[arg(long, value_parser = duration, default_value = "0s", value_name = "TIME")]
    jitter: Duration,
    /// The beginning, as in 2026-03-29T03:00:00Z
    #[arg(long, value_parser = time, value_name = "TIME")]
    start: Option<u64>,
    /// The end
    #[arg(long, value_parser = time, value_name = "TIME")]
    end: Option<u64>,
    /// The purpose of the schedule
    #[arg(long, default_value = "")]
    description: String,
    /// The name of its tasks [default: that of the schedule]
    #[arg(long)]
    task_name: Option<String>,
    /// The resource group that its tasks are charged to
    #[arg(long, default_value = "default")]
    group: String,
    /// The urgency of its tasks: 2000 (low) to 9000 (high)
    #[arg(long, default_value_t = 6000, value_name = "NUMBER")]
    priority: u32,
    /// The longest time that a task may run
    #[arg(long, value_parser = duration, default_value = "30m", value_name = "TIME")]
    timeout: Duration,
    /// The creation's own name: the same one twice makes one schedule
    #[arg(long, value_name = "UUID")]
    request_id: Option<Uuid>,
}

fn time(text: &str) -> Result<u64, String> {
    parse_time(text).map_err(|error| error.to_string())
}

pub(crate) fn run(args: ScheduleArgs, types: Vec<TaskPluginRegistration>) -> anyhow::Result<ExitCode> {
    task::with_client(&args.head.settings, types, async |client| {
        perform(&client, args.what, args.head.output).await.map(|()| ExitCode::SUCCESS)
    })
}

async fn perform(client: &Client, what: What, output: Output) -> anyhow::Result<()> {
    match what {
        What::Create(args) => {
            let request = args.request_id.unwrap_or_else(Uuid::new_v4);
            let spec = spec(client, *args).await?;
            show(client.create_schedule_once(request, spec).await, output)
        }
        What::List => list(&all(client).await.map_err(refused)?, output),
        What::Get(Named { name }) => show(client.schedule(&name).await, output),
        What::Pause(Named { name }) => show(client.pause_schedule(&name).await, output),
        What::Resume(Named { name }) => show(client.resume_schedule(&name).await, output),
        What::Trigger { of, request_id } => {
            let request = request_id.unwrap_or_else(Uuid::new_v4);
            let task = client.trigger_schedule(request, &of.name).await.map_err(refused)?;
            match output {
                Output::Text => writeln!(std::io::stdout(), "{task}")?,
                Output::Json => print(&json!({ "task": task }))?,
            }
            Ok(())
        }
        What::Backfill { of, from, until, concurrency } => {
            let period = BackfillPeriod { from, until, concurrency };
            show(client.backfill_schedule(&of.name, period).await, output)
        }
        What::Delete(Named { name }) => {
            client.delete_schedule(&name).await.map_err(refused)?;
            match output {
                Output::Text => say(&format!("schedule {name} is deleted")),
                Output::Json => print(&json!({ "deleted": name }))?,
            }
            Ok(())
        }
    }
}

async fn spec(client: &Client, args: CreateArgs) -> anyhow::Result<ScheduleSpec> {
    let template = match (&args.flow, &args.kind) {
        (Some(file), _) => client.flow_template(flow::builder(flow::read(file)?)?).await.map_err(refused)?,
        (None, kind) => {
            let param = TaskParam {
                name: args.task_name.unwrap_or_else(|| args.name.clone()),
                group: args.group,
                priority: Priority(args.priority),
                timeout: args.timeout,
                type_param: task::json_of(&args.param)?,
                ..TaskParam::default()
            };
            let prepared = client.prepare(kind.as_deref().unwrap_or_default(), param).await;
            let (task_type, param) = prepared.map_err(refused)?;
            Template::Task { task_type, param: Box::new(param) }
        }
    };
    Ok(ScheduleSpec {
        name: args.name,
        description: args.description,
        when: args.when,
        zone: args.zone,
        template,
        overlap: match args.overlap {
            WhileRunning::Skip => Overlap::Skip,
            WhileRunning::QueueOne => Overlap::QueueOne,
            WhileRunning::Allow => Overlap::Allow,
            WhileRunning::CancelOther => Overlap::CancelOther,
        },
        catch_up: args.catch_up,
        jitter: args.jitter,
        start_at: args.start,
        end_at: args.end,
    })
}

async fn all(client: &Client) -> Result<Vec<ScheduleView>, ClientError> {
    let mut all: Vec<ScheduleView> = Vec::new();
    loop {
        let after = all.last().map(|last| last.row.spec.name.clone());
        let page = client.schedules(after.as_deref(), PAGE).await?;
        let is_last = page.len() < PAGE as usize;
        all.extend(page);
        if is_last {
            return Ok(all);
        }
    }
}

fn list(schedules: &[ScheduleView], output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        return print(&schedules.iter().map(as_json).collect());
    }
    let mut table =
        Listing::new(["schedule", "when", "zone", "next (UTC)", "created", "skipped", "missed", "refused"]);
    for schedule in schedules {
        let (spec, totals) = (&schedule.row.spec, &schedule.row.state.totals);
        let numbers = [totals.created, totals.skipped, totals.missed, totals.refused];
        let texts = [spec.name.clone(), schedule.words.clone(), spec.zone.clone(), next(schedule)];
        table.row(texts.into_iter().chain(numbers.map(|number| number.to_string())));
    }
    table.align_right(&[4, 5, 6, 7]);
    Ok(writeln!(std::io::stdout(), "{table}")?)
}

fn next(schedule: &ScheduleView) -> String {
    match (schedule.row.state.paused, schedule.upcoming.first()) {
        (true, _) => "paused".to_owned(),
        (false, Some(due)) => utc(*due),
        (false, None) => "never".to_owned(),
    }
}

fn show(schedule: Result<ScheduleView, ClientError>, output: Output) -> anyhow::Result<()> {
    let schedule = schedule.map_err(refused)?;
    if output == Output::Json {
        return print(&as_json(&schedule));
    }
    list(std::slice::from_ref(&schedule), output)?;
    let mut out = std::io::stdout();
    if !schedule.upcoming.is_empty() {
        writeln!(out, "\ndue (UTC)")?;
        for due in &schedule.upcoming {
            writeln!(out, "{}", utc(*due))?;
        }
    }
    let history = &schedule.row.state.history;
    if !history.is_empty() {
        let mut table = Listing::new(["due (UTC)", "outcome", "task", "reason"]);
        for entry in history {
            let task = entry.task.map_or_else(String::new, |task| task.to_string());
            table.row([utc(entry.due), outcome(entry).to_owned(), task, entry.reason.clone()]);
        }
        table.align_right(&[2]);
        writeln!(out, "\n{table}")?;
    }
    Ok(())
}

fn outcome(entry: &Outcome) -> &'static str {
    match entry.kind {
        OutcomeKind::Created => "created",
        OutcomeKind::Skipped => "skipped",
        OutcomeKind::Missed => "missed",
        OutcomeKind::Refused => "refused",
    }
}

fn as_json(schedule: &ScheduleView) -> Value {
    let ScheduleView { row, words, upcoming } = schedule;
    json!({
        "name": row.spec.name,
        "spec": row.spec,
        "words": words,
        "paused": row.state.paused,
        "upcoming": upcoming,
        "running": row.state.running,
        "queued": row.state.queued,
        "backfill": row.state.backfill,
        "totals": row.state.totals,
        "history": row.state.history,
    })
}

fn print(value: &Value) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{value}")?)
}
