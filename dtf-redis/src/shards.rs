//! [`ShardQueue`] on Redis.

use async_trait::async_trait;
use dtf_model::shard::{Kinds, Offer, Room, ShardQueue, Shipment, ShipmentId};
use dtf_model::{Shard, StoreError};
use lrmf_core::Token;
use redis::{FromRedisValue, Script, ScriptInvocation};

use crate::codec;
use crate::connection::Redis;
use crate::queues::token_text;
use crate::reply::{Malformed, malformed};
use crate::scripts;

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

    /// These fields of what is known of each shard.
    async fn fields<T: FromRedisValue + Send>(
        &self,
        shards: &[Shard],
        fields: &[&str],
    ) -> Result<Vec<T>, StoreError> {
        let command = |shard: &Shard| {
            let [fence, ..] = self.redis.keys().shard(*shard);
            let mut command = redis::cmd("HMGET");
            command.arg(fence).arg(fields);
            command
        };
        self.redis.send_all(shards.iter().map(command).collect()).await
    }
}

type RoomFields = (Option<u32>, Option<u32>, Option<String>);

fn room((window, used, kinds): RoomFields) -> Room {
    let free = window.unwrap_or(0).saturating_sub(used.unwrap_or(0));
    Room { free, kinds: kinds.map_or_else(Kinds::all, |kinds| Kinds::read(&kinds)) }
}

#[async_trait]
impl ShardQueue for RedisShards {
    async fn hold(&self, shard: Shard, token: Token, offer: &Offer) -> Result<Vec<Shipment>, StoreError> {
        let mut call = self.script(&scripts::SHARD_CLAIM, shard);
        call.arg(token_text(token)).arg(offer.window).arg(offer.kinds.as_str()).arg("");
        self.shipments(&call).await
    }

    async fn rooms(&self, shards: &[Shard]) -> Result<Vec<Room>, StoreError> {
        let rooms = self.fields::<RoomFields>(shards, &["window", "used", "kinds"]).await?;
        Ok(rooms.into_iter().map(room).collect())
    }

    async fn tokens(&self, shards: &[Shard]) -> Result<Vec<Token>, StoreError> {
        let tokens = self.fields::<(Option<u64>,)>(shards, &["token"]).await?;
        Ok(tokens.into_iter().map(|(token,)| Token(token.unwrap_or(0))).collect())
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
