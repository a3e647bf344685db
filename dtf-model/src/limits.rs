//! Limits on how much of something runs.

use serde::{Deserialize, Serialize};

use crate::error::InvalidInput;

/// At most so much at the same time, and so much a second. Without a number there is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Subtasks that are dispatched and not reported, at most; at least 1.
    pub running: Option<u32>,
    /// Subtasks dispatched a second, on average; at least 1.
    pub rate: Option<u32>,
}

impl Limits {
    /// No limits.
    pub const NONE: Limits = Limits { running: None, rate: None };

    /// Both these limits and others.
    #[must_use]
    pub fn and(self, other: Limits) -> Limits {
        let tighter = |one: Option<u32>, other: Option<u32>| match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Limits { running: tighter(self.running, other.running), rate: tighter(self.rate, other.rate) }
    }

    /// The share of one of so many parts that keep the limits each for itself. Together they are the limits; but at least 1
    /// each, so limits below the number of parts are exceeded.
    #[must_use]
    pub fn share_of(self, part: u32, parts: u32) -> Limits {
        let parts = parts.max(1);
        let share =
            |limit: Option<u32>| limit.map(|limit| (limit / parts + u32::from(part < limit % parts)).max(1));
        Limits { running: share(self.running), rate: share(self.rate) }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// The first limit that is 0: it would stop everything, which is what pausing is for.
    pub fn check(&self) -> Result<(), InvalidInput> {
        let zero = |what| {
            let allowed = "at least 1, or no limit; pausing stops a task".to_owned();
            Err(InvalidInput::OutOfRange { what, got: "0".to_owned(), allowed })
        };
        match self {
            Self { running: Some(0), .. } => zero("the limit on running subtasks"),
            Self { rate: Some(0), .. } => zero("the limit on subtasks a second"),
            _ => Ok(()),
        }
    }
}
