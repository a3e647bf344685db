//! Notes on calls into plugins that block their threads past their time limit, for people who look at the whole cluster.
//!
//! A process writes a note beside the records of its groups when a call is stuck: when that changes, at most once a second, and once a
//! minute for as long as any is. It deletes the note when none is. So a process whose plugins behave makes no call for this, and one
//! that dies leaves a note that holds for some minutes.

use std::sync::Arc;
use std::time::Duration;

use dtf_runtime::{Stuck, stuck};
use lrmf_core::coordination::{Op, Txn};
use lrmf_core::{Clock, Coordination, CoordinationError};
use serde::{Deserialize, Serialize};
use tracing::warn;

/// The format of the notes.
const FORMAT: u32 = 1;
/// The most calls that a note describes.
const MOST: usize = 20;
/// The pause after each note.
const PAUSE: Duration = Duration::from_secs(1);
/// The time after which a note is written again.
const REPEAT: Duration = Duration::from_secs(60);
/// The time for which a note holds.
const HOLDS: Duration = Duration::from_secs(150);

/// A call that is stuck, as a note describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StuckCallNote {
    /// The call: the role and the task on whose behalf it was made, as far as that is known.
    pub call: String,
    /// The time since which it is stuck, in milliseconds since the Unix epoch.
    pub since: u64,
}

/// The stuck calls of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StuckNote {
    format: u32,
    /// The process.
    pub process: String,
    /// The calls, those that are stuck for longest first, at most 20.
    pub calls: Vec<StuckCallNote>,
    /// The number of all stuck calls.
    pub count: u64,
    until: u64,
}

/// The notes of a cluster's processes.
#[derive(Clone)]
pub struct StuckNotes {
    store: Arc<dyn Coordination>,
    prefix: String,
}

impl StuckNotes {
    /// The notes of the processes of the cluster with this name.
    pub fn new(store: Arc<dyn Coordination>, cluster: &str) -> Self {
        Self { store, prefix: format!("/lrmf/dtf/stuck/{cluster}/") }
    }

    /// Returns the notes that hold at this time, in milliseconds since the Unix epoch, by process. One that cannot be read is passed over.
    ///
    /// # Errors
    /// The store failed.
    pub async fn read(&self, now: u64) -> Result<Vec<StuckNote>, CoordinationError> {
        let snapshot = self.store.list(&self.prefix).await?;
        let notes = snapshot.entries.iter().filter_map(|entry| serde_json::from_slice(&entry.value).ok());
        Ok(notes.filter(|note: &StuckNote| note.format == FORMAT && note.until > now).collect())
    }

    /// Keeps the note of this process, for as long as this is polled; never ends.
    pub async fn keep(self, process: String, clock: Arc<dyn Clock>) {
        let (mut changes, mut is_noted) = (stuck(), false);
        loop {
            let note = note(&process, &changes.borrow_and_update(), clock.unix_millis());
            let is_wanted = note.count > 0;
            let written = match (is_wanted, is_noted) {
                (false, false) => Ok(()),
                _ => self.write(&note).await,
            };
            match written {
                Ok(()) => is_noted = is_wanted,
                Err(error) => warn!(%error, "stuck calls could not be noted; that is tried again"),
            }
            if is_wanted || is_noted {
                tokio::time::sleep(PAUSE).await;
            }
            let wait = if is_wanted || is_noted { REPEAT } else { Duration::MAX };
            // The calls of a process are counted for as long as it lives.
            drop(tokio::time::timeout(wait, changes.changed()).await);
        }
    }

    /// Writes a note, or deletes it where nothing is stuck.
    async fn write(&self, note: &StuckNote) -> Result<(), CoordinationError> {
        let key = format!("{}{}", self.prefix, note.process);
        let op = match note.count {
            0 => Op::Delete { key },
            _ => Op::Put { key, value: serde_json::to_vec(note).unwrap_or_default().into(), lease: None },
        };
        // Without a condition, so that it applies.
        self.store.commit(Txn { guards: Vec::new(), ops: vec![op] }).await.map(|_| ())
    }
}

/// The note on the calls that are stuck now.
fn note(process: &str, calls: &[Stuck], now: u64) -> StuckNote {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let of = |stuck: &Stuck| StuckCallNote {
        call: stuck.call.clone(),
        since: now.saturating_sub(millis(stuck.since.elapsed())),
    };
    StuckNote {
        format: FORMAT,
        process: process.to_owned(),
        calls: calls.iter().take(MOST).map(of).collect(),
        count: calls.len() as u64,
        until: now.saturating_add(millis(HOLDS)),
    }
}

#[cfg(test)]
mod tests {
    use dtf_runtime::StuckCall;
    use lrmf_core::{BootClock, MemoryStore};

    use super::*;

    /// Calls are counted for the whole process, so this is one test.
    #[tokio::test(start_paused = true)]
    async fn a_note_is_there_for_as_long_as_a_call_is_stuck_and_holds_for_a_while() {
        let store = Arc::new(MemoryStore::new());
        let (one, other) = (StuckNotes::new(store.clone(), "a"), StuckNotes::new(store, "b"));
        let keeping = tokio::spawn(one.clone().keep("process".to_owned(), Arc::new(BootClock)));
        let settled = || tokio::time::sleep(PAUSE * 3);
        settled().await;
        assert!(one.read(0).await.unwrap().is_empty());
        let calls: Vec<_> =
            (0..MOST + 1).map(|number| StuckCall::enter(format!("executor, task {number}"))).collect();
        settled().await;
        let now = BootClock.unix_millis();
        let notes = one.read(now).await.unwrap();
        assert_eq!((notes.len(), notes[0].count, notes[0].calls.len()), (1, MOST as u64 + 1, MOST));
        assert_eq!(
            (notes[0].process.as_str(), notes[0].calls[0].call.as_str()),
            ("process", "executor, task 0")
        );
        assert!(notes[0].calls[0].since <= now);
        assert!(one.read(now + 3_600_000).await.unwrap().is_empty(), "it holds for a while only");
        assert!(other.read(now).await.unwrap().is_empty(), "it is another cluster's");
        drop(calls);
        settled().await;
        assert!(one.read(now).await.unwrap().is_empty());
        keeping.abort();
    }
}
