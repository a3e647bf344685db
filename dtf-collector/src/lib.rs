//! The collector role: gives every result to its task's [`TaskCollector`](dtf_model::plugin::TaskCollector), takes the follow-ups,
//! and has the task summed up when nothing more can come.
//!
//! Results are looked at, given to the callback, and only then taken off, together with the follow-ups and the
//! collector's status, in one write. A collector that dies in between leaves them to the next holder of the bucket: the
//! callback is told at least once, and its commit happens once. A subtask whose result the callback does not take for its
//! last is taken out of the books again in that write, and executed again under a further number.

mod callback;
mod collection;
mod failure_outbox;
mod policy;
mod role;
mod saved_status;

pub use self::role::{Collector, CollectorPorts};

/// The largest status of a collector, in bytes.
pub const MAX_STATUS_BYTES: usize = 64 * 1024;
