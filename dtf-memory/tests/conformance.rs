//! The stores in memory keep the obligations of their ports.

use std::sync::Arc;

use dtf_memory::{MemoryQueues, MemoryShards, MemoryTable, MemoryWakeUp};
use dtf_model::queue::QueueStore;
use lrmf_core::clock::RuntimeClock;

#[tokio::test(start_paused = true)]
async fn queues_conform() {
    let queues = Arc::new(MemoryQueues::new(Arc::new(RuntimeClock::new())));
    dtf_testkit::queue::run_all(queues).await;
}

#[tokio::test(start_paused = true)]
async fn long_histories_are_the_same_in_two_memories() {
    let queues: Arc<dyn QueueStore> = Arc::new(MemoryQueues::new(Arc::new(RuntimeClock::new())));
    for seed in 0..100 {
        dtf_testkit::queue::model::run(&queues, seed, 1000).await;
    }
}

#[tokio::test]
async fn shards_conform() {
    dtf_testkit::shard::run_all(Arc::new(MemoryShards::default())).await;
}

#[tokio::test(start_paused = true)]
async fn wake_ups_conform() {
    dtf_testkit::wake::run_all(Arc::new(MemoryWakeUp::default())).await;
}

#[tokio::test]
async fn tables_conform() {
    let table = Arc::new(MemoryTable::new());
    dtf_testkit::table::run_all(table.clone()).await;
    dtf_testkit::table::run_all(table.clone()).await;
    dtf_testkit::group::run_all(table.clone()).await;
    dtf_testkit::failure::run_all(table.clone()).await;
    dtf_testkit::schedule::run_all(table.clone()).await;
    dtf_testkit::flow::run_all(table.clone()).await;
    dtf_testkit::noting::run_all(table.clone()).await;
    dtf_testkit::unique::run_all(table.clone()).await;
    dtf_testkit::hook::run_all(table.clone()).await;
    dtf_testkit::cluster::run_all(table.clone()).await;
    dtf_testkit::result::run_all(table.clone()).await;
    dtf_testkit::items::run_all(table.clone()).await;
    dtf_testkit::defined_type::run_all(table.clone()).await;
    dtf_testkit::gateway::run_all(table.clone()).await;
    dtf_testkit::bulk::run_all(table.clone()).await;
    dtf_testkit::token::run_all(table.clone()).await;
    dtf_testkit::audit::run_all(table).await;
}
