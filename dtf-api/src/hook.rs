//! Hooks: who is told of the ends of tasks.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Condition;

crate::object::only_objects!(Hook);

fn however() -> Condition {
    Condition::Ended
}

/// A receiver that is told of a task's end: one of `url` and `callback`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct Hook {
    /// An address, which gets a POST request signed as Standard Webhooks has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "https://example.com/hooks/dtf")]
    pub url: Option<String>,
    /// A callback that the cluster's programs have registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback: Option<String>,
    /// The ends that it is told of. Default `ended`.
    #[serde(default = "however")]
    #[schema(default = "ended")]
    pub when: Condition,
}

/// The progress of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HookState {
    /// The task has not ended.
    Waiting,
    /// The message is to be delivered.
    Pending,
    /// The receiver has it.
    Delivered,
    /// It was given up: the receiver refused it, or all attempts are spent.
    Failed,
    /// The task ended otherwise than the receiver is told of.
    Unneeded,
}

impl HookState {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Unneeded => "unneeded",
        }
    }

    /// Returns true if its message can be asked for again.
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Delivered | Self::Failed | Self::Unneeded)
    }
}

/// A hook of a task and how far its delivery is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HookDelivery {
    /// The receiver.
    pub hook: Hook,
    /// The progress.
    pub state: HookState,
    /// The number of attempts that were begun.
    pub attempts: u32,
    /// The time of the last attempt.
    pub at: Option<u64>,
    /// The time of the next attempt.
    pub next_at: Option<u64>,
    /// The reason why the last attempt failed; may be empty.
    pub error: String,
}

/// The secret that messages for a resource group are signed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SigningSecret {
    /// The group.
    pub group: String,
    /// The secret, `whsec_` and base64.
    pub secret: String,
}
