//! [`CollectorQueue`] on Redis.

use async_trait::async_trait;
use dtf_model::plugin::TaskResult;
use dtf_model::queue::{
    CollectorLoad, CollectorQueue, Commit, CountedAs, Ending, FIRST_LOOK, Fence, PEEK_BYTES, ParcelId,
    ResultBatch, TaskState,
};
use dtf_model::{EmitEpoch, Seq, StoreError};
use redis::ScriptInvocation;

use super::RedisQueues;
use super::calls::{nonce, optional, read_optional};
use super::scheduler::micros;
use crate::codec;
use crate::keys::{FIRST_BITMAPS, Of};
use crate::reply::{Malformed, Reply, malformed};
use crate::scripts;

#[async_trait]
impl CollectorQueue for RedisQueues {
    async fn load_collector(&self, fence: Fence) -> Result<CollectorLoad, StoreError> {
        let mut call = self.fenced(&scripts::LOAD_COLLECTOR, fence, &[Of::Info, Of::Results, Of::Sizes]);
        call.arg(nonce()).arg(FIRST_LOOK).arg(PEEK_BYTES);
        let mut reply = self.by_holder(fence, &call).await?;
        Ok(CollectorLoad {
            epoch: EmitEpoch(reply.number()?),
            next: Seq(reply.number()?),
            saved: read_optional(reply.optional()?),
            offset: reply.count()?,
            results: read_batches(reply)?,
        })
    }

    async fn peek(&self, fence: Fence, offset: u64, most: usize) -> Result<Vec<ResultBatch>, StoreError> {
        let mut call = self.fenced(&scripts::PEEK, fence, &[Of::Info, Of::Results, Of::Sizes]);
        call.arg(offset).arg(most).arg(PEEK_BYTES);
        read_batches(self.by_holder(fence, &call).await?)
    }

    async fn commit(&self, fence: Fence, commit: Commit) -> Result<TaskState, StoreError> {
        let keys = [
            Of::Info,
            Of::Pending,
            Of::Delayed,
            Of::Results,
            Of::Sizes,
            Of::Keyed,
            Of::Turns,
            Of::Spec,
            Of::End,
        ];
        let mut call = self.fenced(&scripts::COMMIT, fence, &keys);
        call.arg(commit.epoch.0).arg(commit.offset).arg(commit.batches).arg(commit.first.0);
        call.arg(optional(commit.saved.as_deref()));
        if commit.end.is_some() {
            self.with_books(&mut call, fence);
        }
        let end = commit.end.map(Ending::Completed).as_ref().map(serde_json::to_vec).transpose();
        call.arg(end.map_err(malformed)?.unwrap_or_default());
        call.arg(commit.open.iter().map(|open| letter(open.counted_as)).collect::<Vec<_>>());
        for open in &commit.open {
            call.arg(micros(open.after));
        }
        let mut id = ParcelId { epoch: commit.epoch, first: commit.first };
        for next in commit.open.iter().map(|open| &open.next).chain(&commit.follow_ups) {
            call.arg(codec::new_parcel(id, next.key, std::slice::from_ref(&next.body)));
            id.first = id.first.plus(1);
        }
        let state = self.by_holder(fence, &call).await?.state()?;
        state.ok_or_else(|| malformed("a task and its specification are of different runs"))
    }

    async fn conclude(&self, fence: Fence, result: &TaskResult) -> Result<(), StoreError> {
        let ending = Ending::Completed(result.clone());
        let mut call = self.fenced(&scripts::CONCLUDE, fence, &[Of::Info, Of::End]);
        self.with_books(&mut call, fence);
        call.arg(serde_json::to_vec(&ending).map_err(malformed)?);
        self.by_holder(fence, &call).await.map(drop)
    }

    async fn stop_by_collector(&self, fence: Fence, reason: &str) -> Result<(), StoreError> {
        self.stop(fence, "ctoken", reason).await
    }

    async fn set_collector_blocked_on(&self, fence: Fence, reason: Option<&str>) -> Result<(), StoreError> {
        self.set_waits_in(fence, ["ctoken", "cwaits"], reason).await
    }
}

impl RedisQueues {
    /// Adds the keys that `end_books` deletes.
    fn with_books(&self, call: &mut ScriptInvocation<'_>, fence: Fence) {
        let names = self.redis.keys().task(fence.task);
        for of in [Of::Chunks, Of::Full, Of::Settled, Of::Keyed, Of::Turns] {
            call.key(names.of(of));
        }
        for bitmap in FIRST_BITMAPS {
            call.key(names.done(bitmap));
        }
    }
}

fn read_batches(reply: Reply) -> Result<Vec<ResultBatch>, StoreError> {
    let batches = reply.rest()?.into_iter().map(codec::read_results);
    Ok(batches.collect::<Result<_, _>>().map_err(Malformed::from)?)
}

fn letter(counted_as: CountedAs) -> u8 {
    match counted_as {
        CountedAs::Succeeded => b's',
        CountedAs::Failed => b'f',
        CountedAs::TimedOut => b't',
    }
}
