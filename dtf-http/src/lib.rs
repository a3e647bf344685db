//! The HTTP API and the dashboard, as a router that any program can mount.
//!
//! - [`App`] has what the handlers do: JSON handlers and pages call the same functions, and a program may call them itself.
//! - [`router`] answers `/v1`, `/openapi.json` and the pages of the dashboard.
//! - [`Access`] says which hosts the server goes by. There are no tokens yet, so [`serve`] answers on loopback addresses only.
//!
//! The server keeps nothing: several processes may serve the same cluster. Everything that it tells is a snapshot.

mod access;
mod app;
mod assets;
mod convert;
mod events;
mod extract;
mod flows;
mod pages;
mod problem;
mod routes;
mod schedules;
mod server;

pub use access::Access;
pub use app::App;
pub use flows::{FlowAction, builder as flow_builder};
pub use problem::Failed;
pub use server::{ServeError, router, serve};
