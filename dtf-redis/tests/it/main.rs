//! The tests of the stores on real Redis servers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod conformance;
mod failover;
mod faults;
mod server;
mod task;
mod topologies;
