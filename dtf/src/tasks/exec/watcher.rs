//! What is known of all commands at once: which processes are waited for, and what a process beside this one is told, so
//! that it can end them when this one is killed.
//!
//! The messages are lines: `?` before a group is started, `+PID` when it has been (or `!` when it could not be), `-PID` when it
//! is no longer this process's affair. The other side reads them from a pipe; the pipe's end means that this process has ended.
//! A group that was being started then is found by a variable of its environment. See [`read_messages`].

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, BufRead, Write};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::Pid;
use uuid::Uuid;

/// The variable that names its run to each command.
pub(super) const RUN_VARIABLE: &str = "DTF_RUN";

/// The knowledge of all commands.
#[derive(Clone)]
pub(super) struct Watcher {
    run: Uuid,
    known: Arc<Mutex<Known>>,
}

impl Default for Watcher {
    fn default() -> Self {
        Self { run: Uuid::new_v4(), known: Arc::default() }
    }
}

#[derive(Default)]
struct Known {
    /// Children that are waited for.
    own: BTreeSet<i32>,
    told: Option<Box<dyn Write + Send>>,
}

impl Known {
    fn tell_of(&mut self, sign: char, pid: Pid) {
        self.tell(&format!("{sign}{}\n", pid.as_raw_nonzero()));
    }

    /// Sends a message, as long as the other side listens.
    fn tell(&mut self, message: &str) {
        let Some(told) = &mut self.told else { return };
        if told.write_all(message.as_bytes()).and_then(|()| told.flush()).is_err() {
            self.told = None;
        }
    }
}

impl Watcher {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells `told` of every group from now on.
    pub(super) fn tell(&self, told: Box<dyn Write + Send>) {
        self.lock().told = Some(told);
    }

    /// Notes that somebody waits for this child, too.
    pub(super) fn own(&self, child: Pid) {
        self.lock().own.insert(child.as_raw_nonzero().get());
    }

    /// The value of [`RUN_VARIABLE`] in the environment of this run's commands.
    pub(super) fn run(&self) -> Uuid {
        self.run
    }

    /// Starts a process and notes it, before anybody can take it for an orphan.
    pub(super) fn start(&self, command: &mut Command) -> io::Result<Child> {
        command.env(RUN_VARIABLE, self.run.to_string());
        let mut known = self.lock();
        known.tell("?\n");
        match command.spawn() {
            Ok(child) => {
                let pid = Pid::from_child(&child);
                known.own.insert(pid.as_raw_nonzero().get());
                known.tell_of('+', pid);
                Ok(child)
            }
            Err(error) => {
                known.tell("!\n");
                Err(error)
            }
        }
    }

    /// The group has ended, or goes on by itself.
    pub(super) fn left_alone(&self, group: Pid) {
        self.lock().tell_of('-', group);
    }

    /// The child has been waited for.
    pub(super) fn waited_for(&self, child: Pid) {
        self.lock().own.remove(&child.as_raw_nonzero().get());
    }

    /// Reaps the orphans that this process was given.
    pub(super) fn reap_orphans(&self) {
        let known = self.lock();
        super::processes::reap_orphans(|pid| known.own.contains(&pid.as_raw_nonzero().get()));
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watcher").field(&self.lock().own).finish()
    }
}

/// The groups that a process left behind at its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// Those that it has told of.
    pub(super) groups: BTreeSet<i32>,
    /// True if it was starting another one.
    pub(super) was_starting: bool,
}

/// Reads the messages until their end.
pub(super) fn read_messages(from: impl BufRead) -> Left {
    let mut left = Left::default();
    for line in from.lines().map_while(Result::ok) {
        // 1 and below would be everybody.
        match line.split_at_checked(1).map(|(sign, pid)| (sign, pid.parse::<i32>())) {
            Some(("?", _)) => left.was_starting = true,
            Some(("!", _)) => left.was_starting = false,
            Some(("+", Ok(pid))) if pid > 1 => {
                left.was_starting = false;
                left.groups.insert(pid);
            }
            Some(("-", Ok(pid))) => {
                left.groups.remove(&pid);
            }
            _ => {}
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_that_are_left_are_those_not_taken_back() {
        let read = |text: &str| read_messages(text.as_bytes()).groups.into_iter().collect::<Vec<_>>();
        assert_eq!(read("?\n+5\n+7\n-5\n+9\n-9\n+11"), [7, 11]);
        assert_eq!(read("+1\n+0\n+-3\n+x\n\n5\n-8\n"), [0; 0]);
    }

    #[test]
    fn a_start_is_pending_until_it_is_told_how_it_went() {
        let was_starting = |text: &str| read_messages(text.as_bytes()).was_starting;
        assert!(was_starting("?\n") && was_starting("?\n+5\n-5\n?\n"));
        assert!(!was_starting("") && !was_starting("?\n+5\n") && !was_starting("?\n!\n"));
    }
}
