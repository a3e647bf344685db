//! `dtf schedule`: tasks that are created again and again.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use dtf::model::plugin::TaskPluginRegistration;
use dtf::model::schedule::{DEFAULT_ZONE, parse_time};
use dtf::{BackfillPeriod, utc};
use dtf_api as api;
use dtf_http::view;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::args::{Output, duration};
use super::oneshot::refused;
use super::remote::{self, Remote, Way};
use super::settings::Head;
use super::table::Listing;
use super::{Usage, flow, say, task};

/// The schedules of a page.
const PAGE: u32 = 1000;

#[derive(Debug, Args)]
pub(crate) struct ScheduleArgs {
    #[command(flatten)]
    head: Head,
    #[command(flatten)]
    remote: Remote,
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
    remote::on_way(&args.remote, &args.head.settings, types, async |way| {
        perform(way, args.what, args.head.output).await.map(|()| ExitCode::SUCCESS)
    })
}

async fn perform(way: &Way, what: What, output: Output) -> anyhow::Result<()> {
    match what {
        What::Create(args) => {
            let request = args.request_id.unwrap_or_else(Uuid::new_v4);
            show(&create(way, request, new(*args)?).await?, output)
        }
        What::List => list(&all(way).await?, output),
        What::Get(Named { name }) => show(&get(way, &name).await?, output),
        What::Pause(Named { name }) => show(&pause(way, &name, true).await?, output),
        What::Resume(Named { name }) => show(&pause(way, &name, false).await?, output),
        What::Trigger { of, request_id } => {
            let task = trigger(way, request_id.unwrap_or_else(Uuid::new_v4), &of.name).await?;
            match output {
                Output::Text => writeln!(std::io::stdout(), "{task}")?,
                Output::Json => print(&json!({ "task": task }))?,
            }
            Ok(())
        }
        What::Backfill { of, from, until, concurrency } => {
            show(&backfill(way, &of.name, api::NewBackfill { from, until, concurrency }).await?, output)
        }
        What::Delete(Named { name }) => {
            match way {
                Way::Stores(client) => client.delete_schedule(&name).await.map_err(refused)?,
                Way::Server(client) => client.delete_schedule(&name).await.map_err(remote::refused)?,
            }
            match output {
                Output::Text => say(&format!("schedule {name} is deleted")),
                Output::Json => print(&json!({ "deleted": name }))?,
            }
            Ok(())
        }
    }
}

async fn create(way: &Way, request: Uuid, new: api::NewSchedule) -> anyhow::Result<api::Schedule> {
    match way {
        Way::Stores(client) => {
            let spec = view::schedule_spec(client, new).await.map_err(unusable)?;
            let created = client.create_schedule_once(request, spec).await.map_err(refused)?;
            Ok(view::schedule(client.types(), created))
        }
        Way::Server(client) => client.create_schedule_once(request, &new).await.map_err(remote::refused),
    }
}

/// The error for a description that cannot be made a schedule of.
fn unusable(failed: dtf_http::Failed) -> anyhow::Error {
    match failed.0.code {
        api::Code::Unavailable | api::Code::Unknown | api::Code::Timeout | api::Code::Refused => {
            anyhow::anyhow!(failed.0.detail)
        }
        _ => Usage(failed.0.detail).into(),
    }
}

async fn get(way: &Way, name: &str) -> anyhow::Result<api::Schedule> {
    match way {
        Way::Stores(client) => {
            Ok(view::schedule(client.types(), client.schedule(name).await.map_err(refused)?))
        }
        Way::Server(client) => client.schedule(name).await.map_err(remote::refused),
    }
}

async fn pause(way: &Way, name: &str, paused: bool) -> anyhow::Result<api::Schedule> {
    let client = match way {
        Way::Stores(client) => client,
        Way::Server(client) => return client.pause_schedule(name, paused).await.map_err(remote::refused),
    };
    let changed = match paused {
        true => client.pause_schedule(name).await,
        false => client.resume_schedule(name).await,
    };
    Ok(view::schedule(client.types(), changed.map_err(refused)?))
}

/// Creates a task at once, and returns its id.
async fn trigger(way: &Way, request: Uuid, name: &str) -> anyhow::Result<u64> {
    match way {
        Way::Stores(client) => Ok(client.trigger_schedule(request, name).await.map_err(refused)?.0),
        Way::Server(client) => Ok(client.trigger_schedule(request, name).await.map_err(remote::refused)?.id),
    }
}

