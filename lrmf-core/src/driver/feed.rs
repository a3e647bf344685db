//! Listing and watching, again and again.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;

use crate::coordination::{Coordination, Revision};
use crate::ids::GroupId;
use crate::panics::message_of;
use crate::protocol::backoff::Backoff;
use crate::protocol::{FeedId, FeedItem, Input};

use super::seen::{Mark, Seen};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// One feed: a prefix listed, then watched from there; listed again whenever the watch ends.
pub(crate) struct Feed {
    pub(crate) store: Arc<dyn Coordination>,
    pub(crate) feed: FeedId,
    pub(crate) epoch: u64,
    pub(crate) prefix: String,
    pub(crate) inputs: mpsc::Sender<Input>,
    /// The pauses after failures.
    pub(crate) backoff: Backoff,
    /// The store's progress as seen by all feeds of a member or router, where they are to tell when it has gone back.
    pub(crate) seen: Option<Seen>,
    /// The group whose metrics count failures, where they are counted.
    pub(crate) group: Option<GroupId>,
}

impl Feed {
    /// Runs until it is aborted or nobody listens any more.
    pub(crate) async fn run(self) {
        while let Err(panic) = AssertUnwindSafe(self.follow()).catch_unwind().await {
            tracing::error!(prefix = %self.prefix, error = message_of(panic.as_ref()), "the store's watch panicked");
            tokio::time::sleep(AFTER_PANIC).await;
        }
    }

    async fn follow(&self) {
        let mut backoff = self.backoff.clone().beginning_with(FIRST_PAUSE);
        let mut failed = false;
        loop {
            let before = self.seen.as_ref().map(Seen::before);
            match self.store.list_and_watch(&self.prefix).await {
                Ok((snapshot, mut watch)) => {
                    if self.has_gone_back(before, snapshot.revision)
                        && self.inputs.send(Input::StoreReset).await.is_err()
                    {
                        return;
                    }
                    if self.deliver(FeedItem::Loaded(snapshot)).await.is_err() {
                        return;
                    }
                    while let Some(item) = watch.next().await {
                        match item {
                            Ok(batch) => {
                                backoff.reset();
                                self.note(batch.revision);
                                if self.deliver(FeedItem::Changed(batch)).await.is_err() {
                                    return;
                                }
                            }
                            // Something may be missing from here on, whatever else the stream has.
                            Err(error) => {
                                tracing::debug!(prefix = %self.prefix, %error, "watch ended");
                                break;
                            }
                        }
                    }
                    if self.inputs.send(self.interrupted()).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(prefix = %self.prefix, %error, "list and watch failed");
                    failed = true;
                    if let Some(group) = &self.group {
                        crate::metrics::store_failed(group, &error);
                    }
                }
            }
            tokio::time::sleep(backoff.again()).await;
            if let Some(group) = self.group.as_ref().filter(|_| std::mem::take(&mut failed)) {
                crate::metrics::store_retried(group);
            }
        }
    }

    fn interrupted(&self) -> Input {
        Input::Interrupted { feed: self.feed, epoch: self.epoch }
    }

    fn has_gone_back(&self, before: Option<Mark>, revision: Revision) -> bool {
        let gone_back =
            self.seen.as_ref().zip(before).is_some_and(|(seen, before)| seen.note(before, revision));
        if gone_back {
            tracing::error!(prefix = %self.prefix, revision = revision.0, "the store has lost its data or gone back to an older copy");
        }
        gone_back
    }

    fn note(&self, revision: Revision) {
        if let Some(seen) = &self.seen {
            seen.raise(revision);
        }
    }

    async fn deliver(&self, item: FeedItem) -> Result<(), mpsc::error::SendError<Input>> {
        self.inputs.send(Input::Feed { feed: self.feed, epoch: self.epoch, item }).await
    }
}
