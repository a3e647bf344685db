//! The processes of a cluster, and the parts of each role's work that they hold.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A role of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Starts tasks, watches over them and ends them.
    Manager,
    /// Generates subtasks.
    Generator,
    /// Dispatches subtasks.
    Scheduler,
    /// Runs subtasks.
    Executor,
    /// Collects results.
    Collector,
}

impl Role {
    /// All of them, in the order of a subtask's way.
    pub const ALL: [Self; 5] =
        [Self::Manager, Self::Generator, Self::Scheduler, Self::Executor, Self::Collector];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Manager => "manager",
            Self::Generator => "generator",
            Self::Scheduler => "scheduler",
            Self::Executor => "executor",
            Self::Collector => "collector",
        }
    }
}

/// The state of a member of a role's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// It takes parts.
    Active,
    /// It is leaving, and hands its parts over.
    Draining,
    /// It stopped and is about to come back; its parts wait for it.
    Restarting,
    /// Its session has ended; its parts move on.
    Gone,
}

impl MemberState {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Restarting => "restarting",
            Self::Gone => "gone",
        }
    }
}

/// A process as a member of one role's group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// The role.
    pub role: Role,
    /// Its state.
    pub state: MemberState,
    /// True where it plans the group's placement.
    pub leads: bool,
    /// True where it is to be empty.
    pub drained: bool,
    /// The number of parts that it holds.
    pub parts: u64,
    /// The number of parts that it is releasing.
    pub releasing: u64,
    /// True where another process waits to become it.
    #[serde(default)]
    pub successor: bool,
}

/// The slots of an executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Slots {
    /// The number of parcels of subtasks that it runs at once.
    pub total: u64,
    /// The number of slots that have work; none where that cannot be told now.
    pub used: Option<u64>,
}

/// A type of task that a process knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KnownType {
    /// Its name; its number where the server does not know the type.
    pub name: String,
    /// Its version.
    pub version: u32,
}

/// A call into a plugin that blocks its thread past its time limit and cannot be broken off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StuckCall {
    /// The call: the role and the task on whose behalf it was made, as far as that is known.
    pub call: String,
    /// The time since which it is stuck.
    pub since: u64,
}

/// A process of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Worker {
    /// Its instance name.
    pub name: String,
    /// Its roles.
    pub roles: Vec<Member>,
    /// The slots of its executor; none where it has not this role.
    #[serde(default)]
    pub slots: Option<Slots>,
    /// The types of task that it knows, by number.
    #[serde(default)]
    pub types: Vec<KnownType>,
    /// The number of calls into plugins that are stuck in it.
    #[serde(default)]
    pub stuck_count: u64,
    /// The calls that are stuck for longest, at most 20.
    #[serde(default)]
    pub stuck: Vec<StuckCall>,
}

/// The wish that a process be emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// True to take its parts away and give it none; false to let it have parts again.
    pub drained: bool,
}

/// The state of a holding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldingState {
    /// The part is with its holder.
    Held,
    /// The part could not be started there.
    Failed,
    /// The holder is to stop it.
    Releasing,
    /// The holder is to stop it, and cannot.
    Stuck,
    /// The holder has stopped it; no other process has it yet.
    Released,
    /// It waits for its holder to come back.
    Waiting,
    /// The holder's session has ended.
    Orphaned,
    /// The holder is out of contact; the part goes to another process.
    Unreached,
}

impl HoldingState {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Failed => "failed",
            Self::Releasing => "releasing",
            Self::Stuck => "stuck",
            Self::Released => "released",
            Self::Waiting => "waiting",
            Self::Orphaned => "orphaned",
            Self::Unreached => "unreached",
        }
    }
}

/// The holding of one part of a role's work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Holding {
    /// The number of the part.
    pub part: String,
    /// The process that holds it.
    pub worker: String,
    /// The fencing token of the holding: writes under a lower one are refused.
    pub token: u64,
    /// The state of the holding.
    pub state: HoldingState,
    /// The reasons why the part is where it is, the most important first.
    pub why: Vec<String>,
    /// The process that it is pinned to.
    pub pinned_to: Option<String>,
    /// The time since which the server has seen this holding; none where it was there when the server began to look.
    #[serde(default)]
    pub since: Option<u64>,
}

/// A part that changed hands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Move {
    /// The time at which the server saw it.
    pub at: u64,
    /// The part.
    pub part: String,
    /// The process that held it before; none where no process did.
    pub from: Option<String>,
    /// The process that holds it now; none where no process does.
    pub to: Option<String>,
    /// The fencing token of the new holding.
    pub token: Option<u64>,
}

/// The wish that parts stay where they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Freeze {
    /// The one who wants it, as the audit has the name.
    pub by: Option<String>,
    /// The time at which it was asked for.
    pub at: u64,
}

/// The placement of one role's parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Placement {
    /// The role.
    pub role: Role,
    /// The parts that are in a record, by number.
    pub parts: Vec<Holding>,
    /// The wish that parts stay where they are, where there is one.
    pub frozen: Option<Freeze>,
    /// The processes that have the role, by name.
    pub workers: Vec<String>,
    /// The parts that changed hands, as this server saw it, the latest first, at most 200.
    #[serde(default)]
    pub moves: Vec<Move>,
    /// The time since which this server looks.
    #[serde(default)]
    pub seen_since: u64,
}

/// A part of a role's work that is to be with one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The part, as the placement names it.
    pub part: String,
    /// The process.
    pub worker: String,
}

/// A part of a role's work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The part, as the placement names it.
    pub part: String,
}

/// A process that is to end its session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Eviction {
    /// The process.
    pub worker: String,
}
