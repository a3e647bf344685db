//! The tests of the whole stack on real servers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod api_outages;
mod authority;
mod cluster;
mod commands;
mod forgetting;
mod full_stack;
mod json;
mod leaving;
mod left;
mod metrics;
mod partitions;
mod processes;
mod refusing;
mod restores;
mod rolling;
mod secrets;
mod silence;
mod soak;
mod tls;
mod topologies;
mod versions;
