//! The conformance suite of [`Coordination`]: one function per obligation of the trait, and [`run_all`].
//!
//! A function panics where the store breaks its obligation. Each works below a prefix of its own, so that one store can
//! serve them all, one after another or together.
//!
//! ```
//! use std::sync::Arc;
//! use lrmf_core::MemoryStore;
//! use lrmf_core::testkit::coordination::{InMemory, run_all};
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! run_all(&InMemory::new(MemoryStore::new())).await;
//! # }
//! ```

mod leases;
mod transactions;
mod watches;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;

pub use self::leases::*;
pub use self::transactions::*;
pub use self::watches::*;
use crate::coordination::{
    Coordination, Guard, KeyValue, LeaseId, Op, Revision, Txn, TxnOutcome, WatchBatch, WatchError,
    WatchStream,
};
use crate::memory::MemoryStore;

/// The store under test, and what the suite must be able to do to it.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The store.
    fn store(&self) -> Arc<dyn Coordination>;

    /// Lets this much time pass for the store.
    async fn pass(&self, span: Duration);

    /// Makes the store forget its history up to now. False where that cannot be forced; what needs it is then left out.
    async fn compact(&self) -> bool;

    /// A TTL that the store grants as it is. Where time is real, much longer than the machine ever stands still: the suite
    /// keeps leases alive every third of it.
    fn ttl(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// Returns the time after its TTL within which the end of a lease may be seen.
    fn lateness(&self) -> Duration {
        Duration::from_secs(3)
    }
}

/// [`MemoryStore`] as a subject. Time is the runtime's: pause it and the suite takes none.
#[derive(Debug)]
pub struct InMemory(MemoryStore);

impl InMemory {
    /// This store, under test.
    pub fn new(store: MemoryStore) -> Self {
        Self(store)
    }
}

#[async_trait]
impl Subject for InMemory {
    fn store(&self) -> Arc<dyn Coordination> {
        Arc::new(self.0.clone())
    }

    async fn pass(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    async fn compact(&self) -> bool {
        self.0.compact();
        true
    }
}

macro_rules! obligations {
    ($($name:ident),* $(,)?) => {
        /// Runs the whole suite, one obligation after another.
        pub async fn run_all(subject: &dyn Subject) {
            $(
                tracing::info!(obligation = stringify!($name), "checking");
                $name(subject).await;
            )*
        }
    };
}

obligations!(
    a_write_is_read_back,
    a_list_is_ordered_and_keeps_to_its_prefix,
    a_transaction_is_all_or_nothing,
    every_kind_of_guard_is_checked,
    revisions_grow_by_writes_only,
    a_key_keeps_its_creation_until_it_is_deleted,
    deleting_what_is_not_there_is_no_error,
    limits_are_enforced_and_reachable,
    a_key_is_written_once_in_a_transaction,
    concurrent_increments_are_all_counted,
    a_lease_ends_in_time_with_its_keys,
    a_lease_kept_alive_lives_on,
    a_revoked_lease_ends_at_once,
    an_ended_lease_never_comes_back,
    a_key_moves_between_leases,
    a_watch_replays_from_its_revision,
    a_list_and_its_watch_miss_and_repeat_nothing,
    a_watch_keeps_to_its_prefix,
    a_watch_delivers_a_revision_as_one_batch,
    a_watch_misses_nothing_under_concurrent_writes,
    many_watches_see_the_same,
    a_watch_of_forgotten_history_says_so,
    a_watch_at_the_head_survives_compaction,
);

/// The time that the suite waits for something that should happen at once.
const SOON: Duration = Duration::from_secs(60);

/// The store and a prefix of it that no other check uses.
struct Scope {
    store: Arc<dyn Coordination>,
    prefix: String,
}

impl Scope {
    fn new(subject: &dyn Subject) -> Self {
        let prefix = format!("/testkit/{}/", uuid::Uuid::new_v4());
        Self { store: subject.store(), prefix }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn put(&self, name: &str, value: impl Into<Bytes>, lease: Option<LeaseId>) -> Op {
        Op::Put { key: self.key(name), value: value.into(), lease }
    }

    fn delete(&self, name: &str) -> Op {
        Op::Delete { key: self.key(name) }
    }

    async fn commit(&self, guards: Vec<Guard>, ops: Vec<Op>) -> TxnOutcome {
        must(self.store.commit(Txn { guards, ops }).await)
    }

    /// Commits without guards.
    async fn write(&self, ops: Vec<Op>) -> Revision {
        match self.commit(Vec::new(), ops).await {
            TxnOutcome::Applied { revision } => revision,
            TxnOutcome::Refused => panic!("a transaction without guards was refused"),
        }
    }

    async fn entries(&self) -> Vec<KeyValue> {
        must(self.store.list(&self.prefix).await).entries
    }

    async fn names(&self) -> Vec<String> {
        let name = |entry: KeyValue| entry.key[self.prefix.len()..].to_owned();
        self.entries().await.into_iter().map(name).collect()
    }

    async fn get(&self, name: &str) -> Option<KeyValue> {
        let key = self.key(name);
        self.entries().await.into_iter().find(|entry| entry.key == key)
    }

    /// A watch of the whole scope.
    fn watch(&self, after: Revision) -> WatchStream {
        self.store.watch(&self.prefix, after)
    }
}

fn must<T, E: fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the store failed: {error}"),
    }
}

async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen within {limit:?}"),
    }
}

async fn next_batch(watch: &mut WatchStream, limit: Duration) -> WatchBatch {
    match within(limit, "a change on the watch", watch.next()).await {
        Some(Ok(batch)) => batch,
        other => panic!("the watch ended: {other:?}"),
    }
}

async fn next_error(watch: &mut WatchStream) -> WatchError {
    match within(SOON, "the end of the watch", watch.next()).await {
        Some(Err(error)) => error,
        other => panic!("the watch should have failed: {other:?}"),
    }
}
