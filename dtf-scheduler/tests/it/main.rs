//! The tests of the scheduler from outside.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod manager;
mod scheduler;
mod support;
