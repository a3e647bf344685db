//! One session of a process for all the groups that it is a member of.
//!
//! A process with a member in five groups has five leases otherwise, and each is kept alive by itself. A [`SharedSession`] is
//! a store for the members of one process: to each of them it is what the store behind it is, with leases of its own, while the
//! store has one lease, and one sign of life at a time, for all of them.
//!
//! ```
//! use std::sync::Arc;
//! use lrmf_core::session::SharedSession;
//! use lrmf_core::{Coordinator, FixedTasks, GroupId, InstanceId, MemoryStore, Task};
//! use lrmf_core::smooth::SmoothWorker;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> anyhow::Result<()> {
//! let session = SharedSession::new(Arc::new(MemoryStore::new()));
//! for group in ["readers", "writers"] {
//!     let member = Coordinator::builder(Arc::new(session.clone()), GroupId::new("app", group, "default")?)
//!         .instance_id(InstanceId::new("a")?)
//!         .provider(FixedTasks::new([Task::new("t", "")]))
//!         .worker(SmoothWorker::new(|_event| {}))
//!         .start()
//!         .await?;
//!     member.held().wait_for(|held| held.len() == 1).await?;
//!     # member.close().await;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # The problem
//! A member's session ends when its lease ends: by itself after the TTL, when it is revoked, and never before. P1 and P2 rest
//! on that, group by group: a member that is fenced, evicted or dead loses its session although the process, and its other
//! members, live on.
//!
//! # The mechanism
//! - **Part**: a lease that a member was granted is a *part* of the lease that the store has. A put under a part is a put under
//!   that lease, and is noted with the part.
//! - **Sign of life**: the store's lease is prolonged when a member prolongs its part and the last time was a while ago. Its
//!   answer is the time that is left, reckoned from when that sign of life was sent, so that a member's deadline is right.
//! - **End**: a part that is revoked, or that its member does not prolong within its TTL, ends: its keys are deleted, in one
//!   transaction. When the last part has ended, so does the store's lease. When the store's lease ends, all parts have.
//! - **Late writes**: a put whose outcome nobody knows may still arrive when its part has ended, and would live on with the
//!   lease. Keys of such puts are looked at again, once a TTL, for as long as the lease lives.
//!
//! Parts with different TTLs belong to different leases.

mod parts;
mod sweep;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use crate::clock::{BootClock, Clock, RuntimeClock, Timestamp, is_paused};
use crate::coordination::{
    Coordination, Lease, LeaseId, Op, Revision, Snapshot, Txn, TxnLimits, TxnOutcome, WatchBatch, WatchError,
    WatchEvent, WatchStream,
};
use crate::driver::session_runtime;
use crate::error::CoordinationError;

use parts::{Parts, Sign};

/// One session for several groups. Cloning it gives another handle of the same; the members that it was given to keep it.
#[derive(Clone)]
pub struct SharedSession(Arc<Shared>);

struct Shared {
    core: Arc<Core>,
    /// Ends parts that nobody prolongs; begun with the first part.
    sweeper: Mutex<Option<AbortOnDropHandle<()>>>,
}

/// The state that the handles and the sweeper share.
struct Core {
    store: Arc<dyn Coordination>,
    clock: Arc<dyn Clock>,
    parts: Mutex<Parts>,
    /// There is something to end earlier than before.
    wake: Notify,
    /// Held while a lease is asked for.
    asking: tokio::sync::Mutex<()>,
}

impl fmt::Debug for SharedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedSession").field(&self.0.core.store).finish()
    }
}

impl Core {
    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prolongs the store's lease, unless that was done after `asked`, or just before.
    async fn prolong(&self, lease: LeaseId, asked: Timestamp) -> Result<(), CoordinationError> {
        let Some(turn) = self.parts().turn(lease) else { return Err(CoordinationError::LeaseGone) };
        let _one_at_a_time = turn.lock().await;
        if self.parts().is_fresh(lease, asked) {
            return Ok(());
        }
        // Those who waited together fail together, and do not each wait for another answer that does not come.
        if let Some(error) = self.parts().failure(lease, asked) {
            return Err(error);
        }
        let sent = self.clock.now();
        let answer = self.store.keep_alive(lease).await;
        let mut parts = self.parts();
        match answer {
            Ok(ttl) => {
                parts.confirmed(lease, Sign { sent, ttl });
                Ok(())
            }
            Err(error) => {
                match error {
                    CoordinationError::LeaseGone => parts.gone(lease),
                    _ => parts.failed(lease, sent, error.clone()),
                }
                Err(error)
            }
        }
    }

    /// Commits what is written under parts, as written under the store's leases.
    async fn commit(&self, txn: Txn) -> Result<TxnOutcome, CoordinationError> {
        let mut writing = self.parts().begin(&txn);
        let translated =
            Txn { guards: txn.guards, ops: txn.ops.into_iter().map(|op| writing.translate(op)).collect() };
        let outcome = self.store.commit(translated).await;
        let definite = match &outcome {
            Ok(outcome) => Some(matches!(outcome, TxnOutcome::Applied { .. })),
            Err(error) => error.is_definitely_not_applied().then_some(false),
        };
        // Where the call is dropped before it ends, nobody knows either.
        self.parts().settle(&mut writing, definite);
        outcome
    }
}

