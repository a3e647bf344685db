//! The audit: every change that was asked for, by whom, and its outcome. The port to `tbl_audit`.
//!
//! A change of the tables and its entry are written together, both or neither: see [`NotingTable`]. Of a change elsewhere the entry is
//! written before, as [intended](AuditOutcome::Intended), and closed with its outcome afterwards. An entry that stays intended says
//! that the process ended in between: the change may have been made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::StoreError;
use crate::table::TaskTable;

/// The longest actor, action, target or address that is kept, in characters; what is longer is cut.
pub const MAX_AUDIT_NAME_CHARS: usize = 255;
/// The longest detail that is kept, in characters; what is longer is cut.
pub const MAX_AUDIT_DETAIL_CHARS: usize = 2048;

/// The outcome of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditOutcome {
    /// It was asked for, and nothing more is known.
    Intended,
    /// It was made.
    Done,
    /// It was refused, and nothing was changed.
    Refused,
    /// A store failed: it may have been made.
    Unknown,
}

impl AuditOutcome {
    /// All outcomes.
    pub const ALL: [Self; 4] = [Self::Intended, Self::Done, Self::Refused, Self::Unknown];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }

    /// Returns the number that stands for it in a table.
    pub fn code(self) -> u8 {
        match self {
            Self::Intended => 0,
            Self::Done => 1,
            Self::Refused => 2,
            Self::Unknown => 3,
        }
    }

    /// Returns the outcome that a number stands for.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.code() == code)
    }
}

/// A change that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Names the entry. Of version 7, so that entries are in the order of their time.
    pub id: Uuid,
    /// The time at which it was asked for, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The person or program that asked.
    pub actor: String,
    /// The network address that the request came from; may be empty.
    pub address: String,
    /// The action, as in `task.cancel`.
    pub action: String,
    /// The thing that it is about, as in `task 7`.
    pub target: String,
    /// More about the change or its outcome.
    pub detail: String,
    /// Its outcome.
    pub outcome: AuditOutcome,
    /// The idempotency key of the request.
    pub request: Uuid,
}

impl AuditEntry {
    /// The entry with as much of its texts as is kept.
    #[must_use]
    pub fn cut(mut self) -> Self {
        for text in [&mut self.actor, &mut self.address, &mut self.action, &mut self.target] {
            cut(text, MAX_AUDIT_NAME_CHARS);
        }
        cut(&mut self.detail, MAX_AUDIT_DETAIL_CHARS);
        self
    }
}

/// Cuts a detail to what is kept.
pub fn kept_detail(detail: &str) -> &str {
    detail.char_indices().nth(MAX_AUDIT_DETAIL_CHARS).map_or(detail, |(end, _)| &detail[..end])
}

fn cut(text: &mut String, most: usize) {
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
    }
}

/// The entries that a list has: all where nothing is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// The target of the entries.
    pub target: Option<String>,
    /// Their actor.
    pub actor: Option<String>,
}

/// An entry that is written together with the change that it is about. Clones are the same note.
#[derive(Clone, Debug)]
pub struct Note(Arc<NoteInner>);

#[derive(Debug)]
struct NoteInner {
    entry: AuditEntry,
    names_created: bool,
    is_written: AtomicBool,
}

impl Note {
    /// A note of a change, whose entry is this one.
    pub fn new(entry: AuditEntry) -> Self {
        Self::of(entry, false)
    }

    /// A note of a creation: the number of the task, or of the flow, is put behind the target of the entry, as in `task 7`.
    pub fn of_creation(entry: AuditEntry) -> Self {
        Self::of(entry, true)
    }

    fn of(entry: AuditEntry, names_created: bool) -> Self {
        let (entry, is_written) = (entry.cut(), AtomicBool::new(false));
        Self(Arc::new(NoteInner { entry, names_created, is_written }))
    }

    /// Returns the entry, with as much of its texts as is kept.
    pub fn entry(&self) -> &AuditEntry {
        &self.0.entry
    }

    /// Returns true if the number of what is created belongs behind the target.
    pub fn names_created(&self) -> bool {
        self.0.names_created
    }

    /// Returns the entry about a thing with this number, if that belongs behind the target.
    pub fn entry_of(&self, created: u64) -> AuditEntry {
        let mut entry = self.entry().clone();
        if self.names_created() {
            entry.target = format!("{} {created}", entry.target);
        }
        entry
    }

    /// Returns true if the entry is known to be written.
    pub fn is_written(&self) -> bool {
        self.0.is_written.load(Ordering::Acquire)
    }

    /// Says that the entry was written, together with a change.
    pub fn set_written(&self) {
        self.0.is_written.store(true, Ordering::Release);
    }
}

/// Tables whose changes are written together with an entry of the audit.
///
/// # What an implementor guarantees
/// - The table that [`noting`](Self::noting) returns is the same table. The first change that is made through it, and that applies, is
///   written together with the entry of the note, both or neither, and the note is then [written](Note::is_written). Where nothing
///   applies, the entry is not written.
/// - This holds for the changes that people ask for: inserting tasks, flows, schedules, tokens and actions on many tasks, controls of
///   tasks, groups, types, hooks, and what is told of items. What a task, a flow or a unique key was found by, instead of being made,
///   counts as made.
/// - A note whose outcome is not known may be tried again: its entry is written once.
pub trait NotingTable: Send + Sync + 'static {
    /// Returns the table for a change that is written together with an entry.
    fn noting(&self, note: &Note) -> Arc<dyn TaskTable>;
}

/// The table of the audit.
///
/// # What an implementor guarantees
/// - A call that returned `Ok` is durable, and the next read sees it.
/// - An entry that is there stays: adding it again changes nothing, and it is closed once.
/// - Texts are compared exactly, and come back as they were, but for what [`AuditEntry::cut`] cuts.
///
/// ```
/// use dtf_memory::MemoryTable;
/// use dtf_model::audit::{AuditEntry, AuditFilter, AuditOutcome, AuditTable};
/// use uuid::Uuid;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// let table = MemoryTable::new();
/// let id = Uuid::now_v7();
/// let entry = AuditEntry {
///     id,
///     at: 1_800_000_000_000,
///     actor: "ada".into(),
///     address: "192.0.2.1".into(),
///     action: "task.cancel".into(),
///     target: "task 7".into(),
///     detail: String::new(),
///     outcome: AuditOutcome::Intended,
///     request: Uuid::new_v4(),
/// };
/// table.add_entry(&entry).await?;
/// table.close_entry(id, AuditOutcome::Done, "").await?;
/// let listed = table.entries(&AuditFilter::default(), None, 10).await?;
/// assert_eq!(listed[0].outcome, AuditOutcome::Done);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait AuditTable: Send + Sync + 'static {
    /// Adds an entry.
    async fn add_entry(&self, entry: &AuditEntry) -> Result<(), StoreError>;

    /// Sets the outcome and the detail of an entry that is still intended.
    async fn close_entry(&self, id: Uuid, outcome: AuditOutcome, detail: &str) -> Result<(), StoreError>;

    /// The entries that fit with ids below `before`, the newest first, at most so many.
    async fn entries(
        &self,
        filter: &AuditFilter,
        before: Option<Uuid>,
        most: u32,
    ) -> Result<Vec<AuditEntry>, StoreError>;

    /// Deletes entries with ids below `before`, at most so many. Says whether any was there.
    async fn forget_entries(&self, before: Uuid, most: u32) -> Result<bool, StoreError>;
}
