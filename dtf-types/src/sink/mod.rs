//! Sinks: what takes the results of a task. Each result is written once, as the position behind the last one is committed with it.

mod csv;
mod failed;
mod jsonl;
mod keep;
mod object;
mod part;
mod summary;
mod webhook;

pub(crate) use self::csv::CsvSink;
pub(crate) use self::failed::WithFailed;
pub(crate) use self::jsonl::JsonlSink;
pub(crate) use self::keep::KeepSink;
pub(crate) use self::object::{ObjectFormat, ObjectSink};
pub(crate) use self::summary::CountSink;
pub(crate) use self::webhook::WebhookSink;
