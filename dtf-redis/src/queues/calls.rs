//! The calls of the scripts on a task.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use dtf_model::queue::Fence;
use dtf_model::{RunEpoch, StoreError, TaskId};
use lrmf_core::Token;
use redis::{Script, ScriptInvocation};

use super::RedisQueues;
use crate::keys::Of;
use crate::reply::Reply;
use crate::scripts;

/// A token as the scripts compare it.
pub(crate) fn token_text(token: Token) -> String {
    format!("{:020}", token.0)
}

/// A number for an epoch that no load of the task has had, in all likelihood. The script makes sure of those it knows.
pub(super) fn nonce() -> u32 {
    // Every `RandomState` has keys of its own, drawn from the system's randomness and a counter.
    (RandomState::new().hash_one(0) >> 32) as u32
}

impl RedisQueues {
    /// A call of a script on these keys of a task, with the run as first argument.
    pub(super) fn script<'a>(
        &self,
        script: &'a Script,
        task: TaskId,
        run: RunEpoch,
        keys: &[Of],
    ) -> ScriptInvocation<'a> {
        let names = self.redis.keys().task(task);
        let mut call = script.prepare_invoke();
        for key in keys {
            call.key(names.of(*key));
        }
        call.arg(run.0);
        call
    }

    /// A call of a script by the holder of a bucket or partition, with run and token as first arguments.
    pub(super) fn fenced<'a>(&self, script: &'a Script, fence: Fence, keys: &[Of]) -> ScriptInvocation<'a> {
        let mut call = self.script(script, fence.task, fence.run, keys);
        call.arg(token_text(fence.token));
        call
    }

    pub(super) async fn on_task(
        &self,
        task: TaskId,
        run: RunEpoch,
        call: &ScriptInvocation<'_>,
    ) -> Result<Reply, StoreError> {
        self.redis.invoke(call).await?.of_task(task, run)
    }

    pub(super) async fn by_holder(
        &self,
        fence: Fence,
        call: &ScriptInvocation<'_>,
    ) -> Result<Reply, StoreError> {
        self.on_task(fence.task, fence.run, call).await
    }

    /// Says why the task cannot go on, as the role whose token is in this field.
    pub(super) async fn stop(&self, fence: Fence, token: &str, reason: &str) -> Result<(), StoreError> {
        let mut call = self.script(&scripts::STOP, fence.task, fence.run, &[Of::Info]);
        call.arg(token).arg(token_text(fence.token)).arg(reason);
        self.by_holder(fence, &call).await.map(drop)
    }

    /// Says what the task waits for in the role whose token and reason are in these fields.
    pub(super) async fn set_waits_in(
        &self,
        fence: Fence,
        [token, waits]: [&str; 2],
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut call = self.script(&scripts::SET_WAITS, fence.task, fence.run, &[Of::Info]);
        call.arg(token).arg(token_text(fence.token)).arg(waits).arg(reason.unwrap_or_default());
        self.by_holder(fence, &call).await.map(drop)
    }
}

/// A text that may be missing, so that the scripts tell an empty one from none.
pub(super) fn optional(value: Option<&[u8]>) -> Vec<u8> {
    value.map_or_else(Vec::new, |value| [b"+", value].concat())
}

/// The reverse of [`optional`].
pub(super) fn read_optional(value: Option<bytes::Bytes>) -> Option<bytes::Bytes> {
    value.map(|value| value.slice(1.min(value.len())..))
}
