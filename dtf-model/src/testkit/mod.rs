//! For those who write an implementation of a port: the suites that show whether it keeps its obligations.

pub mod table;
