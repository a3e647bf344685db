//! The stores on a real server pass the suites that all stores pass.

use std::sync::Arc;

use dtf_model::TaskId;
use dtf_model::queue::QueueStore;
use dtf_model::wake::{Hint, Topic, WakeUp};
use dtf_redis::{RedisQueues, RedisShards, RedisWakeUp};

#[tokio::test]
async fn queues_conform() {
    let (_server, redis) = crate::server::any().await;
    dtf_testkit::queue::run_all(Arc::new(RedisQueues::new(redis))).await;
}

#[tokio::test]
async fn random_histories_are_as_in_memory() {
    let (_server, redis) = crate::server::any().await;
    let queues: Arc<dyn QueueStore> = Arc::new(RedisQueues::new(redis));
    for seed in 1000..1020 {
        dtf_testkit::queue::model::run(&queues, seed, 300).await;
    }
}

#[tokio::test]
async fn shards_conform() {
    let (_server, redis) = crate::server::any().await;
    dtf_testkit::shard::run_all(Arc::new(RedisShards::new(redis))).await;
}

#[tokio::test]
async fn wake_ups_conform() {
    let (_server, redis) = crate::server::any().await;
    let [here, there] = [(); 2].map(|()| Arc::new(RedisWakeUp::start(redis.clone())));
    dtf_testkit::wake::run_all(here.clone()).await;
    dtf_testkit::wake::run_all(dtf_testkit::wake::between(here, there)).await;
}

#[tokio::test]
async fn who_rings_does_not_hear_it_again() {
    let (_server, redis) = crate::server::any().await;
    let [here, there] = [(); 2].map(|()| RedisWakeUp::start(redis.clone()));
    let mut listeners = [&here, &there].map(|wake| wake.listen(Topic::Control));
    for listener in &mut listeners {
        assert_eq!(listener.next().await, Hint::Anything, "the subscription stands");
    }
    let [mut own, mut other] = listeners;
    here.notify(Topic::Control, TaskId(1));
    assert_eq!(own.next().await, Hint::Tasks(vec![TaskId(1)]));
    // When the next comes, the first has come round.
    assert_eq!(other.next().await, Hint::Tasks(vec![TaskId(1)]));
    there.notify(Topic::Control, TaskId(2));
    assert_eq!(own.next().await, Hint::Tasks(vec![TaskId(2)]));
}
