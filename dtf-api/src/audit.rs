//! The audit.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// The outcome of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuditOutcome {
    /// It was asked for, and nothing more is known: the server ended before it was made, or after.
    Intended,
    /// It was made.
    Done,
    /// It was refused, and nothing was changed.
    Refused,
    /// A store failed: it may have been made.
    Unknown,
}

impl AuditOutcome {
    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// A change that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Names the entry.
    pub id: Uuid,
    /// The time at which it was asked for.
    pub at: u64,
    /// The person or program that asked.
    pub actor: String,
    /// The network address that the request came from; may be empty.
    pub address: String,
    /// The action, as in `task.cancel`.
    pub action: String,
    /// The thing that it is about, as in `task 7`.
    pub target: String,
    /// More about the change or its outcome.
    pub detail: String,
    /// Its outcome.
    pub outcome: AuditOutcome,
    /// The idempotency key of the request.
    pub request: Uuid,
}

/// The entries of the audit to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only those about this, as in `task 7`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Only those of this actor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Only those before this entry: `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Uuid>,
    /// The most entries of the page, 1 to 1000. Default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// A page of the audit, the newest entries first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// The cursor of the next page; null on the last one.
    pub next: Option<Uuid>,
}
