//! The whole stack on real servers.
//!
//! [`servers`] has the servers: private ones that a test starts, kills, stops and starts again, or those that the
//! environment names. `books`, with the feature `full`, is a kind of task whose executions can be seen from outside; the
//! program `dtf-books` is the `dtf` command with it. `proxy`, with the same feature, is a network that can be cut.

#[cfg(feature = "full")]
pub mod books;
#[cfg(feature = "full")]
pub mod proxy;
pub mod servers;
