//! Limits on how much of something runs.

use serde::{Deserialize, Serialize};

use crate::error::Invalid;

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

    /// Checks the ranges.
    ///
    /// # Errors
    /// The first limit that is 0: it would stop everything, which is what pausing is for.
    pub fn check(&self) -> Result<(), Invalid> {
        let zero = |what| {
            let allowed = "at least 1, or no limit; pausing stops a task".to_owned();
            Err(Invalid::OutOfRange { what, got: "0".to_owned(), allowed })
        };
        match self {
            Self { running: Some(0), .. } => zero("the limit on running subtasks"),
            Self { rate: Some(0), .. } => zero("the limit on subtasks a second"),
            _ => Ok(()),
        }
    }
}
