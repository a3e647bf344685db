//! The three roles that decide what is run: the [`manager`] begins and ends tasks, the [`generator`] splits them, and the
//! [`scheduler`] shares the executors' capacity between them.
//!
//! Each is a [`RunTask`](lrmf_core::runner::RunTask) for the parts of its LRMF group; which process runs which part, and
//! who may write to the tasks of it, is LRMF's to say.

mod batch_size;
pub mod budget;
pub mod generator;
pub mod history;
mod hooks;
pub mod manager;
mod retention;
mod retries;
pub mod scheduler;
mod schedules;
mod untold;
