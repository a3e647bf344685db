//! The names that a program with task types of its own needs: `use dtf::prelude::*`.

pub use std::time::Duration;

pub use dtf_model::plugin::{Dispatch, OnFailure};
pub use dtf_model::{Priority, TaskStatus};
pub use dtf_typed::{Context, Ended, FollowUps, Page, TaskRef, TaskType, final_error};

pub use crate::{
    ClientError, Dtf, ResultStream, RunError, RunningTask, ServiceError, Submission, TaskHandle,
};
