//! Requests of users about hooks, and the secrets that messages are signed with.
//!
//! Each resource group has a secret of its own, made when it is first needed and kept with the cluster's notes; so those who receive
//! messages for one group cannot sign any for another. A secret that was replaced signs beside the new one for a day.

use dtf_model::hook::{HookUpdate, again, next_at};
use dtf_model::table::TaskTable;
use dtf_model::wake::Topic;
use dtf_model::{InvalidInput, StoreError, TaskId};
use dtf_webhook::Secret;
use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::client_error::ClientError;

/// The time for which a secret that was replaced goes on signing, in milliseconds.
const OVERLAP: u64 = 24 * 3600 * 1000;

/// The secrets of a group, as they are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    current: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
    /// The time since which the current one is, in milliseconds since the Unix epoch.
    since: u64,
}

impl Kept {
    fn new(previous: Option<String>, now: u64) -> Result<Self, StoreError> {
        let drawn = Secret::random().map_err(|error| corrupt(&error.to_string()))?;
        Ok(Self { current: drawn.reveal(), previous, since: now })
    }

    fn read(text: &str) -> Result<Self, StoreError> {
        serde_json::from_str(text).map_err(|error| corrupt(&error.to_string()))
    }

    fn text(&self) -> Result<String, StoreError> {
        serde_json::to_string(self).map_err(|error| corrupt(&error.to_string()))
    }
}

fn corrupt(why: &str) -> StoreError {
    StoreError::Refused { store: "tbl_cluster", cause: format!("the signing secret: {why}") }
}

fn name(group: &str) -> String {
    format!("signing-secret.{group}")
}

/// The secrets with which messages of a group are signed at this time, the current one first.
///
/// # Errors
/// The store failed, or what is kept is none.
pub async fn signing_secrets(
    table: &dyn TaskTable,
    group: &str,
    now: u64,
) -> Result<Vec<Secret>, StoreError> {
    let kept = match table.note(&name(group)).await? {
        Some(kept) => kept,
        // Of several that find none, all get the same.
        None => table.note_once(&name(group), &Kept::new(None, now)?.text()?).await?,
    };
    let kept = Kept::read(&kept)?;
    let previous = kept.previous.filter(|_| now < kept.since.saturating_add(OVERLAP));
    let parse =
        |text: String| text.parse().map_err(|error: dtf_webhook::SecretError| corrupt(&error.to_string()));
    std::iter::once(kept.current).chain(previous).map(parse).collect()
}

impl Client {
    /// The secret with which messages of a resource group's hooks are signed. Whoever has it can sign in the group's name.
    ///
    /// # Errors
    /// There is no such group, or the store failed.
    pub async fn signing_secret(&self, group: &str) -> Result<Secret, ClientError> {
        self.check_group(group).await?;
        let mut secrets = signing_secrets(&**self.table(), group, self.now()).await?;
        Ok(secrets.swap_remove(0))
    }

    /// Replaces the secret of a resource group. The old one signs beside the new one for another day, so that receivers can change over.
    ///
    /// # Errors
    /// There is no such group, or the store failed.
    pub async fn replace_signing_secret(&self, group: &str) -> Result<Secret, ClientError> {
        let current = self.signing_secret(group).await?;
        let Some(kept) = self.table().note(&name(group)).await? else {
            return Ok(current);
        };
        let new = Kept::new(Some(current.reveal()), self.now())?;
        if !self.table().replace_note(&name(group), &kept, &new.text()?).await? {
            // Somebody else has replaced it just now.
            return self.signing_secret(group).await;
        }
        new.current.parse().map_err(|error: dtf_webhook::SecretError| corrupt(&error.to_string()).into())
    }

    async fn check_group(&self, group: &str) -> Result<(), ClientError> {
        match self.group(group).await? {
            Some(_) => Ok(()),
            None => Err(InvalidInput::UnknownGroup(group.to_owned()).into()),
        }
    }

    /// Has the message of a settled hook delivered again. Hooks are numbered from 0, in the order of the task's parameters.
    ///
    /// # Errors
    /// There is no such task or hook, its delivery is not settled, or the store failed.
    pub async fn deliver_again(&self, task: TaskId, hook: usize) -> Result<(), ClientError> {
        loop {
            let row = self.row(task).await?;
            if hook >= row.hooks.len() {
                return Err(InvalidInput::NoSuchHook { task, hook, hooks: row.hooks.len() }.into());
            }
            let Some(records) = again(&row.hooks, hook, self.now()) else {
                return Err(InvalidInput::HookUnsettled { task, hook }.into());
            };
            let hook_at = next_at(&records);
            let update = HookUpdate { task, read_at: row.hook_at, records, hook_at };
            // A hook of the task beside it may just have been settled.
            if self.table().update_hooks(&update).await? {
                self.context().wake.notify(Topic::Hooks, task);
                return Ok(());
            }
        }
    }
}