impl SharedSession {
    /// A session in this store. The clock is [`BootClock`], or where the runtime's time is paused, [`RuntimeClock`].
    pub fn new(store: Arc<dyn Coordination>) -> Self {
        let paused = tokio::runtime::Handle::try_current().is_ok() && is_paused();
        Self::with_clock(store, if paused { Arc::new(RuntimeClock::new()) } else { Arc::new(BootClock) })
    }

    /// The same with a clock, which should be the one of the members.
    pub fn with_clock(store: Arc<dyn Coordination>, clock: Arc<dyn Clock>) -> Self {
        let core = Core {
            store,
            clock,
            parts: Mutex::default(),
            wake: Notify::new(),
            asking: tokio::sync::Mutex::default(),
        };
        Self(Arc::new(Shared { core: Arc::new(core), sweeper: Mutex::default() }))
    }

    fn core(&self) -> &Arc<Core> {
        &self.0.core
    }

    /// Sees to it that parts end in time.
    fn begin_sweeping(&self) -> Result<(), CoordinationError> {
        let mut sweeper = self.0.sweeper.lock().unwrap_or_else(PoisonError::into_inner);
        if sweeper.is_none() {
            let sweep = sweep::run(self.core().clone());
            // As for members: a paused runtime is the only one whose time means anything.
            let task = if is_paused() {
                tokio::spawn(sweep)
            } else {
                session_runtime().map_err(CoordinationError::Unreachable)?.spawn(sweep)
            };
            *sweeper = Some(AbortOnDropHandle::new(task));
        }
        Ok(())
    }
}

/// Shows the parts of this process where the store shows its lease.
fn shown(core: &Core, event: WatchEvent) -> WatchEvent {
    match event {
        WatchEvent::Put(mut kv) => {
            core.parts().show(&mut kv);
            WatchEvent::Put(kv)
        }
        WatchEvent::Delete { key } => WatchEvent::Delete { key },
    }
}

fn shown_watch(core: Arc<Core>, watch: WatchStream) -> WatchStream {
    let show = move |item: Result<WatchBatch, WatchError>| {
        item.map(|batch| WatchBatch {
            revision: batch.revision,
            events: batch.events.into_iter().map(|event| shown(&core, event)).collect(),
        })
    };
    watch.map(show).boxed()
}

#[async_trait]
impl Coordination for SharedSession {
    async fn grant_lease(&self, ttl: Duration) -> Result<Lease, CoordinationError> {
        self.begin_sweeping()?;
        let core = self.core();
        loop {
            let asked = core.clock.now();
            let found = core.parts().lease_for(ttl);
            if let Some(lease) = found {
                match core.prolong(lease, asked).await {
                    Ok(()) => {}
                    Err(CoordinationError::LeaseGone) => continue,
                    Err(error) => return Err(error),
                }
                if let Some(part) = core.parts().part(lease, asked) {
                    core.wake.notify_one();
                    return Ok(part);
                }
                continue;
            }
            let _one_at_a_time = core.asking.lock().await;
            if core.parts().lease_for(ttl).is_some() {
                continue;
            }
            let sent = core.clock.now();
            let lease = core.store.grant_lease(ttl).await?;
            core.parts().granted(ttl, lease, sent);
        }
    }

    async fn keep_alive(&self, part: LeaseId) -> Result<Duration, CoordinationError> {
        let core = self.core();
        let asked = core.clock.now();
        let Some(lease) = core.parts().lease_of(part) else {
            return Err(CoordinationError::LeaseGone);
        };
        core.prolong(lease, asked).await?;
        core.parts().prolonged(part, asked).ok_or(CoordinationError::LeaseGone)
    }

    async fn revoke_lease(&self, part: LeaseId) -> Result<(), CoordinationError> {
        self.core().parts().end(part);
        let left = sweep::clear(self.core()).await;
        self.core().wake.notify_one();
        left
    }

    async fn list(&self, prefix: &str) -> Result<Snapshot, CoordinationError> {
        let mut snapshot = self.core().store.list(prefix).await?;
        let parts = self.core().parts();
        snapshot.entries.iter_mut().for_each(|kv| parts.show(kv));
        drop(parts);
        Ok(snapshot)
    }

    async fn commit(&self, txn: Txn) -> Result<TxnOutcome, CoordinationError> {
        self.core().commit(txn).await
    }

    fn watch(&self, prefix: &str, after: Revision) -> WatchStream {
        shown_watch(self.core().clone(), self.core().store.watch(prefix, after))
    }

    async fn list_and_watch(&self, prefix: &str) -> Result<(Snapshot, WatchStream), CoordinationError> {
        let (mut snapshot, watch) = self.core().store.list_and_watch(prefix).await?;
        let parts = self.core().parts();
        snapshot.entries.iter_mut().for_each(|kv| parts.show(kv));
        drop(parts);
        Ok((snapshot, shown_watch(self.core().clone(), watch)))
    }

    fn limits(&self) -> TxnLimits {
        self.core().store.limits()
    }
}

/// Names the op's lease anew.
fn with_lease(op: Op, lease: LeaseId) -> Op {
    match op {
        Op::Put { key, value, .. } => Op::Put { key, value, lease: Some(lease) },
        Op::Delete { key } => Op::Delete { key },
    }
}

#[cfg(test)]
mod tests;
