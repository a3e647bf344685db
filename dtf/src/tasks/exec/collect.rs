//! The collector: counts exit codes, names the lines that failed, writes the log.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::Counts;
use dtf_model::plugin::{CollectorSupport, ResultOf, TaskCollector, TaskResult};
use dtf_model::queue::Outcome;

use super::super::{Console, plain, printable, shown};
use super::input::Line;
use super::record::{Record, take_line};

/// How many failed lines the task's result names.
const NAMED: usize = 20;
/// How much of a line is shown.
const SHOWN: usize = 200;

/// The numbers of lines that were seen: all up to one, and those above it.
#[derive(Default)]
struct Seen {
    all_up_to: u64,
    above: BTreeSet<u64>,
}

impl Seen {
    /// False when it was seen before.
    fn insert(&mut self, number: u64) -> bool {
        if number <= self.all_up_to || !self.above.insert(number) {
            return false;
        }
        while self.above.remove(&(self.all_up_to + 1)) {
            self.all_up_to += 1;
        }
        true
    }
}

/// What has been collected. It belongs to the plugin, so that a collector that takes over in the same process finds it.
#[derive(Default)]
pub(super) struct Summary {
    seen: Seen,
    /// Lines by exit code; under none those whose command was not run, or whose end is not known.
    by_code: BTreeMap<Option<u32>, u64>,
    first_failed: Vec<serde_json::Value>,
    log: Option<File>,
}

impl Summary {
    fn lines(&self) -> u64 {
        self.by_code.values().sum()
    }

    fn ok(&self) -> u64 {
        self.by_code.get(&Some(0)).copied().unwrap_or(0)
    }

    fn count(&mut self, line: &Line, code: Option<u32>, why: &str, console: &Console) {
        *self.by_code.entry(code).or_default() += 1;
        if code == Some(0) {
            return;
        }
        let text = &line.text[..line.text.len().min(SHOWN)];
        if self.first_failed.len() < NAMED {
            self.first_failed.push(serde_json::json!({
                "line": line.number,
                "text": String::from_utf8_lossy(text),
                "exit": code,
                "why": why,
            }));
        }
        let mut what = format!("line {} (", line.number).into_bytes();
        what.extend_from_slice(text);
        what.push(b')');
        console.complain(&what, why.as_bytes());
    }

    fn log(&mut self, record: &Record) -> io::Result<()> {
        let Some(log) = &mut self.log else { return Ok(()) };
        let seconds = |millis: u64| format!("{}.{:03}", millis / 1000, millis % 1000);
        let mut row = format!(
            "{}\t{}\t{}\t{}\t{}\t",
            record.line.number,
            seconds(record.started_ms),
            seconds(record.ran_ms),
            record.ended.code,
            record.ended.signal,
        )
        .into_bytes();
        row.extend_from_slice(&printable(&record.line.text));
        row.push(b'\n');
        log.write_all(&row)
    }

    fn to_result(&self) -> TaskResult {
        let (lines, ok) = (self.lines(), self.ok());
        let failed = lines - ok;
        let name = |code: &Option<u32>| code.map_or("none".to_owned(), |code| code.to_string());
        let by_code: BTreeMap<_, _> = self.by_code.iter().map(|(code, count)| (name(code), count)).collect();
        let bad = self.by_code.iter().filter(|(code, _)| **code != Some(0));
        let bad: Vec<_> = bad.map(|(code, count)| format!("{count} with exit code {}", name(code))).collect();
        TaskResult {
            code: 0,
            reason: match failed {
                0 => format!("{lines} lines, all ok"),
                _ => format!("{lines} lines, {ok} ok, {failed} failed: {}", bad.join(", ")),
            },
            data: serde_json::json!({
                "lines": lines,
                "ok": ok,
                "failed": failed,
                "failed_items": failed,
                "by_exit_code": by_code,
                "first_failed": self.first_failed,
            }),
        }
    }
}

pub(super) struct ExecCollector {
    pub(super) summary: Arc<Mutex<Summary>>,
    pub(super) log: Option<PathBuf>,
    pub(super) console: Console,
}

impl ExecCollector {
    fn summary(&self) -> MutexGuard<'_, Summary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl TaskCollector for ExecCollector {
    async fn begin(&mut self, _saved: Option<Bytes>) -> anyhow::Result<()> {
        let mut summary = self.summary();
        if let Some(path) = &self.log
            && summary.log.is_none()
        {
            let made = File::create(path).and_then(|mut log| {
                log.write_all(b"Seq\tStarttime\tJobRuntime\tExitval\tSignal\tLine\n")?;
                Ok(log)
            });
            let made = made.map_err(|error| anyhow::anyhow!("{}: {}", shown(path), plain(&error)));
            summary.log = Some(made?);
        }
        Ok(())
    }

    async fn after_execution(
        &mut self,
        result: &ResultOf,
        _support: &mut CollectorSupport,
    ) -> anyhow::Result<()> {
        let mut summary = self.summary();
        let (mut body, error) = match &result.outcome {
            Outcome::Succeeded(result) => {
                let record = Record::decode(&result.body).context("a result")?;
                if summary.seen.insert(record.line.number) {
                    summary.count(&record.line, Some(record.ended.code), &reason(&record), &self.console);
                    summary.log(&record).context("cannot write the log")?;
                }
                return Ok(());
            }
            Outcome::Failed { error, body } => (&body[..], error.as_str()),
            Outcome::TimedOut { body } => (&body[..], "timed out"),
            Outcome::Cancelled => return Ok(()),
        };
        let line = take_line(&mut body).context("a failed subtask")?;
        if summary.seen.insert(line.number) {
            summary.count(&line, None, error, &self.console);
        }
        Ok(())
    }

    async fn after_task_completed(&mut self, _counts: &Counts) -> anyhow::Result<TaskResult> {
        Ok(self.summary().to_result())
    }
}

fn reason(record: &Record) -> String {
    match (&record.ended.why[..], record.ended.signal) {
        ("", 0) => format!("exit code {}", record.ended.code),
        ("", signal) => format!("ended by signal {signal}"),
        (why, _) => why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_seen_once() {
        let mut seen = Seen::default();
        let fresh: Vec<_> = [2, 1, 2, 3, 5, 4, 1, 5].into_iter().map(|number| seen.insert(number)).collect();
        assert_eq!(fresh, [true, true, false, true, true, true, false, false]);
        assert_eq!((seen.all_up_to, seen.above.len()), (5, 0));
    }
}
