//! The distributed task framework, put together: register a kind of task, start the roles, create tasks.

mod client;
pub mod embedded;
mod plugin_runtime;
#[cfg(all(feature = "etcd", feature = "mysql", feature = "redis"))]
pub mod servers;
mod service;
pub mod tasks;

pub use client::{Client, Progress, TaskHandle, TaskStatusView};
pub use dtf_model as model;
pub use lrmf_core as lrmf;
pub use service::{Dtf, DtfBuilder, DtfConfig, Ports, ServiceError};
