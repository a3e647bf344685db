//! How a task went: a table for people, JSON for scripts, an exit code for shells.

use std::io::Write;
use std::process::ExitCode;

use comfy_table::{CellAlignment, Table, presets};
use dtf::model::TaskStatus;
use dtf::tasks::failed_items;
use indicatif::HumanCount;
use serde_json::json;

use super::args::Output;
use super::oneshot::Ended;
use super::{FAILED, INTERRUPTED};

/// 0 only where the task completed and nothing failed.
pub(crate) fn exit_code(ended: &Ended) -> ExitCode {
    match ended.row.status {
        TaskStatus::Completed if failed(ended) == 0 => ExitCode::SUCCESS,
        TaskStatus::Cancelled => ExitCode::from(INTERRUPTED),
        _ => ExitCode::from(FAILED),
    }
}

/// How much failed: subtasks, and items within subtasks that succeeded.
fn failed(ended: &Ended) -> u64 {
    let counts = &ended.row.counts;
    let items = ended.row.result.as_ref().map_or(0, failed_items);
    items.max(counts.failed + counts.timed_out)
}

/// Says how it went.
pub(crate) fn summary(ended: &Ended, output: Output) -> std::io::Result<()> {
    match output {
        Output::Text => {
            eprintln!("{}\n{}", counts(ended), sentence(ended));
            Ok(())
        }
        Output::Json => writeln!(std::io::stdout(), "{}", as_json(ended)),
    }
}

fn as_json(ended: &Ended) -> serde_json::Value {
    let row = &ended.row;
    json!({
        "task": row.id,
        "type": ended.kind,
        "name": row.param.name,
        "status": row.status,
        "reason": row.reason,
        "failed": failed(ended),
        "counts": row.counts,
        "result": row.result,
        "wall_s": ended.took.as_secs_f64(),
    })
}

fn counts(ended: &Ended) -> Table {
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
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.map(|(name, _)| name));
    table.add_row(columns.map(|(_, number)| HumanCount(number).to_string()));
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn sentence(ended: &Ended) -> String {
    let row = &ended.row;
    let seconds = ended.took.as_secs_f64();
    let mut sentence = match row.status {
        TaskStatus::Completed => format!("{} completed in {seconds:.2} s", ended.kind),
        status => format!("{} ended as {status} after {seconds:.2} s", ended.kind),
    };
    let said = row.result.as_ref().map_or("", |result| result.reason.as_str());
    for words in [row.reason.as_str(), said].into_iter().filter(|words| !words.is_empty()) {
        sentence.push_str(": ");
        sentence.push_str(words);
    }
    let (all, failed) = (ended.progress.created, failed(ended));
    if failed > 0 && said.is_empty() {
        sentence.push_str(&format!(": {failed} of {all} failed"));
    }
    sentence
}
