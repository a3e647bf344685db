//! Places tasks on a changing group of processes, and proves who holds what.

pub mod assignor;
pub mod clock;
pub mod config;
pub mod coordination;
pub mod coordinator;
mod driver;
pub mod error;
pub mod event;
pub mod ids;
pub mod keys;
pub mod memory;
pub mod protocol;
pub mod provider;
pub mod records;
pub mod router;
pub mod runner;
#[cfg(test)]
mod sim;
pub mod smooth;
pub mod task;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod worker;

pub use clock::{BootClock, Clock, Timestamp};
pub use config::{Conflict, CoordinatorConfig, InvalidConfig};
pub use coordination::Coordination;
pub use coordinator::{Coordinator, CoordinatorBuilder, CoordinatorHandle, Events, StartError};
pub use driver::{HeldTasks, MemberStage, MemberStatus};
pub use error::{InvalidName, InvalidTask, StoreError};
pub use event::{Event, FenceReason};
pub use ids::{Generation, GroupId, Incarnation, InstanceId, Token};
pub use memory::MemoryStore;
pub use provider::{FixedTasks, TaskProvider};
pub use router::{NotReady, Route, Router};
pub use runner::{Held, RunTask, TaskRunner};
pub use task::{Holding, Task};
pub use worker::Worker;
