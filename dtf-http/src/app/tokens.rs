//! Making, listing and revoking tokens.

use std::time::Duration;

use dtf_api as api;
use dtf_control::NewToken;
use uuid::Uuid;

use super::App;
use super::audit::Change;
use crate::convert;
use crate::problem::Failed;

impl App {
    /// Returns all tokens, by id, without their secrets.
    ///
    /// # Errors
    /// The caller is limited to some groups, or the store failed.
    pub async fn tokens(&self) -> Result<Vec<api::Token>, Failed> {
        self.caller.check_unlimited()?;
        Ok(self.client.tokens().await?.into_iter().map(convert::token).collect())
    }

    /// Makes a token, and returns it with its secret, which is shown this once.
    ///
    /// # Errors
    /// A group is unknown, a value is out of range, or a store failed.
    pub async fn create_token(&self, new: api::NewToken) -> Result<api::CreatedToken, Failed> {
        self.caller.check_unlimited()?;
        let change = Change {
            action: "token.create",
            target: format!("token {}", new.name),
            detail: format!("role {}", new.role.name()),
            request: Uuid::new_v4(),
        };
        let new = NewToken {
            name: new.name,
            role: convert::model_token_role(new.role),
            groups: new.groups,
            types: new.types,
            lifetime: new.lifetime_s.map(Duration::from_secs),
            created_by: self.caller.name.clone(),
        };
        self.noted(change, |client| async move {
            let (token, secret) = client.create_token(new).await?;
            Ok(api::CreatedToken { token: convert::token(token), secret })
        })
        .await
    }

    /// Revokes a token: servers refuse it within five seconds.
    ///
    /// # Errors
    /// There is no such token, or a store failed.
    pub async fn revoke_token(&self, id: &str) -> Result<(), Failed> {
        self.caller.check_unlimited()?;
        let change = Change {
            action: "token.revoke",
            target: format!("token {id}"),
            detail: String::new(),
            request: Uuid::new_v4(),
        };
        self.noted(change, |client| async move {
            match client.revoke_token(id).await? {
                true => Ok(()),
                false => Err(Failed::not_found(format!("there is no token {id:?}"))),
            }
        })
        .await
    }
}