async fn backfill(way: &Way, name: &str, new: api::NewBackfill) -> anyhow::Result<api::Schedule> {
    match way {
        Way::Stores(client) => {
            let api::NewBackfill { from, until, concurrency } = new;
            let period = BackfillPeriod { from, until, concurrency };
            let changed = client.backfill_schedule(name, period).await.map_err(refused)?;
            Ok(view::schedule(client.types(), changed))
        }
        Way::Server(client) => client.backfill_schedule(name, &new).await.map_err(remote::refused),
    }
}

/// The schedule that the arguments describe.
fn new(args: CreateArgs) -> anyhow::Result<api::NewSchedule> {
    let (mut task, mut flow) = (None, None);
    match (&args.flow, args.kind) {
        (Some(file), _) => {
            let read = flow::read(file)?;
            drop(flow::builder(read.clone())?);
            flow = Some(read);
        }
        (None, kind) => {
            task = Some(api::NewTask {
                task_type: kind.unwrap_or_default(),
                param: task::json_of(&args.param)?,
                name: args.task_name.unwrap_or_else(|| args.name.clone()),
                description: String::new(),
                creator: api::Creator::default(),
                group: args.group,
                priority: args.priority,
                timeout_ms: millis(args.timeout),
                start_at: None,
                limits: api::Limits::default(),
                after: Vec::new(),
                unique: None,
                hooks: Vec::new(),
            });
        }
    }
    Ok(api::NewSchedule {
        name: args.name,
        description: args.description,
        when: args.when,
        zone: args.zone,
        task,
        flow,
        overlap: match args.overlap {
            WhileRunning::Skip => api::Overlap::Skip,
            WhileRunning::QueueOne => api::Overlap::QueueOne,
            WhileRunning::Allow => api::Overlap::Allow,
            WhileRunning::CancelOther => api::Overlap::CancelOther,
        },
        catch_up_ms: millis(args.catch_up),
        jitter_ms: millis(args.jitter),
        start_at: args.start,
        end_at: args.end,
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

async fn all(way: &Way) -> anyhow::Result<Vec<api::Schedule>> {
    let mut all = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = match way {
            Way::Stores(client) => {
                let page = client.schedules(after.as_deref(), PAGE).await.map_err(refused)?;
                let schedules: Vec<_> =
                    page.into_iter().map(|schedule| view::schedule(client.types(), schedule)).collect();
                let is_last = schedules.len() < PAGE as usize;
                let next = schedules.last().filter(|_| !is_last).map(|last| last.name.clone());
                api::SchedulePage { schedules, next }
            }
            Way::Server(client) => {
                let query = api::ScheduleQuery { cursor: after, limit: Some(PAGE) };
                client.schedules(&query).await.map_err(remote::refused)?
            }
        };
        all.extend(page.schedules);
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}

fn list(schedules: &[api::Schedule], output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        return print(&schedules);
    }
    let mut table =
        Listing::new(["schedule", "when", "zone", "next (UTC)", "created", "skipped", "missed", "refused"]);
    for schedule in schedules {
        let api::DueTotals { created, skipped, missed, refused } = schedule.totals;
        let texts = [schedule.name.clone(), schedule.words.clone(), schedule.zone.clone(), next(schedule)];
        let numbers = [created, skipped, missed, refused];
        table.row(texts.into_iter().chain(numbers.map(|number| number.to_string())));
    }
    table.align_right(&[4, 5, 6, 7]);
    Ok(writeln!(std::io::stdout(), "{table}")?)
}

fn next(schedule: &api::Schedule) -> String {
    match (schedule.paused, schedule.upcoming.first()) {
        (true, _) => "paused".to_owned(),
        (false, Some(due)) => utc(*due),
        (false, None) => "never".to_owned(),
    }
}

fn show(schedule: &api::Schedule, output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        return print(schedule);
    }
    list(std::slice::from_ref(schedule), output)?;
    let mut out = std::io::stdout();
    if !schedule.upcoming.is_empty() {
        writeln!(out, "\ndue (UTC)")?;
        for due in &schedule.upcoming {
            writeln!(out, "{}", utc(*due))?;
        }
    }
    if !schedule.history.is_empty() {
        let mut table = Listing::new(["due (UTC)", "outcome", "task", "reason"]);
        for entry in &schedule.history {
            let task = entry.task.map_or_else(String::new, |task| task.to_string());
            table.row([utc(entry.due), entry.outcome.name().to_owned(), task, entry.reason.clone()]);
        }
        table.align_right(&[2]);
        writeln!(out, "\n{table}")?;
    }
    Ok(())
}

fn print(document: &(impl Serialize + ?Sized)) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(document)?)?)
}
