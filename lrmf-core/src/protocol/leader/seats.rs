//! The members that may hold tasks where there are more than may: those that came first.

use std::collections::BTreeSet;

use crate::coordination::Revision;
use crate::ids::InstanceId;

/// Members in the order in which they came. A change costs the logarithm of their number.
#[derive(Clone, Debug)]
pub(super) struct Seats {
    most: usize,
    seated: BTreeSet<(Revision, InstanceId)>,
    waiting: BTreeSet<(Revision, InstanceId)>,
}

impl Seats {
    /// Seats for so many.
    pub(super) fn new(most: usize) -> Self {
        Self { most, seated: BTreeSet::new(), waiting: BTreeSet::new() }
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// The number that wait for a seat.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// A member came, or is heard of again.
    pub(super) fn enter(&mut self, since: Revision, instance: &InstanceId) {
        let member = (since, instance.clone());
        if self.waiting.contains(&member) || !self.seated.insert(member) {
            return;
        }
        if self.seated.len() > self.most {
            // One that is heard of late may have come before others.
            self.waiting.extend(self.seated.pop_last());
        }
    }

    /// A member went: who has waited longest gets its seat.
    pub(super) fn leave(&mut self, since: Revision, instance: &InstanceId) {
        let member = (since, instance.clone());
        if self.seated.remove(&member) {
            self.seated.extend(self.waiting.pop_first());
        } else {
            self.waiting.remove(&member);
        }
    }

    pub(super) fn has(&self, since: Revision, instance: &InstanceId) -> bool {
        self.seated.contains(&(since, instance.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(seats: &Seats, of: &[(u64, &str)]) -> Vec<bool> {
        of.iter().map(|(since, name)| seats.has(Revision(*since), &InstanceId::new(name).unwrap())).collect()
    }

    #[test]
    fn who_came_first_sits_and_who_waited_longest_is_next() {
        let mut seats = Seats::new(2);
        let all = [(1, "c"), (2, "a"), (3, "b"), (4, "d")];
        // Heard of in the order of their names, as when a group is listed.
        for (since, name) in [all[1], all[2], all[0], all[3], all[3]] {
            seats.enter(Revision(since), &InstanceId::new(name).unwrap());
        }
        assert_eq!((has(&seats, &all), seats.waiting()), (vec![true, true, false, false], 2));
        seats.leave(Revision(1), &InstanceId::new("c").unwrap());
        assert_eq!((has(&seats, &all), seats.waiting()), (vec![false, true, true, false], 1));
        seats.leave(Revision(4), &InstanceId::new("d").unwrap());
        assert_eq!((has(&seats, &all[1..3]), seats.waiting()), (vec![true, true], 0));
    }
}
