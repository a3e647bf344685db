//! The tests of whole members on a store in memory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod available;
mod coordinator;
mod faults;
mod link;
mod rejoin;
mod stalled;
mod store_reset;
mod stuck;
mod support;
mod unreadable;
mod user_code;
