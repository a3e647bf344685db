//! A deterministic simulation of whole groups: the protocol's machines over a model store, with everything that can go
//! wrong going wrong when a seed says so, and the properties checked after every step.
//!
//! Calls are late, lost, answered by nobody or carried out long after; watches are slow, lost or repeat themselves;
//! processes are killed, restarted, closed and paused for longer than their TTL; clocks run at different rates; the
//! store goes away, restarts and loses its counter. Meanwhile operators drain, pin, freeze, evict and release by force.

mod faults;
mod network;
mod operators;
mod oracle;
mod perform;
mod process;
mod rest;
mod rng;
mod shrink;
pub(crate) mod store;
mod tests;
mod world;
