//! The distributed task framework, put together: register a kind of task, start the roles, create tasks.
//!
//! - [`Dtf`] is a process: it knows kinds of task ([`DtfBuilder::register_task_type`]), starts roles
//!   ([`Dtf::start_service`]) and gives a [`Client`], which creates tasks and lists them. A [`TaskHandle`] waits for one,
//!   watches it, says what came of it.
//! - [`embedded`] has the stores of a process that needs no server; `servers`, with the feature `full`, those on etcd,
//!   MySQL and Redis. Everything else is the same in both.
//! - [`cli`] is the `dtf` command, for programs that add kinds of task of their own to it. With the feature `full` it has
//!   services: `config` reads their settings, `serve` runs them.
//! - [`tasks`] has the built-in kinds. Write your own against [`model::plugin`].
//! - [`progress`] says what rate and ETA mean.
//!
//! # Coming from the Go framework
//! The plugin's four parts, the task's parameters, its statuses and their numbers, and the columns of `tbl_task` are the
//! original's; `examples/sample.rs` is the sample of its README. Of its options, those for **MongoDB are not carried over**: tasks
//! are in MySQL, MariaDB or SQLite, and their progress is in Redis, Valkey or memory. Another store implements the ports of
//! [`model`] ([`TaskTable`](model::table::TaskTable), [`QueueStore`](model::queue::QueueStore),
//! [`ShardQueue`](model::shard::ShardQueue), [`WakeUp`](model::wake::WakeUp)). An executor's `cancel` is the token in
//! [`ExecuteContext`](model::plugin::ExecuteContext).
//!
//! ```
//! use dtf::embedded::{self, Database, Embedded};
//! use dtf::model::TaskParam;
//! use dtf::tasks::NOOP;
//! use dtf::tasks::noop::{Noop, NoopParam};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> anyhow::Result<()> {
//! let dtf = dtf::Dtf::builder(embedded::ports(Database::Memory).await?)
//!     .config(Embedded { jobs: 2 }.config())
//!     .register_task_type(Noop::registration())?
//!     .build()?;
//! dtf.start_all().await?;
//! let param = TaskParam { type_param: NoopParam::new(1000).to_json(), ..TaskParam::default() };
//! let row = dtf.client().create_task(NOOP, param).await?.wait().await?;
//! assert_eq!(row.counts.succeeded, 1000);
//! dtf.stop().await;
//! # Ok(())
//! # }
//! ```

// The command uses what everybody can.
extern crate self as dtf;

pub mod cli;
#[cfg(feature = "full")]
pub mod config;
pub mod embedded;
mod generations;
mod peers;
mod plugin_runtime;
#[cfg(feature = "full")]
pub mod serve;
#[cfg(feature = "full")]
pub mod servers;
mod service;
pub mod tasks;

pub use dtf_control::{Client, Pace, Progress, TaskHandle, TaskOutcome, TaskStatusView, progress};
pub use dtf_model as model;
pub use lrmf_core as lrmf;
pub use service::{Dtf, DtfBuilder, DtfConfig, Ports, ServiceError};

/// The README's examples are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
