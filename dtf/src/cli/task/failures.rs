//! `dtf task failures` and `dtf task retry`.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use dtf::FailureKind;
use dtf::model::failure::{Failure, FailureKey};
use dtf::model::{EmitEpoch, Seq, TaskId};
use lrmf_core::text::bytes_on_one_line;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::args::Output;
use super::super::oneshot::refused;
use super::super::say;
use super::super::table::Listing;
use super::{Desk, show, submit, watch};

/// The most characters of a body that a table shows.
const SHOWN: usize = 60;

#[derive(Debug, Args)]
pub(super) struct FailuresArgs {
    /// The task's id
    pub(super) id: TaskId,
    /// Group all of them by what went wrong
    #[arg(long, conflicts_with_all = ["after", "limit"])]
    pub(super) by_error: bool,
    /// Only failures behind this one, as the list names it, to go on with a list
    #[arg(long, value_parser = key, value_name = "SUBTASK")]
    pub(super) after: Option<FailureKey>,
    /// The most failures to list
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N")]
    pub(super) limit: u32,
}

#[derive(Debug, Args)]
pub(super) struct RetryArgs {
    /// The task's id; it has to have ended
    pub(super) id: TaskId,
    /// The creation's own name: the same one twice makes one task
    #[arg(long, value_name = "UUID")]
    pub(super) request_id: Option<Uuid>,
    /// Follow the new task to its end: exit code 0 where nothing failed, 1 where something did, 130 where it was cancelled
    #[arg(long)]
    pub(super) watch: bool,
}

fn key(text: &str) -> Result<FailureKey, String> {
    let parts = text.split_once(':').and_then(|(epoch, seq)| Some((epoch.parse().ok()?, seq.parse().ok()?)));
    let (epoch, seq) = parts.ok_or("a subtask is named EPOCH:NUMBER, as the list names it")?;
    Ok(FailureKey { epoch: EmitEpoch(epoch), seq: Seq(seq) })
}

fn name(failure: &Failure) -> String {
    format!("{}:{}", failure.key.epoch, failure.key.seq)
}

pub(super) async fn failures(desk: &Desk, args: FailuresArgs) -> anyhow::Result<ExitCode> {
    if args.by_error {
        return kinds(desk, args.id).await;
    }
    let failures = desk.client.failures(args.id, args.after, args.limit).await.map_err(refused)?;
    print_failures(&failures, desk.output)
}

/// Prints failures.
pub(super) fn print_failures(failures: &[Failure], output: Output) -> anyhow::Result<ExitCode> {
    match output {
        Output::Json => show::print(&Value::Array(failures.iter().map(as_json).collect()))?,
        Output::Text => writeln!(std::io::stdout(), "{}", table(failures))?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn kinds(desk: &Desk, id: TaskId) -> anyhow::Result<ExitCode> {
    let kinds = desk.client.failure_kinds(id).await.map_err(refused)?;
    print_kinds(&kinds, desk.output)
}

/// Prints failures, grouped by what went wrong.
pub(super) fn print_kinds(kinds: &[FailureKind], output: Output) -> anyhow::Result<ExitCode> {
    if output == Output::Json {
        let as_json = |kind: &FailureKind| {
            let first = format!("{}:{}", kind.first.epoch, kind.first.seq);
            json!({
                "count": kind.count,
                "pattern": kind.pattern,
                "timed_out": kind.timed_out,
                "example": kind.example,
                "first": first,
            })
        };
        show::print(&Value::Array(kinds.iter().map(as_json).collect()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Listing::new(["subtasks", "why", "the first one"]);
    for kind in kinds {
        let first = format!("{}:{} {}", kind.first.epoch, kind.first.seq, kind.example);
        table.row([kind.count.to_string(), kind.pattern.clone(), first]);
    }
    table.align_right(&[0]);
    writeln!(std::io::stdout(), "{table}")?;
    Ok(ExitCode::SUCCESS)
}

fn table(failures: &[Failure]) -> String {
    let mut table = Listing::new(["subtask", "why", "body"]);
    for failure in failures {
        let body =
            failure.body.as_ref().map_or_else(|| "(too large to be kept)".to_owned(), |body| text(body));
        table.row([name(failure), failure.error.clone(), body]);
    }
    table.to_string()
}

/// The beginning of a body, on one line.
fn text(body: &[u8]) -> String {
    let text: String = bytes_on_one_line(body).chars().take(SHOWN + 1).collect();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn as_json(failure: &Failure) -> Value {
    let body = failure.body.as_ref();
    let text = body.and_then(|body| std::str::from_utf8(body).ok());
    let bytes = body.filter(|_| text.is_none()).map(|body| body.to_vec());
    json!({
        "subtask": name(failure),
        "timed_out": failure.timed_out,
        "error": failure.error,
        "body": text,
        // Where the body is no text: its bytes, as numbers.
        "body_bytes": bytes,
    })
}

pub(super) async fn retry(desk: &Desk, args: RetryArgs) -> anyhow::Result<ExitCode> {
    let request = args.request_id.unwrap_or_else(Uuid::new_v4);
    let create = async || desk.client.retry_failures_once(request, args.id).await;
    let task = submit::until_created(request, create).await?;
    if args.watch {
        if !desk.quiet {
            say(&format!("task {} runs what failed of task {}", task.id(), args.id));
        }
        return watch::watch(desk, task).await;
    }
    match desk.output {
        Output::Text => writeln!(std::io::stdout(), "{}", task.id())?,
        Output::Json => show::print(&json!({ "task": task.id(), "retry_of": args.id }))?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtask_is_named_as_the_list_names_it() {
        let failure = Failure::new(key("7:12").unwrap(), false, "x", bytes::Bytes::new());
        assert_eq!(name(&failure), "7:12");
        assert!(key("7").is_err() && key("a:b").is_err());
    }

    #[test]
    fn bodies_are_shown_in_part_and_on_one_line() {
        assert_eq!(text(b"a\nb"), "a\\nb");
        assert_eq!(text(&[b'x'; 100]).chars().count(), SHOWN + 1);
        let binary = Failure::new(key("1:2").unwrap(), true, "late", bytes::Bytes::from_static(&[0xff, 1]));
        let shown = as_json(&binary);
        assert_eq!((&shown["body"], &shown["body_bytes"]), (&Value::Null, &json!([255, 1])));
    }
}
