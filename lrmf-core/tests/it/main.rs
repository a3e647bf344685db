//! The tests of whole members on a store in memory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod available;
mod coordinator;
mod faults;
mod rejoin;
mod stuck;
mod support;
mod user_code;
