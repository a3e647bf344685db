//! The stores in memory: what the embedded default and the tests run on. They pass the same suites as all others.

mod cluster;
mod done;
mod failures;
mod groups;
mod queues;
mod shards;
mod table;
mod task_queue;
mod wake;

pub use queues::{MemoryQueues, QueuesSnapshot};
pub use shards::{MemoryShards, ShardsSnapshot};
pub use table::MemoryTable;
pub use wake::MemoryWakeUp;

#[cfg(all(test, feature = "testkit"))]
mod tests {
    use std::sync::Arc;

    use lrmf_core::clock::RuntimeClock;

    use super::{MemoryQueues, MemoryShards, MemoryWakeUp};
    use crate::queue::QueueStore;
    use crate::testkit;

    #[tokio::test(start_paused = true)]
    async fn queues_conform() {
        let queues = Arc::new(MemoryQueues::new(Arc::new(RuntimeClock::new())));
        testkit::queue::run_all(queues).await;
    }

    #[tokio::test(start_paused = true)]
    async fn long_histories_are_the_same_in_two_memories() {
        let queues: Arc<dyn QueueStore> = Arc::new(MemoryQueues::new(Arc::new(RuntimeClock::new())));
        for seed in 0..100 {
            testkit::queue::model::run(&queues, seed, 1000).await;
        }
    }

    #[tokio::test]
    async fn shards_conform() {
        testkit::shard::run_all(Arc::new(MemoryShards::default())).await;
    }

    #[tokio::test(start_paused = true)]
    async fn wake_ups_conform() {
        testkit::wake::run_all(Arc::new(MemoryWakeUp::default())).await;
    }
}
