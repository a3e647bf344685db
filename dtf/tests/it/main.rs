//! The tests of the engine, the built-in task types and the command: one program, as linking costs more than running.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod at_once;
mod attempts;
mod budgets;
mod callback;
mod calls;
mod capable;
mod chaos;
mod checksum;
mod checksum_command;
mod cli;
#[cfg(feature = "full")]
mod cli_remote;
#[cfg(feature = "full")]
mod cli_servers;
mod common;
mod dev;
mod engine;
mod examples;
mod exec;
mod exec_command;
mod failures;
mod flows;
mod forgetting;
mod groups;
mod handle;
mod hooks;
mod input;
mod items;
mod keys;
mod large;
mod leaving;
mod limits;
mod losses;
mod map_command;
mod map_exec;
mod map_http;
#[cfg(feature = "full")]
mod map_objects;
mod noop;
mod open;
mod parity;
mod recovery;
mod schedules;
mod sessions;
mod shared_session;
mod support;
mod timeouts;
mod turns;
mod typed;
mod typed_recovery;
