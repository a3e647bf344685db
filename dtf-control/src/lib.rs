//! Creating, steering and watching tasks, from any process that reaches the stores.
//!
//! - [`Client`] creates tasks, pauses, resumes, cancels, lists and retries them, and manages resource groups.
//! - [`TaskHandle`] is one task in the hands of its creator: it waits for the end, watches the progress, returns the result.
//! - [`Submission`] is a typed task that is about to be created, [`RunningTask`] one that was, [`ResultStream`] its outputs.
//! - [`ScheduleView`] is a schedule as its user sees it; [`Client::create_schedule`] makes one.
//! - [`FlowBuilder`] is a flow that is about to be created, [`FlowView`] one that was.
//! - [`ClientError`] says what the caller of any of them can do about a failure.
//! - [`NewToken`] describes a token of the HTTP API, [`PresentedToken`] is one in the hands of its bearer.
//! - [`StuckNotes`] tells the cluster of calls into plugins that are stuck.
//! - [`progress`] defines rate and ETA.
//!
//! `dtf::Dtf::client` makes a client of a process; the HTTP API and the command work through the same one.

mod audit;
mod bulk;
mod client;
mod client_error;
mod failure_kinds;
mod flows;
mod gateways;
mod handle;
mod hooks;
mod items;
mod late;
pub mod progress;
mod results;
mod schedules;
mod secret;
mod stuck;
mod submission;
mod tokens;
mod types;
mod utc;

pub use client::{Client, TaskStatusView};
pub use client_error::ClientError;
pub use failure_kinds::FailureKind;
pub use flows::{FlowBuilder, FlowView};
pub use handle::{TaskHandle, TaskOutcome};
pub use hooks::signing_secrets;
pub use progress::{Meter, Pace, Progress};
pub use results::ResultStream;
pub use schedules::{BackfillPeriod, ScheduleView};
pub use secret::PresentedToken;
pub use stuck::{StuckCallNote, StuckNote, StuckNotes};
pub use submission::{RunError, RunningTask, Submission, TaskOutput};
pub use tokens::NewToken;
pub use types::TypeDefinition;
// The labels that processes have in the groups of their roles.
pub use dtf_runtime::{SLOTS_LABEL, TASK_TYPES_LABEL};
pub use utc::utc;
