//! The queue in Redis: for each shard a sorted set of what is due when, and what keeps it safe.

use std::sync::LazyLock;
use std::time::Duration;

use lrmf_core::{Task, Token};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::streams::StreamRangeReply;
use redis::{AsyncCommands, FromRedisValue, RedisError, Script, ScriptInvocation};

use crate::hash::bucket_of;

macro_rules! scripts {
    ($($name:ident = $file:literal;)+) => {
        $(static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(include_str!("lua/fence.lua"), include_str!(concat!("lua/", $file, ".lua"))))
        });)+
    };
}

scripts! {
    PRODUCE = "produce";
    OPEN = "open";
    CLAIM = "claim";
    DELIVER = "deliver";
    POSTPONE = "postpone";
}

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueueError {
    /// The shard has seen a higher token: it is somebody else's now. Nothing was changed.
    #[error("the shard has seen a higher token: it is held by another worker now")]
    Fenced,
    /// The queue exists, with another number of shards.
    #[error("the queue {name:?} has {there} shards, not {asked}: the number cannot be changed")]
    Shards {
        /// The queue.
        name: String,
        /// The number that it has.
        there: u32,
        /// The number that were asked for.
        asked: u32,
    },
    /// Redis failed or was not reached; the call may have had its effect.
    #[error(transparent)]
    Redis(RedisError),
}

impl From<RedisError> for QueueError {
    fn from(error: RedisError) -> Self {
        if error.code() == Some("FENCED") { Self::Fenced } else { Self::Redis(error) }
    }
}

/// Something to be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// Its name; no two items of a queue have the same one at a time.
    pub(crate) id: String,
    /// Its text.
    pub(crate) payload: String,
}

/// A delivery, as the book has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// Of which item.
    pub(crate) id: String,
    /// The token of the worker that delivered it.
    pub(crate) token: u64,
}

/// The outcome of a claim.
#[derive(Debug)]
pub(crate) struct Claim {
    /// These are the caller's to deliver.
    pub(crate) items: Vec<Item>,
    /// When the next one will be due; none when there is no other.
    pub(crate) next: Option<Duration>,
}

/// A shard at a glance.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// The number of items that wait, due ones too.
    pub(crate) waiting: u64,
    /// The number that are claimed and not delivered.
    pub(crate) claimed: u64,
    /// The number of deliveries in the book.
    pub(crate) delivered: u64,
    /// The highest token seen.
    pub(crate) token: u64,
}

/// A queue. Its clones share one connection, which is made again by itself after it broke.
#[derive(Clone)]
pub(crate) struct Queue {
    redis: ConnectionManager,
    name: String,
    shards: u32,
}

impl Queue {
    /// Opens a queue, creating it with this number of shards where it does not exist.
    ///
    /// # Errors
    /// Redis cannot be used; the queue has another number of shards.
    pub(crate) async fn open(url: &str, name: &str, shards: u32) -> Result<Self, QueueError> {
        // Retries inside a call would outlast a session.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_response_timeout(Some(Duration::from_secs(2)));
        let mut redis = ConnectionManager::new_with_config(redis::Client::open(url)?, config).await?;
        let key = format!("delay-queue:{name}:shards");
        let _: bool = redis.set_nx(&key, shards).await?;
        let there: u32 = redis.get(&key).await?;
        if there != shards {
            return Err(QueueError::Shards { name: name.to_owned(), there, asked: shards });
        }
        Ok(Self { redis, name: name.to_owned(), shards })
    }

    /// The tasks to place: one for each shard, its number as the value.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = Task> {
        (0..self.shards).map(|number| Task::new(format!("shard-{number:03}"), number.to_string()))
    }

    /// All shards.
    pub(crate) fn shards(&self) -> impl Iterator<Item = Shard> {
        (0..self.shards).map(|number| self.shard(number))
    }

    /// The shard of this number.
    pub(crate) fn shard(&self, number: u32) -> Shard {
        // The braces keep a shard's keys on one node of a Redis Cluster.
        Shard { redis: self.redis.clone(), prefix: format!("delay-queue:{{{}/{number}}}", self.name), number }
    }

    /// Puts an item in. Whether it was new: sending it again while it is there does nothing.
    ///
    /// # Errors
    /// Redis cannot be used. The item may be in; send it again with the same id.
    pub(crate) async fn produce(&self, item: &Item, delay: Duration) -> Result<bool, QueueError> {
        let shard = self.shard(bucket_of(&item.id, self.shards));
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        let mut call = PRODUCE.key(shard.key("due"));
        call.key(shard.key("payloads")).arg(&item.id).arg(&item.payload).arg(millis);
        shard.invoke(&call).await
    }
}

