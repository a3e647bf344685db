//! Feeding items into open tasks.

use bytes::Bytes;
use dtf_model::items::{Appended, Feed, FeedOffset};
use dtf_model::{InvalidInput, TaskId};

use crate::client::Client;
use crate::client_error::ClientError;

impl Client {
    /// Feeds items, each one JSON value on one line, into a task that takes them. With an offset, feeding them again adds none twice.
    ///
    /// # Errors
    /// The task does not exist, has ended or takes no items, or the store failed: then some of the first items may have been taken.
    pub async fn feed_items(
        &self,
        id: TaskId,
        offset: Option<FeedOffset<'_>>,
        items: &[Bytes],
    ) -> Result<Appended, ClientError> {
        self.check_open(id, "fed").await?;
        let appended = self.table().feed_items(id, offset, items).await?;
        self.hint_at_items(id);
        Ok(appended)
    }

    /// Says that no more items come: the task ends when those that were fed are done.
    ///
    /// # Errors
    /// The task does not exist, has ended or takes no items, or the store failed.
    pub async fn close_items(&self, id: TaskId) -> Result<(), ClientError> {
        self.check_open(id, "closed").await?;
        self.table().close_items(id).await?;
        self.hint_at_items(id);
        Ok(())
    }

    /// Returns the state of a task's items, and the next offset of a producer.
    ///
    /// # Errors
    /// The task does not exist or takes no items, or the store failed.
    pub async fn item_feed(&self, id: TaskId, producer: &str) -> Result<(Feed, u64), ClientError> {
        let row = self.row(id).await?;
        self.check_takes_items(id, row.task_type, &row.param)?;
        Ok(self.table().feed(id, producer).await?)
    }

    fn hint_at_items(&self, id: TaskId) {
        self.context().wake.notify(self.context().shape.generation(id), id);
    }

    async fn check_open(&self, id: TaskId, asked: &'static str) -> Result<(), ClientError> {
        let row = self.row(id).await?;
        self.check_takes_items(id, row.task_type, &row.param)?;
        if row.status.is_terminal() {
            return Err(ClientError::NotAllowed { task: id, status: row.status, asked });
        }
        Ok(())
    }

    fn check_takes_items(
        &self,
        id: TaskId,
        task_type: dtf_model::TaskTypeId,
        param: &dtf_model::TaskParam,
    ) -> Result<(), ClientError> {
        // A task that runs failures of another one again has its items.
        let takes =
            self.context().plugins.get(task_type)?.plugin.takes_items(param) && param.retry_of.is_none();
        if takes { Ok(()) } else { Err(InvalidInput::TakesNoItems(id).into()) }
    }
}
