//! `dtf flow`: tasks that are created together and wait for each other.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use dtf::model::FlowId;
use dtf::model::flow::FlowCounts;
use dtf::model::plugin::TaskPluginRegistration;
use dtf::{Client, ClientError, FlowView, utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::args::Output;
use super::oneshot::refused;
use super::settings::Head;
use super::table::Listing;
use super::{FAILED, INTERRUPTED, Usage, document, say, task};

/// The flows of a list.
const PAGE: u32 = 50;
/// The period of looks at a flow that is followed.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(crate) struct FlowArgs {
    #[command(flatten)]
    head: Head,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Create the tasks that a file describes, all or none, and print the id of the flow
    Submit {
        /// The file, in YAML, JSON or TOML, as its name ends; - is standard input, in YAML or JSON
        file: PathBuf,
        /// The creation's own name: the same one twice makes one flow
        #[arg(long, value_name = "UUID")]
        request_id: Option<Uuid>,
        /// Follow it to its end: exit code 0 where every task completed, 1 where one failed or was skipped, 130 where some were cancelled
        #[arg(long)]
        watch: bool,
    },
    /// List flows, the newest first
    List {
        /// The most flows
        #[arg(long, default_value_t = PAGE, value_name = "N")]
        limit: u32,
    },
    /// Show a flow and its tasks
    Get(Id),
    /// Follow a flow to its end
    Watch(Id),
    /// Pause its tasks
    Pause(Id),
    /// Go on with its paused tasks
    Resume(Id),
    /// End its tasks before they are done
    Cancel(Id),
    /// Run what failed, and what was skipped behind it, again, as a new flow
    Retry {
        #[command(flatten)]
        of: Id,
        /// The creation's own name: the same one twice makes one flow
        #[arg(long, value_name = "UUID")]
        request_id: Option<Uuid>,
    },
}

#[derive(Debug, Args)]
struct Id {
    /// The flow's id
    id: FlowId,
}

/// A flow as the client creates it.
pub(super) fn builder(flow: dtf_api::NewFlow) -> Result<dtf::FlowBuilder, Usage> {
    dtf_http::flow_builder(flow).map_err(|failed| Usage(failed.0.detail))
}

pub(crate) fn run(args: FlowArgs, types: Vec<TaskPluginRegistration>) -> anyhow::Result<ExitCode> {
    // What is wrong with a file is said before any server is asked.
    let flow = match &args.what {
        What::Submit { file, .. } => Some(builder(read(file)?)?),
        _ => None,
    };
    let output = args.head.output;
    task::with_client(&args.head.settings, types, async |client| match (args.what, flow) {
        (What::Submit { request_id, watch: follow, .. }, Some(flow)) => {
            let request = request_id.unwrap_or_else(Uuid::new_v4);
            let view = client.create_flow_once(request, flow).await.map_err(refused)?;
            match follow {
                true => watch(&client, view.row.id, output).await,
                false => id(&view, output),
            }
        }
        (what, _) => perform(&client, what, output).await,
    })
}

async fn perform(client: &Client, what: What, output: Output) -> anyhow::Result<ExitCode> {
    let view = match what {
        What::Submit { .. } => return Ok(ExitCode::SUCCESS),
        What::List { limit } => {
            let flows = client.flows(None, limit).await.map_err(refused)?;
            return list(&flows, output);
        }
        What::Watch(Id { id }) => return watch(client, id, output).await,
        What::Retry { of, request_id } => {
            let request = request_id.unwrap_or_else(Uuid::new_v4);
            return id(&client.retry_flow(request, of.id).await.map_err(refused)?, output);
        }
        What::Get(Id { id }) => client.flow(id).await,
        What::Pause(Id { id }) => client.pause_flow(id).await,
        What::Resume(Id { id }) => client.resume_flow(id).await,
        What::Cancel(Id { id }) => client.cancel_flow(id).await,
    };
    show(&view.map_err(refused)?, output)?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a file in the format that its name says.
pub(super) fn read(file: &Path) -> Result<dtf_api::NewFlow, Usage> {
    document::read(file, "flow")
}

/// Follows a flow to its end.
async fn watch(client: &Client, id: FlowId, output: Output) -> anyhow::Result<ExitCode> {
    let mut shown = None;
    let view = loop {
        let view = match client.flow(id).await {
            Ok(view) => view,
            Err(ClientError::Unavailable(error)) => {
                tracing::warn!(%error, "looking again");
                tokio::time::sleep(LOOK).await;
                continue;
            }
            Err(error) => return Err(refused(error)),
        };
        if output == Output::Text && std::io::stderr().is_terminal() && shown != Some(view.counts) {
            shown = Some(view.counts);
            say(&progress(id, &view.counts));
        }
        if view.counts.running + view.counts.waiting == 0 {
            break view;
        }
        tokio::time::sleep(LOOK).await;
    };
    show(&view, output)?;
    let counts = view.counts;
    Ok(match (counts.failed + counts.skipped, counts.cancelled) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(INTERRUPTED),
        _ => ExitCode::from(FAILED),
    })
}

