//! [`QueueStore`](dtf_model::queue::QueueStore) on Redis, each side of it in a file of its own. A call is one script of its name.

mod calls;
mod collector;
mod control;
mod executor;
mod generator;
mod reader;
mod scheduler;

pub(crate) use self::calls::token_text;
use crate::connection::Redis;

/// The queues of tasks, in Redis.
#[derive(Clone, Debug)]
pub struct RedisQueues {
    redis: Redis,
}

impl RedisQueues {
    /// Queues over this connection.
    pub fn new(redis: Redis) -> Self {
        Self { redis }
    }
}
