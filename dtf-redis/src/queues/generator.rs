//! [`GeneratorQueue`] on Redis.

use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::queue::{Backlog, Fence, GeneratorLoad, GeneratorQueue, ParcelId, Push};
use dtf_model::{EmitEpoch, RunEpoch, Seq, StoreError, TaskId};

use super::RedisQueues;
use super::calls::{nonce, optional, read_optional};
use crate::codec;
use crate::keys::Of;
use crate::scripts;

#[async_trait]
impl GeneratorQueue for RedisQueues {
    async fn load_generator(&self, fence: Fence) -> Result<GeneratorLoad, StoreError> {
        let mut call = self.fenced(&scripts::LOAD_GENERATOR, fence, &[Of::Info, Of::Delayed]);
        call.arg(nonce());
        let mut reply = self.by_holder(fence, &call).await?;
        Ok(GeneratorLoad {
            backlog: reply.backlog()?,
            epoch: EmitEpoch(reply.number()?),
            next: Seq(reply.number()?),
            saved: read_optional(reply.optional()?),
            finished: reply.optional()?.is_some(),
        })
    }

    async fn push(&self, fence: Fence, push: Push) -> Result<Backlog, StoreError> {
        if !push.is_covered() {
            let why = "the parcels do not cover the batch".to_owned();
            return Err(StoreError::Conflict { task: fence.task, why });
        }
        let mut call =
            self.fenced(&scripts::PUSH, fence, &[Of::Info, Of::Pending, Of::Delayed, Of::Keyed, Of::Turns]);
        call.arg(push.epoch.0).arg(push.first.0).arg(push.bodies.len()).arg(u8::from(push.finished));
        call.arg(push.progress.map_or_else(String::new, |progress| progress.to_string()));
        call.arg(optional(push.saved.as_deref()));
        call.arg(u8::from(push.keys.iter().any(Option::is_some)));
        let mut bodies: &[Bytes] = &push.bodies;
        let mut first = push.first;
        let keys = push.keys.into_iter().chain(std::iter::repeat(None));
        for (size, key) in push.parcels.into_iter().zip(keys).filter(|(size, _)| *size > 0) {
            let (these, others) = bodies.split_at(size);
            call.arg(codec::new_parcel(ParcelId { epoch: push.epoch, first }, key, these));
            first = first.plus(size as u64);
            bodies = others;
        }
        self.by_holder(fence, &call).await?.backlog()
    }

    async fn backlog(&self, task: TaskId, run: RunEpoch) -> Result<Backlog, StoreError> {
        let call = self.script(&scripts::READ_BACKLOG, task, run, &[Of::Info, Of::Delayed]);
        self.on_task(task, run, &call).await?.backlog()
    }

    async fn stop_by_generator(&self, fence: Fence, reason: &str) -> Result<(), StoreError> {
        self.stop(fence, "gtoken", reason).await
    }

    async fn set_generator_blocked_on(&self, fence: Fence, reason: Option<&str>) -> Result<(), StoreError> {
        self.set_waits_in(fence, ["gtoken", "gwaits"], reason).await
    }
}
