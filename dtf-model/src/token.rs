//! Tokens of the HTTP API: the bearers of rights. The port to `tbl_token`.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::{InvalidInput, StoreError};
use crate::text::{MAX_NAME_CHARS, check_length};

/// The most resource groups or types that a token can be limited to.
pub const MAX_TOKEN_SCOPES: usize = 100;
/// The longest id of a token, in characters.
pub const MAX_TOKEN_ID_CHARS: usize = 32;

/// The rights of a token. Each role but [`Worker`](Self::Worker) includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenRole {
    /// Polls for work of named types and reports it; sees nothing else.
    Worker,
    /// Sees everything but tokens and the audit.
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

    /// Returns the number that stands for the role in a table.
    pub fn code(self) -> u8 {
        match self {
            Self::Worker => 1,
            Self::Reader => 2,
            Self::Operator => 3,
            Self::Admin => 4,
        }
    }

    /// Returns the role that a number stands for.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.code() == code)
    }
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// The public part, which names it: letters and digits of ASCII.
    pub id: String,
    /// The SHA-256 digest of the secret part, in hex.
    pub digest: String,
    /// Its purpose, or the name of the person or program that has it.
    pub name: String,
    /// The rights that it gives.
    pub role: TokenRole,
    /// The resource groups that it is limited to; all where empty.
    pub groups: Vec<String>,
    /// The names of the task types that a worker with it may execute; all where empty.
    pub types: Vec<String>,
    /// The time at which it was made, in milliseconds since the Unix epoch.
    pub created_at: u64,
    /// The maker of the token.
    pub created_by: String,
    /// The time from which it is refused, in milliseconds since the Unix epoch; never where `None`.
    pub expires_at: Option<u64>,
    /// The time of its last use, to the minute, in milliseconds since the Unix epoch.
    pub last_used: Option<u64>,
}

impl ApiToken {
    /// Checks that it can be kept.
    ///
    /// # Errors
    /// The first thing that is wrong, and what is allowed.
    pub fn check(&self) -> Result<(), InvalidInput> {
        let out_of_range =
            |what, got: String, allowed: String| Err(InvalidInput::OutOfRange { what, got, allowed });
        if self.name.trim().is_empty() {
            return Err(InvalidInput::Empty("the name of the token"));
        }
        check_length("the name of the token", &self.name, MAX_NAME_CHARS)?;
        check_length("the maker of the token", &self.created_by, MAX_NAME_CHARS)?;
        if self.id.is_empty()
            || self.id.len() > MAX_TOKEN_ID_CHARS
            || !self.id.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            let allowed = format!("1 to {MAX_TOKEN_ID_CHARS} letters and digits");
            return out_of_range("the id of the token", format!("{:?}", self.id), allowed);
        }
        if self.digest.len() != 64 || !self.digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return out_of_range("the digest of the token", "something else".into(), "64 hex digits".into());
        }
        for (what, names) in
            [("the groups of the token", &self.groups), ("the types of the token", &self.types)]
        {
            if names.len() > MAX_TOKEN_SCOPES {
                let allowed = format!("at most {MAX_TOKEN_SCOPES}");
                return out_of_range(what, names.len().to_string(), allowed);
            }
            names.iter().try_for_each(|name| check_length(what, name, MAX_NAME_CHARS))?;
        }
        Ok(())
    }

    /// Returns true if it is refused at this time.
    pub fn has_expired(&self, now: u64) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// The table of tokens.
///
/// # What an implementor guarantees
/// - A call that returned `Ok` is durable, and the next read sees it.
/// - A token that is there stays as it is but for its [last use](ApiToken::last_used): adding one with the same id changes nothing.
/// - Tokens are ordered by the bytes of their ids.
/// - What does not fit is refused with [`StoreError::InvalidInput`] and nothing is written.
///
/// ```
/// use dtf_memory::MemoryTable;
/// use dtf_model::token::{ApiToken, TokenRole, TokenTable};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// let table = MemoryTable::new();
/// let token = ApiToken {
///     id: "a1".into(),
///     digest: "0".repeat(64),
///     name: "the nightly import".into(),
///     role: TokenRole::Operator,
///     groups: vec!["nightly".into()],
///     types: Vec::new(),
///     created_at: 1_800_000_000_000,
///     created_by: "ada".into(),
///     expires_at: None,
///     last_used: None,
/// };
/// table.add_token(&token).await?;
/// table.touch_token("a1", 1_800_000_060_000).await?;
/// assert_eq!(table.token("a1").await?.expect("it was added").last_used, Some(1_800_000_060_000));
/// assert!(table.remove_token("a1").await?);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait TokenTable: Send + Sync + 'static {
    /// Adds a token.
    async fn add_token(&self, token: &ApiToken) -> Result<(), StoreError>;

    /// One token.
    async fn token(&self, id: &str) -> Result<Option<ApiToken>, StoreError>;

    /// The tokens with ids above `after`, by id, at most so many.
    async fn tokens(&self, after: Option<&str>, most: u32) -> Result<Vec<ApiToken>, StoreError>;

    /// Notes a use of a token. An earlier time than the one noted changes nothing.
    async fn touch_token(&self, id: &str, at: u64) -> Result<(), StoreError>;

    /// Deletes a token. Says whether it was there.
    async fn remove_token(&self, id: &str) -> Result<bool, StoreError>;
}
