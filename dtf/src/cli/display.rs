//! The summary of a task: a table for people, JSON for scripts, an exit code for shells.

use std::io::Write;
use std::process::ExitCode;

use dtf::model::TaskStatus;
use dtf::model::plugin::TaskResult;
use dtf::tasks::exec::Stopped;
use dtf::tasks::failed_items;
use indicatif::HumanCount;
use lrmf_core::text::one_line;
use serde_json::json;

use super::args::Output;
use super::oneshot::{By, Ended};
use super::table::Listing;
use super::{FAILED, INTERRUPTED, SIGNALLED, UNREAD, eprint, say};

/// 0 only where the task completed and nothing failed, or was halted as enough had succeeded.
pub(crate) fn exit_code(ended: &Ended) -> ExitCode {
    match (&ended.by, ended.row.status) {
        (Some(By::Signal(signal)), TaskStatus::Cancelled) => {
            ExitCode::from(SIGNALLED.saturating_add(u8::try_from(*signal).unwrap_or_default()))
        }
        (Some(By::Commands(Stopped::Unread)), _) => ExitCode::from(UNREAD),
        (Some(By::Commands(Stopped::Halted { failures: false, .. })), _) => ExitCode::SUCCESS,
        (_, TaskStatus::Completed) if failed(ended) == 0 => ExitCode::SUCCESS,
        (None, TaskStatus::Cancelled) => ExitCode::from(INTERRUPTED),
        _ => ExitCode::from(FAILED),
    }
}

/// Returns the task's result, also of a task that was ended before its end.
fn result(ended: &Ended) -> Option<&TaskResult> {
    ended.row.result.as_ref().or(ended.result.as_ref())
}

/// Why it ended before its end.
fn reason(ended: &Ended) -> String {
    match &ended.by {
        Some(By::Commands(why)) => why.to_string(),
        _ => ended.row.reason.clone(),
    }
}

/// Returns the number of failures: subtasks, and items within subtasks that succeeded.
fn failed(ended: &Ended) -> u64 {
    let counts = &ended.row.counts;
    let items = result(ended).map_or(0, failed_items);
    items.max(counts.failed + counts.timed_out)
}

/// Shows how it ended. With `quiet`, people are told no more than what went wrong; scripts get what they asked for.
pub(crate) fn summary(ended: &Ended, output: Output, quiet: bool) -> std::io::Result<()> {
    if matches!(ended.by, Some(By::Commands(Stopped::Unread))) {
        return Ok(());
    }
    match output {
        Output::Text if !quiet => {
            eprint(&format!("{}\n{}", counts(ended), one_line(&sentence(ended))));
            Ok(())
        }
        Output::Text if ended.row.status != TaskStatus::Completed => {
            say(&sentence(ended));
            Ok(())
        }
        Output::Text => Ok(()),
        Output::Json => {
            if ended.row.status != TaskStatus::Completed {
                say(&sentence(ended));
            }
            writeln!(std::io::stdout(), "{}", as_json(ended))
        }
    }
}

fn as_json(ended: &Ended) -> serde_json::Value {
    let row = &ended.row;
    json!({
        "task": row.id,
        "type": ended.kind,
        "name": row.param.name,
        "status": row.status,
        "reason": reason(ended),
        "failed": failed(ended),
        "counts": row.counts,
        "result": result(ended),
        "wall_s": ended.took.as_secs_f64(),
    })
}

fn counts(ended: &Ended) -> Listing {
    let counts = &ended.row.counts;
    let rate = counts.counted() as f64 / ended.took.as_secs_f64().max(0.001);
    let columns = [
        ("subtasks", counts.created),
        ("succeeded", counts.succeeded),
        ("failed", counts.failed),
        ("timed out", counts.timed_out),
        ("cancelled", counts.cancelled),
        ("per second", rate as u64),
    ];
    let mut table = Listing::new(columns.map(|(name, _)| name));
    table.row(columns.map(|(_, number)| HumanCount(number).to_string()));
    table.align_right(&[0, 1, 2, 3, 4, 5]);
    table
}

fn sentence(ended: &Ended) -> String {
    let row = &ended.row;
    let seconds = ended.took.as_secs_f64();
    let mut sentence = match (&ended.by, row.status) {
        (_, TaskStatus::Completed) => format!("{} completed in {seconds:.2} s", ended.kind),
        (Some(By::Commands(why)), _) => format!("{} ended after {seconds:.2} s: {why}", ended.kind),
        (_, status) => format!("{} ended as {status} after {seconds:.2} s", ended.kind),
    };
    let said = result(ended).map_or("", |result| result.reason.as_str());
    let reason = if matches!(ended.by, Some(By::Commands(_))) { "" } else { row.reason.as_str() };
    for words in [reason, said].into_iter().filter(|words| !words.is_empty()) {
        sentence.push_str(": ");
        sentence.push_str(words);
    }
    let (all, failed) = (ended.progress.created, failed(ended));
    if failed > 0 && said.is_empty() {
        sentence.push_str(&format!(": {failed} of {all} failed"));
    }
    sentence
}
