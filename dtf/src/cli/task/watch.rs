//! `dtf task watch`.

use std::process::ExitCode;
use std::time::Duration;

use dtf::TaskHandle;
use dtf::model::table::TaskRow;
use tokio_util::task::AbortOnDropHandle;

use super::super::INTERRUPTED;
use super::super::display;
use super::super::oneshot::{Ended, Interrupts, refused};
use super::super::progress::Display;
use super::Desk;

/// How often the progress is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Follows a task to its end, through failures of the servers that pass. Ctrl-C ends the watching, not the task.
pub(super) async fn watch(desk: &Desk, task: TaskHandle) -> anyhow::Result<ExitCode> {
    // Before anything is shown: a task that does not exist is refused.
    let first = task.status().await.map_err(refused)?;
    let screen = Display::new(desk.quiet);
    let mut interrupts = Interrupts::new()?;
    screen.show(&first.progress());
    let row = tokio::select! {
        row = follow(&task, &screen) => row?,
        () = interrupts.next() => {
            screen.finish();
            eprintln!("dtf: no longer watched; `dtf task watch {0}` goes on, `dtf task cancel {0}` ends it", task.id());
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    screen.finish();
    let progress = task.status().await.map_err(refused)?.progress();
    let span = row.finished_at.unwrap_or(row.created_at).saturating_sub(row.created_at);
    let ended = Ended { kind: desk.name(row.task_type), row, progress, took: Duration::from_millis(span) };
    if !desk.quiet {
        display::summary(&ended, desk.output)?;
    }
    Ok(display::exit_code(&ended))
}

async fn follow(task: &TaskHandle, screen: &Display) -> anyhow::Result<TaskRow> {
    let waiting = task.clone();
    let mut ended = AbortOnDropHandle::new(tokio::spawn(async move { waiting.wait().await }));
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            row = &mut ended => return row?.map_err(refused),
            _ = look.tick() => match task.status().await {
                Ok(status) => screen.show(&status.progress()),
                Err(error) if error.is_retryable() => tracing::warn!(%error, "no progress to show"),
                Err(error) => return Err(refused(error)),
            },
        }
    }
}
