//! A coordination store for one process: the embedded default, and what tests run on.
//!
//! Time is the runtime's, so a paused runtime drives it: leases end when virtual time says so, and watchers see it
//! without anybody calling in. Faults are put into a *connection*: [`MemoryStore::connection`] gives each simulated
//! process one of its own to the same data.

mod fault;
mod state;
mod watcher;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use self::fault::Link;
pub use self::fault::Outage;
use self::state::State;
use crate::coordination::{
    Coordination, Lease, LeaseId, Revision, Snapshot, Txn, TxnLimits, TxnOutcome, WatchStream,
};
use crate::error::CoordinationError;

/// The number of writes that a watcher may lag behind before its history is gone.
pub const DEFAULT_HISTORY: usize = 16 * 1024;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Shared {
    state: Mutex<State>,
    /// Tells the timer that a lease ends earlier than all before it.
    earlier: Arc<Notify>,
    /// Ends leases in time. Owned here: it goes with the last handle, or with the runtime that started it.
    timer: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Shared {
    /// The state as of now: leases whose time has come have ended.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = locked(&self.state);
        state.expire(Instant::now());
        state
    }

    fn ensure_timer(self: &Arc<Self>) {
        let mut timer = locked(&self.timer);
        if timer.as_ref().is_none_or(AbortOnDropHandle::is_finished) {
            let task = tokio::spawn(end_leases_in_time(Arc::downgrade(self), self.earlier.clone()));
            *timer = Some(AbortOnDropHandle::new(task));
        }
    }
}

async fn end_leases_in_time(shared: Weak<Shared>, earlier: Arc<Notify>) {
    loop {
        let Some(next) = shared.upgrade().map(|shared| shared.state().next_deadline()) else { return };
        match next {
            None => earlier.notified().await,
            Some(deadline) => tokio::select! {
                () = tokio::time::sleep_until(deadline) => {}
                () = earlier.notified() => {}
            },
        }
    }
}

/// A copy of all that a store had at some time.
#[derive(Clone)]
pub struct Backup(state::Copied);

impl fmt::Debug for Backup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backup").finish_non_exhaustive()
    }
}

/// A coordination store in memory. A clone is the same connection to the same data.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    link: Arc<Link>,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("revision", &self.revision()).finish_non_exhaustive()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store that remembers the last [`DEFAULT_HISTORY`] writes.
    pub fn new() -> Self {
        Self::with_history(DEFAULT_HISTORY)
    }

    /// An empty store that remembers the last `writes` writes: a watch that lags further behind ends with
    /// [`WatchError::Compacted`](crate::coordination::WatchError::Compacted).
    pub fn with_history(writes: usize) -> Self {
        let shared = Shared {
            state: Mutex::new(State::new(writes)),
            earlier: Arc::new(Notify::new()),
            timer: Mutex::new(None),
        };
        Self { shared: Arc::new(shared), link: Arc::new(Link::new()) }
    }

    /// Another connection to the same data, as another process would have: faults put into one do not touch the
    /// other.
    #[must_use]
    pub fn connection(&self) -> Self {
        Self { shared: self.shared.clone(), link: Arc::new(Link::new()) }
    }

    /// The revision of the last write.
    pub fn revision(&self) -> Revision {
        locked(&self.shared.state).revision()
    }

    /// Makes every call of this connection fail from now on, or no longer. Its watches are lost at once, and new ones
    /// too while it lasts. Leases go on ending in time: this is a process cut off, not a store that stands still.
    pub fn set_outage(&self, outage: Option<Outage>) {
        self.link.set_outage(outage);
    }

    /// Makes one call of this connection fail: the next one that no earlier `fail_next` has claimed.
    pub fn fail_next(&self, outage: Outage) {
        self.link.fail_next(outage);
    }

    /// Ends all watches of this connection with [`WatchError::Lost`](crate::coordination::WatchError::Lost).
    pub fn break_watches(&self) {
        self.link.break_watches();
    }

    /// Forgets the history: a watch that has not seen all of it ends with
    /// [`WatchError::Compacted`](crate::coordination::WatchError::Compacted).
    pub fn compact(&self) {
        self.shared.state().compact();
    }

    /// Copies all that the store has, for [`restore`](Self::restore).
    pub fn backup(&self) -> Backup {
        Backup(self.shared.state().copy())
    }

    /// Goes back to a copy, as an etcd does that is restored from a backup: its revisions go on from there, its leases have
    /// their full TTL again, and all watches end. Restoring the copy of an empty store loses everything.
    pub fn restore(&self, copy: &Backup) {
        self.shared.state().restore(copy.0.clone(), Instant::now());
        self.shared.earlier.notify_one();
    }

    /// Gives every living lease its full TTL again, as an etcd does that restarts or changes its leader.
    pub fn restart_leases(&self) {
        self.shared.state().restart_leases(Instant::now());
    }

    /// One call over this connection, with the fault that it meets.
    async fn call<T>(
        &self,
        step: impl FnOnce(&mut State) -> Result<T, CoordinationError> + Send,
    ) -> Result<T, CoordinationError> {
        tokio::task::consume_budget().await;
        match self.link.take() {
            None => step(&mut self.shared.state()),
            Some(Outage::Unreachable) => Err(CoordinationError::Unreachable("an outage of the test".into())),
            Some(Outage::UnknownNotApplied) => {
                Err(CoordinationError::Unknown("lost on its way by the test".into()))
            }
            Some(Outage::UnknownApplied) => {
                let _lost_answer = step(&mut self.shared.state());
                Err(CoordinationError::Unknown("the answer was lost by the test".into()))
            }
        }
    }
}

#[async_trait]
impl Coordination for MemoryStore {
    async fn grant_lease(&self, ttl: Duration) -> Result<Lease, CoordinationError> {
        if ttl.is_zero() {
            return Err(CoordinationError::Refused("a lease needs a TTL".into()));
        }
        self.shared.ensure_timer();
        self.call(|state| {
            let next = state.next_deadline();
            let now = Instant::now();
            let lease = state.grant(ttl, now);
            if next.is_none_or(|next| now + ttl < next) {
                self.shared.earlier.notify_one();
            }
            Ok(lease)
        })
        .await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, CoordinationError> {
        self.call(|state| state.keep_alive(lease, Instant::now())).await
    }

    async fn revoke_lease(&self, lease: LeaseId) -> Result<(), CoordinationError> {
        self.call(|state| {
            state.end_lease(lease);
            Ok(())
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Snapshot, CoordinationError> {
        self.call(|state| Ok(state.list(prefix))).await
    }

    async fn commit(&self, txn: Txn) -> Result<TxnOutcome, CoordinationError> {
        let limits = self.limits();
        self.call(|state| state.commit(txn, limits)).await
    }

    fn watch(&self, prefix: &str, after: Revision) -> WatchStream {
        watcher::watch(&self.shared, &self.link, prefix, after).boxed()
    }

    fn limits(&self) -> TxnLimits {
        TxnLimits::ETCD
    }
}

#[cfg(test)]
mod tests;
