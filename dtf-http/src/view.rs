//! The framework's types as the API has them, and back, for programs that work on the stores themselves.

pub use crate::convert::{defined_type, member, model_status, task_type};
pub use crate::flows::{
    builder as flow_builder, condition as model_condition, summary as flow_summary, view as flow,
};
pub use crate::hooks::model_delivery;
pub use crate::schedules::{spec as schedule_spec, view as schedule};
