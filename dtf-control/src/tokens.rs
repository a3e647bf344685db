//! Making, listing and revoking the tokens of the HTTP API.

use std::time::Duration;

use dtf_model::error::InvalidInput;
use dtf_model::token::{ApiToken, TokenRole};

use crate::client::Client;
use crate::client_error::ClientError;
use crate::secret::PresentedToken;

/// The tokens that are read at a time.
const PAGE: u32 = 500;

/// The description of a token that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewToken {
    /// Its purpose, or the name of the person or program that is to have it.
    pub name: String,
    /// The rights that it gives.
    pub role: TokenRole,
    /// The resource groups that it is limited to; all where empty.
    pub groups: Vec<String>,
    /// The task types that a worker with it may execute; all where empty.
    pub types: Vec<String>,
    /// The time until it is refused; never where `None`.
    pub lifetime: Option<Duration>,
    /// The maker of the token.
    pub created_by: String,
}

impl Client {
    /// Makes a token. Its text, the second part of the answer, is kept nowhere: show it once.
    ///
    /// # Errors
    /// A group is unknown or a value out of range (and nothing was made), or the store failed: then the token may be there, and can be
    /// revoked, but nobody knows its secret.
    pub async fn create_token(&self, new: NewToken) -> Result<(ApiToken, String), ClientError> {
        for group in &new.groups {
            if self.group(group).await?.is_none() {
                return Err(InvalidInput::UnknownGroup(group.clone()).into());
            }
        }
        let invalid = |what, got: String, allowed: &str| InvalidInput::OutOfRange {
            what,
            got,
            allowed: allowed.to_owned(),
        };
        if new.role != TokenRole::Worker && !new.types.is_empty() {
            let got = new.types.join(", ");
            return Err(invalid("the list of types", got, "a list only for the role worker").into());
        }
        if new.lifetime.is_some_and(|lifetime| lifetime.is_zero()) {
            return Err(invalid("the lifetime of the token", "0".to_owned(), "more than 0").into());
        }
        let drawn = PresentedToken::draw();
        let drawn = drawn.map_err(|error| invalid("randomness", error.to_string(), "a working generator"))?;
        let now = self.now();
        let lifetime = new.lifetime.map(|lifetime| u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX));
        let token = ApiToken {
            id: drawn.id().to_owned(),
            digest: drawn.digest(),
            name: new.name,
            role: new.role,
            groups: new.groups,
            types: new.types,
            created_at: now,
            created_by: new.created_by,
            expires_at: lifetime.map(|lifetime| now.saturating_add(lifetime).min(i64::MAX as u64)),
            last_used: None,
        };
        self.table().add_token(&token).await?;
        Ok((token, drawn.text()))
    }

    /// Returns a token by its id; `None` where there is no such one.
    ///
    /// # Errors
    /// The store failed.
    pub async fn token(&self, id: &str) -> Result<Option<ApiToken>, ClientError> {
        Ok(self.table().token(id).await?)
    }

    /// Returns all tokens, by id.
    ///
    /// # Errors
    /// The store failed.
    pub async fn tokens(&self) -> Result<Vec<ApiToken>, ClientError> {
        let mut all: Vec<ApiToken> = Vec::new();
        loop {
            let page = self.table().tokens(all.last().map(|token| token.id.as_str()), PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// Returns true if there is any token.
    ///
    /// # Errors
    /// The store failed.
    pub async fn has_tokens(&self) -> Result<bool, ClientError> {
        Ok(!self.table().tokens(None, 1).await?.is_empty())
    }

    /// Notes that a token was used.
    ///
    /// # Errors
    /// The store failed.
    pub async fn touch_token(&self, id: &str, at: u64) -> Result<(), ClientError> {
        Ok(self.table().touch_token(id, at).await?)
    }

    /// Revokes a token: API servers refuse it within seconds. Says whether it was there.
    ///
    /// # Errors
    /// The store failed.
    pub async fn revoke_token(&self, id: &str) -> Result<bool, ClientError> {
        Ok(self.table().remove_token(id).await?)
    }
}
