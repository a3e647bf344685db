//! The model of the distributed task framework: tasks and subtasks, the plugins that split and execute them, and the ports
//! to the stores that keep them.
//!
//! - A user registers a kind of task, a [`plugin::TaskPlugin`], and creates tasks of it with a [`TaskParam`].
//! - [`table::TaskTable`] is the port to `tbl_task`, the truth about tasks, and [`group::GroupTable`] that to the resource
//!   groups in the same database; [`queue::QueueStore`] the port to the queues,
//!   the truth about their progress; [`shard::ShardQueue`] the way from schedulers to executors; [`wake::WakeUp`] the hints
//!   that spare everybody polling. Each has an implementation in memory (`dtf-memory`) and a conformance suite (`dtf-testkit`).
//! - A [`ShardKey`] keeps subtasks together on one executor, and in order; [`key`] says what is promised.
//! - A [`schedule`] creates tasks again and again; its [`step`](schedule::step()) decides, purely, which due times do.
//! - A [`flow`] is several tasks that are created together; each may wait for others.
//! - [`lifecycle`] decides, purely, what a manager does about a task.
//!
//! What the roles share is in `dtf-runtime`; the roles are in `dtf-scheduler`, `dtf-executor` and `dtf-collector`; `dtf` puts
//! everything together.

pub mod audit;
mod bucket;
pub mod bulk;
pub mod cluster;
pub mod connection;
pub mod defined_type;
pub mod error;
pub mod failure;
pub mod flow;
pub mod gateway;
pub mod group;
pub mod hook;
pub mod ids;
pub mod intercept;
pub mod items;
pub mod key;
pub mod lifecycle;
pub mod limits;
pub mod millis;
pub mod param;
pub mod plugin;
pub mod queue;
pub mod result;
pub mod role;
pub mod schedule;
pub mod shape;
pub mod shard;
pub mod status;
pub mod table;
mod text;
pub mod token;
pub mod unique;
pub mod wake;

pub use error::{InvalidInput, StoreError};
pub use group::ResourceGroup;
pub use ids::{
    EmitEpoch, FlowId, RunEpoch, ScheduleId, Seq, Shard, SubtaskId, TaskId, TaskTypeId, TypeVersion,
};
pub use key::ShardKey;
pub use limits::Limits;
pub use param::{Creator, Priority, TaskParam, TaskSpec};
pub use role::Role;
pub use shape::ClusterShape;
pub use status::{Control, Counts, TaskStatus};
