//! A client of the HTTP API, on the types of [`dtf_api`].
//!
//! - [`Connection`] says where the server is and which token is presented; [`Client`] asks it.
//! - [`Error`] is a line for people, and says whether the request may have been applied.
//!
//! A request whose answer did not come is sent again, with growing pauses: reads, changes that say what something is to be, and creations of
//! tasks, each of which has an idempotency key that stays the same in all attempts. Requests that would make something anew each time,
//! tokens and secrets, are sent once. An action that ends a task may be refused in a second attempt, where the first one was applied.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod bulk;
mod client;
mod connection;
mod error;
mod flows;
mod items;
mod request;
mod schedules;
mod types;

pub use client::Client;
pub use connection::Connection;
pub use error::Error;
