//! The runtime that all roles share.
//!
//! Each role is an LRMF group. Its tasks are the role's *parts* (watch buckets, generation buckets, scheduling
//! partitions, subtask shards, collection buckets), and a member holds some of them, each with a fencing token. A part
//! that is a bucket of tasks runs on a [`Reconciler`]: one future for each task that needs attention.

mod apart;
mod attempts;
mod context;
mod dependents;
mod graceful_shutdown;
mod guard;
mod halt;
mod leases;
mod peers;
mod reconciler;
mod retry;
mod schedules;
mod stuck;
mod task_scan;
mod until;

pub use apart::apart;
pub use attempts::{Again, Attempts};
pub use context::RoleContext;
pub use dependents::Dependents;
pub use graceful_shutdown::GracefulShutdown;
pub use guard::{Calls, PluginFault, caught, guarded, guarded_each, panic_text};
pub use halt::{End, Halt, called, called_each};
pub use peers::{DWELL, Needs, Nobody, Peers, SLOTS_LABEL, TASK_TYPES_LABEL};
pub use reconciler::{Reconcile, Reconciler, TaskLease};
pub use retry::until_answered;
pub use schedules::Schedules;
pub use stuck::{CERTAINLY_STUCK, STUCK_CALLS, Stuck, StuckCall, stuck, stuck_calls};
pub use task_scan::{ActiveTask, PendingScan, ScanResult, TaskScan};
pub use until::until;
