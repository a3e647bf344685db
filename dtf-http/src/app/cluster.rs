//! The cluster as a whole, and the state of its servers.

use std::sync::Arc;
use std::time::Duration;

use dtf_api as api;
use dtf_control::Client;
use dtf_model::table::TaskFilter;
use dtf_model::{ClusterShape, Role, TaskId};
use futures::FutureExt;
use futures::future::BoxFuture;
use lrmf_core::admin::{GroupState, TaskPhase};

use super::{App, RoleGroups};
use crate::convert;
use crate::problem::Failed;
use crate::watch::Source;

/// The time that all servers together have to be examined.
const PATIENCE: Duration = Duration::from_secs(15);

/// Examines the servers of a cluster.
pub trait Doctor: Send + Sync + 'static {
    /// Returns what there is to say of each server.
    fn examine(&self) -> BoxFuture<'_, Vec<api::Finding>>;
}

/// Says of the stores whether they answer: what a process knows that was not told of any servers.
pub(super) struct Stores {
    pub(super) client: Client,
    pub(super) groups: RoleGroups,
}

impl Doctor for Stores {
    fn examine(&self) -> BoxFuture<'_, Vec<api::Finding>> {
        async {
            let all = TaskFilter::default();
            let table = self.client.list_tasks(&all, None, 1);
            let queues = self.client.has_queues(TaskId(1));
            let (table, queues, groups) = tokio::join!(table, queues, self.groups.processes());
            vec![
                answered("tasks", table),
                answered("queues", queues),
                answered("groups", groups.map_err(|failed| failed.0.detail)),
            ]
        }
        .boxed()
    }
}

fn answered<T>(of: &str, answer: Result<T, impl std::fmt::Display>) -> api::Finding {
    match answer {
        Ok(_) => api::Finding::good(of, "it answers"),
        Err(error) => api::Finding::bad(of, error),
    }
}

/// The findings of a doctor, for all who ask.
pub(crate) struct Findings(pub(super) Arc<dyn Doctor>);

impl Source for Findings {
    type Memory = ();
    type Value = Vec<api::Finding>;

    async fn read(&self, (): &mut ()) -> Result<Vec<api::Finding>, Failed> {
        let late =
            |_| vec![api::Finding::bad("servers", format!("they did not all answer within {PATIENCE:?}"))];
        Ok(tokio::time::timeout(PATIENCE, self.0.examine()).await.unwrap_or_else(late))
    }
}

impl App {
    /// Lets the servers of the cluster be examined by this doctor.
    #[must_use]
    pub fn with_doctor(self, doctor: Arc<dyn Doctor>) -> Self {
        let watch = self.watch.with_doctor(Findings(doctor));
        Self { watch, ..self }
    }

    /// Examines the servers of the cluster.
    ///
    /// # Errors
    /// The caller is limited to some groups.
    pub async fn examine(&self) -> Result<Vec<api::Finding>, Failed> {
        self.caller.check_unlimited()?;
        self.watch.findings().now().await.value.map(|findings| (*findings).clone())
    }

    /// Returns the division of the cluster's work, and the processes that have its roles.
    ///
    /// # Errors
    /// The store of the groups failed.
    pub async fn cluster(&self) -> Result<api::Cluster, Failed> {
        let shape = self.client.shape();
        let roles = self.groups.states().await?.into_iter();
        let roles = roles.map(|(role, state)| role_state(role, state.as_ref(), &shape)).collect();
        Ok(api::Cluster { cluster: self.groups.cluster().to_owned(), shape: convert::shape(&shape), roles })
    }
}

fn role_state(role: Role, state: Option<&GroupState>, shape: &ClusterShape) -> api::RoleState {
    let members = state.map(GroupState::member_views).unwrap_or_default();
    let parts = state.map(GroupState::task_views).unwrap_or_default();
    let leader = members.iter().find(|member| member.leads);
    api::RoleState {
        role: convert::role(role),
        parts: role.parts(shape),
        held: parts.iter().filter(|part| part.state == TaskPhase::Held).count() as u64,
        processes: members.len() as u64,
        leader: leader.map(|member| member.member.to_string()),
        frozen: state.is_some_and(|state| state.freeze.is_some()),
    }
}
