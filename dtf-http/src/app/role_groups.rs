//! The groups in which the processes of a cluster meet, one a role, as their records have them.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtf_api as api;
use dtf_control::{Client, SLOTS_LABEL, StuckCallNote, StuckNote, StuckNotes, TASK_TYPES_LABEL};
use dtf_model::ids::TypeVersion;
use dtf_model::shard::SupportedTypes;
use dtf_model::{Role, Shard};
use futures::future::try_join_all;
use lrmf_core::admin::{Admin, AdminError, GroupState, MemberView, TaskPhase, TaskView};
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
    client: Option<Client>,
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
    pub(super) fn new(coordination: Arc<dyn Coordination>, cluster: &str, client: Option<Client>) -> Self {
        Self { coordination, cluster: cluster.into(), client, moves: Arc::default() }
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
        let (states, notes) = tokio::join!(self.states(), self.notes());
        let (mut stuck, mut found) = (Vec::new(), Found::default());
        for (role, state) in states? {
            for view in state.iter().flat_map(GroupState::task_views) {
                if view.state == TaskPhase::Stuck {
                    stuck.push((convert::role(role), view.key.to_string(), view.member.to_string()));
                }
                found.part(role, &view);
            }
            for member in state.iter().flat_map(GroupState::member_views) {
                found.member(role, &member, self.client.as_ref());
            }
        }
        for note in notes? {
            found.note(note);
        }
        let mut workers = found.workers;
        self.tell_used_slots(&mut workers, &found.shards).await;
        Ok(Processes { workers: workers.into_values().collect(), stuck })
    }

    /// The calls that are stuck, by process.
    async fn notes(&self) -> Result<Vec<StuckNote>, Failed> {
        let notes = StuckNotes::new(self.coordination.clone(), &self.cluster);
        Ok(notes.read(BootClock.unix_millis()).await.map_err(AdminError::from)?)
    }

    /// Tells of each executor how many of its slots have work: as many as it has parcels in hand, as far as it has slots for them. Where
    /// the queues are down, that is left open.
    async fn tell_used_slots(&self, workers: &mut Workers, shards: &[(Shard, String)]) {
        let Some(client) = &self.client else { return };
        let numbers: Vec<_> = shards.iter().map(|(shard, _)| *shard).collect();
        let Ok(Some(parcels)) = client.parcels_on(&numbers).await else { return };
        let mut in_hand: BTreeMap<&str, u64> = BTreeMap::new();
        for ((_, holder), parcels) in shards.iter().zip(parcels) {
            *in_hand.entry(holder).or_default() += parcels;
        }
        for (name, worker) in workers {
            if let Some(slots) = &mut worker.slots {
                let parcels = in_hand.get(name.as_str()).copied().unwrap_or(0);
                slots.used = Some(parcels.min(slots.total));
            }
        }
    }
}

/// The processes, by name.
type Workers = BTreeMap<String, api::Worker>;

/// The processes that are found in the records of groups.
#[derive(Default)]
struct Found {
    workers: Workers,
    /// The shards with their holders.
    shards: Vec<(Shard, String)>,
}

impl Found {
    fn worker(&mut self, name: &str) -> &mut api::Worker {
        let new = || api::Worker { name: name.to_owned(), ..api::Worker::default() };
        self.workers.entry(name.to_owned()).or_insert_with(new)
    }

    fn part(&mut self, role: Role, view: &TaskView) {
        if role == Role::Executor
            && let Ok(number) = view.key.parse()
        {
            self.shards.push((Shard(number), view.member.to_string()));
        }
    }

    fn member(&mut self, role: Role, member: &MemberView, client: Option<&Client>) {
        let worker = self.worker(member.member.as_str());
        worker.roles.push(convert::member(role, member));
        let slots = member.labels.get(SLOTS_LABEL).and_then(|slots| slots.parse().ok());
        worker.slots = worker.slots.or(slots.map(|total| api::Slots { total, used: None }));
        if let Some(types) = member.labels.get(TASK_TYPES_LABEL).filter(|_| worker.types.is_empty()) {
            let listed = SupportedTypes::read(types);
            worker.types = listed.listed().map(|known| known_type(known, client)).collect();
        }
    }

    /// A process that is in no group any more has left.
    fn note(&mut self, note: StuckNote) {
        let Some(worker) = self.workers.get_mut(&note.process) else { return };
        let call = |call: StuckCallNote| api::StuckCall { call: call.call, since: call.since };
        worker.stuck_count = note.count;
        worker.stuck = note.calls.into_iter().map(call).collect();
    }
}

fn known_type(known: TypeVersion, client: Option<&Client>) -> api::KnownType {
    let named = client.and_then(|client| client.types().get(known.task_type).ok());
    let name = named.map_or_else(|| known.task_type.to_string(), |named| named.name.clone());
    api::KnownType { name, version: known.version }
}

/// Returns the processes of a cluster, by name, as the API tells of them: for programs that reach its stores. Without a client, the slots
/// in use and the names of types are not told.
///
/// # Errors
/// The store of the groups failed.
pub async fn workers(
    coordination: Arc<dyn Coordination>,
    cluster: &str,
    client: Option<Client>,
) -> Result<Vec<api::Worker>, Failed> {
    Ok(RoleGroups::new(coordination, cluster, client).processes().await?.workers)
}

/// The processes of the cluster.
impl Source for RoleGroups {
    type Memory = ();
    type Value = Processes;

    async fn read(&self, (): &mut ()) -> Result<Processes, Failed> {
        self.processes().await
    }
}
