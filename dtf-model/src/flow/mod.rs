//! Dependencies between tasks, flows of several tasks, and the port to both.
//!
//! - [`Condition`] says which end of a task another one waits for; [`End`] is how a task ended, to those that wait.
//! - [`NewFlow`] is one or several tasks to be created together, with what each waits for; [`define`] makes one from local names.
//! - [`substituted`] puts results of predecessors into a parameter.
//! - [`FlowTable`] keeps what waits for what.

mod condition;
mod define;
mod result_ref;
mod table;

pub use condition::{Condition, End};
pub use define::{FlowDefinition, FlowTask, Predecessor, define, retry};
pub use result_ref::{MAX_RESULT_BYTES, RESULT, check_references, substituted, takes_results};
pub use table::{
    Dependency, Dependent, FlowCounts, FlowMember, FlowRow, FlowTable, MAX_DEPENDENCIES, MAX_FLOW_TASKS,
    NewFlow, NewMember, On, OnTask,
};
