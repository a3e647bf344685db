//! The one watcher of a process: pages and streams share what it has seen, so that they cost the stores the same however many are open.

mod look;
mod resource_groups;
mod shared;
mod single;

use std::sync::Arc;

use dtf_control::Client;
use dtf_model::{FlowId, TaskId};

use crate::app::{Findings, RoleGroups};

pub(crate) use self::look::{Look, Looks};
use self::resource_groups::ResourceGroups;
use self::shared::SharedBy;
pub(crate) use self::shared::{Seen, Shared, Source};
pub(crate) use self::single::{OneFlow, OneTask};

/// The watcher.
#[derive(Clone)]
pub(crate) struct Watch {
    client: Client,
    resource_groups: Arc<Shared<ResourceGroups>>,
    all: Arc<Shared<Looks>>,
    some: Arc<SharedBy<Vec<String>, Looks>>,
    tasks: Arc<SharedBy<TaskId, OneTask>>,
    flows: Arc<SharedBy<FlowId, OneFlow>>,
    processes: Arc<Shared<RoleGroups>>,
    findings: Arc<Shared<Findings>>,
}

impl Watch {
    pub(crate) fn new(client: Client, groups: RoleGroups, findings: Findings) -> Self {
        let resource_groups = Arc::new(Shared::new(ResourceGroups::new(client.clone())));
        Self {
            all: Arc::new(Shared::new(Looks::new(client.clone(), resource_groups.clone(), Vec::new()))),
            resource_groups,
            some: Arc::new(SharedBy::new()),
            tasks: Arc::new(SharedBy::new()),
            flows: Arc::new(SharedBy::new()),
            processes: Arc::new(Shared::new(groups)),
            findings: Arc::new(Shared::new(findings)),
            client,
        }
    }

    /// The tasks that have not ended, of these groups; of all where there are none.
    pub(crate) fn active(&self, groups: &[String]) -> Arc<Shared<Looks>> {
        if groups.is_empty() {
            return self.all.clone();
        }
        let mut groups = groups.to_vec();
        groups.sort_unstable();
        self.some
            .get(groups.clone(), || Looks::new(self.client.clone(), self.resource_groups.clone(), groups))
    }

    /// The resource groups.
    pub(crate) fn resource_groups(&self) -> &Shared<ResourceGroups> {
        &self.resource_groups
    }

    /// The processes of the cluster.
    pub(crate) fn processes(&self) -> &Shared<RoleGroups> {
        &self.processes
    }

    /// The same with findings of another doctor.
    pub(crate) fn with_doctor(&self, findings: Findings) -> Self {
        Self { findings: Arc::new(Shared::new(findings)), ..self.clone() }
    }

    /// The findings about the servers.
    pub(crate) fn findings(&self) -> &Shared<Findings> {
        &self.findings
    }

    /// One task, in whatever state.
    pub(crate) fn task(&self, id: TaskId) -> Arc<Shared<OneTask>> {
        self.tasks.get(id, || OneTask::new(self.client.clone(), id))
    }

    /// The numbers of one flow.
    pub(crate) fn flow(&self, id: FlowId) -> Arc<Shared<OneFlow>> {
        self.flows.get(id, || OneFlow::new(self.client.clone(), id))
    }
}
