//! Places tasks on a changing group of processes, and proves who holds what.
//!
//! A *task* is a key with a value: a partition to mirror, a shard of a queue, a tenant to look after. A group of
//! processes shares the tasks; each is run by one of them at a time. When a process joins, leaves or dies, as few tasks
//! as possible change hands, one by one, and the others are not disturbed. No process is special: the one that leads is
//! elected, and its death moves nothing but its own tasks.
//!
//! # Quick start
//! Three members in one process, over the store in memory; with the crate `lrmf-etcd` the same members work across
//! machines.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use lrmf_core::{
//!     Coordinator, CoordinatorConfig, FixedTasks, GroupId, Held, InstanceId, MemoryStore, Task, TaskRunner,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> anyhow::Result<()> {
//! let store = Arc::new(MemoryStore::new());
//! let mut members = Vec::new();
//! for name in ["a", "b", "c"] {
//!     let member = Coordinator::builder(store.clone(), GroupId::new("mirror", "orders", "default")?)
//!         .instance_id(InstanceId::new(name)?)
//!         .provider(FixedTasks::new((0..9).map(|n| Task::new(format!("topic-{n}"), ""))))
//!         .worker(TaskRunner::new(|held: Held| async move {
//!             // Work until told to stop. Hand `held.token` to every store that is written to.
//!             held.stop.cancelled().await;
//!             anyhow::Ok(())
//!         }))
//!         .config(CoordinatorConfig { settle: Duration::from_millis(50), ..Default::default() })
//!         .start()
//!         .await?;
//!     members.push(member);
//! }
//! for member in &members {
//!     member.held().wait_for(|held| held.len() == 3).await?;
//! }
//! members.remove(0).close().await;
//! for member in &members {
//!     member.held().wait_for(|held| held.len() >= 4).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What you can rely on, and on what that depends
//! - A task is not given to a member before the one that had it has said that it stopped, or that one's session has
//!   ended in the store. A member that loses sight of the store stops its tasks [`margin`](CoordinatorConfig::margin)
//!   before its session can end; one that was suspended does not begin another piece of work
//!   ([`Held::may_work`], [`Tenure`]). So no two run a task at the same time **as long as** no process stands still for longer
//!   than the margin in the middle of its work, the clocks' rates differ by less than the margin allows, and the store
//!   ends no lease early.
//! - Where that is not good enough, and for effects that matter it is not, use the **fencing token**: each holding of a
//!   task has a higher one than the holding before, whatever stalls or gets lost. A store that remembers the highest
//!   token it has seen, and refuses lower ones, is never written by a former holder. This depends on nothing.
//! - Effects that no store can refuse (a mail, a call of somebody else's API) can happen twice. Make them idempotent.
//!
//! - All of this is of groups of mode [`Exclusive`](GroupMode::Exclusive), the default. In mode
//!   [`Available`](GroupMode::Available) a member that was not heard of for a third of the TTL loses its tasks at once,
//!   and may run them for a while beside their new holders: there the token is all that protects.
//!
//! # Limits
//! | what | at most | past it |
//! |---|---|---|
//! | a task's key, its value | [512 bytes](task::MAX_KEY_BYTES), [16 KiB](task::MAX_VALUE_BYTES) | the provider's list is refused, the last good one stays |
//! | the tasks of a group | [1,000,000](task::MAX_TASKS) | the same |
//! | the members of a group that hold tasks | [100,000](ids::MAX_MEMBERS) | who came last waits without tasks and is told so: [`Event::GroupFull`], [`Event::Barred`] |
//! | an instance id, a part of a group's name | [128 bytes](ids::MAX_NAME_BYTES) | it is refused |
//!
//! # Map
//! | module | what it is |
//! |---|---|
//! | [`coordinator`] | a member as its process sees it: start here |
//! | [`task`], [`ids`], [`worker`], [`provider`] | what is placed, and what users implement |
//! | [`runner`], [`smooth`] | ready-made workers |
//! | [`tenure`] | whether a member may still work, for code that asks before each piece of work |
//! | [`hub`], [`typed`] | workers that see all they hold; users' own task types |
//! | [`assignor`] | who gets what: the planners |
//! | [`admin`] | for operators and their tools |
//! | [`router`] | for callers: which member has a task now |
//! | [`link`] | members that hear at once when another one's process has ended |
//! | [`config`], [`event`], [`metrics`], [`error`] | settings, reports, numbers, errors |
//! | [`coordination`], [`memory`] | the port to the store, and the store in memory |
//! | [`keys`], [`records`], [`control`] | what is in the store; what operators ask for |
//! | [`protocol`] | how it works: pure state machines, without clock or IO |
//! | [`clock`] | time, from outside |

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod admin;
pub mod assignor;
pub mod clock;
pub mod config;
pub mod control;
pub mod coordination;
pub mod coordinator;
mod driver;
pub mod error;
pub mod event;
pub mod hub;
pub mod ids;
pub mod keys;
pub mod link;
pub mod memory;
pub mod metrics;
#[cfg(test)]
mod model;
mod panics;
pub mod protocol;
pub mod provider;
pub mod records;
pub mod replicas;
pub mod router;
pub mod runner;
pub mod session;
#[cfg(test)]
mod sim;
pub mod smooth;
pub mod task;
pub mod tenure;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod text;
pub mod typed;
pub mod worker;

pub use clock::{BootClock, Clock, Timestamp};
pub use config::{Conflict, CoordinatorConfig, Evicted, GroupMode, InvalidConfig};
pub use coordination::Coordination;
pub use coordinator::{Coordinator, CoordinatorBuilder, CoordinatorHandle, Events, StartError};
pub use driver::{HeldTasks, MemberStage, MemberStatus, session_runtime};
pub use error::{CoordinationError, InvalidName, InvalidTask};
pub use event::{Event, FenceReason};
pub use hub::{Assignment, TaskHub};
pub use ids::{Generation, GroupId, Incarnation, InstanceId, Token};
pub use memory::MemoryStore;
pub use protocol::Exit;
pub use provider::{FixedTasks, GenerationFloor, TaskProvider};
pub use records::Barred;
pub use router::{NotReady, Route, Router};
pub use runner::{Held, RunTask, TaskRunner};
pub use session::SharedSession;
pub use task::{Holding, Task};
pub use tenure::Tenure;
pub use worker::{GivenUp, Worker};

/// The examples of the README are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
