//! For those who write an implementation of a port: the suites that show whether it keeps its obligations.

pub mod audit;
pub mod bulk;
pub mod cluster;
pub mod defined_type;
pub mod failure;
pub mod flow;
pub mod gateway;
pub mod group;
pub mod hook;
pub mod items;
pub mod noting;
pub mod queue;
pub mod result;
pub mod schedule;
pub mod shard;
pub mod table;
pub mod token;
pub mod unique;
pub mod wake;

use std::fmt;
use std::time::Duration;

use dtf_model::StoreError;
use tokio::time::Instant;
use uuid::Uuid;

/// For how long a store may not answer in a test in which it will: much longer than it takes, as the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two calls.
const PAUSE: Duration = Duration::from_millis(20);

/// Calls again while the store does not answer. Panics where it refuses, and where it stays away for minutes.
pub async fn until_answered<T, F>(call: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    let begin = Instant::now();
    loop {
        match call().await {
            Ok(value) => return value,
            Err(error) => assert!(error.is_retryable() && begin.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns the store's answer; panics where it failed.
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

/// The examples of the README are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
