//! Listing and watching, again and again.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;

use crate::coordination::Coordination;
use crate::panics::message_of;
use crate::protocol::backoff::Backoff;
use crate::protocol::{FeedId, FeedItem, Input};

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
        loop {
            match self.store.list_and_watch(&self.prefix).await {
                Ok((snapshot, mut watch)) => {
                    if self.deliver(FeedItem::Loaded(snapshot)).await.is_err() {
                        return;
                    }
                    while let Some(item) = watch.next().await {
                        match item {
                            Ok(batch) => {
                                backoff.reset();
                                if self.deliver(FeedItem::Changed(batch)).await.is_err() {
                                    return;
                                }
                            }
                            Err(error) => tracing::debug!(prefix = %self.prefix, %error, "watch ended"),
                        }
                    }
                }
                Err(error) => tracing::debug!(prefix = %self.prefix, %error, "list and watch failed"),
            }
            tokio::time::sleep(backoff.again()).await;
        }
    }

    async fn deliver(&self, item: FeedItem) -> Result<(), mpsc::error::SendError<Input>> {
        self.inputs.send(Input::Feed { feed: self.feed, epoch: self.epoch, item }).await
    }
}
