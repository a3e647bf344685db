//! The generations of the roles' groups outlive the coordination store's data.
//!
//! # The problem
//! Queues and shards refuse lower tokens than they have seen, and tokens are generations of the role's group. A group whose
//! records are lost counts on from the time of day in milliseconds, which is above every generation so far: a commit takes longer
//! than a millisecond. Unless a clock was wrong, then or now: the new holders would be refused for ever. So the highest
//! generation that was seen is noted in `tbl_cluster`, and a group never counts from below that.
//!
//! A process without the database (one that only executes) asks the shards instead, when it starts the role: they are all that
//! executors write to with their tokens, and tell the highest that they have seen. So does every other process with the role.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dtf_model::Role;
use dtf_model::StoreError;
use dtf_model::cluster::ClusterTable;
use lrmf_core::HeldTasks;
use lrmf_core::{Clock, Timestamp, Token};
use tokio::sync::watch;
use tracing::warn;

/// The distance above the mark at which a group begins: more than the generations that come about before the mark is
/// raised.
const AHEAD: u64 = 1 << 20;
/// The shortest time between two marks.
const PAUSE: Duration = Duration::from_secs(1);
/// The wait before a mark that was not written is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// A clock whose time of day, from which generations are counted, is never below a mark.
#[derive(Debug)]
pub(crate) struct Floored {
    clock: Arc<dyn Clock>,
    floor: AtomicU64,
}

impl Clock for Floored {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn unix_millis(&self) -> u64 {
        self.clock.unix_millis().max(self.floor.load(Ordering::Acquire))
    }
}

/// The mark of a role's group.
pub(crate) struct Mark {
    table: Arc<dyn ClusterTable>,
    name: String,
    clock: Arc<Floored>,
    mark: u64,
}

impl Mark {
    /// Reads the mark. `seen` is the highest token that the role's stores have seen, where that can be known.
    pub(crate) async fn read(
        table: Arc<dyn ClusterTable>,
        role: Role,
        seen: Token,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let name = format!("generation.{role}");
        let mark = number(&table.note_once(&name, "0").await?);
        let mut read =
            Self { table, name, clock: Arc::new(Floored { clock, floor: AtomicU64::new(0) }), mark };
        read.note(mark.max(seen.0));
        Ok(read)
    }

    /// The clock for the group's members.
    pub(crate) fn clock(&self) -> Arc<Floored> {
        self.clock.clone()
    }

    /// Raises the mark as the tokens of what this process holds rise, for as long as it is a member.
    pub(crate) async fn keep(mut self, mut held: watch::Receiver<HeldTasks>) {
        loop {
            let highest = held.borrow_and_update().values().map(|holding| holding.token.0).max();
            if let Some(highest) = highest.filter(|highest| *highest > self.mark) {
                if let Err(error) = self.raise(highest).await {
                    warn!(mark = self.name, %error, "not noted, tried again");
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
                tokio::time::sleep(PAUSE).await;
            }
            if held.changed().await.is_err() {
                return;
            }
        }
    }

    async fn raise(&mut self, to: u64) -> Result<(), StoreError> {
        loop {
            let noted = self.table.note_once(&self.name, "0").await?;
            let there = number(&noted);
            if there >= to || self.table.replace_note(&self.name, &noted, &to.to_string()).await? {
                self.note(there.max(to));
                return Ok(());
            }
            // Another process was faster: look again.
        }
    }

    fn note(&mut self, mark: u64) {
        self.mark = mark;
        if mark > 0 {
            self.clock.floor.fetch_max(mark + AHEAD, Ordering::AcqRel);
        }
    }
}

/// A note that is no number is of a newer program, or of nobody: as good as none.
fn number(note: &str) -> u64 {
    note.parse().unwrap_or(0)
}
