//! The lines that wait for their commands, in the order of the input.
//!
//! The framework promises no order: it hands out *tickets*, one a line, and whoever has a ticket takes the line whose turn it
//! is. As lines, tickets and commands are in one process, this is all that order takes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::input::Line;

/// The number of waiting bytes at which no more are read.
const MOST_BYTES: usize = 32 * 1024 * 1024;

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Line>,
    bytes: usize,
    /// The last line that was put in: one that is generated again runs once all the same.
    last: u64,
}

/// The lines that wait.
#[derive(Default)]
pub(super) struct Ready {
    waiting: Mutex<Waiting>,
    taken: Notify,
}

impl Ready {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, line: Line) {
        let mut waiting = self.lock();
        if line.number > waiting.last {
            waiting.last = line.number;
            waiting.bytes += line.text.len();
            waiting.lines.push_back(line);
        }
    }

    /// The line whose turn it is; none where a ticket has been issued twice.
    pub(super) fn take(&self) -> Option<Line> {
        let line = {
            let mut waiting = self.lock();
            let line = waiting.lines.pop_front()?;
            waiting.bytes -= line.text.len();
            line
        };
        self.taken.notify_waiters();
        Some(line)
    }

    /// Waits until there is room for more.
    pub(super) async fn room(&self) {
        loop {
            let taken = self.taken.notified();
            if self.lock().bytes < MOST_BYTES {
                return;
            }
            taken.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_out_in_order_and_once_and_there_is_room_again() {
        let ready = Ready::default();
        let line = |number, size| Line { number, text: vec![b'x'; size], ..Line::default() };
        for number in [1, 2, 1, 2, 3] {
            ready.put(line(number, MOST_BYTES / 3));
        }
        ready.put(line(4, MOST_BYTES));
        let (numbers, ()) = tokio::join!(
            async { std::iter::from_fn(|| ready.take()).map(|line| line.number).collect::<Vec<_>>() },
            ready.room(),
        );
        assert_eq!(numbers, [1, 2, 3, 4]);
    }
}
