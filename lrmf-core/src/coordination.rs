//! The port to a coordination store: a small, linearizable key-value store with leases, transactions and watches.
//!
//! It is the part of etcd that placement needs, and no more. [`MemoryStore`](crate::memory::MemoryStore) is the
//! implementation for one process; every implementation passes the suite in `testkit::coordination`.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::error::CoordinationError;

/// The number of a committed write. 0 is before the first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub u64);

/// Names a lease within its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub i64);

/// A key with its value and history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// The write that created the key, after its last deletion.
    pub create_revision: Revision,
    /// The write that last changed it.
    pub mod_revision: Revision,
    /// The lease that it ends with.
    pub lease: Option<LeaseId>,
}

/// The contents of a prefix at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The store's revision when this was read; watch after it to miss nothing.
    pub revision: Revision,
    /// The keys below the prefix, in key order.
    pub entries: Vec<KeyValue>,
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The key does not exist.
    Absent {
        /// The key.
        key: String,
    },
    /// The key exists and was created by this write.
    CreatedAt {
        /// The key.
        key: String,
        /// The write.
        revision: Revision,
    },
    /// The key exists and was last changed by this write.
    ModifiedAt {
        /// The key.
        key: String,
        /// The write.
        revision: Revision,
    },
}

impl Guard {
    /// The key that it is about.
    pub fn key(&self) -> &str {
        match self {
            Self::Absent { key } | Self::CreatedAt { key, .. } | Self::ModifiedAt { key, .. } => key,
        }
    }
}

/// A write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes a key, bound to a lease or to none.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Bytes,
        /// The lease that the key ends with.
        lease: Option<LeaseId>,
    },
    /// Deletes a key; no error where it does not exist.
    Delete {
        /// The key.
        key: String,
    },
}

impl Op {
    /// The key that it writes.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }

    /// Its key and value, in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Delete { key } => key.len(),
        }
    }
}

/// Writes that happen together, at one revision, if every guard holds; else none does. A transaction that changes
/// nothing (no writes, or deletions of what is not there) has the revision of the store as it finds it.
///
/// No key may be written twice, and none may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// The conditions that must hold.
    pub guards: Vec<Guard>,
    /// The writes.
    pub ops: Vec<Op>,
}

impl Txn {
    /// Checks what every store refuses: more than `limits` allow, a key written twice, an empty key. Implementors call this
    /// before they send or apply anything.
    ///
    /// # Errors
    /// [`CoordinationError::TooLarge`] over a limit, [`CoordinationError::Refused`] for a key that is empty or written twice.
    pub fn check(&self, limits: TxnLimits) -> Result<(), CoordinationError> {
        let most = self.guards.len().max(self.ops.len());
        if most > limits.ops {
            return Err(CoordinationError::TooLarge(format!(
                "{most} operations, at most {} are allowed",
                limits.ops
            )));
        }
        let bytes = self.bytes();
        if bytes > limits.bytes {
            return Err(CoordinationError::TooLarge(format!(
                "{bytes} bytes, at most {} are allowed",
                limits.bytes
            )));
        }
        let mut written = HashSet::new();
        for key in self.ops.iter().map(Op::key) {
            if key.is_empty() {
                return Err(CoordinationError::Refused("a key is empty".into()));
            }
            if !written.insert(key) {
                return Err(CoordinationError::Refused(format!(
                    "the key {key:?} is written twice in one transaction"
                )));
            }
        }
        Ok(())
    }

    /// Its keys and values, in bytes, as counted against [`TxnLimits::bytes`].
    pub fn bytes(&self) -> usize {
        let guards: usize = self.guards.iter().map(|guard| guard.key().len()).sum();
        let ops: usize = self.ops.iter().map(Op::bytes).sum();
        guards + ops
    }
}

/// The outcome of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxnOutcome {
    /// All guards held and all writes happened.
    Applied {
        /// The writes' revision.
        revision: Revision,
    },
    /// A guard did not hold and nothing was written.
    Refused,
}

/// One change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// The key was written.
    Put(KeyValue),
    /// The key was deleted, or its lease ended.
    Delete {
        /// The key.
        key: String,
    },
}

