//! A deterministic simulation of whole groups, twice: of the protocol's machines, which is fast and told in full below, and in
//! [`driven`] of the real driver around them.
//!
//! The first: the protocol's machines over a model store, with everything that can go
//! wrong going wrong when a seed says so, and the properties checked after every step.
//!
//! Calls are late, lost, answered by nobody or carried out long after; watches are slow, lost or repeat themselves;
//! processes are killed, restarted, closed and paused for longer than their TTL; clocks run at different rates; the
//! store goes away, restarts and loses its counter. Meanwhile operators drain, pin, freeze, evict and release by force.

mod driven;
mod faults;
mod moves;
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

use world::{Failure, Plan, World};

/// Runs a plan, of the machines or of the driver.
fn simulate(plan: &Plan) -> Result<u64, Failure> {
    if plan.driven { driven::run(plan) } else { World::new(plan).run(plan) }
}
