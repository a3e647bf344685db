//! A process beside a run, which ends what the run left running should it be killed.
//!
//! A signal that cannot be caught leaves a process no time to end its commands. So it keeps another process told of them
//! through a pipe; the pipe's end is the sign, whatever the end of this one was. `docs/design/exec-guard.md` says why it is
//! done so.

use std::ffi::OsString;
use std::io;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use dtf::tasks::exec::{self, AllowedCommands, Guarded};

use super::say;

/// The argument that makes the program the guard. No user writes it.
const ARGUMENT: &str = "__guard";

/// Starts the guard of a process's commands.
///
/// # Errors
/// There is no second process to be had.
pub(crate) fn start(run: &Guarded, grace: Duration) -> io::Result<()> {
    let mut guard = Command::new("/proc/self/exe");
    guard.arg(ARGUMENT).arg(run.run().to_string()).arg(grace.as_millis().to_string());
    guard.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = guard.spawn()?;
    run.adopt(&child);
    // It ends with this process and is waited for by its heir.
    if let Some(told) = child.stdin.take() {
        run.announce(told);
    }
    Ok(())
}

/// Starts the guard of the commands that this process may run for items. Where there is none to be had, it says so.
pub(crate) fn start_for(commands: &AllowedCommands) {
    if let Err(error) = start(&commands.guarded(), commands.grace()) {
        say(&format!("no guard ({error}): if this process is killed, its commands run on"));
    }
}

/// Is the guard, where the arguments say so.
pub(crate) fn run(mut args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if args.nth(1)? != ARGUMENT {
        return None;
    }
    let run = args.next().and_then(|run| run.to_str()?.parse().ok()).unwrap_or_default();
    let grace = args.next().and_then(|millis| millis.to_str()?.parse().ok()).unwrap_or_default();
    // Out of reach of what is typed at the terminal, and of the terminal's end.
    rustix::process::setsid().map(drop).unwrap_or_default();
    exec::kill_announced(io::stdin().lock(), run, Duration::from_millis(grace));
    Some(ExitCode::SUCCESS)
}