/// A shard of a queue. What changes it asks for the token of the holder.
#[derive(Clone)]
pub(crate) struct Shard {
    redis: ConnectionManager,
    prefix: String,
    number: u32,
}

impl Shard {
    /// The number of its shard within the queue.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    async fn invoke<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, QueueError> {
        Ok(call.invoke_async(&mut self.redis.clone()).await?)
    }

    /// Begins a run: what earlier runs claimed and did not deliver is due again. How many items that are.
    ///
    /// # Errors
    /// [`QueueError::Fenced`]; Redis cannot be used.
    pub(crate) async fn open(&self, token: Token) -> Result<u64, QueueError> {
        let mut call = OPEN.key(self.key("token"));
        call.key(self.key("due")).key(self.key("claimed")).arg(token.0);
        self.invoke(&call).await
    }

    /// Claims up to `most` items that are due.
    ///
    /// # Errors
    /// [`QueueError::Fenced`]; Redis cannot be used. What was claimed without our hearing of it is due again after
    /// [`open`](Self::open).
    pub(crate) async fn claim(&self, token: Token, most: usize) -> Result<Claim, QueueError> {
        let mut call = CLAIM.key(self.key("token"));
        call.key(self.key("due")).key(self.key("claimed")).key(self.key("payloads")).arg(token.0).arg(most);
        let (next, flat): (i64, Vec<String>) = self.invoke(&call).await?;
        let item = |pair: &[String]| Item { id: pair[0].clone(), payload: pair[1].clone() };
        let items = flat.chunks_exact(2).map(item).collect();
        Ok(Claim { items, next: u64::try_from(next).ok().map(Duration::from_millis) })
    }

    /// Takes a claimed item off and enters it into the book. Whether it was: not, if the same call was made before.
    ///
    /// # Errors
    /// [`QueueError::Fenced`]; Redis cannot be used.
    pub(crate) async fn deliver(&self, token: Token, id: &str) -> Result<bool, QueueError> {
        let mut call = DELIVER.key(self.key("token"));
        call.key(self.key("claimed")).key(self.key("payloads")).key(self.key("delivered"));
        call.arg(token.0).arg(id);
        self.invoke(&call).await
    }

    /// Makes a claimed item due again after `delay`.
    ///
    /// # Errors
    /// [`QueueError::Fenced`]; Redis cannot be used.
    pub(crate) async fn postpone(&self, token: Token, id: &str, delay: Duration) -> Result<bool, QueueError> {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        let mut call = POSTPONE.key(self.key("token"));
        call.key(self.key("due")).key(self.key("claimed")).arg(token.0).arg(id).arg(millis);
        self.invoke(&call).await
    }

    /// All that was delivered, in order.
    ///
    /// # Errors
    /// Redis cannot be used.
    pub(crate) async fn book(&self) -> Result<Vec<Delivery>, QueueError> {
        let entries: StreamRangeReply = self.redis.clone().xrange_all(self.key("delivered")).await?;
        let entry = |entry: &redis::streams::StreamId| {
            Some(Delivery { id: entry.get("id")?, token: entry.get("token")? })
        };
        Ok(entries.ids.iter().filter_map(entry).collect())
    }

    /// The shard at a glance.
    ///
    /// # Errors
    /// Redis cannot be used.
    pub(crate) async fn numbers(&self) -> Result<Numbers, QueueError> {
        let mut redis = self.redis.clone();
        let token: Option<u64> = redis.get(self.key("token")).await?;
        Ok(Numbers {
            waiting: redis.zcard(self.key("due")).await?,
            claimed: redis.zcard(self.key("claimed")).await?,
            delivered: redis.xlen(self.key("delivered")).await?,
            token: token.unwrap_or(0),
        })
    }
}
