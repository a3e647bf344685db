//! [`ShardQueue`] on Redis.

use async_trait::async_trait;
use dtf_model::shard::{Kinds, Offer, Room, ShardQueue, Shipment, ShipmentId};
use dtf_model::{Shard, StoreError};
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use lrmf_core::Token;
use redis::{Script, ScriptInvocation};

use crate::codec;
use crate::connection::Redis;
use crate::queues::token_text;
use crate::reply::{Malformed, malformed};
use crate::scripts;

/// How many commands of one call are under way at the same time.
const TOGETHER: usize = 256;

/// The queues of shards, in Redis.
#[derive(Clone, Debug)]
pub struct RedisShards {
    redis: Redis,
}

impl RedisShards {
    /// Shards over this connection.
    pub fn new(redis: Redis) -> Self {
        Self { redis }
    }

    fn script<'a>(&self, script: &'a Script, shard: Shard) -> ScriptInvocation<'a> {
        let mut call = script.prepare_invoke();
        for key in self.redis.keys().shard(shard) {
            call.key(key);
        }
        call
    }

    async fn shipments(&self, call: &ScriptInvocation<'_>) -> Result<Vec<Shipment>, StoreError> {
        let shipments = self.redis.invoke(call).await?.of_shard()?.rest()?;
        let shipments = shipments.into_iter().map(codec::read_shipment);
        Ok(shipments.collect::<Result<_, _>>().map_err(Malformed::from)?)
    }

    async fn token(&self, shard: Shard) -> Result<Token, StoreError> {
        let [fence, ..] = self.redis.keys().shard(shard);
        let token: Option<u64> = self.redis.send(redis::cmd("HGET").arg(fence).arg("token")).await?;
        Ok(Token(token.unwrap_or(0)))
    }

    async fn room(&self, shard: Shard) -> Result<Room, StoreError> {
        let [fence, ..] = self.redis.keys().shard(shard);
        let mut command = redis::cmd("HMGET");
        command.arg(fence).arg("window").arg("used").arg("kinds");
        let (window, used, kinds): (Option<u32>, Option<u32>, Option<String>) =
            self.redis.send(&command).await?;
        let free = window.unwrap_or(0).saturating_sub(used.unwrap_or(0));
        Ok(Room { free, kinds: kinds.map_or_else(Kinds::all, |kinds| Kinds::read(&kinds)) })
    }
}

#[async_trait]
impl ShardQueue for RedisShards {
    async fn hold(&self, shard: Shard, token: Token, offer: &Offer) -> Result<Vec<Shipment>, StoreError> {
        let mut call = self.script(&scripts::SHARD_CLAIM, shard);
        call.arg(token_text(token)).arg(offer.window).arg(offer.kinds.as_str()).arg("");
        self.shipments(&call).await
    }

    async fn rooms(&self, shards: &[Shard]) -> Result<Vec<Room>, StoreError> {
        let mut rooms = Vec::with_capacity(shards.len());
        for some in shards.chunks(TOGETHER) {
            let mut reads = FuturesOrdered::new();
            for shard in some {
                reads.push_back(self.room(*shard));
            }
            while let Some(room) = reads.next().await {
                rooms.push(room?);
            }
        }
        Ok(rooms)
    }

    async fn tokens(&self, shards: &[Shard]) -> Result<Vec<Token>, StoreError> {
        let mut tokens = Vec::with_capacity(shards.len());
        for some in shards.chunks(TOGETHER) {
            let mut reads = FuturesOrdered::new();
            for shard in some {
                reads.push_back(self.token(*shard));
            }
            while let Some(token) = reads.next().await {
                tokens.push(token?);
            }
        }
        Ok(tokens)
    }

    async fn ship(&self, shard: Shard, shipments: &[Shipment]) -> Result<usize, StoreError> {
        let mut call = self.script(&scripts::SHARD_SHIP, shard);
        for shipment in shipments {
            call.arg(codec::shipment_name(&shipment.id())).arg(codec::shipment(shipment));
        }
        self.redis.invoke(&call).await?.of_shard()?.number()
    }

    async fn claim(
        &self,
        shard: Shard,
        token: Token,
        offer: &Offer,
        in_hand: &[ShipmentId],
        most: usize,
    ) -> Result<Vec<Shipment>, StoreError> {
        let mut call = self.script(&scripts::SHARD_CLAIM, shard);
        call.arg(token_text(token)).arg(offer.window).arg(offer.kinds.as_str()).arg(most);
        for id in in_hand {
            call.arg(codec::shipment_name(id));
        }
        self.shipments(&call).await
    }

    async fn acknowledge(&self, shard: Shard, token: Token, done: &[ShipmentId]) -> Result<(), StoreError> {
        let mut call = self.script(&scripts::SHARD_ACKNOWLEDGE, shard);
        call.arg(token_text(token));
        for id in done {
            call.arg(codec::shipment_name(id));
        }
        self.redis.invoke(&call).await?.of_shard().map(drop)
    }

    async fn contents(&self, shard: Shard) -> Result<Vec<ShipmentId>, StoreError> {
        let [_, _, _, shipped] = self.redis.keys().shard(shard);
        let names: Vec<String> = self.redis.send(redis::cmd("HKEYS").arg(shipped)).await?;
        let names = names.iter().map(|name| codec::read_shipment_name(name));
        names.collect::<Result<_, _>>().map_err(malformed)
    }
}
