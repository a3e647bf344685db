//! The audit: every change that was asked for, by whom, and its outcome. The port to `tbl_audit`.
//!
//! An entry is written before the change, as [intended](AuditOutcome::Intended), and closed with its outcome afterwards. An entry that
//! stays intended says that the process ended in between: the change may have been made.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::StoreError;

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
