//! Actions on many tasks.

use dtf_api as api;
use uuid::Uuid;

use crate::client::Client;
use crate::error::Error;
use crate::request::Request;

impl Client {
    /// Begins an action on all tasks that a filter selects, under the action's own name: asking again with the same one finds the action
    /// that was begun before. A dry run selects only.
    ///
    /// # Errors
    /// The filter was refused or selects another number of tasks, or no answer came: then ask again with the same name.
    pub async fn bulk(&self, request: Uuid, bulk: &api::BulkRequest) -> Result<api::Bulk, Error> {
        self.sender.send(&Request::post("/v1/bulk").key(request).json(bulk)?).await
    }

    /// Returns how far an action on many tasks is.
    ///
    /// # Errors
    /// There is no such action, or no answer came.
    pub async fn bulk_state(&self, id: Uuid) -> Result<api::Bulk, Error> {
        self.sender.send(&Request::get(format!("/v1/bulk/{id}"))).await
    }
}
