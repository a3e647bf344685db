//! `dtf task` through the HTTP API.

use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use dtf::FailureKind;
use dtf::TaskStatusView;
use dtf::model::failure::{Failure, FailureKey};
use dtf::model::limits::Limits;
use dtf::model::param::Creator;
use dtf::model::plugin::TaskResult;
use dtf::model::queue::TaskState;
use dtf::model::table::{NewTask, TaskRow};
use dtf::model::{Counts, EmitEpoch, Priority, RunEpoch, Seq, TaskId, TaskParam, TaskTypeId};
use dtf_api as api;
use dtf_client::Client;
use dtf_control::Pace;
use dtf_http::view::{model_delivery, model_status};
use serde_json::json;
use uuid::Uuid;

use super::super::args::Output;
use super::super::progress::Display;
use super::super::remote::refused;
use super::super::signals::Interrupts;
use super::super::{SIGNALLED, say};
use super::failures::{FailuresArgs, RetryArgs, print_failures, print_kinds};
use super::feed::{self, Feeder};
use super::show::{self, ListArgs};
use super::submit::{SubmitArgs, print_id};
use super::{Ids, What, bulk, each, watch};

/// The most tasks of a page of the API.
const PAGE: u32 = 1000;
/// The period of looks at a task that is followed.
const LOOK: Duration = Duration::from_millis(500);

/// The tools that these commands work with.
pub(super) struct Desk {
    pub(super) client: Client,
    pub(super) output: Output,
    pub(super) quiet: bool,
}

pub(super) async fn perform(desk: &Desk, what: What) -> anyhow::Result<ExitCode> {
    let act = async |ids, asked, action| {
        let ask = async |id: TaskId| desk.client.act(id.0, action).await.map(drop).map_err(refused);
        each(desk.output, desk.quiet, ids, asked, ask).await
    };
    match what {
        What::Submit(args) => submit(desk, args).await,
        What::List(args) => list(desk, args).await,
        What::Get { id } => get(desk, desk.client.task(id.0).await.map_err(refused)?),
        What::Watch { id } => follow(desk, id).await,
        What::Result { id } => {
            show::print_result(&view(desk.client.task(id.0).await.map_err(refused)?).1.row)
        }
        What::Failures(args) => failures(desk, args).await,
        What::Retry(args) => retry(desk, args).await,
        What::Deliver { id, hook } => {
            get(desk, desk.client.deliver_again(id.0, hook).await.map_err(refused)?)
        }
        What::Pause(Ids { ids }) => act(ids, "paused", api::BulkAction::Pause).await,
        What::Resume(Ids { ids }) => act(ids, "resumed", api::BulkAction::Resume).await,
        What::Cancel(Ids { ids }) => act(ids, "cancelled", api::BulkAction::Cancel).await,
        What::Bulk(args) => bulk::bulk(desk, args).await,
        What::Feed(args) => feed::feed(&Feeder::Server(&desk.client), args, desk.output, desk.quiet).await,
        What::Close(Ids { ids }) => {
            let close = async |id: TaskId| desk.client.close_items(id.0).await.map(drop).map_err(refused);
            each(desk.output, desk.quiet, ids, "closed", close).await
        }
    }
}

async fn submit(desk: &Desk, args: SubmitArgs) -> anyhow::Result<ExitCode> {
    let request = args.request_id.unwrap_or_else(Uuid::new_v4);
    let created = desk.client.create_task_once(request, &args.new_task()?).await;
    let id = created.map(|task| TaskId(task.id)).map_err(|error| created_perhaps(request, error))?;
    if args.watch {
        if !desk.quiet {
            say(&format!("task {id} was created"));
        }
        return follow(desk, id).await;
    }
    print_id(id, desk.output)?;
    Ok(ExitCode::SUCCESS)
}

/// Of a creation whose outcome is not known, says how to ask for it again.
fn created_perhaps(request: Uuid, error: dtf_client::Error) -> anyhow::Error {
    match error.is_retryable() {
        true => anyhow::Error::from(error)
            .context(format!("ask again with --request-id {request}, then one task is made at most")),
        false => refused(error),
    }
}

