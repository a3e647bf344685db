//! What the roles share.
//!
//! Each role is an LRMF group. Its tasks are the role's *parts* (watch buckets, generation buckets, scheduling
//! partitions, subtask shards, collection buckets), and a member holds some of them, each with a fencing token. A part
//! that is a bucket of tasks runs on a [`BucketRunner`]: one future for each task that wants attention.

mod apart;
mod bell;
mod bucket;
mod context;
mod departure;
mod guard;
mod halt;
mod look;
mod peers;
mod retry;
mod stuck;

pub use apart::apart;
pub use bell::Bell;
pub use bucket::{BucketRunner, PerTask, Turn};
pub use context::RoleContext;
pub use departure::Departure;
pub use guard::{PluginFault, caught, guarded, panic_text};
pub use halt::{End, Halt, called};
pub use look::{Active, Look, Looker, Looking};
pub use peers::{DWELL, Needs, Nobody, Peers};
pub use retry::until_answered;
pub use stuck::{CERTAINLY_STUCK, STUCK_CALLS, StuckCall, stuck_calls};
