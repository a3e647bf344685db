//! The executor: runs the command of a line.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::plugin::{ExecuteContext, ExecuteError, SubtaskResult, TaskExecutor};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::{Console, plain};
use super::ExecParam;
use super::command::{self, CANNOT_RUN, Ended};
use super::group::Group;
use super::input::{LONGEST_LINE, Line};
use super::record::{Record, take_line};

/// The code of `timeout(1)` for a command that took too long.
const TIMED_OUT: u32 = 124;

/// The commands that are running.
#[derive(Clone, Debug, Default)]
pub(super) struct Running(Arc<Mutex<Groups>>);

#[derive(Debug, Default)]
struct Groups {
    next: u64,
    running: BTreeMap<u64, Arc<Group>>,
    closed: bool,
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, Groups> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self) -> Entered {
        let mut groups = self.lock();
        let group = Arc::new(Group::new());
        if groups.closed {
            group.kill();
        }
        let number = groups.next;
        groups.next += 1;
        groups.running.insert(number, Arc::clone(&group));
        Entered { running: self.clone(), number, group }
    }

    /// Kills all, and whatever would be started later.
    pub(super) fn kill_all(&self) {
        let mut groups = self.lock();
        groups.closed = true;
        groups.running.values().for_each(|group| group.kill());
    }
}

/// A group for as long as somebody waits for it. When nobody does any more, as the subtask's time is over, it is killed.
struct Entered {
    running: Running,
    number: u64,
    group: Arc<Group>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.group.kill();
        self.running.lock().running.remove(&self.number);
    }
}

pub(super) struct ExecExecutor {
    template: Vec<Vec<u8>>,
    param: ExecParam,
    console: Console,
    running: Running,
    /// Why output cannot be shown any more.
    broken: Arc<OnceLock<String>>,
}

type Handle = JoinHandle<std::io::Result<Option<Ended>>>;

impl ExecExecutor {
    pub(super) fn new(
        param: ExecParam,
        console: Console,
        running: Running,
        broken: Arc<OnceLock<String>>,
    ) -> Self {
        let template = param.command.iter().map(|part| part.as_bytes().to_vec()).collect();
        Self { template, param, console, running, broken }
    }

    /// Runs the command of a line on a thread for such work; waits for it, or makes it end.
    async fn run(&self, line: &Line, context: &ExecuteContext) -> Result<Ended, ExecuteError> {
        if line.too_long {
            let why =
                format!("the line is longer than {LONGEST_LINE} bytes, the most that an argument can have");
            return Ok(Ended::not_run(CANNOT_RUN, why));
        }
        let entered = self.running.enter();
        let parts = command::for_line(&self.template, &line.text);
        let (group, console) = (Arc::clone(&entered.group), self.console.clone());
        let mut handle: Handle = tokio::task::spawn_blocking(move || command::run(parts, &group, &console));
        let time = self.param.timeout.unwrap_or(Duration::MAX);
        tokio::select! {
            ended = &mut handle => self.read(ended),
            () = context.cancelled.cancelled() => {
                self.end(&entered.group, handle).await?;
                Err(ExecuteError::Final(anyhow!("cancelled")))
            }
            () = tokio::time::sleep(time) => {
                let ended = self.end(&entered.group, handle).await?;
                Ok(Ended { code: TIMED_OUT, why: format!("timed out after {time:?}"), ..ended })
            }
        }
    }

    async fn end(&self, group: &Group, mut handle: Handle) -> Result<Ended, ExecuteError> {
        group.terminate(self.param.grace);
        match timeout(self.param.grace, &mut handle).await {
            Ok(ended) => self.read(ended),
            Err(_) => {
                group.kill();
                self.read(handle.await)
            }
        }
    }

    fn read(
        &self,
        ended: Result<std::io::Result<Option<Ended>>, tokio::task::JoinError>,
    ) -> Result<Ended, ExecuteError> {
        match ended.map_err(ExecuteError::final_error)? {
            Ok(Some(ended)) => Ok(ended),
            Ok(None) => Err(ExecuteError::Final(anyhow!("not started, as everything was told to end"))),
            Err(error) => {
                let why = self.broken.get_or_init(|| format!("cannot show output: {}", plain(&error)));
                Err(ExecuteError::Final(anyhow!("{why}")))
            }
        }
    }
}

#[async_trait]
impl TaskExecutor for ExecExecutor {
    async fn execute(&self, body: &Bytes, context: &ExecuteContext) -> Result<SubtaskResult, ExecuteError> {
        if let Some(why) = self.broken.get() {
            return Err(ExecuteError::Final(anyhow!("{why}")));
        }
        let line = take_line(&mut &body[..]).map_err(ExecuteError::final_error)?;
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let clock = Instant::now();
        let ended = self.run(&line, context).await?;
        let record = Record { line, started_ms: millis(started), ran_ms: millis(clock.elapsed()), ended };
        let body = record.encode().map_err(ExecuteError::final_error)?;
        let Ended { code, why, .. } = record.ended;
        Ok(SubtaskResult { code, msg: why, body: body.into() })
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
