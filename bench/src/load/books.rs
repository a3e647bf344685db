//! The books of a task: evidence that each of its inputs was counted once.

use serde::{Deserialize, Serialize};

/// Sums over the inputs whose results a collector was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Books {
    pub(crate) results: u64,
    sum: u64,
    mixed: u64,
}

impl Books {
    pub(crate) fn add(&mut self, number: u64) {
        self.results += 1;
        self.sum = self.sum.wrapping_add(number);
        // An input counted twice in place of another one cannot leave both sums as they were.
        self.mixed = self.mixed.wrapping_add(number.wrapping_mul(number) ^ number.rotate_left(32));
    }

    /// The books of the inputs from 0 to below `count`, each counted once.
    pub(crate) fn of(count: u64) -> Self {
        let mut books = Self::default();
        (0..count).for_each(|number| books.add(number));
        books
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_in_place_of_another_is_seen() {
        let mut wrong = Books::default();
        [0, 1, 1, 4].into_iter().for_each(|number| wrong.add(number));
        assert_ne!(wrong, Books::of(4));
        let mut right = Books::default();
        [3, 0, 2, 1].into_iter().for_each(|number| right.add(number));
        assert_eq!(right, Books::of(4));
    }
}
