//! The stores on a real server pass the suites that all stores pass.

mod server;

use std::sync::Arc;

use dtf_model::queue::QueueStore;
use dtf_model::testkit;
use dtf_redis::{RedisQueues, RedisShards, RedisWakeUp};

#[tokio::test]
async fn queues_conform() {
    let (_server, redis) = server::any().await;
    testkit::queue::run_all(Arc::new(RedisQueues::new(redis))).await;
}

#[tokio::test]
async fn random_histories_are_as_in_memory() {
    let (_server, redis) = server::any().await;
    let queues: Arc<dyn QueueStore> = Arc::new(RedisQueues::new(redis));
    for seed in 1000..1020 {
        testkit::queue::model::run(&queues, seed, 300).await;
    }
}

#[tokio::test]
async fn shards_conform() {
    let (_server, redis) = server::any().await;
    testkit::shard::run_all(Arc::new(RedisShards::new(redis))).await;
}

#[tokio::test]
async fn wake_ups_conform() {
    let (_server, redis) = server::any().await;
    testkit::wake::run_all(Arc::new(RedisWakeUp::start(redis))).await;
}
