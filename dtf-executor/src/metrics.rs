//! The names of this crate's metrics.

/// Gauge: calls into plugins that block their threads past their time limit, and keep their slots.
pub const STUCK: &str = "dtf_executor_stuck_calls";
