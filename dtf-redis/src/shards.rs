//! [`ShardQueue`] on Redis.
//!
//! Calls on shards that are made at the same time are one script, whoever makes them and on whatever shards, where one
//! server has them all. On a Cluster each call goes to the node of its shard by itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use dtf_batch::{BatchLimits, Batcher};
use dtf_model::shard::{
    Capacity, ProcessCredit, ShardCredit, ShardQueue, Shipment, ShipmentId, SupportedTypes,
};
use dtf_model::{Shard, StoreError};
use lrmf_core::Token;
use redis::FromRedisValue;

use crate::codec;
use crate::connection::{Redis, STORE};
use crate::queues::token_text;
use crate::reply::{Malformed, Reply, malformed, parse};
use crate::scripts;

/// A script's calls and their arguments, together.
const BATCH: BatchLimits = BatchLimits { calls: 512, weight: 1 << 20, under_way: 1 };

/// The queues of shards, in Redis.
#[derive(Clone, Debug)]
pub struct RedisShards {
    redis: Redis,
    /// None on a Cluster.
    batcher: Option<Arc<Batcher<Call, Reply>>>,
    /// The receipts of the shards that were claimed from, by the token of their holding.
    receipts: Arc<Mutex<HashMap<Shard, (Token, Receipt)>>>,
}

/// A call on a shard, as `shard_calls.lua` takes it.
#[derive(Clone, Debug)]
struct Call {
    shard: Shard,
    letter: char,
    args: Vec<Vec<u8>>,
}

impl Call {
    fn new(letter: char, shard: Shard) -> Self {
        Self { shard, letter, args: Vec::new() }
    }

    fn arg(mut self, arg: impl Into<Vec<u8>>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// With what every call of a holder begins with that says what it takes.
    fn offer(self, token: Token, offer: &Capacity) -> Self {
        let ProcessCredit { process, window } = offer.credit;
        self.arg(token_text(token))
            .arg(offer.window.to_string())
            .arg(offer.kinds.as_str())
            .arg(format!("{process}:{window}"))
    }

    fn ids(mut self, ids: &[ShipmentId]) -> Self {
        self.args.extend(ids.iter().map(|id| codec::shipment_name(id).into_bytes()));
        self
    }

    fn weight(&self) -> usize {
        self.args.iter().map(|arg| arg.len() + 16).sum()
    }
}

/// What the holder of a shard knows to have got and done. A server that knows of less has lost its last writes; one that has
/// given more has given it in an answer that was lost.
#[derive(Clone, Copy, Debug, Default)]
struct Receipt {
    given: u64,
    acknowledged: u64,
}

impl RedisShards {
    /// Shards over this connection. Must be called on a tokio runtime.
    pub fn new(redis: Redis) -> Self {
        let batcher = redis.is_one_server().then(|| {
            let redis = redis.clone();
            let serve = move |calls| {
                let redis = redis.clone();
                async move { call_all(&redis, calls).await }
            };
            Arc::new(Batcher::start(STORE, BATCH, serve))
        });
        Self { redis, batcher, receipts: Arc::default() }
    }

    async fn call(&self, call: Call) -> Result<Reply, StoreError> {
        match &self.batcher {
            Some(batcher) => {
                let weight = call.weight();
                batcher.call(call, weight).await
            }
            None => call_all(&self.redis, vec![call]).await.remove(0),
        }
    }

    fn receipts(&self) -> MutexGuard<'_, HashMap<Shard, (Token, Receipt)>> {
        // A panic while it is held can only come from an allocation failure.
        self.receipts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The receipt of this holding.
    fn receipt(&self, shard: Shard, token: Token) -> Option<Receipt> {
        self.receipts().get(&shard).filter(|(of, _)| *of == token).map(|(_, receipt)| *receipt)
    }

