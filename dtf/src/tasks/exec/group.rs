//! A command's process group, from its start to its end.
//!
//! # How a group is ended without ending another
//! A group is known by the number of its first process, and the system may give a number to somebody else as soon as its
//! process has been waited for and the group is empty. So the end of the first process is awaited without taking it off
//! the system's books, and whoever signals holds the lock under which it is taken off.
//!
//! # No thread waits
//! The end of a process is awaited through a descriptor of it, which the runtime watches with all others. Where the system
//! has none to give (Linux before 5.3), the process is looked at every few milliseconds.

use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{io, os::unix::process::CommandExt};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::processes::is_alive;
use super::watcher::Watcher;

/// The period of looks at a process that cannot be awaited.
const LOOK: Duration = Duration::from_millis(10);
/// The first and the longest wait between two looks at the rest of a group that was told to end.
const REST: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

#[derive(Debug)]
enum State {
    NotStarted,
    Running(Pid),
    Ended,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// The time at which the remaining processes are killed; `None` as long as the command may go on.
    end_by: Option<Instant>,
}

/// The process group of one command.
#[derive(Debug)]
pub(super) struct Group {
    inner: Mutex<Inner>,
    watcher: Watcher,
}

impl Group {
    pub(super) fn new(watcher: Watcher) -> Self {
        Self { inner: Mutex::new(Inner { state: State::NotStarted, end_by: None }), watcher }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a command as a group of its own; none where the group was told to end before.
    pub(super) fn start(&self, command: &mut Command) -> io::Result<Option<Child>> {
        let mut inner = self.lock();
        if inner.end_by.is_some() {
            return Ok(None);
        }
        let child = self.watcher.start(command.process_group(0))?;
        inner.state = State::Running(Pid::from_child(&child));
        Ok(Some(child))
    }

    /// Waits until the command's first process has ended and, where the group was told to end, all others have too.
    pub(super) async fn ended(&self, child: &mut Child) -> io::Result<ExitStatus> {
        let pid = Pid::from_child(child);
        let ended = await_end(pid).await;
        let (status, told) = self.take_off(child, pid);
        if told {
            self.await_rest(pid).await;
        }
        ended.and(status)
    }

    /// Takes the first process off the books. True where the group was told to end, and others of it may still live.
    fn take_off(&self, child: &mut Child, pid: Pid) -> (io::Result<ExitStatus>, bool) {
        let mut inner = self.lock();
        let told = inner.end_by.is_some();
        if inner.end_by.is_some_and(|end_by| Instant::now() >= end_by) {
            signal(pid, Signal::KILL);
        }
        if !told {
            // It ended by itself. What it left running in the background is its own affair.
            inner.state = State::Ended;
            self.watcher.left_alone(pid);
        }
        let status = child.wait();
        self.watcher.waited_for(pid);
        (status, told)
    }

    /// Waits for the others of a group that was told to end, and kills those that take too long. As long as there is one,
    /// the number stays the group's.
    async fn await_rest(&self, pid: Pid) {
        let mut pause = REST.0;
        loop {
            {
                let mut inner = self.lock();
                let late = inner.end_by.is_some_and(|end_by| Instant::now() >= end_by);
                if late {
                    signal(pid, Signal::KILL);
                }
                if late || !is_alive(pid) {
                    inner.state = State::Ended;
                    self.watcher.left_alone(pid);
                    return;
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(REST.1);
        }
    }

    /// Asks the group to end; what is left after `grace` is killed.
    pub(super) fn terminate(&self, grace: Duration) {
        let mut inner = self.lock();
        inner.end_by.get_or_insert_with(|| Instant::now() + grace);
        if let State::Running(pid) = inner.state {
            signal(pid, Signal::TERM);
            // One that is stopped gets no other signal before it goes on.
            signal(pid, Signal::CONT);
        }
    }

    /// Ends the group at once.
    pub(super) fn kill(&self) {
        let mut inner = self.lock();
        inner.end_by = Some(Instant::now());
        if let State::Running(pid) = inner.state {
            signal(pid, Signal::KILL);
        }
    }

    /// Sends a signal to the group, if it runs.
    pub(super) fn send(&self, sent: Signal) {
        if let State::Running(pid) = self.lock().state {
            signal(pid, sent);
        }
    }
}

/// Signals a group. That there is none any more is what a signal is for.
fn signal(group: Pid, signal: Signal) {
    kill_process_group(group, signal).unwrap_or_default();
}

/// Waits until the process has ended, and leaves it on the books.
async fn await_end(pid: Pid) -> io::Result<()> {
    let descriptor = pidfd_open(pid, PidfdFlags::empty()).ok();
    #[expect(deprecated, reason = "its successor is unsafe for what is no owned descriptor; this is one")]
    let register = |descriptor| AsyncFd::with_interest(descriptor, Interest::READABLE).ok();
    match descriptor.and_then(register) {
        Some(descriptor) => descriptor.readable().await.map(drop),
        None => await_end_by_looking(pid).await,
    }
}

async fn await_end_by_looking(pid: Pid) -> io::Result<()> {
    loop {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        match waitid(WaitId::Pid(pid), options) {
            Ok(Some(_)) => return Ok(()),
            Ok(None) | Err(rustix::io::Errno::INTR) => tokio::time::sleep(LOOK).await,
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_is_seen_either_way_and_leaves_the_process_on_the_books() {
        let mut child = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        let pid = Pid::from_child(&child);
        await_end(pid).await.unwrap();
        await_end_by_looking(pid).await.unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3));
        assert!(await_end_by_looking(pid).await.is_err());
    }
}
