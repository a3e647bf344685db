//! Listing and watching, again and again.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::mpsc;

use crate::coordination::Coordination;
use crate::protocol::{FeedId, FeedItem, Input};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// One feed: a prefix listed, then watched from there; listed again whenever the watch ends.
pub(crate) struct Feed {
    pub(crate) store: Arc<dyn Coordination>,
    pub(crate) feed: FeedId,
    pub(crate) epoch: u64,
    pub(crate) prefix: String,
    pub(crate) inputs: mpsc::Sender<Input>,
}

impl Feed {
    /// Runs until it is aborted or nobody listens any more.
    pub(crate) async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.store.list_and_watch(&self.prefix).await {
                Ok((snapshot, mut watch)) => {
                    if self.deliver(FeedItem::Loaded(snapshot)).await.is_err() {
                        return;
                    }
                    while let Some(item) = watch.next().await {
                        match item {
                            Ok(batch) => {
                                pause = FIRST_PAUSE;
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
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn deliver(&self, item: FeedItem) -> Result<(), mpsc::error::SendError<Input>> {
        self.inputs.send(Input::Feed { feed: self.feed, epoch: self.epoch, item }).await
    }
}