fn progress(id: FlowId, counts: &FlowCounts) -> String {
    let ended = counts.tasks - counts.waiting - counts.running;
    let FlowCounts { tasks, waiting, running, failed, .. } = counts;
    format!(
        "flow {id}: {ended} of {tasks} tasks ended, {running} running, {waiting} waiting, {failed} failed"
    )
}

fn id(view: &FlowView, output: Output) -> anyhow::Result<ExitCode> {
    match output {
        Output::Text => writeln!(std::io::stdout(), "{}", view.row.id)?,
        Output::Json => writeln!(std::io::stdout(), "{}", json!({ "flow": view.row.id }))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(flows: &[(dtf::model::flow::FlowRow, FlowCounts)], output: Output) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    if output == Output::Json {
        let all: Vec<Value> = flows
            .iter()
            .map(|(row, counts)| {
                json!({ "id": row.id, "name": row.name, "retry_of": row.retry_of, "created_at": row.created_at, "counts": counts })
            })
            .collect();
        writeln!(out, "{}", Value::from(all))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Listing::new([
        "flow",
        "name",
        "created (UTC)",
        "tasks",
        "waiting",
        "running",
        "completed",
        "failed",
        "cancelled",
        "skipped",
    ]);
    for (row, counts) in flows {
        let FlowCounts { tasks, waiting, running, completed, failed, cancelled, skipped } = *counts;
        let numbers = [tasks, waiting, running, completed, failed, cancelled, skipped];
        let texts = [row.id.to_string(), row.name.clone(), utc(row.created_at)];
        table.row(texts.into_iter().chain(numbers.map(|number| number.to_string())));
    }
    table.align_right(&[0, 3, 4, 5, 6, 7, 8, 9]);
    writeln!(out, "{table}")?;
    Ok(ExitCode::SUCCESS)
}

fn show(view: &FlowView, output: Output) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let on = |task: dtf::model::TaskId| {
        let of = view.dependencies.iter().filter(move |dependency| dependency.task == task);
        of.map(|dependency| format!("{} {}", dependency.label, dependency.condition.name()))
    };
    if output == Output::Json {
        let tasks = view.tasks.iter().map(|task| {
            json!({
                "id": task.id,
                "name": task.flow.as_ref().map(|member| &member.name),
                "status": task.status,
                "waits": task.waits,
                "reason": task.reason,
                "after": on(task.id).collect::<Vec<_>>(),
            })
        });
        let row = &view.row;
        let flow = json!({
            "id": row.id, "name": row.name, "retry_of": row.retry_of, "created_at": row.created_at,
            "counts": view.counts, "tasks": tasks.collect::<Vec<_>>(),
        });
        return Ok(writeln!(out, "{flow}")?);
    }
    let mut table = Listing::new(["task", "name", "status", "after", "reason"]);
    for task in &view.tasks {
        let name = task.flow.as_ref().map(|member| member.name.clone()).unwrap_or_default();
        let status = if task.waits { "waiting".to_owned() } else { task.status.to_string() };
        table.row([
            task.id.to_string(),
            name,
            status,
            on(task.id).collect::<Vec<_>>().join(", "),
            task.reason.clone(),
        ]);
    }
    table.align_right(&[0]);
    Ok(writeln!(out, "{table}")?)
}