async fn list(desk: &Desk, args: ListArgs) -> anyhow::Result<ExitCode> {
    let (mut query, most) = args.query();
    let mut tasks: Vec<api::Task> = Vec::new();
    loop {
        let missing = most.saturating_sub(u32::try_from(tasks.len()).unwrap_or(u32::MAX));
        query.limit = Some(missing.clamp(1, PAGE));
        let page = desk.client.tasks(&query).await.map_err(refused)?;
        tasks.extend(page.tasks);
        query.cursor = page.next;
        if query.cursor.is_none() || tasks.len() >= most as usize {
            break;
        }
    }
    match desk.output {
        Output::Json => show::print(&serde_json::to_value(&tasks)?)?,
        Output::Text => {
            let rows: Vec<_> = tasks.into_iter().map(view).map(|(kind, status)| (kind, status.row)).collect();
            show::print_table(&rows)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn get(desk: &Desk, task: api::Task) -> anyhow::Result<ExitCode> {
    if desk.output == Output::Json {
        show::print(&serde_json::to_value(&task)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut waits_for = task.blocked_on.clone();
    if task.waits {
        waits_for.push("other tasks".to_owned());
    }
    let (kind, status) = view(task);
    show::print_status(&kind, &status, &waits_for)?;
    Ok(ExitCode::SUCCESS)
}

async fn failures(desk: &Desk, args: FailuresArgs) -> anyhow::Result<ExitCode> {
    if args.by_error {
        let kinds = desk.client.failure_kinds(args.id.0).await.map_err(refused)?;
        let kinds: Vec<_> = kinds.into_iter().map(kind_of_failure).collect();
        return print_kinds(&kinds, desk.output);
    }
    let query = api::FailureQuery {
        after_epoch: args.after.map_or(0, |after| after.epoch.0),
        after_seq: args.after.map(|after| after.seq.0),
        limit: Some(args.limit),
    };
    let page = desk.client.failures(args.id.0, &query).await.map_err(refused)?;
    let failures: Vec<_> = page.failures.into_iter().map(failure).collect();
    print_failures(&failures, desk.output)
}

async fn retry(desk: &Desk, args: RetryArgs) -> anyhow::Result<ExitCode> {
    let request = args.request_id.unwrap_or_else(Uuid::new_v4);
    let created = desk.client.act_once(request, args.id.0, api::BulkAction::Retry).await;
    let id = created.map(|task| TaskId(task.id)).map_err(|error| created_perhaps(request, error))?;
    if args.watch {
        if !desk.quiet {
            say(&format!("task {id} runs what failed of task {}", args.id));
        }
        return follow(desk, id).await;
    }
    match desk.output {
        Output::Text => print_id(id, desk.output)?,
        Output::Json => show::print(&json!({ "task": id, "retry_of": args.id }))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Follows a task to its end. Ctrl-C ends the watching, not the task.
async fn follow(desk: &Desk, id: TaskId) -> anyhow::Result<ExitCode> {
    // Before anything is shown: a task that does not exist is refused.
    let (kind, mut seen) = view(desk.client.task(id.0).await.map_err(refused)?);
    let screen = Display::new(desk.quiet);
    let mut interrupts = Interrupts::new()?;
    screen.show(&seen);
    while !seen.row.status.is_terminal() {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            signal = interrupts.next() => {
                screen.finish();
                say(&format!("no longer watched; `dtf task watch {id}` goes on, `dtf task cancel {id}` ends it"));
                return Ok(ExitCode::from(SIGNALLED.saturating_add(u8::try_from(signal).unwrap_or_default())));
            }
        }
        match desk.client.task(id.0).await {
            Ok(task) => seen = view(task).1,
            Err(error) if error.is_retryable() => tracing::warn!(task_id = %id, %error, "still watching"),
            Err(error) => return Err(refused(error)),
        }
        screen.show(&seen);
    }
    screen.finish();
    watch::summary(kind, seen, desk.output, desk.quiet)
}

/// The name of a task's type, and how the task is, as the cluster's own types have it. What the API does not tell (the name of the creation,
/// past pauses) is left out.
fn view(task: api::Task) -> (String, TaskStatusView) {
    let progress = task.progress.unwrap_or_default();
    let api::Counts { created, succeeded, failed, cancelled, timed_out } = progress.counts;
    let counts = Counts { created, succeeded, failed, cancelled, timed_out };
    let param = TaskParam {
        name: task.name,
        description: task.description,
        creator: Creator { uid: task.creator.uid, name: task.creator.name },
        group: task.group,
        priority: Priority(task.priority),
        timeout: Duration::from_millis(task.timeout_ms),
        start_at: task.start_at,
        limits: Limits { running: task.limits.running, rate: task.limits.rate },
        retry_of: task.retry_of.map(TaskId),
        type_param: task.param,
        ..TaskParam::default()
    };
    let new = NewTask { request: Uuid::nil(), task_type: TaskTypeId(0), param, now: task.created_at };
    let row = TaskRow {
        status: model_status(task.status),
        run: RunEpoch(task.run),
        started_at: task.started_at,
        finished_at: task.finished_at,
        counts,
        reason: task.reason,
        result: task.result.map(|api::TaskResult { code, reason, data }| TaskResult { code, reason, data }),
        waits: task.waits,
        hooks: task.hooks.into_iter().filter_map(model_delivery).collect(),
        ..TaskRow::created(TaskId(task.id), &new)
    };
    let queues = TaskState {
        counts,
        pending: progress.pending,
        delayed: progress.delayed,
        running: progress.running,
        generated: progress.generated,
        progress: progress.generator_share,
        blocked_on: task.blocked_on,
        ..TaskState::begun(row.spec())
    };
    let pace = Pace { rate: progress.rate, eta_ms: progress.eta_ms };
    (task.task_type, TaskStatusView { row, queues: Some(queues), pace })
}

fn failure(failure: api::Failure) -> Failure {
    let key = FailureKey { epoch: EmitEpoch(failure.epoch), seq: Seq(failure.seq) };
    let body = failure.body.map(Bytes::from).or_else(|| failure.body_hex.as_deref().and_then(unhex));
    Failure { key, timed_out: failure.timed_out, error: failure.error, body }
}

/// The bytes that hexadecimal digits stand for.
fn unhex(digits: &str) -> Option<Bytes> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn kind_of_failure(kind: api::FailureKind) -> FailureKind {
    let api::FailureKind { pattern, timed_out, count, example, epoch, seq } = kind;
    FailureKind {
        pattern,
        timed_out,
        count,
        example,
        first: FailureKey { epoch: EmitEpoch(epoch), seq: Seq(seq) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_back_as_they_were() {
        assert_eq!(unhex("00ff1a").as_deref(), Some(&[0, 255, 26][..]));
        assert_eq!(unhex("0g"), None);
        assert_eq!(unhex("").as_deref(), Some(&[][..]));
    }
}
