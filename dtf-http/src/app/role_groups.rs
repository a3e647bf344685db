//! The groups in which the processes of a cluster meet, one a role, as their records have them.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtf_api as api;
use dtf_model::Role;
use futures::future::try_join_all;
use lrmf_core::Coordination;
use lrmf_core::admin::{Admin, AdminError, GroupState};

use crate::convert;
use crate::problem::Failed;
use crate::watch::Source;

/// The groups of a cluster's roles.
#[derive(Clone)]
pub(crate) struct RoleGroups {
    coordination: Arc<dyn Coordination>,
    cluster: Arc<str>,
}

impl RoleGroups {
    pub(super) fn new(coordination: Arc<dyn Coordination>, cluster: &str) -> Self {
        Self { coordination, cluster: cluster.into() }
    }

    /// The name of the cluster.
    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The way to a role's group.
    pub(super) fn admin(&self, role: Role) -> Result<Admin, Failed> {
        let group = role.group(&self.cluster).map_err(|error| Failed::invalid(error.to_string()))?;
        Ok(Admin::new(self.coordination.clone(), group))
    }

    /// Reads the records of a role's group; none where no process ever joined it.
    pub(super) async fn state(&self, role: Role) -> Result<Option<GroupState>, Failed> {
        match self.admin(role)?.read().await {
            Ok(state) => Ok(Some(state)),
            Err(AdminError::NoGroup { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the records of all groups.
    pub(super) async fn states(&self) -> Result<Vec<(Role, Option<GroupState>)>, Failed> {
        try_join_all(Role::ALL.map(async |role| Ok((role, self.state(role).await?)))).await
    }

    /// Returns the processes, by name.
    pub(super) async fn workers(&self) -> Result<Vec<api::Worker>, Failed> {
        let mut workers: BTreeMap<String, Vec<api::Member>> = BTreeMap::new();
        for (role, state) in self.states().await? {
            for member in state.iter().flat_map(GroupState::member_views) {
                workers.entry(member.member.to_string()).or_default().push(convert::member(role, &member));
            }
        }
        Ok(workers.into_iter().map(|(name, roles)| api::Worker { name, roles }).collect())
    }
}

/// The processes of the cluster.
impl Source for RoleGroups {
    type Memory = ();
    type Value = Vec<api::Worker>;

    async fn read(&self, (): &mut ()) -> Result<Vec<api::Worker>, Failed> {
        self.workers().await
    }
}
