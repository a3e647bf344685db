//! Items that are fed into open tasks, and the workers that have them.

use dtf_api as api;

use crate::client::Client;
use crate::error::Error;
use crate::request::Request;

impl Client {
    /// Feeds items, each one JSON value on one line, into a task. With a producer and its offset, items that are sent again are taken once;
    /// without, the request is sent once.
    ///
    /// # Errors
    /// The task takes no items or no more of them, too many are kept, or no answer came.
    pub async fn feed_items<T: AsRef<[u8]>>(
        &self,
        id: u64,
        query: &api::FeedQuery,
        items: &[T],
    ) -> Result<api::Fed, Error> {
        let request = Request::post(format!("/v1/tasks/{id}/items")).query(query)?.lines(items);
        match query.offset {
            Some(_) => self.sender.send(&request).await,
            None => self.sender.send_once(&request).await,
        }
    }

    /// Returns how many items were fed into a task, and the next offset of a producer.
    ///
    /// # Errors
    /// The task takes no items, or no answer came.
    pub async fn item_feed(&self, id: u64, query: &api::ProducerQuery) -> Result<api::ItemFeed, Error> {
        self.sender.send(&Request::get(format!("/v1/tasks/{id}/items")).query(query)?).await
    }

    /// Says that no more items come, and returns the task.
    ///
    /// # Errors
    /// The task takes no items, or no answer came.
    pub async fn close_items(&self, id: u64) -> Result<api::Task, Error> {
        self.sender.send(&Request::post(format!("/v1/tasks/{id}/close"))).await
    }

    /// Returns the remote workers that are connected to processes of the cluster.
    ///
    /// # Errors
    /// No answer came.
    pub async fn remote_workers(&self) -> Result<Vec<api::RemoteWorker>, Error> {
        self.sender.send(&Request::get("/v1/work/workers")).await
    }
}
