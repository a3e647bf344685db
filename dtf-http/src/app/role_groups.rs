//! The groups in which the processes of a cluster meet, one a role, as their records have them.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtf_api as api;
use dtf_model::Role;
use futures::future::try_join_all;
use lrmf_core::admin::{Admin, AdminError, GroupState, TaskPhase, TaskView};
use lrmf_core::{BootClock, Clock, Coordination};

use super::moves::{Held, Moves};
use crate::convert;
use crate::problem::Failed;
use crate::watch::Source;

/// The groups of a cluster's roles.
#[derive(Clone)]
pub(crate) struct RoleGroups {
    coordination: Arc<dyn Coordination>,
    cluster: Arc<str>,
    moves: Arc<Moves>,
}

/// The processes of the cluster, and the parts that a process cannot give up.
pub(crate) struct Processes {
    /// The processes, by name.
    pub(crate) workers: Vec<api::Worker>,
    /// The parts that are stuck: role, part, and the process that has it.
    pub(crate) stuck: Vec<(api::Role, String, String)>,
}

impl RoleGroups {
    pub(super) fn new(coordination: Arc<dyn Coordination>, cluster: &str) -> Self {
        Self { coordination, cluster: cluster.into(), moves: Arc::default() }
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
            Ok(state) => {
                self.note(role, &state);
                Ok(Some(state))
            }
            Err(AdminError::NoGroup { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn note(&self, role: Role, state: &GroupState) {
        let held = |view: &TaskView| {
            let held = Held { worker: view.member.to_string(), token: view.token.0 };
            (view.key.to_string(), held)
        };
        let held = state.task_views().iter().map(held).collect();
        self.moves.note(convert::role(role), BootClock.unix_millis(), held);
    }

    /// The parts that changed hands, as this process saw it.
    pub(super) fn moves(&self) -> &Moves {
        &self.moves
    }

    /// Reads the records of all groups.
    pub(super) async fn states(&self) -> Result<Vec<(Role, Option<GroupState>)>, Failed> {
        try_join_all(Role::ALL.map(async |role| Ok((role, self.state(role).await?)))).await
    }

    /// Returns the processes, and what is stuck.
    pub(super) async fn processes(&self) -> Result<Processes, Failed> {
        let mut stuck = Vec::new();
        let mut workers: BTreeMap<String, Vec<api::Member>> = BTreeMap::new();
        for (role, state) in self.states().await? {
            for view in state.iter().flat_map(GroupState::task_views) {
                if view.state == TaskPhase::Stuck {
                    stuck.push((convert::role(role), view.key.to_string(), view.member.to_string()));
                }
            }
            for member in state.iter().flat_map(GroupState::member_views) {
                workers.entry(member.member.to_string()).or_default().push(convert::member(role, &member));
            }
        }
        let workers = workers.into_iter().map(|(name, roles)| api::Worker { name, roles }).collect();
        Ok(Processes { workers, stuck })
    }
}

/// The processes of the cluster.
impl Source for RoleGroups {
    type Memory = ();
    type Value = Processes;

    async fn read(&self, (): &mut ()) -> Result<Processes, Failed> {
        self.processes().await
    }
}
