//! The stores in memory: what the embedded default and the tests run on. They pass the same suites (`dtf-testkit`) as all others.

mod audit;
mod bulks;
mod cluster;
mod defined_types;
mod done;
mod failures;
mod flows;
mod gateways;
mod groups;
mod hooks;
mod items;
mod queues;
mod results;
mod schedules;
mod shards;
mod table;
mod task_queue;
mod tokens;
mod unique;
mod wake;

pub use queues::{MemoryQueues, QueuesSnapshot};
pub use shards::{MemoryShards, ShardsSnapshot};
pub use table::MemoryTable;
pub use wake::MemoryWakeUp;

/// The examples of the README are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
