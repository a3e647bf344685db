//! The times at which to ring a task's generator, so that it fills the backlog up.
//!
//! # The problem
//! Only the generator knows its share of the budgets, in number and in bytes. A scheduler that rang at each take below the half of
//! what the task may have at most would ring all the time where the share is smaller, as the generator then has nothing to add. So it
//! rings when half is left of what was there when it rang last, and anew once something was added. Where nothing is left it rings
//! at each look that finds nothing: the generator may have waited for something else, as for the collector.
//!
//! Pure: no clock, no IO.

/// The bell of a task's generator.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bell {
    /// The number of subtasks that were left when it was rung last; none after something was added.
    rung_at: Option<u64>,
    /// The number that was left at the last look.
    left: u64,
}

impl Bell {
    /// So many are left of a backlog that may be so long, after some were taken, if any. Says whether to ring.
    pub(super) fn rings(&mut self, taken: u64, left: u64, full: u64) -> bool {
        if left + taken > self.left {
            self.rung_at = None;
        }
        self.left = left;
        let is_empty = left == 0 && taken == 0;
        let rings =
            left <= full / 2 && self.rung_at.is_none_or(|at| is_empty || (left <= at / 2 && left < at));
        if rings {
            self.rung_at = Some(left);
        }
        rings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers left at which the bell rings, as a backlog is taken in steps of this size.
    fn rung(bell: &mut Bell, from: u64, step: usize) -> Vec<u64> {
        (0..from).rev().step_by(step).filter(|left| bell.rings(step as u64, *left, 10_000)).collect()
    }

    #[test]
    fn a_generator_without_room_is_not_rung_at_each_take() {
        let mut bell = Bell::default();
        assert_eq!(rung(&mut bell, 600, 1), [599, 299, 149, 74, 37, 18, 9, 4, 2, 1, 0]);
        // Nothing was added, and nothing is left: it may have room by now for which it waits.
        assert!(bell.rings(0, 0, 10_000));
    }

    #[test]
    fn a_full_backlog_is_rung_for_when_half_of_it_is_left_and_again_once_it_was_filled_up() {
        let mut bell = Bell::default();
        assert_eq!(rung(&mut bell, 10_000, 100).first(), Some(&4999));
        assert!(!bell.rings(10, 9000, 10_000));
        assert!(bell.rings(4500, 4500, 10_000));
        assert!(!bell.rings(100, 4400, 10_000));
        // Something was added meanwhile, however little.
        assert!(bell.rings(100, 4301, 10_000));
    }
}