impl WatchEvent {
    /// The key that changed.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Delete { key } => key,
        }
    }
}

/// All changes below the watched prefix that one write made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchBatch {
    /// The write.
    pub revision: Revision,
    /// Its changes.
    pub events: Vec<WatchEvent>,
}

/// Why a watch ended. It never goes on after an error: list again, then watch after that revision.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WatchError {
    /// The store no longer has the history since the revision asked for.
    #[error("the history of the watch was compacted")]
    Compacted,
    /// The connection was lost.
    #[error("the watch was lost: {0}")]
    Lost(String),
}

/// The changes of a prefix, in order, each once.
pub type WatchStream = BoxStream<'static, Result<WatchBatch, WatchError>>;

/// The limits of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnLimits {
    /// The most guards, and the most writes.
    pub ops: usize,
    /// The most bytes of keys and values together.
    pub bytes: usize,
}

impl TxnLimits {
    /// The limits of etcd by default: 128 operations and 1.5 MiB, of which 64 KiB are left for the encoding.
    pub const ETCD: Self = Self { ops: 128, bytes: (1536 - 64) * 1024 };
}

/// A lease as granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// The time that it lives without a keep-alive; the store may grant more than was asked for.
    pub ttl: Duration,
}

/// A coordination store.
///
/// # What an implementor guarantees
/// - Reads and transactions are linearizable; a transaction is atomic and has one revision; revisions only grow.
/// - When a lease ends, by time or by [`revoke_lease`](Self::revoke_lease), its keys are deleted, and watchers see it. A
///   lease that is kept alive within its TTL does not end; one that has ended never comes back.
/// - A watch delivers every change after the revision it was given, in revision order, the changes of one revision in
///   one batch; where it cannot, it ends with an error. It is never silently short.
/// - An error that answers `is_definitely_not_applied()` means just that. When in doubt it is
///   [`CoordinationError::Unknown`].
/// - Every call ends within a bounded time, with an error when the store does not answer. (A watch may be silent for as
///   long as nothing changes.)
#[async_trait]
pub trait Coordination: Send + Sync + fmt::Debug + 'static {
    /// Starts a lease.
    async fn grant_lease(&self, ttl: Duration) -> Result<Lease, CoordinationError>;

    /// Prolongs a lease to its full TTL and says how long that is. The TTL counts from some instant between call and
    /// return; the careful caller reckons from the call.
    ///
    /// # Errors
    /// [`CoordinationError::LeaseGone`] when it has ended.
    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, CoordinationError>;

    /// Ends a lease and deletes its keys. A lease that has ended already is no error.
    async fn revoke_lease(&self, lease: LeaseId) -> Result<(), CoordinationError>;

    /// Reads all keys that begin with `prefix`.
    async fn list(&self, prefix: &str) -> Result<Snapshot, CoordinationError>;

    /// Commits a transaction.
    ///
    /// # Errors
    /// [`CoordinationError::LeaseGone`] when all guards hold and a put names a lease that has ended; what
    /// [`Txn::check`] refuses. Nothing is written then.
    async fn commit(&self, txn: Txn) -> Result<TxnOutcome, CoordinationError>;

    /// Watches all keys that begin with `prefix`, from the first change after `after`. Dropping the stream ends the
    /// watch; after an error the stream ends too.
    fn watch(&self, prefix: &str, after: Revision) -> WatchStream;

    /// Lists, and watches from there: every change after the snapshot is delivered once, and none before.
    ///
    /// The same as [`list`](Self::list) and then [`watch`](Self::watch), which is what it does where an implementor does
    /// not know better. One for which a watch that begins behind its revision is slow, as for etcd, begins the watch
    /// first.
    ///
    /// # Errors
    /// When the store cannot be read or watched.
    async fn list_and_watch(&self, prefix: &str) -> Result<(Snapshot, WatchStream), CoordinationError> {
        let snapshot = self.list(prefix).await?;
        let watch = self.watch(prefix, snapshot.revision);
        Ok((snapshot, watch))
    }

    /// Returns the limits of one transaction.
    fn limits(&self) -> TxnLimits;
}
