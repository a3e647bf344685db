//! The state that the parts of an exec task share: the waiting lines, their results, the running commands.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::{Console, plain};
use super::command::{Ended, Leftovers};
use super::group::Group;
use super::ledger::{Ledger, Stopped};
use super::param::ExecParam;
use super::ready::Ready;
use super::record::Record;
use super::show::{Manner, Shower};
use super::watcher::Watcher;

/// The state that the parts share.
pub(super) struct Run {
    pub(super) console: Console,
    pub(super) ready: Ready,
    pub(super) ledger: Ledger,
    pub(super) running: Running,
    pub(super) leftovers: Leftovers,
    /// As many permits as commands can run at once.
    pub(super) room: Semaphore,
    /// The number of files that may be open for outputs.
    files: usize,
    /// Held by whoever starts a command: lines start one after the other.
    pub(super) gate: tokio::sync::Mutex<Gate>,
    slots: Mutex<BTreeSet<usize>>,
    shower: OnceLock<Shower>,
}

/// The state of starts: the shortages that hold them up.
#[derive(Debug, Default)]
pub(super) struct Gate {
    pub(super) last: Option<Instant>,
    /// The shortages that have been reported.
    pub(super) said: BTreeSet<&'static str>,
}

impl Run {
    pub(super) fn new(console: Console, room: usize, files: usize) -> Self {
        Self {
            console,
            ready: Ready::default(),
            ledger: Ledger::default(),
            running: Running::default(),
            leftovers: Leftovers::default(),
            room: Semaphore::new(room.min(Semaphore::MAX_PERMITS)),
            files,
            gate: tokio::sync::Mutex::default(),
            slots: Mutex::default(),
            shower: OnceLock::new(),
        }
    }

    pub(super) fn shower(&self, param: &ExecParam) -> &Shower {
        let manner = match (param.live, param.keep_order || param.dry_run) {
            (true, _) => Manner::Live,
            (false, true) => Manner::InOrder,
            (false, false) => Manner::Grouped,
        };
        self.shower.get_or_init(|| Shower::new(self.console.clone(), manner, self.files))
    }

    /// Passes over a line that is not run.
    pub(super) fn pass(&self, param: &ExecParam, number: u64) {
        self.shower(param).pass(number);
    }

    /// Shows what waits for lines that will not come.
    pub(super) async fn show_rest(&self) {
        if let Some(shower) = self.shower.get()
            && let Err(error) = shower.show_rest().await
        {
            self.cannot_show(&error);
        }
    }

    /// Ends the run, as output cannot be shown.
    pub(super) fn cannot_show(&self, error: &io::Error) {
        self.ledger.stop(match error.kind() {
            io::ErrorKind::BrokenPipe => Stopped::Unread,
            _ => Stopped::Broken(format!("cannot show output: {}", plain(error))),
        });
    }

    /// Names a line that failed, or was ended with the run. Where nobody reads the output any more, nobody asks for that.
    pub(super) fn complain(&self, record: &Record) {
        if self.ledger.is_stopped() != Some(Stopped::Unread) {
            self.console.complain(&record.name(), record.reason().as_bytes());
        }
    }

    /// The lowest number of a slot that is free.
    pub(super) fn take_slot(&self) -> usize {
        let mut taken = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let free = (1..).find(|slot| !taken.contains(slot)).unwrap_or(1);
        taken.insert(free);
        free
    }

    pub(super) fn give_back(&self, slot: usize) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).remove(&slot);
    }
}

/// The commands that are running.
#[derive(Clone, Debug, Default)]
pub(super) struct Running {
    groups: Arc<Mutex<Groups>>,
    pub(super) watcher: Watcher,
}

#[derive(Debug, Default)]
struct Groups {
    next: u64,
    running: BTreeMap<u64, Arc<Group>>,
    closed: bool,
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self) -> Entered {
        let mut groups = self.lock();
        let group = Arc::new(Group::new(self.watcher.clone()));
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

    /// Sends a signal to all.
    pub(super) fn send(&self, signal: Signal) {
        self.lock().running.values().for_each(|group| group.send(signal));
    }
}

/// The code of `timeout(1)` for a command that took too long.
pub(super) const TIMED_OUT: u32 = 124;

/// The time that a command has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// The longest time that it may run.
    pub(super) timeout: Duration,
    /// The time that it has to end after SIGTERM.
    pub(super) grace: Duration,
}

/// A group for as long as somebody waits for it. When nobody does any more, as the subtask's time is over, it is killed.
pub(super) struct Entered {
    running: Running,
    number: u64,
    pub(super) group: Arc<Group>,
}

impl Entered {
    /// Waits for the end of a command, and makes it end when its time is over or when it is cancelled. True where it was cancelled.
    pub(super) async fn within<E>(
        &self,
        limit: Limit,
        cancelled: &CancellationToken,
        attending: impl Future<Output = Result<Ended, E>>,
    ) -> Result<(Ended, bool), E> {
        let mut attending = std::pin::pin!(attending);
        tokio::select! {
            biased;
            ended = &mut attending => ended.map(|ended| (ended, false)),
            () = cancelled.cancelled() => self.end(limit.grace, attending).await.map(|ended| (ended, true)),
            () = tokio::time::sleep(limit.timeout) => {
                let why = format!("timed out after {:?}", limit.timeout);
                let ended = self.end(limit.grace, attending).await;
                ended.map(|ended| (Ended { code: TIMED_OUT, why, ..ended }, false))
            }
        }
    }

    /// Asks the group to end, and waits until it has; what is left after `grace` is killed.
    pub(super) async fn end<T>(&self, grace: Duration, mut ended: impl Future<Output = T> + Unpin) -> T {
        self.group.terminate(grace);
        match tokio::time::timeout(grace, &mut ended).await {
            Ok(ended) => ended,
            Err(_) => {
                self.group.kill();
                ended.await
            }
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.group.kill();
        self.running.lock().running.remove(&self.number);
    }
}
