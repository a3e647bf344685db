//! The resource groups, as of one look, and what a pause of one means for its tasks.

use std::sync::Arc;

use dtf_api as api;
use dtf_control::Client;
use dtf_model::ResourceGroup;

use super::shared::{Shared, Source};
use crate::problem::Failed;

/// The resource groups.
pub(crate) struct ResourceGroups(Client);

impl ResourceGroups {
    pub(super) fn new(client: Client) -> Self {
        Self(client)
    }
}

impl Source for ResourceGroups {
    type Memory = ();
    type Value = Vec<ResourceGroup>;

    async fn read(&self, (): &mut ()) -> Result<Vec<ResourceGroup>, Failed> {
        Ok(self.0.groups().await?)
    }
}

impl Shared<ResourceGroups> {
    /// Says of tasks that have not ended and whose group is paused that they wait for its resumption. Groups that cannot be read say nothing.
    pub(crate) async fn block(&self, tasks: &mut [api::Task]) {
        if tasks.iter().all(|task| task.status.is_terminal()) {
            return;
        }
        if let Ok(groups) = self.now().await.value {
            block(&groups, tasks);
        }
    }
}

fn block(groups: &Arc<Vec<ResourceGroup>>, tasks: &mut [api::Task]) {
    let paused: Vec<_> =
        groups.iter().filter(|group| group.paused).map(|group| group.name.as_str()).collect();
    for task in tasks.iter_mut().filter(|task| !task.status.is_terminal()) {
        if paused.contains(&task.group.as_str()) {
            task.blocked_on.push(format!("the group {:?} to be resumed; it is paused", task.group));
        }
    }
}
