//! [`TaskControl`] on Redis.

use async_trait::async_trait;
use dtf_model::queue::TaskControl;
use dtf_model::{Control, Counts, RunEpoch, StoreError, TaskId, TaskSpec};
use redis::Script;

use super::RedisQueues;
use crate::codec;
use crate::connection::STORE;
use crate::keys::{FIRST_BITMAPS, Of};
use crate::reply::{Reply, malformed};
use crate::scripts;

#[async_trait]
impl TaskControl for RedisQueues {
    async fn claim(&self, owner: &str) -> Result<String, StoreError> {
        let (key, mut made) = (self.redis.keys().owner(), false);
        loop {
            // Read first: a full server refuses every SET, and has to be worked with nevertheless.
            if let Some(recorded) = self.owner().await? {
                return Ok(recorded);
            }
            if made {
                let cause = format!("{key} was deleted at the same time");
                return Err(StoreError::Unreachable { store: STORE, cause });
            }
            self.redis.send::<i64>(&redis::Cmd::set_nx(&key, owner)).await?;
            made = true;
        }
    }

    async fn open(&self, spec: &TaskSpec) -> Result<(), StoreError> {
        let json = codec::spec(spec).map_err(malformed)?;
        let further = [json, spec.request.to_string().into_bytes()];
        self.discarding(&scripts::OPEN, spec.id, spec.run, &further).await
    }

    async fn set_control(&self, task: TaskId, run: RunEpoch, control: Control) -> Result<(), StoreError> {
        let mut call = self.script(&scripts::SET_CONTROL, task, run, &[Of::Info]);
        call.arg(control.code());
        self.on_task(task, run, &call).await.map(drop)
    }

    async fn close(&self, task: TaskId, run: RunEpoch) -> Result<Counts, StoreError> {
        let keys = [
            Of::Info,
            Of::Pending,
            Of::Delayed,
            Of::Running,
            Of::Results,
            Of::Sizes,
            Of::Settled,
            Of::Keyed,
            Of::Turns,
        ];
        let call = self.script(&scripts::CLOSE, task, run, &keys);
        let mut reply = self.on_task(task, run, &call).await?;
        Ok(Counts {
            created: reply.count()?,
            succeeded: reply.count()?,
            failed: reply.count()?,
            cancelled: reply.count()?,
            timed_out: reply.count()?,
        })
    }

    async fn purge(&self, task: TaskId, run: RunEpoch) -> Result<(), StoreError> {
        self.discarding(&scripts::PURGE, task, run, &[]).await
    }
}

impl RedisQueues {
    /// Returns the cluster that is recorded as the owner of these queues.
    ///
    /// # Errors
    /// The server does not answer or refuses.
    pub async fn owner(&self) -> Result<Option<String>, StoreError> {
        self.redis.send(&redis::Cmd::get(self.redis.keys().owner())).await
    }

    /// Records the cluster that these queues belong to, in place of the one that is recorded.
    ///
    /// # Errors
    /// The server does not answer or refuses.
    pub async fn adopt(&self, owner: &str) -> Result<(), StoreError> {
        self.redis.send(&redis::Cmd::set(self.redis.keys().owner(), owner)).await
    }

    /// Calls a script that deletes all of a task. Which bitmaps there are, is not known before; most tasks have the first of
    /// each stream and no other. If there are others the script says so, and is called again.
    async fn discarding(
        &self,
        script: &Script,
        task: TaskId,
        run: RunEpoch,
        further: &[Vec<u8>],
    ) -> Result<(), StoreError> {
        let mut bitmaps = FIRST_BITMAPS.to_vec();
        loop {
            let names = self.redis.keys().task(task);
            let mut call = self.script(script, task, run, &Of::ALL);
            call.key(names.of(Of::Spec)).key(names.of(Of::End));
            for argument in further {
                call.arg(argument);
            }
            for bitmap in &bitmaps {
                call.key(names.done(*bitmap)).arg(*bitmap);
            }
            let reply = self.redis.invoke(&call).await?;
            if !reply.is_more() {
                return reply.of_task(task, run).map(drop);
            }
            bitmaps = numbers(reply)?;
        }
    }
}

fn numbers(reply: Reply) -> Result<Vec<u64>, StoreError> {
    let texts = reply.rest()?;
    let parse = |text: bytes::Bytes| std::str::from_utf8(&text).ok()?.parse().ok();
    texts.into_iter().map(|text| parse(text).ok_or_else(|| malformed("no number of a bitmap"))).collect()
}
