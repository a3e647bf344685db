//! The shards that this process holds, and a look at them now and then, in case hints were lost.
//!
//! One read serves all shards. It is made a second after something was claimed, and less and less often while nothing is: what
//! an idle process costs does not depend on the number of its shards. A look takes a bounded share of the time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use dtf_model::Shard;
use dtf_model::shard::ShardQueue;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use crate::shard_session::ShardSession;
use crate::slots::Slots;

/// The time from a claim to the next look.
const SOON: Duration = Duration::from_secs(1);
/// The longest time between two looks.
const AT_LATEST: Duration = Duration::from_secs(120);
/// Looks take no more than this part of the time.
const PART_OF_TIME: u32 = 50;

pub(crate) struct HeldShards {
    slots: Arc<Slots>,
    sessions: Mutex<BTreeMap<Shard, Arc<ShardSession>>>,
    /// Whether something was claimed, or taken up, since the last look.
    is_busy: AtomicBool,
    looker: Mutex<Option<AbortOnDropHandle<()>>>,
    /// Parcels of shards that are not held any more, which come to their end. They end at the latest with this.
    outliving: Mutex<Vec<JoinSet<()>>>,
}

impl HeldShards {
    pub(crate) fn start(store: Arc<dyn ShardQueue>, slots: Arc<Slots>) -> Arc<Self> {
        let (is_busy, looker) = (AtomicBool::new(false), Mutex::default());
        let held = Arc::new(Self {
            slots,
            sessions: Mutex::default(),
            is_busy,
            looker,
            outliving: Mutex::default(),
        });
        let looking = tokio::spawn(look_again(Arc::downgrade(&held), store));
        *lock(&held.looker) = Some(AbortOnDropHandle::new(looking));
        held
    }

    /// A shard is held, until what is given back is dropped.
    pub(crate) fn hold(self: &Arc<Self>, session: &Arc<ShardSession>) -> Holding {
        let mut sessions = self.sessions();
        sessions.insert(session.shard, session.clone());
        self.slots.share_between(sessions.len());
        drop(sessions);
        self.is_busy();
        Holding { held: self.clone(), shard: session.shard }
    }

    /// Lets parcels of a shard that is given up come to their end.
    pub(crate) fn outlived_by(&self, parcels: JoinSet<()>) {
        let mut outliving = lock(&self.outliving);
        outliving.push(parcels);
        outliving.retain_mut(|parcels| {
            while parcels.try_join_next().is_some() {}
            !parcels.is_empty()
        });
    }

    /// Something was claimed: more may come.
    pub(crate) fn is_busy(&self) {
        self.is_busy.store(true, Ordering::Relaxed);
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<Shard, Arc<ShardSession>>> {
        lock(&self.sessions)
    }

    /// Lets those shards claim that have something which was not claimed, or of which the store has forgotten what they take. Says
    /// whether there are any.
    async fn look(&self, store: &dyn ShardQueue) -> bool {
        let sessions: Vec<_> = self.sessions().values().cloned().collect();
        if sessions.is_empty() {
            return false;
        }
        let shards: Vec<_> = sessions.iter().map(|session| session.shard).collect();
        match store.credits(&shards).await {
            Ok(rooms) => {
                let missed: Vec<_> =
                    sessions.iter().zip(&rooms).filter(|(session, room)| session.has_missed(room)).collect();
                missed.iter().for_each(|(session, _)| session.claim_again.notify_one());
                !missed.is_empty()
            }
            Err(error) => {
                warn!(%error, "shards not looked at");
                true
            }
        }
    }
}

/// A panic while it is held can only come from an allocation failure; what it guards is whole then.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn look_again(held: Weak<HeldShards>, store: Arc<dyn ShardQueue>) {
    let mut wait = SOON;
    loop {
        tokio::time::sleep(wait).await;
        let Some(held) = held.upgrade() else { return };
        let (was_busy, begun) = (held.is_busy.swap(false, Ordering::Relaxed), Instant::now());
        let has_missed = held.look(&*store).await;
        wait = if was_busy || has_missed { SOON } else { (wait * 2).min(AT_LATEST) };
        wait = wait.max(begun.elapsed() * PART_OF_TIME);
    }
}

/// A shard that this process holds.
pub(crate) struct Holding {
    held: Arc<HeldShards>,
    shard: Shard,
}

impl Drop for Holding {
    fn drop(&mut self) {
        let mut sessions = self.held.sessions();
        sessions.remove(&self.shard);
        self.held.slots.share_between(sessions.len());
    }
}
