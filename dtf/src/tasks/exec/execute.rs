//! The executor: takes the line whose turn it is, and runs its command.

use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::plugin::{ExecuteContext, ExecuteError, SubtaskResult, TaskExecutor};
use tokio_util::sync::CancellationToken;

use super::super::{plain, printable};
use super::command::{self, CANNOT_RUN, Ended, NOT_FOUND, Order};
use super::input::{LONGEST_LINE, Line};
use super::param::ExecParam;
use super::record::Record;
use super::run::{Entered, Gate, Limit, Run};
use super::shortage;
use super::show::{Output, Shower, Shown, Stream};
use super::template::{Template, quoted};

/// The first and the longest wait for what the host has not enough of.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// The number of waits for a resource that no command of this run holds. It comes to about a minute.
const PATIENCE: u32 = 18;
/// The number of bytes of a line that are remembered while its command runs.
const REMEMBERED: usize = 4096;

pub(super) struct ExecExecutor {
    run: Arc<Run>,
    template: Template,
    param: ExecParam,
}

/// A line that was taken. If whoever took it gives up, it has ended with the run.
struct Taken<'a> {
    executor: &'a ExecExecutor,
    line: Line,
    slot: usize,
    /// The start of its command, by the calendar and by the clock.
    started: Option<(u64, Instant)>,
}

/// The result of a start.
enum Start {
    Started(Child, Entered),
    Refused(Ended),
    Cancelled,
    /// It is only to be shown.
    Dry,
}

impl ExecExecutor {
    pub(super) fn new(run: Arc<Run>, template: Template, param: ExecParam) -> Self {
        Self { run, template, param }
    }

    fn shower(&self) -> &Shower {
        self.run.shower(&self.param)
    }

    /// Takes the next line and starts its command, after those before it. None where there is no line left.
    async fn begin(
        &self,
        cancelled: &CancellationToken,
    ) -> Result<Option<(Taken<'_>, Order, Start)>, ExecuteError> {
        let mut gate = self.run.gate.lock().await;
        if let Some(why) = self.run.ledger.is_stopped() {
            drop(gate);
            if self.run.ledger.is_watched() {
                // The task is about to be cancelled: then the line counts as what it is, not run.
                cancelled.cancelled().await;
            }
            return Err(ExecuteError::Final(anyhow!("not run: {why}")));
        }
        if let Some(last) = gate.last.filter(|_| !self.param.delay.is_zero()) {
            tokio::select! {
                () = tokio::time::sleep_until(last + self.param.delay) => {}
                () = cancelled.cancelled() => return Err(ExecuteError::Final(anyhow!("cancelled"))),
            }
        }
        let Some(line) = self.run.ready.take() else { return Ok(None) };
        let mut taken = Taken { executor: self, line, slot: self.run.take_slot(), started: None };
        let order = match self.order(&taken) {
            Ok(order) => order,
            Err(ended) => {
                taken.has_started();
                return Ok(Some((taken, Order::default(), Start::Refused(ended))));
            }
        };
        if self.param.dry_run {
            return Ok(Some((taken, order, Start::Dry)));
        }
        let start = self.start(&order, &mut gate, cancelled).await;
        gate.last = Some(tokio::time::Instant::now());
        if !matches!(start, Start::Cancelled) {
            taken.has_started();
        }
        Ok(Some((taken, order, start)))
    }

    fn order(&self, taken: &Taken<'_>) -> Result<Order, Ended> {
        let line = &taken.line;
        if line.too_long {
            let why =
                format!("the line is longer than {LONGEST_LINE} bytes, the most that an argument can have");
            return Err(Ended::not_run(CANNOT_RUN, why));
        }
        let parts = self.template.render(line, taken.slot).map_err(|why| Ended::not_run(CANNOT_RUN, why))?;
        Ok(Order { parts, number: line.number, slot: taken.slot, reads: self.param.pipe.is_some() })
    }

