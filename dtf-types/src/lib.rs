//! The task type `map`, which data describes: a [source](Source) of items, a [function](Function) that is applied to each, and a
//! [sink](Sink) for the results. New work needs no new program.
//!
//! - [`MapParam`] are the parameters of such a task, as JSON has them.
//! - [`registration`] makes the type known to a process. Each function makes a type of its own of it, such as `map:thumbnail`, so that
//!   subtasks go only to executors that can run it now.
//! - [`Commands`] are what a process with the executor role may run for items itself.
//! - [`Outbound`] is its way to receivers of requests.
//! - [`Exchange`] is where a process with the executor role meets remote workers: they take items and report results.
//!
//! Sources are lazy, and resume at a position. Results are written to a sink exactly once for each subtask, whoever fails over.

mod checksum;
mod command;
mod defined;
pub mod exchange;
mod function;
mod http;
mod item_key;
mod map;
mod members;
mod param;
mod schema;
mod sink;
mod source;
mod sql;
mod stores;
mod template;

pub use checksum::DigestKind;
pub use command::{CommandError, Commands};
pub use defined::DefinedAs;
pub use exchange::Exchange;
pub use http::{HttpCall, Outbound};
pub use item_key::ItemKey;
pub use map::{MapParts, registration};
pub use param::{
    CsvFile, CsvOut, FailedSink, Function, MapParam, Sink, Source, WebhookOut,
    check_name as check_function_name,
};
pub use sql::{SqlCall, SqlQuery};
pub use stores::ObjectStores;
pub use template::Template;

/// The examples of the README are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
