//! `dtf flow`: tasks that are created together and wait for each other.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use dtf::model::FlowId;
use dtf::model::plugin::TaskPluginRegistration;
use dtf::utc;
use dtf_api as api;
use dtf_http::view;
use serde_json::json;
use uuid::Uuid;

use super::args::Output;
use super::oneshot::refused;
use super::remote::{self, Remote, Way};
use super::settings::Head;
use super::table::Listing;
use super::{FAILED, INTERRUPTED, Usage, document, say};

/// The flows of a list.
const PAGE: u32 = 50;
/// The period of looks at a flow that is followed.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(crate) struct FlowArgs {
    #[command(flatten)]
    head: Head,
    #[command(flatten)]
    remote: Remote,
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
pub(super) fn builder(flow: api::NewFlow) -> Result<dtf::FlowBuilder, Usage> {
    view::flow_builder(flow).map_err(|failed| Usage(failed.0.detail))
}

pub(crate) fn run(args: FlowArgs, types: Vec<TaskPluginRegistration>) -> anyhow::Result<ExitCode> {
    // What is wrong with a file is said before any server is asked.
    let flow = match &args.what {
        What::Submit { file, .. } => Some(read(file)?),
        _ => None,
    };
    drop(flow.clone().map(builder).transpose()?);
    let output = args.head.output;
    remote::on_way(&args.remote, &args.head.settings, types, async |way| match (args.what, flow) {
        (What::Submit { request_id, watch: follow, .. }, Some(flow)) => {
            let request = request_id.unwrap_or_else(Uuid::new_v4);
            let flow = create(way, request, flow).await?;
            match follow {
                true => watch(way, flow.summary.id, output).await,
                false => id(&flow, output),
            }
        }
        (what, _) => perform(way, what, output).await,
    })
}

async fn create(way: &Way, request: Uuid, flow: api::NewFlow) -> anyhow::Result<api::Flow> {
    match way {
        Way::Stores(client) => {
            let created = client.create_flow_once(request, builder(flow)?).await.map_err(refused)?;
            Ok(view::flow(client.types(), created))
        }
        Way::Server(client) => client.create_flow_once(request, &flow).await.map_err(remote::refused),
    }
}

async fn perform(way: &Way, what: What, output: Output) -> anyhow::Result<ExitCode> {
    let flow = match what {
        What::Submit { .. } => return Ok(ExitCode::SUCCESS),
        What::List { limit } => return list(&flows(way, limit).await?, output),
        What::Watch(Id { id }) => return watch(way, id.0, output).await,
        What::Retry { of, request_id } => {
            let request = request_id.unwrap_or_else(Uuid::new_v4);
            return id(&act(way, request, of.id, api::BulkAction::Retry).await?, output);
        }
        What::Get(Id { id }) => match look(way, id.0).await? {
            Look::Seen(flow) => *flow,
            Look::Unanswered(error) => return Err(error),
        },
        What::Pause(Id { id }) => act(way, Uuid::new_v4(), id, api::BulkAction::Pause).await?,
        What::Resume(Id { id }) => act(way, Uuid::new_v4(), id, api::BulkAction::Resume).await?,
        What::Cancel(Id { id }) => act(way, Uuid::new_v4(), id, api::BulkAction::Cancel).await?,
    };
    show(&flow, output)?;
    Ok(ExitCode::SUCCESS)
}

/// Applies an action to a flow, and returns the flow; of a retry, the new one.
async fn act(way: &Way, request: Uuid, id: FlowId, action: api::BulkAction) -> anyhow::Result<api::Flow> {
    let client = match way {
        Way::Stores(client) => client,
        Way::Server(client) => {
            return client.act_on_flow(request, id.0, action).await.map_err(remote::refused);
        }
    };
    let changed = match action {
        api::BulkAction::Pause => client.pause_flow(id).await,
        api::BulkAction::Resume => client.resume_flow(id).await,
        api::BulkAction::Cancel => client.cancel_flow(id).await,
        api::BulkAction::Retry => client.retry_flow(request, id).await,
    };
    Ok(view::flow(client.types(), changed.map_err(refused)?))
}

/// The newest flows.
async fn flows(way: &Way, limit: u32) -> anyhow::Result<Vec<api::FlowSummary>> {
    match way {
        Way::Stores(client) => {
            let flows = client.flows(None, limit).await.map_err(refused)?;
            Ok(flows.into_iter().map(|(row, counts)| view::flow_summary(row, counts)).collect())
        }
        Way::Server(client) => {
            let query = api::FlowQuery { limit: Some(limit), ..api::FlowQuery::default() };
            Ok(client.flows(&query).await.map_err(remote::refused)?.flows)
        }
    }
}

