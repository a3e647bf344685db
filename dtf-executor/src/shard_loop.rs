//! One shard, held by this process: claims parcels as slots become free, runs and reports them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dtf_model::plugin::Members;
use dtf_model::shard::Shipment;
use dtf_model::wake::Topic;
use dtf_model::{Shard, StoreError};
use dtf_runtime::{RoleContext, until, until_answered};
use lrmf_core::runner::Held;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::ExecutorPorts;
use crate::held_shards::{HeldShards, Holding};
use crate::parcel;
use crate::shard_session::ShardSession;
use crate::slots::Slots;
use crate::subtask::Stop;
use crate::task_cache::TaskCache;

/// How soon a shard is claimed from again whose store did not answer.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

pub(crate) struct ShardLoop {
    slots: Arc<Slots>,
    stop: CancellationToken,
    session: Arc<ShardSession>,
    parcels: JoinSet<()>,
    /// Claimed and waiting for a slot.
    waiting: VecDeque<Shipment>,
    /// Whether the shard may have more.
    more: bool,
    /// When it is claimed from again whether or not it has more, after a failure.
    again: Option<Instant>,
    /// Whether the types that this process executes have changed, of which schedulers have not heard.
    tells_types: bool,
    held: Arc<HeldShards>,
    _holding: Holding,
}

impl ShardLoop {
    pub(crate) fn new(
        shard: Shard,
        held: &Held,
        ports: ExecutorPorts,
        context: RoleContext,
        slots: Arc<Slots>,
        book: Arc<TaskCache>,
        held_shards: Arc<HeldShards>,
    ) -> Self {
        let stop = Stop { soon: held.stop.child_token(), now: CancellationToken::new() };
        let (token, in_hand) = (held.token, Mutex::default());
        let claim_again = Notify::new();
        let session = Arc::new(ShardSession {
            shard,
            token,
            ports,
            context,
            book,
            slots: slots.clone(),
            stop,
            in_hand,
            claim_again,
            ending_with_it: TaskTracker::new(),
            end_all: CancellationToken::new(),
        });
        let (parcels, waiting) = (JoinSet::new(), VecDeque::new());
        let stop = held.stop.clone();
        let holding = held_shards.hold(&session);
        Self {
            slots,
            stop,
            session,
            parcels,
            waiting,
            more: true,
            again: None,
            tells_types: false,
            held: held_shards,
            _holding: holding,
        }
    }

    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        let ran = self.work().await;
        self.drain().await;
        Ok(ran?)
    }

    async fn work(&mut self) -> Result<(), StoreError> {
        let mut listener = self.session.context.wake.listen(Topic::Shard(self.session.shard.0));
        // Before the shard is taken up, which says what is taken now.
        let mut windows = self.slots.windows();
        let mut members = self.session.context.plugins.members().map(|(_, members)| members);
        if !self.take_up().await? {
            return Ok(());
        }
        loop {
            let again = until(self.again);
            let wanted = self.more || !self.waiting.is_empty();
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                Some(ended) = self.parcels.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(shard = self.session.shard.0, %error, "a parcel's run panicked");
                    }
                }
                permit = self.slots.slots().clone().acquire_owned(), if wanted => match permit {
                    Ok(permit) => self.use_slot(permit).await?,
                    Err(_) => return Ok(()), // the slots are never closed
                },
                _ = listener.next() => self.more = true,
                () = self.session.claim_again.notified() => self.more = true,
                // Claiming says how much the shard may have now.
                Ok(()) = windows.changed() => self.more = true,
                // And of which types.
                () = changed(&mut members) => (self.more, self.tells_types) = (true, true),
                () = again => {
                    (self.again, self.more) = (None, true);
                }
            }
        }
    }

    /// Takes the shard up, again while the store does not answer. Says false where the shard is given up before.
    async fn take_up(&self) -> Result<bool, StoreError> {
        let session = &self.session;
        match until_answered(&self.stop, || session.hold()).await {
            Err(error) if error.is_retryable() => Ok(false),
            answered => answered.map(|()| true),
        }
    }

    /// Runs the next parcel on a slot, claiming as many as there are slots free.
    async fn use_slot(&mut self, permit: OwnedSemaphorePermit) -> Result<(), StoreError> {
        if self.waiting.is_empty() {
            let most = 1 + self.slots.slots().available_permits();
            let claimed = match self.session.claim(most).await {
                Err(error) if error.is_retryable() => {
                    warn!(shard = self.session.shard.0, %error, "nothing claimed");
                    (self.again, self.more) = (Some(Instant::now() + AFTER_FAILURE), false);
                    return Ok(());
                }
                answered => answered?,
            };
            if std::mem::take(&mut self.tells_types) {
                self.session.hint_room();
            }
            // Where there were fewer, a hint comes with the next ones.
            self.more = claimed.len() >= most;
            if !claimed.is_empty() {
                self.held.is_busy();
            }
            self.waiting.extend(claimed);
        }
        if let Some(shipment) = self.waiting.pop_front() {
            let session = self.session.clone();
            let on = session.context.plugin_runtime.clone();
            let run = async move {
                parcel::serve(&session, &shipment).await;
                drop(permit);
            };
            self.parcels.spawn_on(run, &on);
        }
        Ok(())
    }

    /// Gives back what has not begun and lets what runs come to its end, for a while, longer where the process leaves, then
    /// drops it.
    async fn drain(&mut self) {
        self.session.stop.soon.cancel();
        let waiting = std::mem::take(&mut self.waiting).into();
        let all = async { while self.parcels.join_next().await.is_some() {} };
        let all = async {
            let given_back = async {
                self.session.give_back(waiting).await;
                if self.session.context.shutdown.is_leaving() {
                    self.session.close().await;
                }
            };
            tokio::join!(given_back, all);
        };
        if !self.session.context.shutdown.wait_for(self.slots.config().drain, all).await {
            if self.session.context.shutdown.is_leaving() {
                self.session.end_all.cancel();
            }
            self.session.stop.now.cancel();
            self.session.ending_with_it.close();
            self.session.ending_with_it.wait().await;
            self.held.outlived_by(std::mem::take(&mut self.parcels));
        }
    }
}

/// Waits for a change of the members that can be executed here; for ever where there will be none.
async fn changed(members: &mut Option<Members>) {
    if let Some(watched) = members
        && watched.changed().await.is_ok()
    {
        return;
    }
    *members = None;
    std::future::pending().await
}
