//! Random numbers that follow from a seed.

use std::time::Duration;

/// Random numbers (SplitMix64).
#[derive(Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// Draws a number below the bound, which is above zero.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// Draws an index of a list of this length.
    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("it is below a length")
    }

    /// Returns true once in so many draws.
    pub(super) fn once_in(&mut self, draws: u64) -> bool {
        self.below(draws) == 0
    }

    /// Draws the length of a fault: mostly short, sometimes longer than a session, seldom an outage of minutes.
    pub(super) fn length(&mut self, longest: Duration) -> Duration {
        let most = match self.below(40) {
            0 => longest,
            1..=9 => Duration::from_secs(8),
            _ => Duration::from_millis(1500),
        };
        let most = u64::try_from(most.min(longest).as_millis()).expect("outages last minutes");
        Duration::from_millis(self.below(most.max(1)))
    }
}
