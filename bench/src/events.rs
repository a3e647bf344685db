//! Starts and ends of subtasks, as the processes of a benchmark report them to each other.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use dtf::model::{Seq, TaskId};

/// True while this process writes its events to its standard output.
static REPORTING: AtomicBool = AtomicBool::new(false);

/// The start or the end of a subtask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    Started,
    Ended,
}

impl EventKind {
    fn word(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Ended => "ended",
        }
    }
}

/// An event of a subtask in one of the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// The time of the [clock](now_ns) that all processes share.
    pub(crate) at_ns: u64,
    /// The number of the process.
    pub(crate) process: usize,
    pub(crate) kind: EventKind,
    pub(crate) task: TaskId,
    pub(crate) number: Seq,
}

impl Event {
    /// Reads a line that [`report`] wrote in process number `process`.
    pub(crate) fn parse(line: &str, process: usize) -> Option<Self> {
        let mut words = line.split(' ');
        let word = words.next()?;
        let kind = [EventKind::Started, EventKind::Ended].into_iter().find(|kind| kind.word() == word)?;
        let mut number = || words.next()?.parse().ok();
        Some(Self { at_ns: number()?, process, kind, task: TaskId(number()?), number: Seq(number()?) })
    }
}

/// Turns reporting on or off in this process.
pub(crate) fn set_reporting(on: bool) {
    REPORTING.store(on, Ordering::Relaxed);
}

/// Writes an event to the standard output, where this process reports.
pub(crate) fn report(kind: EventKind, task: TaskId, number: u64) {
    if REPORTING.load(Ordering::Relaxed) {
        // A reader that has gone misses nothing.
        drop(writeln!(std::io::stdout().lock(), "{} {} {task} {number}", kind.word(), now_ns()));
    }
}

/// The monotonic time that all processes of the machine share, in nanoseconds.
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_the_event_that_it_is_of() {
        let event = Event { at_ns: 5, process: 3, kind: EventKind::Ended, task: TaskId(7), number: Seq(9) };
        assert_eq!(Event::parse("ended 5 7 9", 3), Some(event));
        assert_eq!(Event::parse("ready", 3), None);
        assert_eq!(Event::parse("started 5 7", 3), None);
    }
}
