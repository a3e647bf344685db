//! Schedules: tasks that are created again and again, and the port to `tbl_schedule`.
//!
//! - [`Calendar`] knows the due times of an expression in a time zone.
//! - [`ScheduleSpec`] is a schedule as its user describes it, [`ScheduleState`] how far it is, [`ScheduleRow`] both.
//! - [`step`](step()) decides, purely, which due times make tasks.
//! - [`ScheduleTable`] keeps the rows.

mod calendar;
mod spec;
mod state;
mod step;
mod table;

pub use calendar::{Calendar, DEFAULT_ZONE, MAX_EXPRESSION_CHARS, MAX_INTERVAL, MIN_INTERVAL, parse_time};
pub use spec::{
    DEFAULT_CATCH_UP, MAX_CATCH_UP, MAX_JITTER, MAX_TEMPLATE_TASKS, Overlap, ScheduleSpec, Template,
};
pub use state::{
    Backfill, Cause, Creation, MAX_CONCURRENCY, MAX_HISTORY, Outcome, OutcomeKind, ScheduleState, Totals,
};
pub use step::{MAX_CREATED, Plan, RECHECK, Step, step};
pub use table::{NewSchedule, ScheduleRow, ScheduleTable, ScheduleUpdate};
