//! What passes between an exchange and its users: workers, items, reports, news; and the views for people.

use std::sync::Arc;
use std::time::Duration;

use dtf_model::SubtaskId;
use uuid::Uuid;

use super::{Item, ItemOutcome, Ticket};

/// A worker, as it describes itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerInfo {
    /// Its name.
    pub name: String,
    /// Its language, as in `python 3.13`.
    pub language: String,
    /// The version of its program.
    pub version: String,
    /// The number of items that it runs at once.
    pub slots: u32,
}

/// A session, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// The session.
    pub session: Uuid,
    /// The worker.
    pub worker: WorkerInfo,
    /// Its functions, sorted.
    pub functions: Vec<Arc<str>>,
    /// The number of items that it has.
    pub running: usize,
    /// The time left of its lease, in milliseconds.
    pub lease_ms: u64,
    /// True if it was asked to leave.
    pub drained: bool,
}

/// An item that was given to a worker.
#[derive(Clone, Debug)]
pub struct Given {
    /// Names it in reports and beats.
    pub ticket: Ticket,
    /// The item.
    pub item: Item,
}

/// The report on an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The item's ticket.
    pub ticket: Ticket,
    /// Its outcome: a success or a failure.
    pub outcome: ItemOutcome,
}

/// A note of a worker on an item that it runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Note {
    /// The share that is done, from 0 to 1.
    pub progress: Option<f64>,
    /// A line for people.
    pub message: Option<String>,
}

/// An item that a worker has, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningItem {
    /// The subtask.
    pub subtask: SubtaskId,
    /// The name of the function.
    pub function: Arc<str>,
    /// The number of earlier attempts that failed.
    pub attempt: u32,
    /// The name of the worker.
    pub worker: String,
    /// The time for which the worker has had it.
    pub running: Duration,
    /// The worker's last note.
    pub note: Note,
}

/// The news that a worker is told besides items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// The items that are not wanted any more.
    pub dropped: Vec<Ticket>,
    /// True if the worker shall take nothing more, end what it has, and leave.
    pub drain: bool,
}

impl News {
    /// Returns true if there are none.
    pub fn is_none(&self) -> bool {
        self.dropped.is_empty() && !self.drain
    }
}
