//! Free loopback ports.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;

/// Below the ports that systems give to outgoing connections, so that nobody takes a port while its server is down.
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

/// A port that is free now. Processes begin at different places, so that they seldom meet.
///
/// # Errors
/// None is free.
pub fn free() -> anyhow::Result<u16> {
    static DRAWN: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(101);
    (0..COUNT)
        .map(|_| FIRST + begin.wrapping_add(DRAWN.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .context("no loopback port is free")
}
