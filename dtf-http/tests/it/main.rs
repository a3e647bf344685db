//! The API and the dashboard, over a process that has everything.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod access;
mod api;
mod bad_input;
mod bulk;
mod description;
mod events;
mod flows;
mod hooks;
mod items;
mod pages;
mod schedules;
mod support;
#[cfg(feature = "tls")]
mod tls;
mod twins;
mod types;
mod work;
