//! Places tasks on a changing group of processes, and proves who holds what.

pub mod assignor;
pub mod clock;
pub mod coordination;
pub mod error;
pub mod ids;
pub mod memory;
pub mod provider;
pub mod runner;
pub mod smooth;
pub mod task;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod worker;

pub use clock::{BootClock, Clock, Timestamp};
pub use coordination::Coordination;
pub use error::{InvalidName, InvalidTask, StoreError};
pub use ids::{Generation, GroupId, Incarnation, InstanceId, Token};
pub use memory::MemoryStore;
pub use provider::{FixedTasks, TaskProvider};
pub use runner::{Held, RunTask, TaskRunner};
pub use task::{Holding, Task};
pub use worker::Worker;
