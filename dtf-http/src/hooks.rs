//! Hooks: the actions, the JSON handlers, and the types of the API.

use axum::Json as Body;
use dtf_api as api;
use dtf_control::Client;
use dtf_model::TaskId;
use dtf_model::hook::{Hook, HookRecord, HookState, Receiver};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::{App, Change, target};
use crate::auth::Acting;
use crate::extract::{Path, RequestId};
use crate::flows::{api_condition, condition};
use crate::problem::Failed;

/// The routes of hooks.
pub(crate) fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(deliver_again))
        .routes(routes!(get_signing_secret, replace_signing_secret))
}

impl App {
    /// Has the message of a settled hook delivered again, and returns the task.
    ///
    /// # Errors
    /// There is no such task or hook, its delivery is not settled, or a store failed.
    pub async fn deliver_again(&self, request: Uuid, id: u64, hook: usize) -> Result<api::Task, Failed> {
        self.check_task(id).await?;
        let (action, detail) = ("hook.deliver_again", format!("hook {hook}"));
        let change = Change { action, target: target(TaskId(id)), detail, request };
        let again = |client: Client| async move { Ok(client.deliver_again(TaskId(id), hook).await?) };
        self.noted(change, again).await?;
        self.task(id).await
    }

    /// Returns the secret that messages for a resource group are signed with.
    ///
    /// # Errors
    /// There is no such group, or a store failed.
    pub async fn signing_secret(&self, group: &str) -> Result<api::SigningSecret, Failed> {
        self.caller().check_group(group)?;
        let secret = self.client().signing_secret(group).await?;
        Ok(api::SigningSecret { group: group.to_owned(), secret: secret.reveal() })
    }

    /// Replaces the secret of a resource group, and returns the new one.
    ///
    /// # Errors
    /// There is no such group, or a store failed.
    pub async fn replace_signing_secret(
        &self,
        request: Uuid,
        group: &str,
    ) -> Result<api::SigningSecret, Failed> {
        self.caller().check_group(group)?;
        let (action, target) = ("group.replace_signing_secret", format!("group {group}"));
        let change = Change { action, target, detail: String::new(), request };
        let replaced = |client: Client| async move { Ok(client.replace_signing_secret(group).await?) };
        let secret = self.noted(change, replaced).await?;
        Ok(api::SigningSecret { group: group.to_owned(), secret: secret.reveal() })
    }
}

/// Deliver the message of a settled hook again. Hooks are numbered from 0, in the order in which the task has them.
#[utoipa::path(post, path = "/v1/tasks/{id}/hooks/{hook}/deliver", tag = "tasks",
    params(("id" = u64, Path, description = "The task"), ("hook" = usize, Path, description = "The number of the hook")),
    responses((status = 200, description = "The task", body = api::Task),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn deliver_again(
    Acting(app): Acting,
    request: RequestId,
    Path((id, hook)): Path<(u64, usize)>,
) -> Result<Body<api::Task>, Failed> {
    app.deliver_again(request.0, id, hook).await.map(Body)
}

/// Show the secret that messages for a resource group are signed with.
#[utoipa::path(get, path = "/v1/groups/{name}/signing-secret", tag = "groups", params(("name" = String, Path, description = "The group")),
    responses((status = 200, description = "The secret", body = api::SigningSecret),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn get_signing_secret(
    Acting(app): Acting,
    Path(name): Path<String>,
) -> Result<Body<api::SigningSecret>, Failed> {
    app.signing_secret(&name).await.map(Body)
}

/// Replace the secret that messages for a resource group are signed with. The old one signs beside the new one for another day.
#[utoipa::path(post, path = "/v1/groups/{name}/signing-secret", tag = "groups", params(("name" = String, Path, description = "The group")),
    responses((status = 200, description = "The new secret", body = api::SigningSecret),
        (status = "default", description = "The error", body = api::Problem, content_type = "application/problem+json")))]
async fn replace_signing_secret(
    Acting(app): Acting,
    request: RequestId,
    Path(name): Path<String>,
) -> Result<Body<api::SigningSecret>, Failed> {
    app.replace_signing_secret(request.0, &name).await.map(Body)
}

/// The hooks of a task to be created.
///
/// # Errors
/// One has both receivers or none.
pub(crate) fn hooks(hooks: Vec<api::Hook>) -> Result<Vec<Hook>, Failed> {
    let hook = |api::Hook { url, callback, when }: api::Hook| {
        let to = match (url, callback) {
            (Some(url), None) => Receiver::Url(url),
            (None, Some(name)) => Receiver::Callback(name),
            _ => return Err(Failed::invalid("a hook has one of `url` and `callback`")),
        };
        Ok(Hook { to, when: condition(when) })
    };
    hooks.into_iter().map(hook).collect()
}

/// The reverse of [`hooks`].
pub(crate) fn api_hook(Hook { to, when }: Hook) -> api::Hook {
    let (url, callback) = match to {
        Receiver::Url(url) => (Some(url), None),
        Receiver::Callback(name) => (None, Some(name)),
    };
    api::Hook { url, callback, when: api_condition(when) }
}

/// A hook and its progress, as the framework has them; none where it names no receiver.
pub fn model_delivery(delivery: api::HookDelivery) -> Option<HookRecord> {
    let api::HookDelivery { hook, state, attempts, at, next_at, error } = delivery;
    let hook = hooks(vec![hook]).ok()?.pop()?;
    let state = match state {
        api::HookState::Waiting => HookState::Waiting,
        api::HookState::Pending => HookState::Pending,
        api::HookState::Delivered => HookState::Delivered,
        api::HookState::Failed => HookState::Failed,
        api::HookState::Unneeded => HookState::Unneeded,
    };
    Some(HookRecord { hook, state, attempts, at, next_at, error })
}

/// A hook and its progress.
pub(crate) fn delivery(record: HookRecord) -> api::HookDelivery {
    let HookRecord { hook, state, attempts, at, next_at, error } = record;
    let state = match state {
        HookState::Waiting => api::HookState::Waiting,
        HookState::Pending => api::HookState::Pending,
        HookState::Delivered => api::HookState::Delivered,
        HookState::Failed => api::HookState::Failed,
        HookState::Unneeded => api::HookState::Unneeded,
    };
    api::HookDelivery { hook: api_hook(hook), state, attempts, at, next_at, error }
}
