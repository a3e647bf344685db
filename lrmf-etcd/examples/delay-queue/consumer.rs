//! The work of the holder of a shard.

use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use lrmf_core::{Held, RunTask, Token};

use super::queue::{Item, Queue, QueueError, Shard};

/// The handling of an item that is due.
///
/// An item's handler runs again if the worker is lost before the delivery is in the book: what it does to the outside has
/// to bear that, or be done by whoever reads the book. The book has each item once.
#[async_trait]
pub(crate) trait Handler: Send + Sync + 'static {
    /// Handles an item.
    ///
    /// # Errors
    /// The item comes again later.
    async fn handle(&self, item: &Item) -> anyhow::Result<()>;

    /// Hears what became of items and of the run.
    fn report(&self, shard: u32, token: Token, report: Report);
}

/// The report of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// It holds the shard and has taken over this many items that others had claimed.
    Opened(u64),
    /// The item is in the book.
    Delivered(String),
    /// The item's handler failed; it comes again.
    Failed(String, String),
    /// The shard was somebody else's by then: the call was refused, and the run is over.
    Refused,
}

/// Consumes the shards that its member holds.
pub(crate) struct Consumer<H> {
    /// The queue.
    pub(crate) queue: Queue,
    /// The handling of items.
    pub(crate) handler: H,
    /// The number of items that are claimed at a time.
    pub(crate) batch: usize,
    /// How often to look for items that have come in; those that are there are not waited for longer than they are due.
    pub(crate) look: Duration,
    /// After how long an item comes again whose handler failed.
    pub(crate) retry: Duration,
}

#[async_trait]
impl<H: Handler> RunTask for Consumer<H> {
    async fn run(&self, held: Held) -> anyhow::Result<()> {
        let number = held.task.value.parse().context("no shard's task")?;
        let shard = self.queue.shard(number);
        match self.serve(&shard, &held).await {
            // Who holds it now has taken over all that was claimed. There is nothing left to do here.
            Err(QueueError::Fenced) => {
                self.handler.report(number, held.token, Report::Refused);
                Ok(())
            }
            // After any other error it is opened anew, so that nothing claimed is forgotten.
            other => Ok(other?),
        }
    }
}

impl<H: Handler> Consumer<H> {
    async fn serve(&self, shard: &Shard, held: &Held) -> Result<(), QueueError> {
        let taken_over = shard.open(held.token).await?;
        self.handler.report(shard.number(), held.token, Report::Opened(taken_over));
        while held.may_work() {
            let claim = shard.claim(held.token, self.batch).await?;
            if claim.items.is_empty() {
                let pause = claim.next.unwrap_or(self.look).min(self.look);
                held.stop.run_until_cancelled(tokio::time::sleep(pause)).await;
            }
            for item in &claim.items {
                // What is claimed and not delivered, the next holder takes over.
                if !held.may_work() {
                    return Ok(());
                }
                self.deliver(shard, held.token, item).await?;
            }
        }
        Ok(())
    }

    async fn deliver(&self, shard: &Shard, token: Token, item: &Item) -> Result<(), QueueError> {
        let report = |report| self.handler.report(shard.number(), token, report);
        match self.handler.handle(item).await {
            Ok(()) => {
                if shard.deliver(token, &item.id).await? {
                    report(Report::Delivered(item.id.clone()));
                }
            }
            Err(error) => {
                shard.postpone(token, &item.id, self.retry).await?;
                report(Report::Failed(item.id.clone(), format!("{error:#}")));
            }
        }
        Ok(())
    }
}
