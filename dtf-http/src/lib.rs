//! The HTTP API and the dashboard, as a router that any program can mount.
//!
//! - [`App`] has what the handlers do: JSON handlers and pages call the same functions, and a program may call them itself.
//! - [`router`] answers `/v1`, `/openapi.json` and the pages of the dashboard.
//! - [`Access`] says which hosts the server goes by, and which requests need a token. [`Caller`] is who asks.
//!
//! - [`Doctor`] examines the servers of a cluster.
//!
//! The server keeps nothing that has to survive: several processes may serve the same cluster. Everything that it tells is a snapshot.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod announce;
mod app;
mod assets;
mod auth;
mod cluster;
mod convert;
mod events;
mod extract;
mod flows;
mod history;
mod hooks;
mod items;
mod pages;
mod patience;
mod placement;
mod problem;
mod routes;
mod schedules;
mod server;
#[cfg(feature = "tls")]
mod tls;
mod types;
pub mod view;
mod watch;
mod work;

pub use access::{Access, TokenRule};
pub use announce::{Announcing, announce};
pub use app::{App, Doctor, PlacementAction, workers};
pub use auth::Caller;
pub use flows::FlowAction;
pub use problem::Failed;
#[cfg(feature = "tls")]
pub use server::serve_tls;
pub use server::{router, serve};
#[cfg(feature = "tls")]
pub use tls::{Certificate, TlsError};
