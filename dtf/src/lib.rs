//! The distributed task framework, put together: register a kind of task, start the roles, create tasks.

mod client;
mod plugin_runtime;
mod service;
pub mod tasks;

pub use client::{Client, Progress, TaskHandle, TaskStatusView};
pub use dtf_model as model;
pub use lrmf_core as lrmf;
pub use service::{Dtf, DtfBuilder, DtfConfig, Ports, ServiceError};
