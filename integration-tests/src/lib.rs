//! The whole stack on real servers.
//!
//! [`books`] is a kind of task whose executions can be seen from outside; the program `dtf-books` is the `dtf` command with it.
//! [`stage`] is a cluster of such processes on private servers. [`soak`] puts a mixed load and random faults on one, for as
//! long as it is told to; the program `soak` runs it.

pub mod books;
pub mod soak;
pub mod stage;