    /// The shipments of a reply that begins with a receipt.
    fn received(&self, shard: Shard, token: Token, reply: Reply) -> Result<Vec<Shipment>, StoreError> {
        let mut reply = reply.of_shard()?;
        let receipt = Receipt { given: reply.number()?, acknowledged: reply.number()? };
        self.receipts().insert(shard, (token, receipt));
        let shipments = reply.rest()?.into_iter().map(codec::read_shipment);
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

/// Makes calls in one script, in their order.
async fn call_all(redis: &Redis, calls: Vec<Call>) -> Vec<Result<Reply, StoreError>> {
    let count = calls.len();
    let mut script = scripts::SHARD_CALLS.prepare_invoke();
    let (mut first_key, mut keys) = (HashMap::new(), 0);
    for Call { shard, letter, args } in calls {
        let key = *first_key.entry(shard).or_insert_with(|| {
            let names = redis.keys().shard(shard);
            keys += names.len();
            script.key(&names[..]);
            keys - names.len() + 1
        });
        script.arg(key).arg(letter.to_string()).arg(args.len());
        for arg in args {
            script.arg(arg);
        }
    }
    let replies = async { redis.invoke(&script).await?.of_shard()?.replies() };
    let error = match replies.await {
        Ok(replies) if replies.len() == count => return replies.into_iter().map(Ok).collect(),
        Ok(_) => malformed("not one for each call"),
        Err(error) => error,
    };
    (0..count).map(|_| Err(error.clone())).collect()
}

type RoomFields = (Option<u32>, Option<u32>, Option<String>, Option<String>);

fn room((window, used, kinds, credit): RoomFields) -> Result<ShardCredit, StoreError> {
    let used = used.unwrap_or(0);
    let kinds = kinds.map_or_else(SupportedTypes::all, |kinds| SupportedTypes::read(&kinds));
    // A holder of an earlier version gives none.
    let credit = credit.as_deref().map(read_credit).transpose()?;
    Ok(ShardCredit { free: window.unwrap_or(0).saturating_sub(used), used, kinds, credit })
}

fn read_credit(text: &str) -> Result<ProcessCredit, StoreError> {
    let (process, window) = text.split_once(':').ok_or_else(|| malformed(format!("credit {text:?}")))?;
    Ok(ProcessCredit { process: parse(process)?, window: parse(window)? })
}

#[async_trait]
impl ShardQueue for RedisShards {
    async fn hold(&self, shard: Shard, token: Token, offer: &Capacity) -> Result<Vec<Shipment>, StoreError> {
        let reply = self.call(Call::new('h', shard).offer(token, offer)).await?;
        self.received(shard, token, reply)
    }

    async fn credits(&self, shards: &[Shard]) -> Result<Vec<ShardCredit>, StoreError> {
        let rooms = self.fields::<RoomFields>(shards, &["window", "used", "kinds", "credit"]).await?;
        rooms.into_iter().map(room).collect()
    }

    async fn tokens(&self, shards: &[Shard]) -> Result<Vec<Token>, StoreError> {
        let tokens = self.fields::<(Option<u64>,)>(shards, &["token"]).await?;
        Ok(tokens.into_iter().map(|(token,)| Token(token.unwrap_or(0))).collect())
    }

    async fn ship(&self, shard: Shard, shipments: &[Shipment]) -> Result<usize, StoreError> {
        let mut call = Call::new('s', shard);
        for shipment in shipments {
            call = call.arg(codec::shipment_name(&shipment.id())).arg(codec::shipment(shipment));
        }
        self.call(call).await?.of_shard()?.number()
    }

    async fn claim(
        &self,
        shard: Shard,
        token: Token,
        offer: &Capacity,
        in_hand: &[ShipmentId],
        most: usize,
    ) -> Result<Vec<Shipment>, StoreError> {
        let call = |letter| Call::new(letter, shard).offer(token, offer).arg(most.to_string());
        // The holder has everything that it was given: then nothing needs to be named.
        let has_all = |receipt: &Receipt| receipt.given <= receipt.acknowledged + in_hand.len() as u64;
        if let Some(Receipt { given, acknowledged }) = self.receipt(shard, token).filter(has_all) {
            let reply = self.call(call('c').arg(given.to_string()).arg(acknowledged.to_string())).await?;
            if !reply.is_more() {
                return self.received(shard, token, reply);
            }
        }
        let reply = self.call(call('r').ids(in_hand)).await?;
        self.received(shard, token, reply)
    }

    async fn acknowledge(&self, shard: Shard, token: Token, done: &[ShipmentId]) -> Result<(), StoreError> {
        let call = Call::new('a', shard).arg(token_text(token)).ids(done);
        let acknowledged = self.call(call).await?.of_shard()?.number()?;
        if let Some((_, receipt)) = self.receipts().get_mut(&shard).filter(|(of, _)| *of == token) {
            receipt.acknowledged = receipt.acknowledged.max(acknowledged);
        }
        Ok(())
    }

    async fn contents(&self, shard: Shard) -> Result<Vec<ShipmentId>, StoreError> {
        let [_, _, _, shipped] = self.redis.keys().shard(shard);
        let names: Vec<String> = self.redis.send(redis::cmd("HKEYS").arg(shipped)).await?;
        let names = names.iter().map(|name| codec::read_shipment_name(name));
        names.collect::<Result<_, _>>().map_err(malformed)
    }
}
