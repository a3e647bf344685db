//! What is known of all commands at once: which processes are waited for, and what a process beside this one is told, so
//! that it can end them when this one is killed.
//!
//! The messages are lines: `+PID` when a group has been started, `-PID` when it is no longer this process's affair. The other
//! side reads them from a pipe; the pipe's end means that this process has ended. See [`read_messages`].

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, BufRead, Write};
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::Pid;

/// What is known of all commands.
#[derive(Clone, Default)]
pub(super) struct Watcher(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// Children that are waited for.
    own: BTreeSet<i32>,
    told: Option<Box<dyn Write + Send>>,
}

impl Known {
    /// Whoever does not listen any more cannot be told.
    fn tell(&mut self, sign: char, pid: Pid) {
        let Some(told) = &mut self.told else { return };
        let message = format!("{sign}{}\n", pid.as_raw_nonzero());
        if told.write_all(message.as_bytes()).and_then(|()| told.flush()).is_err() {
            self.told = None;
        }
    }
}

impl Watcher {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells `told` of every group from now on.
    pub(super) fn tell(&self, told: Box<dyn Write + Send>) {
        self.lock().told = Some(told);
    }

    /// Notes that somebody waits for this child, too.
    pub(super) fn own(&self, child: Pid) {
        self.lock().own.insert(child.as_raw_nonzero().get());
    }

    /// Starts a process and notes it, before anybody can take it for an orphan.
    pub(super) fn start(&self, spawn: impl FnOnce() -> io::Result<Child>) -> io::Result<Child> {
        let mut known = self.lock();
        let child = spawn()?;
        let pid = Pid::from_child(&child);
        known.own.insert(pid.as_raw_nonzero().get());
        known.tell('+', pid);
        Ok(child)
    }

    /// The group has ended, or goes on by itself.
    pub(super) fn left_alone(&self, group: Pid) {
        self.lock().tell('-', group);
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

/// Reads the messages until their end, and returns the groups that were left.
pub(super) fn read_messages(from: impl BufRead) -> BTreeSet<i32> {
    let mut groups = BTreeSet::new();
    for line in from.lines().map_while(Result::ok) {
        // 1 and below would be everybody.
        match line.split_at_checked(1).map(|(sign, pid)| (sign, pid.parse::<i32>())) {
            Some(("+", Ok(pid))) if pid > 1 => {
                groups.insert(pid);
            }
            Some(("-", Ok(pid))) => {
                groups.remove(&pid);
            }
            _ => {}
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_that_are_left_are_those_not_taken_back() {
        let read = |text: &str| read_messages(text.as_bytes()).into_iter().collect::<Vec<_>>();
        assert_eq!(read("+5\n+7\n-5\n+9\n-9\n+11"), [7, 11]);
        assert_eq!(read("+1\n+0\n+-3\n+x\n\n5\n-8\n"), [0; 0]);
    }
}
