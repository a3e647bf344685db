//! The worker that a key belongs to: by rendezvous hashing (Thaler and Ravishankar, 1996), so that keys move only to a worker that comes,
//! or from one that goes.

use dtf_model::key::ShardKey;
use uuid::Uuid;

/// Returns the session that items of a key belong to: that whose worker has the highest hash together with the key, so that a worker which
/// comes again under its name has its keys again. None where there are no sessions.
pub(super) fn owner<'a>(key: ShardKey, sessions: impl Iterator<Item = (Uuid, &'a str)>) -> Option<Uuid> {
    let score = |name: &str| ShardKey::new([&key.code().to_be_bytes(), name.as_bytes()].concat());
    sessions.map(|(session, name)| (score(name), session)).max().map(|(_, session)| session)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(names: &[&str]) -> Vec<Uuid> {
        let session = |name: &str| Uuid::new_v5(&Uuid::nil(), name.as_bytes());
        let sessions: Vec<_> = names.iter().map(|name| (session(name), *name)).collect();
        (0..1000)
            .map(|key: u32| owner(ShardKey::new(key.to_string()), sessions.iter().copied()).unwrap())
            .collect()
    }

    #[test]
    fn keys_are_spread_and_move_only_to_who_comes() {
        let (three, four) = (owners(&["a", "b", "c"]), owners(&["a", "b", "c", "d"]));
        let new = Uuid::new_v5(&Uuid::nil(), b"d");
        let moved = three.iter().zip(&four).filter(|(before, after)| before != after);
        assert!(moved.clone().all(|(_, after)| *after == new));
        // A quarter of them, give or take.
        assert!((180..320).contains(&moved.count()));
        assert!(owner(ShardKey::new("k"), std::iter::empty()).is_none());
    }
}