/// A look at a flow.
enum Look {
    Seen(Box<api::Flow>),
    /// No answer came; it may be asked for again.
    Unanswered(anyhow::Error),
}

async fn look(way: &Way, id: u64) -> anyhow::Result<Look> {
    match way {
        Way::Stores(client) => match client.flow(FlowId(id)).await {
            Ok(flow) => Ok(Look::Seen(Box::new(view::flow(client.types(), flow)))),
            Err(error) if error.is_retryable() => Ok(Look::Unanswered(error.into())),
            Err(error) => Err(refused(error)),
        },
        Way::Server(client) => match client.flow(id).await {
            Ok(flow) => Ok(Look::Seen(Box::new(flow))),
            Err(error) if error.is_retryable() => Ok(Look::Unanswered(error.into())),
            Err(error) => Err(remote::refused(error)),
        },
    }
}

/// Reads a file in the format that its name says.
pub(super) fn read(file: &Path) -> Result<api::NewFlow, Usage> {
    document::read(file, "flow")
}

/// Follows a flow to its end.
async fn watch(way: &Way, id: u64, output: Output) -> anyhow::Result<ExitCode> {
    let mut shown = None;
    let flow = loop {
        let flow = match look(way, id).await? {
            Look::Seen(flow) => flow,
            Look::Unanswered(error) => {
                tracing::warn!(%error, "looking again");
                tokio::time::sleep(LOOK).await;
                continue;
            }
        };
        let counts = flow.summary.counts;
        if output == Output::Text && std::io::stderr().is_terminal() && shown != Some(counts) {
            shown = Some(counts);
            say(&progress(id, &counts));
        }
        if counts.running + counts.waiting == 0 {
            break flow;
        }
        tokio::time::sleep(LOOK).await;
    };
    show(&flow, output)?;
    let counts = flow.summary.counts;
    Ok(match (counts.failed + counts.skipped, counts.cancelled) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(INTERRUPTED),
        _ => ExitCode::from(FAILED),
    })
}

fn progress(id: u64, counts: &api::FlowCounts) -> String {
    let ended = counts.tasks - counts.waiting - counts.running;
    let api::FlowCounts { tasks, waiting, running, failed, .. } = counts;
    format!(
        "flow {id}: {ended} of {tasks} tasks ended, {running} running, {waiting} waiting, {failed} failed"
    )
}

fn id(flow: &api::Flow, output: Output) -> anyhow::Result<ExitCode> {
    match output {
        Output::Text => writeln!(std::io::stdout(), "{}", flow.summary.id)?,
        Output::Json => writeln!(std::io::stdout(), "{}", json!({ "flow": flow.summary.id }))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(flows: &[api::FlowSummary], output: Output) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    if output == Output::Json {
        writeln!(out, "{}", json!(flows))?;
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
    for flow in flows {
        let api::FlowCounts { tasks, waiting, running, completed, failed, cancelled, skipped } = flow.counts;
        let numbers = [tasks, waiting, running, completed, failed, cancelled, skipped];
        let texts = [flow.id.to_string(), flow.name.clone(), utc(flow.created_at)];
        table.row(texts.into_iter().chain(numbers.map(|number| number.to_string())));
    }
    table.align_right(&[0, 3, 4, 5, 6, 7, 8, 9]);
    writeln!(out, "{table}")?;
    Ok(ExitCode::SUCCESS)
}

/// The conditions that a task of a flow waits or waited for, in words.
fn after(flow: &api::Flow, task: u64) -> Vec<String> {
    let of = flow.edges.iter().filter(|edge| edge.task == task);
    of.map(|edge| format!("{} {}", edge.name, edge.when.name())).collect()
}

fn show(flow: &api::Flow, output: Output) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    if output == Output::Json {
        let tasks = flow.tasks.iter().map(|task| {
            json!({
                "id": task.id,
                "name": task.flow_task,
                "status": task.status,
                "waits": task.waits,
                "reason": task.reason,
                "after": after(flow, task.id),
            })
        });
        let summary = &flow.summary;
        let flow = json!({
            "id": summary.id, "name": summary.name, "retry_of": summary.retry_of, "created_at": summary.created_at,
            "counts": summary.counts, "tasks": tasks.collect::<Vec<_>>(),
        });
        return Ok(writeln!(out, "{flow}")?);
    }
    let mut table = Listing::new(["task", "name", "status", "after", "reason"]);
    for task in &flow.tasks {
        let status = if task.waits { "waiting" } else { task.status.name() };
        table.row([
            task.id.to_string(),
            task.flow_task.clone().unwrap_or_default(),
            status.to_owned(),
            after(flow, task.id).join(", "),
            task.reason.clone(),
        ]);
    }
    table.align_right(&[0]);
    Ok(writeln!(out, "{table}")?)
}
