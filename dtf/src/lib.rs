//! The distributed task framework: tasks that are split into up to millions of subtasks, executed by a fleet of processes,
//! and counted exactly once.
//!
//! ```
//! use dtf::prelude::*;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> anyhow::Result<()> {
//! let squares = TaskType::named("squares")
//!     .input(|limit: u64| 0..limit) // the subtasks, lazily; resumed behind those that were generated
//!     .execute(|n: u64, _ctx| async move { Ok(n * n) }) // on any executor, at least once
//!     .fold(0u64, |sum, square| sum + square) // each result exactly once
//!     .build();
//! let dtf = Dtf::embedded().register(&squares).start().await?;
//! assert_eq!(dtf.run(&squares, 1000).await?, 332_833_500);
//! dtf.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Where to find what
//! - A [`TaskType`] is built from closures over your own types: [`typed`] has its parts. The [`prelude`] has everything that a
//!   program with task types of its own needs.
//! - [`Dtf::embedded`] is a process that needs no server; [`embedded`] has its stores. `servers`, with the feature `full`, has
//!   those on etcd, MySQL and Redis; [`Dtf::builder`] takes either.
//! - [`Dtf::run`], [`Dtf::stream`] and [`Dtf::new_task`] run tasks. [`Client`] steers and lists tasks, and creates untyped ones. A
//!   [`TaskHandle`] waits for one and watches it; [`progress`] defines rate and ETA.
//! - [`cli`] is the `dtf` command, for programs that add task types of their own to it. With the feature `full` it has services:
//!   `config` reads their settings, `serve` runs them.
//! - [`plugin`] has the traits below the task types, for what closures cannot do. [`tasks`] has the built-in types.
//!
//! # Coming from the Go framework
//! The plugin's four parts, the task's parameters, its statuses and their numbers, and the columns of `tbl_task` are the
//! original's; `examples/sample.rs` is the sample of its README. Of its options, those for **MongoDB are not carried over**: tasks
//! are in MySQL, MariaDB or SQLite, and their progress is in Redis, Valkey or memory. Another store implements the ports of
//! [`model`] ([`TaskTable`](model::table::TaskTable), [`QueueStore`](model::queue::QueueStore),
//! [`ShardQueue`](model::shard::ShardQueue), [`WakeUp`](model::wake::WakeUp)). An executor's `cancel` is the token in
//! [`ExecuteContext`](model::plugin::ExecuteContext).

#![cfg_attr(docsrs, feature(doc_cfg))]

// The command uses what everybody can.
extern crate self as dtf;

pub mod cli;
#[cfg(feature = "full")]
pub mod config;
pub mod embedded;
mod generations;
mod hooks;
mod peers;
mod plugin_runtime;
pub mod prelude;
mod run;
#[cfg(feature = "full")]
pub mod serve;
#[cfg(feature = "full")]
pub mod servers;
mod service;
pub mod tasks;

pub use dtf_control::{
    BackfillPeriod, Client, ClientError, FailureKind, FlowBuilder, FlowView, Pace, Progress, ResultStream,
    RunError, RunningTask, ScheduleView, Submission, TaskHandle, TaskOutcome, TaskOutput, TaskStatusView,
    progress, utc,
};
pub use dtf_model as model;
pub use dtf_model::plugin;
pub use dtf_typed as typed;
pub use dtf_typed::{TaskRef, TaskType};
pub use dtf_webhook as webhook;
pub use lrmf_core as lrmf;
pub use service::{Dtf, DtfBuilder, DtfConfig, Ports, ServiceError};

/// The README's examples are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
