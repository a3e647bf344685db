//! The whole stack on real servers.
//!
//! [`servers`] has the servers: private ones that a test starts, kills, stops and starts again, or those that the
//! environment names. `books`, with the feature `full`, is a kind of task whose executions can be seen from outside; the
//! program `dtf-books` is the `dtf` command with it. [`wire`] is a wire between network namespaces that can be pulled, and
//! `proxy`, with the feature `full`, a network that can be cut where there is no such wire, and server by server. [`guard`] ends
//! the processes of a test that was killed.

#[cfg(feature = "full")]
pub mod books;
pub mod guard;
#[cfg(feature = "full")]
pub mod proxy;
pub mod servers;
pub mod wire;