    /// Starts a command. Where the host has not enough of something, it waits until there is more.
    async fn start(&self, order: &Order, gate: &mut Gate, cancelled: &CancellationToken) -> Start {
        let (mut wait, mut alone) = (WAITS.0, 0);
        loop {
            let entered = self.run.running.enter();
            let (told, group) = (order.clone(), Arc::clone(&entered.group));
            let started = tokio::task::spawn_blocking(move || command::start(&told, &group)).await;
            let error = match started.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
                Ok(Some(child)) => return Start::Started(child, entered),
                Ok(None) => return Start::Cancelled,
                Err(error) => error,
            };
            let Some(missing) = shortage::missing(&error) else { return Start::Refused(refused(&error)) };
            if gate.said.insert(missing) {
                self.run.console.complain(missing.as_bytes(), b"the next command waits until there is more");
            }
            let running = self.run.ledger.running() > 0;
            alone = if running { 0 } else { alone + 1 };
            if alone > PATIENCE {
                return Start::Refused(Ended::not_run(CANNOT_RUN, format!("{missing}, for a long time")));
            }
            tokio::select! {
                () = self.run.ledger.changed(), if running => {}
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(WAITS.1),
                () = cancelled.cancelled() => return Start::Cancelled,
            }
        }
    }

    /// Runs a command that was started to its end, or makes it end. True where it ended because the run does.
    async fn attend(
        &self,
        (child, entered): (Child, Entered),
        input: &[u8],
        output: &mut Output,
        cancelled: &CancellationToken,
    ) -> (Ended, bool) {
        let listener = Shown { shower: self.shower(), output };
        let attending = command::attend(child, &entered.group, input, listener, &self.run.leftovers);
        let limit = Limit { timeout: self.param.timeout.unwrap_or(Duration::MAX), grace: self.param.grace };
        let ended = entered.within(limit, cancelled, attending).await;
        ended.unwrap_or_else(|command::CannotShow(error)| {
            entered.group.kill();
            self.run.cannot_show(&error);
            (Ended::not_run(CANNOT_RUN, "its output cannot be shown"), true)
        })
    }

    /// Runs a line's command as often as it takes. True where it ended because the run does.
    async fn tries(
        &self,
        taken: &mut Taken<'_>,
        (order, mut start): (Order, Start),
        cancelled: &CancellationToken,
    ) -> (Ended, bool, Option<Output>) {
        let tag = self.tag(&taken.line);
        let mut tries = 1;
        loop {
            let mut output = self.shower().output(taken.line.number, tag.clone());
            let (ended, killed) = match start {
                Start::Refused(ended) => return (ended, false, None),
                Start::Cancelled | Start::Dry => return (Ended::default(), true, None),
                Start::Started(child, entered) => {
                    let input: &[u8] = if order.reads { &taken.line.text } else { b"" };
                    self.attend((child, entered), input, &mut output, cancelled).await
                }
            };
            let enough = ended.code == 0 || killed || tries >= self.param.tries;
            if enough || self.run.ledger.is_stopped().is_some() {
                return (ended, killed, Some(output));
            }
            tries += 1;
            let mut gate = self.run.gate.lock().await;
            start = self.start(&order, &mut gate, cancelled).await;
            drop(gate);
            taken.has_started_again();
        }
    }

    fn tag(&self, line: &Line) -> Vec<u8> {
        match self.param.tag {
            true if self.param.pipe.is_some() => format!("{}\t", line.number).into_bytes(),
            true => [printable(&line.text), b"\t".to_vec()].concat(),
            false => Vec::new(),
        }
    }

    /// Shows a command instead of running it.
    async fn show_command(&self, number: u64, order: &Order) -> Result<SubtaskResult, ExecuteError> {
        let mut text = order.parts.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(&b' ');
        text.push(b'\n');
        let mut output = self.shower().output(number, Vec::new());
        let shown = async {
            self.shower().put(&mut output, Stream::Out, &text).await?;
            self.shower().finish(number, Some(output)).await
        };
        self.shown(shown.await);
        Ok(SubtaskResult::default())
    }

    fn shown(&self, shown: std::io::Result<()>) {
        if let Err(error) = shown {
            self.run.cannot_show(&error);
        }
    }
}

fn refused(error: &std::io::Error) -> Ended {
    match error.kind() {
        std::io::ErrorKind::NotFound => Ended::not_run(NOT_FOUND, plain(error)),
        _ => Ended::not_run(CANNOT_RUN, plain(error)),
    }
}

impl Taken<'_> {
    fn has_started(&mut self) {
        self.executor.run.ledger.started();
        self.has_started_again();
    }

    fn has_started_again(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.started = Some((millis(now), Instant::now()));
    }

    /// Notes how it ended.
    fn ended(&mut self, ended: Ended, killed: bool) -> Option<Record> {
        let (started_ms, clock) = self.started.take()?;
        // A block is as large as it likes.
        let text = match self.executor.param.pipe {
            Some(_) => format!("block of {} bytes", self.line.text.len()).into_bytes(),
            None => self.line.text[..self.line.text.len().min(REMEMBERED)].to_vec(),
        };
        let ran_ms = millis(clock.elapsed());
        let record = Record { number: self.line.number, text, started_ms, ran_ms, ended, killed };
        self.executor.run.ledger.ended(&record);
        Some(record)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let run = &self.executor.run;
        run.give_back(self.slot);
        run.pass(&self.executor.param, self.line.number);
        if let Some(record) = self.ended(Ended::default(), true) {
            run.complain(&record);
        }
    }
}

#[async_trait]
impl TaskExecutor for ExecExecutor {
    async fn execute(
        &self,
        _ticket: &Bytes,
        context: &ExecuteContext,
    ) -> Result<SubtaskResult, ExecuteError> {
        let cancelled = &context.cancelled;
        let begun = tokio::select! {
            biased;
            () = cancelled.cancelled() => return Err(ExecuteError::Final(anyhow!("cancelled"))),
            room = self.run.room.acquire() => room,
        };
        let _room = begun.map_err(ExecuteError::final_error)?;
        let Some((mut taken, order, start)) = self.begin(cancelled).await? else {
            return Ok(SubtaskResult::default());
        };
        let number = taken.line.number;
        if matches!(start, Start::Dry) {
            return self.show_command(number, &order).await;
        }
        let (ended, killed, output) = self.tries(&mut taken, (order, start), cancelled).await;
        let record = taken.ended(ended, killed);
        self.shown(self.shower().finish(number, output).await);
        let Some(record) = record else { return Err(ExecuteError::Final(anyhow!("cancelled"))) };
        if record.killed || record.ended.code != 0 {
            self.run.complain(&record);
            let name = String::from_utf8_lossy(&printable(&record.name())).into_owned();
            return Err(ExecuteError::Final(anyhow!("{name}: {}", record.reason())));
        }
        Ok(SubtaskResult::default())
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
