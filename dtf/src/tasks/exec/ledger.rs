//! The ledger of a run: the results of its lines, and the decision to go on.
//!
//! It belongs to the plugin, so that it tells how a run went whatever ended it: its end, a signal, its time, an output
//! that cannot be written. A line is noted when its command has ended, and once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dtf_model::plugin::TaskResult;
use tokio::sync::Notify;

use super::super::{plain, shown};
use super::halt::Halt;
use super::log::Log;
use super::param::{ExecParam, Resume};
use super::record::Record;

/// The number of failed lines that the task's result names.
const NAMED: usize = 20;

/// Why a run ends before its input does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Whoever read the output has gone.
    Unread,
    /// Something cannot be written: what and why.
    Broken(String),
    /// The condition was met under which it shall end: which, and whether lines that failed met it.
    Halted {
        /// In words.
        why: String,
        /// True if it was about failures.
        failures: bool,
    },
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread => f.write_str("nobody reads the output any more"),
            Self::Broken(why) | Self::Halted { why, .. } => f.write_str(why),
        }
    }
}

#[derive(Debug, Default)]
struct Books {
    /// Lines by exit code.
    by_code: BTreeMap<u32, u64>,
    /// Lines whose commands were ended with the run.
    killed: u64,
    /// Lines that the log spared.
    spared: u64,
    running: u64,
    first_failed: Vec<serde_json::Value>,
    log: Option<Log>,
    opened: bool,
    halt: Option<Halt>,
    stopped: Option<(Stopped, bool)>,
    /// True if a reader cancels the task when it is to stop.
    watched: bool,
}

/// The results of the lines.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    books: Mutex<Books>,
    changed: Notify,
}

impl Books {
    fn lines(&self) -> u64 {
        self.by_code.values().sum()
    }

    fn ok(&self) -> u64 {
        self.by_code.get(&0).copied().unwrap_or(0)
    }

    fn stop(&mut self, why: Stopped, now: bool) {
        self.stopped.get_or_insert((why, now));
    }

    fn count(&mut self, record: &Record) {
        if record.killed {
            self.killed += 1;
            return;
        }
        let code = record.ended.code;
        *self.by_code.entry(code).or_default() += 1;
        if code != 0 && self.first_failed.len() < NAMED {
            self.first_failed.push(serde_json::json!({
                "line": record.number,
                "text": String::from_utf8_lossy(&record.text[..record.text.len().min(200)]),
                "exit": code,
                "why": record.reason(),
            }));
        }
        let (ok, failed) = (self.ok(), self.lines() - self.ok());
        if let Some(halt) = self.halt
            && let Some(why) = halt.reached(ok, failed)
        {
            self.stop(Stopped::Halted { why, failures: halt.is_about_failures() }, halt.now);
        }
    }

    fn log(&mut self, record: &Record) {
        let Some(log) = &mut self.log else { return };
        if let Err(error) = log.note(record) {
            self.stop(Stopped::Broken(format!("cannot write the log: {}", plain(&error))), true);
            self.log = None;
        }
    }
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the log, once.
    pub(super) fn open(&self, param: &ExecParam) -> anyhow::Result<()> {
        let mut books = self.lock();
        if books.opened {
            return Ok(());
        }
        if let Some(path) = param.log.as_ref().filter(|_| !param.dry_run) {
            let log = Log::open(path, param.resume);
            books.log = Some(log.map_err(|error| anyhow::anyhow!("{}: {}", shown(path), plain(&error)))?);
        }
        books.halt = param.halt;
        books.opened = true;
        Ok(())
    }

    /// Returns whether the log spares a line, and counts it then.
    pub(super) fn spares(&self, resume: Resume, number: u64, text: &[u8]) -> Result<bool, String> {
        let mut books = self.lock();
        let spared = match &mut books.log {
            Some(log) if resume != Resume::No => log.spares(number, text)?,
            _ => false,
        };
        books.spared += u64::from(spared);
        Ok(spared)
    }

    pub(super) fn started(&self) {
        self.lock().running += 1;
    }

    /// Notes how a line that was started ended.
    pub(super) fn ended(&self, record: &Record) {
        {
            let mut books = self.lock();
            books.running -= 1;
            books.log(record);
            books.count(record);
        }
        self.changed.notify_waiters();
    }

    /// Ends the run.
    pub(super) fn stop(&self, why: Stopped) {
        self.lock().stop(why, true);
        self.changed.notify_waiters();
    }

    /// Why nothing more is started, if so.
    pub(super) fn is_stopped(&self) -> Option<Stopped> {
        self.lock().stopped.as_ref().map(|(why, _)| why.clone())
    }

    /// Returns true if a caller waits for [`until_stopped`](Self::until_stopped), to cancel the task.
    pub(super) fn is_watched(&self) -> bool {
        self.lock().watched
    }

    pub(super) fn running(&self) -> u64 {
        self.lock().running
    }

    /// Waits until a line has ended, or the run is to stop.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits until what runs shall be ended, too: at once, or when nothing runs any more.
    pub(super) async fn until_stopped(&self) -> Stopped {
        loop {
            let changed = self.changed.notified();
            {
                let mut books = self.lock();
                books.watched = true;
                match &books.stopped {
                    Some((why, now)) if *now || books.running == 0 => return why.clone(),
                    _ => {}
                }
            }
            changed.await;
        }
    }

    pub(super) fn to_result(&self) -> TaskResult {
        let books = self.lock();
        let (lines, ok) = (books.lines(), books.ok());
        let failed = lines - ok;
        let bad = books.by_code.iter().filter(|(code, _)| **code != 0);
        let bad: Vec<_> = bad.map(|(code, count)| format!("{count} with exit code {code}")).collect();
        let mut reason = match failed {
            0 => format!("{lines} lines, all ok"),
            _ => format!("{lines} lines, {ok} ok, {failed} failed: {}", bad.join(", ")),
        };
        for (count, what) in [(books.killed, "ended with the run"), (books.spared, "spared by the log")] {
            if count > 0 {
                reason.push_str(&format!("; {count} {what}"));
            }
        }
        TaskResult {
            code: 0,
            reason,
            data: serde_json::json!({
                "lines": lines,
                "ok": ok,
                "failed": failed,
                "failed_items": failed,
                "killed": books.killed,
                "spared": books.spared,
                "by_exit_code": books.by_code,
                "first_failed": books.first_failed,
            }),
        }
    }
}
