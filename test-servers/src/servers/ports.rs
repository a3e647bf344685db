//! Free loopback ports, none given to two processes.

use std::fs::{self, File};
use std::net::TcpListener;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;

/// The number of ports to draw from.
const COUNT: u32 = 12_000;
/// The number of times that a server is started on other ports, when another process took one between its being found free
/// and its use.
const ATTEMPTS: usize = 5;

/// The ports of this process, kept for it until it ends: while a server is down, its port looks free to others.
static KEPT: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port that is free now, and that no other process of these tests is given while this one lives.
///
/// # Errors
/// None is free.
pub fn free() -> anyhow::Result<u16> {
    static DRAWN: AtomicU32 = AtomicU32::new(0);
    let range = range(fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok().as_deref());
    let locks = std::env::temp_dir().join(format!("dtf-test-ports-{}", rustix::process::geteuid()));
    fs::create_dir_all(&locks).context("no directory for the locks of ports")?;
    // Processes begin at different places, so that they seldom meet.
    let begin = std::process::id().wrapping_mul(101);
    (0..COUNT)
        .map(|_| range.start + begin.wrapping_add(DRAWN.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| keeps(&locks, *port) && TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .context("no loopback port is free")
}

/// Returns true if this process has the port from now on.
fn keeps(locks: &Path, port: u16) -> bool {
    let file = File::options().create(true).append(true).open(locks.join(port.to_string()));
    match file {
        Ok(file) if file.try_lock().is_ok() => {
            KEPT.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(file);
            true
        }
        _ => false,
    }
}

/// Ports beside those that the system gives to outgoing connections, which could take one while its server is down.
fn range(outgoing: Option<&str>) -> Range<u32> {
    let mut bounds = outgoing.unwrap_or_default().split_whitespace().map(str::parse::<u32>);
    let (low, high) = match (bounds.next(), bounds.next()) {
        (Some(Ok(low)), Some(Ok(high))) => (low, high),
        _ => (32_768, 60_999),
    };
    let first = if low >= COUNT + 2000 {
        low - COUNT
    } else if high + COUNT < 65_536 {
        high + 1
    } else {
        20_000
    };
    first..first + COUNT
}

/// Starts a server, on other ports where one of them was taken meanwhile.
pub(super) fn on_free<T>(start: impl Fn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut started = start();
    for _ in 1..ATTEMPTS {
        match &started {
            Err(error) if format!("{error:#}").to_lowercase().contains("already in use") => started = start(),
            _ => break,
        }
    }
    started
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_beside_those_of_outgoing_connections() {
        assert_eq!(range(Some("32768\t60999\n")), 20_768..32_768);
        assert_eq!(range(None), 20_768..32_768);
        assert_eq!(range(Some("16000 65535")), 4000..16_000);
        assert_eq!(range(Some("1024 40000")), 40_001..52_001);
        assert_eq!(range(Some("1024 65535")), 20_000..32_000);
    }

    #[test]
    fn a_port_is_given_once_also_while_nobody_listens_on_it() {
        let dir = tempfile::tempdir().expect("there is room");
        assert!(keeps(dir.path(), 4711));
        assert!(!keeps(dir.path(), 4711));
        assert!(keeps(dir.path(), 4712));
    }

    #[test]
    fn a_server_whose_port_was_taken_is_started_on_another_one() {
        let attempts = AtomicU32::new(0);
        let fails_first = |words: &'static str| match attempts.fetch_add(1, Ordering::Relaxed) {
            0 => Err(anyhow::anyhow!(words)),
            attempt => Ok(attempt),
        };
        assert_eq!(on_free(|| fails_first("bind: Address already in use")).ok(), Some(1));
        attempts.store(0, Ordering::Relaxed);
        assert!(on_free(|| fails_first("disk full")).is_err());
    }
}
