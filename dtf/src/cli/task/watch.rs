//! `dtf task watch`.

use std::process::ExitCode;
use std::time::Duration;

use dtf::{TaskHandle, TaskStatusView};

use super::super::SIGNALLED;
use super::super::args::Output;
use super::super::display;
use super::super::oneshot::{Ended, next, refused};
use super::super::progress::Display;
use super::super::say;
use super::super::signals::Interrupts;
use super::Desk;

/// The period of looks at the progress.
const LOOK: Duration = Duration::from_millis(250);

/// Follows a task to its end, through failures of the servers that pass. Ctrl-C ends the watching, not the task.
pub(super) async fn watch(desk: &Desk, task: TaskHandle) -> anyhow::Result<ExitCode> {
    // Before anything is shown: a task that does not exist is refused.
    let first = task.status().await.map_err(refused)?;
    let screen = Display::new(desk.quiet);
    let mut interrupts = Interrupts::new()?;
    screen.show(&first);
    let mut watch = task.watch(LOOK);
    let last = loop {
        tokio::select! {
            seen = next(&mut watch) => {
                let seen = seen?;
                screen.show(&seen);
                if seen.row.status.is_terminal() {
                    break seen;
                }
            }
            signal = interrupts.next() => {
                screen.finish();
                say(&format!(
                    "no longer watched; `dtf task watch {0}` goes on, `dtf task cancel {0}` ends it",
                    task.id()
                ));
                return Ok(ExitCode::from(SIGNALLED.saturating_add(u8::try_from(signal).unwrap_or_default())));
            }
        }
    };
    screen.finish();
    let kind = desk.name(&last.row);
    summary(kind, last, desk.output, desk.quiet)
}

/// Shows how a task ended, and returns the exit code of that.
pub(super) fn summary(
    kind: String,
    last: TaskStatusView,
    output: Output,
    quiet: bool,
) -> anyhow::Result<ExitCode> {
    let (progress, row) = (last.progress(), last.row);
    let span = row.finished_at.unwrap_or(row.created_at).saturating_sub(row.created_at);
    let took = Duration::from_millis(span);
    let ended = Ended { kind, row, progress, took, by: None, result: None };
    display::summary(&ended, output, quiet)?;
    Ok(display::exit_code(&ended))
}
