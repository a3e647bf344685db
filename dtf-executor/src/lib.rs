//! The executor role: runs the subtasks of the shards that its member holds.
//!
//! All shards of a process share its *slots*; a slot runs one parcel at a time. A parcel is claimed when a slot is free for
//! it, its subtasks are executed one after the other (or at once, where the executor says that it only waits), and it is reported as a
//! whole, whatever became of each; one that takes too long is reported in parts. Only then is it acknowledged to its shard: an executor that dies leaves it there, and the next
//! holder gives it back to the task's queues, subtask by subtask and as the same attempt. A subtask that took three executors
//! down is not run again.

mod execution;
mod held_shards;
mod outcome;
mod parcel;
mod shard_loop;
mod shard_session;
mod slots;
mod subtask;
mod task_cache;
mod together;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dtf_model::queue::ExecutorQueue;
use dtf_model::role::part_number;
use dtf_model::shard::ShardQueue;
use dtf_model::{InvalidInput, Shard};
use dtf_runtime::RoleContext;
use lrmf_core::runner::{Held, RunTask};

use self::held_shards::HeldShards;
use self::shard_loop::ShardLoop;
use self::slots::Slots;
use self::task_cache::TaskCache;

pub use self::outcome::{MAX_ERROR_BYTES, MAX_RESULT_BYTES};

/// Settings of the executor role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecutorConfig {
    /// The number of parcels that run at once in this process; at least 1.
    pub slots: usize,
    /// The number of parcels that a shard may have in hand, waiting or running; at least 1. More hides latency, fewer keeps
    /// priorities sharp. Where the shards of this process could not keep all slots busy so, it is more: for each slot two
    /// parcels, over all shards.
    pub window: u32,
    /// The time that running subtasks have when their shard is to be given up. They are run again elsewhere then. It must
    /// fit into the margin of the session. Where the process leaves, they have the time of its graceful shutdown instead.
    pub drain: Duration,
}

impl Default for ExecutorConfig {
    fn default() -> Self {
        let slots = std::thread::available_parallelism().map_or(2, usize::from);
        Self { slots, window: 2, drain: Duration::from_secs(1) }
    }
}

impl ExecutorConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The first number that is 0.
    pub fn check(&self) -> Result<(), InvalidInput> {
        let zero =
            |what| InvalidInput::OutOfRange { what, got: "0".to_owned(), allowed: "at least 1".to_owned() };
        if self.slots == 0 {
            return Err(zero("the number of slots"));
        }
        if self.window == 0 {
            return Err(zero("the window of a shard"));
        }
        Ok(())
    }
}

/// The stores that the executor works with.
#[derive(Clone)]
pub struct ExecutorPorts {
    /// The executors' side of the queues.
    pub queues: Arc<dyn ExecutorQueue>,
    /// The way from schedulers to executors.
    pub shards: Arc<dyn ShardQueue>,
}

/// The executor role, for the shards that its member holds.
pub struct Executor {
    ports: ExecutorPorts,
    context: RoleContext,
    slots: Arc<Slots>,
    book: Arc<TaskCache>,
    held: Arc<HeldShards>,
}

impl Executor {
    /// An executor. Plugin code runs on the context's plugin runtime.
    ///
    /// # Errors
    /// A setting is out of range.
    pub fn new(
        config: ExecutorConfig,
        ports: ExecutorPorts,
        context: RoleContext,
    ) -> Result<Self, InvalidInput> {
        config.check()?;
        let book = TaskCache::start(ports.queues.clone(), context.clone());
        let slots = Slots::new(config);
        let held = HeldShards::start(ports.shards.clone(), slots.clone());
        Ok(Self { ports, context, slots, book, held })
    }
}

#[async_trait]
impl RunTask for Executor {
    async fn run(&self, held: Held) -> anyhow::Result<()> {
        let shard = Shard(part_number(&held.task)?);
        let (slots, book, shards) = (self.slots.clone(), self.book.clone(), self.held.clone());
        let (ports, context) = (self.ports.clone(), self.context.clone());
        ShardLoop::new(shard, &held, ports, context, slots, book, shards).run().await
    }
}
