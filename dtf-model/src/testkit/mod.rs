//! For those who write an implementation of a port: the suites that show whether it keeps its obligations.

pub mod cluster;
pub mod failure;
pub mod group;
pub mod queue;
pub mod shard;
pub mod table;
pub mod wake;

use std::fmt;

use uuid::Uuid;

/// What the store answered; a panic where it failed.
fn must<T, E: fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the store failed: {error}"),
    }
}

/// A number below 2^50 that nobody else uses.
fn unique_number() -> u64 {
    Uuid::new_v4().as_u64_pair().0 >> 14
}
