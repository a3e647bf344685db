//! The tests of the store, the members and the examples on real etcd nodes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod available;
#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "cli")]
mod cli_secure;
mod conformance;
mod coordinator;
mod delay_queue;
mod faults;
#[path = "../../examples/common/hash.rs"]
mod hash;
mod kafka_mirror;
mod nodes;
mod processes;
mod scale;
mod simple;
mod support;
mod task_groups;
#[cfg(feature = "tls")]
mod tls;
