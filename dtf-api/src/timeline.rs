//! The course of a task's life.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A kind of event in a task's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// It was created.
    Created,
    /// Its first run began.
    Started,
    /// It was paused.
    Paused,
    /// It was resumed.
    Resumed,
    /// Its end was asked for.
    Cancelled,
    /// It ended.
    Ended,
    /// A receiver was told of its end, or was to be.
    Told,
    /// Its failed subtasks were run again, as a new task.
    Retried,
}

impl Moment {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Started => "started",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Cancelled => "cancelled",
            Self::Ended => "ended",
            Self::Told => "told",
            Self::Retried => "retried",
        }
    }
}

/// An event in a task's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimelineEntry {
    /// The time.
    pub at: u64,
    /// The kind of event.
    pub what: Moment,
    /// The one who asked for it, where that is known: the audit has it of what was asked for over HTTP.
    pub by: Option<String>,
    /// More about it; may be empty.
    pub detail: String,
}
