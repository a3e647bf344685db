//! The whole stack on real servers.
//!
//! [`servers`] has the servers: private ones that a test starts, kills, stops and starts again, or those that the
//! environment names.

pub mod servers;
