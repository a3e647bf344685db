//! The coordination port of [`lrmf_core`] on etcd 3.4 to 3.6.
//!
//! ```no_run
//! use std::sync::Arc;
//! use lrmf_core::Coordination;
//! use lrmf_etcd::{EtcdConfig, EtcdStore};
//!
//! # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
//! let config = EtcdConfig::new(["127.0.0.1:2379"]);
//! let store: Arc<dyn Coordination> = Arc::new(EtcdStore::connect(config).await?);
//! # Ok(())
//! # }
//! ```
//!
//! # What it takes care of
//! - Every call has a deadline. A call that was certainly not sent, because no connection came about, and any that may be
//!   repeated, is made again at another node, so that one node of three that is dead or hangs is not felt. A write that may
//!   have been made is [`Unknown`](lrmf_core::CoordinationError::Unknown), and it is the caller who reads before deciding.
//! - A node that says nothing while others answer is given up, with its watches; an only node that hangs is noticed by HTTP/2
//!   pings. Watches end, they do not fall silent.
//! - Connections and keep-alives live on [`lrmf_core::session_runtime`], which nothing in the program can hold up.
//! - All leases of a store are kept alive over one stream; only a received answer counts.
//! - What etcd reports within a watch, compaction and refused credentials, ends the watch with an error.
//!
//! # The command
//! With the feature `cli` there is `lrmf`, which shows and steers a group: `lrmf --help`. What it does is
//! [`lrmf_core::admin`] on an [`EtcdStore`].
//!
//! # What it cannot
//! etcd measures leases by its own clock, and a restart or a new leader of etcd gives every lease its full time again.
//! Old versions have faults in leases: [`EtcdStore::connect`] names them in a warning.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod config;
mod error;
mod keep_alive;
mod nodes;
mod store;
mod version;
mod watch;

#[cfg(feature = "tls")]
pub use config::Tls;
pub use config::{Credentials, EtcdConfig, InvalidConfig, Secret};
pub use store::{ConnectError, EtcdStore};

/// The examples of the README are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
