//! Creating, steering and watching tasks, from any process that reaches the stores.
//!
//! - [`Client`] creates tasks, pauses, resumes, cancels, lists and retries them, and manages resource groups.
//! - [`TaskHandle`] is one task in the hands of its creator: it waits for the end, watches the progress, returns the result.
//! - [`progress`] defines rate and ETA.
//!
//! `dtf::Dtf::client` makes a client of a process; the HTTP API and the command work through the same one.

mod client;
mod handle;
pub mod progress;

pub use client::{Client, TaskStatusView};
pub use handle::{TaskHandle, TaskOutcome};
pub use progress::{Pace, Progress};
