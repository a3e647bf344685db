//! The cluster as a whole, and the state of its servers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Role;

/// The number of parts into which each role's work is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Shape {
    /// Watch buckets, held by managers.
    pub watch_buckets: u32,
    /// Generation buckets, held by generators.
    pub generation_buckets: u32,
    /// Scheduling partitions, held by schedulers.
    pub partitions: u32,
    /// Subtask shards, held by executors.
    pub shards: u32,
    /// Collection buckets, held by collectors.
    pub collection_buckets: u32,
    /// True if tasks are dealt to buckets as by an earlier version, unevenly where ids have gaps.
    pub by_remainder: bool,
}

/// A role of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleState {
    /// The role.
    pub role: Role,
    /// The number of parts into which its work is divided.
    pub parts: u32,
    /// The number of parts that a process holds.
    pub held: u64,
    /// The number of processes that have the role.
    pub processes: u64,
    /// The process that plans the placement.
    pub leader: Option<String>,
    /// True if parts stay where they are.
    pub frozen: bool,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cluster {
    /// Its name.
    pub cluster: String,
    /// The division of its work.
    pub shape: Shape,
    /// Its roles.
    pub roles: Vec<RoleState>,
}

/// A judgement of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It works.
    Good,
    /// It works, and there is something to know.
    Warning,
    /// It does not work.
    Bad,
}

impl Verdict {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}

/// A finding about a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// The server.
    pub of: String,
    /// The judgement.
    pub verdict: Verdict,
    /// The finding in words.
    pub says: String,
}

impl Finding {
    /// A server that works.
    pub fn good(of: &str, says: impl Into<String>) -> Self {
        Self { of: of.to_owned(), verdict: Verdict::Good, says: says.into() }
    }

    /// A server that works, with something to know.
    pub fn warning(of: &str, says: impl Into<String>) -> Self {
        Self { of: of.to_owned(), verdict: Verdict::Warning, says: says.into() }
    }

    /// A server that does not work. The text is put on one line.
    pub fn bad(of: &str, says: impl std::fmt::Display) -> Self {
        Self { of: of.to_owned(), verdict: Verdict::Bad, says: says.to_string().replace('\n', " ") }
    }
}
