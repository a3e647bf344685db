//! A bound on the wrong tokens that an address may present: looking each up costs a call on the database.

use std::collections::HashMap;
use std::net::IpAddr;

/// The wrong tokens that an address may present within [`WINDOW_MILLIS`].
const MOST: u32 = 20;
/// The length of a window.
const WINDOW_MILLIS: u64 = 60_000;
/// The addresses that are remembered.
const MAX_ADDRESSES: usize = 10_000;

/// The wrong tokens of each address in its window.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    of: HashMap<IpAddr, Window>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: u64,
    failed: u32,
}

impl Attempts {
    /// Returns the seconds after which an address may try again; `None` where it may now.
    pub(super) fn blocked_for(&self, address: IpAddr, now: u64) -> Option<u64> {
        let window = self.of.get(&address).filter(|window| window.failed >= MOST)?;
        let left = WINDOW_MILLIS.saturating_sub(now.abs_diff(window.began));
        (left > 0).then(|| left.div_ceil(1000))
    }

    /// Counts a wrong token.
    pub(super) fn failed(&mut self, address: IpAddr, now: u64) {
        let is_over = |window: &Window| now.abs_diff(window.began) >= WINDOW_MILLIS;
        if self.of.len() >= MAX_ADDRESSES && !self.of.contains_key(&address) {
            self.of.retain(|_, window| !is_over(window));
            if self.of.len() >= MAX_ADDRESSES {
                self.of.clear();
            }
        }
        let window = self.of.entry(address).or_insert(Window { began: now, failed: 0 });
        if is_over(window) {
            *window = Window { began: now, failed: 0 };
        }
        window.failed += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from(number).into()
    }

    #[test]
    fn an_address_that_fails_too_often_waits_for_the_next_window() {
        let mut attempts = Attempts::default();
        for _ in 0..MOST {
            assert_eq!(attempts.blocked_for(address(1), 1000), None);
            attempts.failed(address(1), 1000);
        }
        assert_eq!(attempts.blocked_for(address(1), 1000), Some(60));
        assert_eq!(attempts.blocked_for(address(1), 60_500), Some(1));
        assert_eq!(attempts.blocked_for(address(2), 1000), None);
        assert_eq!(attempts.blocked_for(address(1), 61_000), None);
        attempts.failed(address(1), 61_000);
        assert_eq!(attempts.blocked_for(address(1), 61_000), None, "the new window has one");
    }

    #[test]
    fn many_addresses_take_no_more_memory() {
        let mut attempts = Attempts::default();
        for number in 0..=u32::try_from(MAX_ADDRESSES).unwrap() {
            attempts.failed(address(number), 0);
        }
        assert!(attempts.of.len() <= MAX_ADDRESSES);
    }
}
