//! A command's process group, from its start to its end.
//!
//! # How a group is ended without ending another
//! A group is known by the number of its first process, and the system may give a number to somebody else as soon as its
//! process has been waited for and the group is empty. So the end of the first process is awaited without taking it off
//! the system's books ([`WaitIdOptions::NOWAIT`]), and whoever signals holds the lock under which it is taken off.

use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use std::{io, os::unix::process::CommandExt};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process_group, test_kill_process_group, waitid,
};

/// How often the rest of a group that was told to end is looked at, after its first process has ended.
const LOOK: Duration = Duration::from_millis(5);

#[derive(Debug)]
enum State {
    NotStarted,
    Running(Pid),
    Ended,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// When what is left is killed; none while nobody wants the command to end.
    end_by: Option<Instant>,
}

/// The process group of one command.
#[derive(Debug)]
pub(super) struct Group(Mutex<Inner>);

impl Group {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Inner { state: State::NotStarted, end_by: None }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a command as a group of its own, until its first process has ended and, where the group was told to end,
    /// all others have too. None where it was told so before the command was started.
    pub(super) fn run(&self, command: &mut Command) -> io::Result<Option<ExitStatus>> {
        let Some(mut child) = self.start(command)? else {
            return Ok(None);
        };
        let pid = Pid::from_child(&child);
        let ended = await_end(pid);
        let status = self.take_off(&mut child, pid);
        ended.and(status).map(Some)
    }

    /// Starts the command, unless it shall end already.
    fn start(&self, command: &mut Command) -> io::Result<Option<Child>> {
        let mut inner = self.lock();
        if inner.end_by.is_some() {
            return Ok(None);
        }
        let child = command.process_group(0).spawn()?;
        inner.state = State::Running(Pid::from_child(&child));
        Ok(Some(child))
    }

    fn take_off(&self, child: &mut Child, pid: Pid) -> io::Result<ExitStatus> {
        let mut inner = self.lock();
        let Some(end_by) = inner.end_by else {
            // It ended by itself. What it left running in the background is its own affair.
            inner.state = State::Ended;
            return child.wait();
        };
        if Instant::now() >= end_by {
            signal(pid, Signal::KILL);
        }
        let status = child.wait();
        drop(inner);
        self.await_rest(pid);
        status
    }

    /// Waits for the others of a group that was told to end, and kills those that take too long. As long as there is one,
    /// the number stays the group's.
    fn await_rest(&self, pid: Pid) {
        loop {
            let mut inner = self.lock();
            if test_kill_process_group(pid).is_err() {
                inner.state = State::Ended;
                return;
            }
            if inner.end_by.is_some_and(|end_by| Instant::now() >= end_by) {
                signal(pid, Signal::KILL);
                inner.state = State::Ended;
                return;
            }
            drop(inner);
            thread::sleep(LOOK);
        }
    }

    /// Asks the group to end, and has [`run`](Self::run) kill what is left after `grace`.
    pub(super) fn terminate(&self, grace: Duration) {
        let mut inner = self.lock();
        inner.end_by.get_or_insert_with(|| Instant::now() + grace);
        if let State::Running(pid) = inner.state {
            signal(pid, Signal::TERM);
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
}

/// Signals a group. That there is none any more is what a signal is for.
fn signal(group: Pid, signal: Signal) {
    kill_process_group(group, signal).unwrap_or_default();
}

/// Waits until the process has ended, and leaves it on the books.
fn await_end(pid: Pid) -> io::Result<()> {
    loop {
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Err(rustix::io::Errno::INTR) => {}
            ended => return Ok(ended.map(drop)?),
        }
    }
}
