//! For tests: [`group`] is a whole group in virtual time, for users' workers; [`coordination`] is the suite that shows
//! whether an implementation of the port to the store keeps its obligations.

pub mod coordination;
pub mod group;
