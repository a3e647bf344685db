//! The parts that change hands, as this process sees it: the records of the groups have no times.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use dtf_api as api;

/// The moves of a role that are remembered.
const MOST: usize = 200;

/// A part's holding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) worker: String,
    pub(super) token: u64,
}

/// The parts of a role, as they were seen.
#[derive(Debug, Default)]
struct Seen {
    /// The time of the first look.
    since: u64,
    /// The holdings at the last look, and the time at which each was first seen; none where that was the first look.
    held: BTreeMap<String, (Held, Option<u64>)>,
    moves: VecDeque<api::Move>,
}

/// The parts of all roles, as they were seen.
#[derive(Debug, Default)]
pub(super) struct Moves(Mutex<BTreeMap<api::Role, Seen>>);

impl Moves {
    fn roles(&self) -> MutexGuard<'_, BTreeMap<api::Role, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the holdings of a role's parts.
    pub(super) fn note(&self, role: api::Role, now: u64, held: BTreeMap<String, Held>) {
        let mut roles = self.roles();
        let is_first = !roles.contains_key(&role);
        let seen = roles.entry(role).or_insert_with(|| Seen { since: now, ..Seen::default() });
        seen.note(now, held, is_first);
    }

    /// Returns the time since which a part is held as it is; none where it was so at the first look.
    pub(super) fn since(&self, role: api::Role, part: &str) -> Option<u64> {
        self.roles().get(&role)?.held.get(part)?.1
    }

    /// Returns the moves of a role's parts, the latest first, and the time of the first look.
    pub(super) fn of(&self, role: api::Role) -> (Vec<api::Move>, u64) {
        let roles = self.roles();
        let Some(seen) = roles.get(&role) else { return (Vec::new(), 0) };
        (seen.moves.iter().cloned().collect(), seen.since)
    }
}

impl Seen {
    fn note(&mut self, now: u64, held: BTreeMap<String, Held>, is_first: bool) {
        let mut before = std::mem::take(&mut self.held);
        for (part, new) in held {
            let (since, from) = match before.remove(&part) {
                Some((old, since)) if old == new => (since, None),
                Some((old, _)) => (Some(now), Some(Some(old.worker))),
                None if is_first => (None, None),
                None => (Some(now), Some(None)),
            };
            if let Some(from) = from {
                let (to, token) = (Some(new.worker.clone()), Some(new.token));
                self.push(api::Move { at: now, part: part.clone(), from, to, token });
            }
            self.held.insert(part, (new, since));
        }
        for (part, (old, _)) in before {
            self.push(api::Move { at: now, part, from: Some(old.worker), to: None, token: None });
        }
    }

    fn push(&mut self, one: api::Move) {
        self.moves.truncate(MOST - 1);
        self.moves.push_front(one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(parts: &[(&str, &str, u64)]) -> BTreeMap<String, Held> {
        let of = |&(part, worker, token): &(&str, &str, u64)| {
            (part.to_owned(), Held { worker: worker.to_owned(), token })
        };
        parts.iter().map(of).collect()
    }

    #[test]
    fn what_changes_hands_is_told_with_its_time() {
        let (moves, role) = (Moves::default(), api::Role::Manager);
        moves.note(role, 1000, held(&[("0", "one", 5), ("1", "one", 5)]));
        assert_eq!((moves.since(role, "0"), moves.of(role)), (None, (Vec::new(), 1000)));
        moves.note(role, 2000, held(&[("0", "one", 5), ("1", "two", 6), ("2", "two", 6)]));
        assert_eq!((moves.since(role, "0"), moves.since(role, "1")), (None, Some(2000)));
        moves.note(role, 3000, held(&[("1", "two", 6), ("2", "two", 7)]));
        assert_eq!((moves.since(role, "1"), moves.since(role, "2")), (Some(2000), Some(3000)));
        let told: Vec<_> =
            moves.of(role).0.into_iter().map(|one| (one.at, one.part, one.from, one.to)).collect();
        let (one, two) = (|| Some("one".to_owned()), || Some("two".to_owned()));
        assert_eq!(
            told,
            [
                (3000, "0".to_owned(), one(), None),
                (3000, "2".to_owned(), two(), two()),
                (2000, "2".to_owned(), None, two()),
                (2000, "1".to_owned(), one(), two()),
            ]
        );
        assert_eq!(moves.of(api::Role::Executor), (Vec::new(), 0));
    }

    #[test]
    fn no_more_is_remembered_than_is_shown() {
        let (moves, role) = (Moves::default(), api::Role::Executor);
        for token in 0..1000 {
            moves.note(role, token, held(&[("0", "one", token)]));
        }
        let (told, since) = moves.of(role);
        assert_eq!((told.len(), told[0].at, since), (MOST, 999, 0));
    }
}
