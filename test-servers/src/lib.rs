//! Private servers for tests and benchmarks, and networks between them that can be cut.
//!
//! [`servers`] has etcd, MariaDB and Redis: private ones that a test starts, kills, stops and starts again, or those that the
//! environment names. [`wire`] is a wire between network namespaces that can be pulled, and [`proxy`] a network that can be cut
//! where there is no such wire, and server by server. [`guard`] ends the processes of a test that was killed.

pub mod guard;
pub mod proxy;
pub mod servers;
pub mod wire;
