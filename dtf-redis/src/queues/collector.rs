//! [`CollectorQueue`] on Redis.

use async_trait::async_trait;
use dtf_model::plugin::TaskResult;
use dtf_model::queue::{
    CollectorLoad, CollectorQueue, Commit, CountedAs, Ending, Fence, PEEK_BYTES, ParcelId, ResultBatch,
    TaskState,
};
use dtf_model::{EmitEpoch, Seq, StoreError};

use super::RedisQueues;
use super::calls::{nonce, optional, read_optional};
use super::scheduler::micros;
use crate::codec;
use crate::keys::Of;
use crate::reply::{Malformed, malformed};
use crate::scripts;

#[async_trait]
impl CollectorQueue for RedisQueues {
    async fn load_collector(&self, fence: Fence) -> Result<CollectorLoad, StoreError> {
        let mut call = self.fenced(&scripts::LOAD_COLLECTOR, fence, &[Of::Info]);
        call.arg(nonce());
        let mut reply = self.by_holder(fence, &call).await?;
        Ok(CollectorLoad {
            epoch: EmitEpoch(reply.number()?),
            next: Seq(reply.number()?),
            saved: read_optional(reply.optional()?),
            offset: reply.count()?,
        })
    }

    async fn peek(&self, fence: Fence, offset: u64, most: usize) -> Result<Vec<ResultBatch>, StoreError> {
        let mut call = self.fenced(&scripts::PEEK, fence, &[Of::Info, Of::Results, Of::Sizes]);
        call.arg(offset).arg(most).arg(PEEK_BYTES);
        let batches = self.by_holder(fence, &call).await?.rest()?;
        let batches = batches.into_iter().map(codec::read_results);
        Ok(batches.collect::<Result<_, _>>().map_err(Malformed::from)?)
    }

    async fn commit(&self, fence: Fence, commit: Commit) -> Result<TaskState, StoreError> {
        let keys = [Of::Info, Of::Pending, Of::Delayed, Of::Results, Of::Sizes, Of::Keyed, Of::Turns];
        let mut call = self.fenced(&scripts::COMMIT, fence, &keys);
        call.arg(commit.epoch.0).arg(commit.offset).arg(commit.batches).arg(commit.first.0);
        call.arg(optional(commit.saved.as_deref()));
        call.arg(commit.open.iter().map(|open| letter(open.counted_as)).collect::<Vec<_>>());
        for open in &commit.open {
            call.arg(micros(open.after));
        }
        let mut id = ParcelId { epoch: commit.epoch, first: commit.first };
        for next in commit.open.iter().map(|open| &open.next).chain(&commit.follow_ups) {
            call.arg(codec::new_parcel(id, next.key, std::slice::from_ref(&next.body)));
            id.first = id.first.plus(1);
        }
        self.by_holder(fence, &call).await?.state()
    }

    async fn conclude(&self, fence: Fence, result: &TaskResult) -> Result<(), StoreError> {
        let ending = Ending::Completed(result.clone());
        let mut call = self.fenced(&scripts::CONCLUDE, fence, &[Of::Info]);
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

fn letter(counted_as: CountedAs) -> u8 {
    match counted_as {
        CountedAs::Succeeded => b's',
        CountedAs::Failed => b'f',
        CountedAs::TimedOut => b't',
    }
}
