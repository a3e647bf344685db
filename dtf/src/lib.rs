//! x

pub mod tasks;
