//! A client of the HTTP API, on the types of [`dtf_api`].
//!
//! - [`Connection`] says where the server is and which token is presented; [`Client`] asks it.
//! - [`Error`] is a line for people, and says whether the request may have been applied.
//!
//! A request whose answer did not come is sent again, with growing pauses. All requests of this client may be: reads, changes that say what
//! something is to be, and creations, each of which has an idempotency key that stays the same in all attempts.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod client;
mod connection;
mod error;
mod request;

pub use client::Client;
pub use connection::Connection;
pub use error::Error;
