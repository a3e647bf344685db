//! [`QueueStore`](dtf_model::queue::QueueStore) on Redis, each side of it in a file of its own. A call is one script of its name.

mod calls;
mod collector;
mod control;
mod executor;
mod generator;
mod reader;
mod reports;
mod scheduler;

use std::sync::Arc;

pub(crate) use self::calls::token_text;
use self::reports::Reports;
use crate::connection::Redis;

/// The queues of tasks, in Redis.
#[derive(Clone, Debug)]
pub struct RedisQueues {
    redis: Redis,
    /// None on a Cluster.
    reports: Option<Arc<Reports>>,
}

impl RedisQueues {
    /// Queues over this connection. Must be called on a tokio runtime.
    pub fn new(redis: Redis) -> Self {
        let reports = redis.is_one_server().then(|| Arc::new(reports::gather(redis.clone())));
        Self { redis, reports }
    }
}
