//! Typed task types for the distributed task framework.
//!
//! A [`TaskType`] is built from closures over your own [serde](https://serde.rs) types: one that gives the *items* of a task,
//! one that *executes* an item, and one that *folds* the outputs into the task's result. The compiler checks that they fit
//! together, and that they fit the parameter and the result of whoever [runs](TaskRef) the type.
//!
//! ```
//! use dtf_typed::TaskType;
//!
//! let squares = TaskType::named("squares")
//!     .input(|limit: u64| 0..limit) // a task's items: its subtasks
//!     .execute(|n: u64, _ctx| async move { Ok(n * n) }) // on any executor, at least once
//!     .fold(0u64, |sum, square: u64| sum + square) // each output counts exactly once
//!     .build();
//! assert_eq!(squares.name(), "squares");
//! ```
//!
//! The facade crate `dtf` registers and runs task types. This crate knows the traits of
//! [`dtf_model::plugin`] and no engine, so a library of task types depends on nothing else.
//!
//! # Resuming
//! No closure writes a checkpoint. The position within the items is saved with every batch of subtasks, and the folded state
//! with every batch of outputs. A process that takes a task over continues behind both.
//!
//! - [`input`](TaskTypeBuilder::input) takes anything that can be iterated over. It is resumed with [`Iterator::nth`], which
//!   takes no time for ranges, slices and vectors.
//! - [`input_stream`](TaskTypeBuilder::input_stream) is told the position to begin at.
//! - [`input_pages`](TaskTypeBuilder::input_pages) is told the cursor of the page to continue with.
//!
//! The items must be the same each time, for the same parameter.
//!
//! # Format
//! Parameters, items, outputs and states are stored as JSON, so that people can read them and so that types can grow:
//! `#[serde(default)]` on a new field reads what an earlier version of the program wrote. JSON has no NaN and no infinity. A
//! type whose items are large and binary implements the [traits](dtf_model::plugin) instead.

mod builder;
mod codec;
mod collect;
mod execute;
mod input;
mod live;
mod number;
mod plugin;
mod settings;
mod task_type;

pub use builder::{Named, Stored, TaskTypeBuilder, WithExecutor, WithFold, WithInput, WithResult};
pub use collect::{Ended, FollowUps};
pub use execute::{Context, final_error};
pub use input::Page;
pub use live::{Live, LiveResult, LiveResults, Opening};
pub use number::number_of;
pub use task_type::{TaskRef, TaskType};

/// The examples of the README are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
