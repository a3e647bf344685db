//! Tokens of the API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The rights of a token. Each role but worker includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TokenRole {
    /// Polls for work of named types and reports it; sees nothing else.
    Worker,
    /// Sees everything but tokens and the audit.
    #[default]
    Reader,
    /// Creates and steers tasks, groups and workers.
    Operator,
    /// Makes tokens, and reads the audit.
    Admin,
}

impl TokenRole {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Worker, Self::Reader, Self::Operator, Self::Admin];

    /// Returns the role's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Reader => "reader",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// The public part, which names it.
    pub id: String,
    /// Its purpose, or the name of the person or program that has it.
    pub name: String,
    /// The rights that it gives.
    pub role: TokenRole,
    /// The resource groups that it is limited to; all where empty.
    pub groups: Vec<String>,
    /// The task types that a worker with it may execute; all where empty.
    pub types: Vec<String>,
    /// The time at which it was made.
    pub created_at: u64,
    /// The maker of the token.
    pub created_by: String,
    /// The time from which it is refused; never where it is null.
    pub expires_at: Option<u64>,
    /// The time of its last use, to the minute.
    pub last_used: Option<u64>,
}

/// A token to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Its purpose, or the name of the person or program that is to have it; at most 128 characters.
    pub name: String,
    /// The rights that it gives.
    pub role: TokenRole,
    /// The resource groups that it is limited to; all where empty.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The task types that a worker with it may execute; all where empty. Only for the role worker.
    #[serde(default)]
    pub types: Vec<String>,
    /// The time until it is refused, in seconds; never where it is left out.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub lifetime_s: Option<u64>,
}

/// A token that was made, with its secret, which is shown this once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    /// The token.
    pub token: Token,
    /// The text to present, as in `Authorization: Bearer dtf_…`.
    pub secret: String,
}
