//! Flows.

use dtf_api as api;
use uuid::Uuid;

use crate::client::Client;
use crate::error::Error;
use crate::request::Request;

impl Client {
    /// Creates a flow under the creation's own name: asking again with the same one finds the flow made before.
    ///
    /// # Errors
    /// The flow was refused, or no answer came: then ask again with the same name.
    pub async fn create_flow_once(&self, request: Uuid, flow: &api::NewFlow) -> Result<api::Flow, Error> {
        self.sender.send(&Request::post("/v1/flows").key(request).json(flow)?).await
    }

    /// Returns a page of flows, the newest first.
    ///
    /// # Errors
    /// The token is for some groups only, or no answer came.
    pub async fn flows(&self, query: &api::FlowQuery) -> Result<api::FlowPage, Error> {
        self.sender.send(&Request::get("/v1/flows").query(query)?).await
    }

    /// Returns a flow with its tasks.
    ///
    /// # Errors
    /// There is no such flow, or no answer came.
    pub async fn flow(&self, id: u64) -> Result<api::Flow, Error> {
        self.sender.send(&Request::get(format!("/v1/flows/{id}"))).await
    }

    /// Pauses, resumes, cancels or retries the tasks of a flow, and returns it; of a retry, the new one. A retry that is asked for again under
    /// the same name makes no second flow.
    ///
    /// # Errors
    /// Its state does not allow it, or no answer came.
    pub async fn act_on_flow(
        &self,
        request: Uuid,
        id: u64,
        action: api::BulkAction,
    ) -> Result<api::Flow, Error> {
        self.sender.send(&Request::post(format!("/v1/flows/{id}/{}", action.name())).key(request)).await
    }
}
