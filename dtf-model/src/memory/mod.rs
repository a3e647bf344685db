//! The stores in memory: what the embedded default and the tests run on. They pass the same suites as all others.

mod done;
mod queues;
mod shards;
mod table;
mod task_queue;
mod wake;

pub use queues::MemoryQueues;
pub use shards::MemoryShards;
pub use table::MemoryTable;
pub use wake::MemoryWakeUp;
