//! `dtf task bulk`: an action on all tasks that fit, through the HTTP API.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use dtf_api as api;
use uuid::Uuid;

use super::super::args::Output;
use super::super::remote::refused;
use super::super::{FAILED, Usage, say};
use super::over_http::Desk;
use super::show::{self, Conditions};

/// The period of looks at an action that is followed.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Action {
    Pause,
    Resume,
    Cancel,
    Retry,
}

#[derive(Debug, Args)]
pub(super) struct BulkArgs {
    /// What is done with each task that fits
    #[arg(value_enum, value_name = "ACTION")]
    action: Action,
    #[command(flatten)]
    conditions: Conditions,
    /// These tasks, in place of all that fit; as often as there are tasks, or with commas between them
    #[arg(long = "id", value_name = "TASK", value_delimiter = ',')]
    ids: Vec<u64>,
    /// Only count the tasks that fit
    #[arg(long, conflicts_with_all = ["expect", "yes"])]
    dry_run: bool,
    /// Act where exactly this number of tasks fits, as a dry run has counted
    #[arg(long, value_name = "N")]
    expect: Option<u64>,
    /// Act on however many fit
    #[arg(long, conflicts_with = "expect")]
    yes: bool,
    /// The action's own name: the same one twice is one action
    #[arg(long, value_name = "UUID")]
    request_id: Option<Uuid>,
}

pub(super) async fn bulk(desk: &Desk, args: BulkArgs) -> anyhow::Result<ExitCode> {
    if !args.dry_run && !args.yes && args.expect.is_none() {
        let why = "say how many tasks are expected to fit (--expect N, as --dry-run counts them), or --yes";
        return Err(Usage(why.to_owned()).into());
    }
    let request = api::BulkRequest {
        action: match args.action {
            Action::Pause => api::BulkAction::Pause,
            Action::Resume => api::BulkAction::Resume,
            Action::Cancel => api::BulkAction::Cancel,
            Action::Retry => api::BulkAction::Retry,
        },
        filter: args.conditions.query(),
        tasks: args.ids,
        expect_count: args.expect,
        dry_run: args.dry_run,
    };
    let name = args.request_id.unwrap_or_else(Uuid::new_v4);
    let bulk = desk.client.bulk(name, &request).await.map_err(refused)?;
    if args.dry_run {
        return print(&bulk, desk.output);
    }
    if !desk.quiet {
        say(&format!("{} of {} tasks has begun, as {name}", bulk.action.name(), bulk.selected));
    }
    follow(desk, bulk).await
}

/// Follows an action to its end. Ctrl-C ends the watching, not the action.
async fn follow(desk: &Desk, mut bulk: api::Bulk) -> anyhow::Result<ExitCode> {
    while bulk.status == api::BulkStatus::Running {
        tokio::time::sleep(LOOK).await;
        match desk.client.bulk_state(bulk.id).await {
            Ok(seen) => bulk = seen,
            Err(error) if error.is_retryable() => tracing::warn!(%error, "still watching"),
            Err(error) => return Err(refused(error)),
        }
    }
    print(&bulk, desk.output)
}

/// Prints an action; the exit code says whether it was refused for any task.
fn print(bulk: &api::Bulk, output: Output) -> anyhow::Result<ExitCode> {
    match output {
        Output::Json => show::print(&serde_json::to_value(bulk)?)?,
        Output::Text if bulk.status == api::BulkStatus::DryRun => {
            show::print_line(&format!("{} tasks fit", bulk.selected))?;
        }
        Output::Text => {
            let (applied, selected, refused) = (bulk.applied, bulk.selected, bulk.refused_count);
            show::print_line(&format!("applied to {applied} of {selected} tasks, refused for {refused}"))?;
            for refused in &bulk.refused {
                show::print_line(&format!("task {}: {}", refused.id, refused.detail))?;
            }
        }
    }
    Ok(if bulk.refused_count > 0 { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}
