//! One task or flow, read by itself: what a look at all active tasks does not have.

use dtf_api as api;
use dtf_control::Client;
use dtf_model::{FlowId, TaskId};

use super::shared::Source;
use crate::problem::Failed;
use crate::{convert, flows};

/// A task.
pub(crate) struct OneTask {
    client: Client,
    id: TaskId,
}

impl OneTask {
    pub(super) fn new(client: Client, id: TaskId) -> Self {
        Self { client, id }
    }
}

impl Source for OneTask {
    type Memory = ();
    type Value = api::Task;

    async fn read(&self, (): &mut ()) -> Result<api::Task, Failed> {
        let view = self.client.task_status(self.id).await?;
        Ok(convert::view(self.client.types(), view))
    }
}

/// The numbers of a flow.
pub(crate) struct OneFlow {
    client: Client,
    id: FlowId,
}

impl OneFlow {
    pub(super) fn new(client: Client, id: FlowId) -> Self {
        Self { client, id }
    }
}

impl Source for OneFlow {
    type Memory = ();
    type Value = api::FlowSummary;

    async fn read(&self, (): &mut ()) -> Result<api::FlowSummary, Failed> {
        let next = FlowId(self.id.0.saturating_add(1));
        let found = self.client.flows(Some(next), 1).await?.into_iter().find(|(row, _)| row.id == self.id);
        let missing = || Failed::not_found(format!("there is no flow {}", self.id));
        found.map(|(row, counts)| flows::summary(row, counts)).ok_or_else(missing)
    }
}
