//! Shard keys: which subtasks of a task belong together.
//!
//! # Affinity
//! Subtasks with one key go to one shard, and so to the executor that holds it, which may keep by key what is dear to make.
//! A key has a *lane*: its hash, over as many lanes as there are shards. A lane is served by the shard of its number; where
//! that one's holder does not know the kind of task, by a stand-in that depends on the lane and on who is capable, and on
//! nothing else. So a key moves only when its shard moves, or when who is capable changes.
//!
//! # Order
//! With an [ordered](ShardKey::ordered) key they run one at a time, in the order of their numbers: that in which the generator
//! gave them, and before what it gave and has not begun the further ones of the collector. A subtask that is to be tried
//! again, that was put off by the scheduler's callback or that [stays open](crate::plugin::CollectorSupport::keep_open) for
//! later holds back those behind it, until it has ended. One that has failed for good or timed out does not.
//!
//! What is promised is the order of *dispatch*: nothing of a key is handed out while another of it is on its way, runs, or
//! waits for its next attempt; and an executor begins nothing that is not recorded as running where it is. As a subtask may be
//! executed more than once, two executions overlap in these cases only:
//! - An executor that was paused beyond its session, and believed dead, wakes up: it may go on with the *one* subtask that it
//!   was at, until it notices (its clock counts the pause; code that never waits is not broken off). What it reports then
//!   counts once, as anything does.
//! - Plugin code that blocks its thread beyond its timeout is counted as timed out while it goes on.
//! - The answer of a shard that a parcel was shipped to was lost, and at the same time that shard's holder was exchanged for one
//!   that does not know the type, or a follow-up came for the key.
//! - A server of the queues has lost its last writes: what had been handed out since runs again from there.
//!
//! Who writes to a store that must not see even these keeps there, by key, the highest number of a subtask
//! ([`SubtaskId`](crate::SubtaskId)) that has written, and refuses lower ones: among what a generator gave, numbers rise within
//! a key from one subtask to the next.

use std::fmt;

/// The bits of a hash. Key and order together are below 2^53, so that every store can hold them exactly.
const HASH_BITS: u32 = 52;

/// The key of subtasks that belong together: a hash of the name that the plugin gives them.
///
/// Two names in 2^52 have the same hash: their subtasks then go to the same shard and, if ordered, wait for one another.
/// That is of no other consequence. A key and its [ordered](Self::ordered) form are two keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardKey(u64);

impl ShardKey {
    /// The key of this name.
    pub fn new(name: impl AsRef<[u8]>) -> Self {
        // FNV-1a, and the finalizer of SplitMix64. It is stored, so it stays as it is.
        let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let hash = mixed(name.as_ref().iter().fold(0xcbf2_9ce4_8422_2325, fnv));
        Self((hash >> (64 - HASH_BITS)) << 1)
    }

    /// The key whose subtasks run one at a time, in their order.
    #[must_use]
    pub fn ordered(self) -> Self {
        Self(self.0 | 1)
    }

    /// Returns true if its subtasks run one at a time, in their order.
    pub fn is_ordered(self) -> bool {
        self.0 & 1 == 1
    }

    /// Its lane, of so many.
    pub fn lane(self, lanes: u32) -> u32 {
        // The remainder is below a `u32`.
        ((self.0 >> 1) % u64::from(lanes.max(1))) as u32
    }

    /// As a number below 2^53, for stores.
    pub fn code(self) -> u64 {
        self.0
    }

    /// The key of a [`code`](Self::code).
    pub fn from_code(code: u64) -> Option<Self> {
        (code >> (HASH_BITS + 1) == 0).then_some(Self(code))
    }
}

impl fmt::Debug for ShardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}{}", self.0 >> 1, if self.is_ordered() { " ordered" } else { "" })
    }
}

/// Spreads the bits of a number.
pub(crate) fn mixed(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The shard that serves each lane of a type, where not every shard's holder knows the type: the next shard whose holder
/// does, on a ring in which shards stand in an order of their own. Without any that does, each lane waits at its own.
#[derive(Clone, Debug)]
pub struct Ring(Vec<u32>);

impl Ring {
    /// The ring of so many shards.
    pub fn new(shards: u32) -> Self {
        let mut ring: Vec<_> = (0..shards).collect();
        ring.sort_unstable_by_key(|shard| mixed(u64::from(*shard) + 1));
        Self(ring)
    }

    /// The shard that serves each lane.
    pub fn serving(&self, is_capable: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut serving: Vec<_> = (0..self.0.len() as u32).collect();
        let mut next = None;
        // Twice around, backwards: the second time those behind the last capable one find the first.
        for shard in self.0.iter().rev().chain(self.0.iter().rev()) {
            if is_capable(*shard) {
                next = Some(*shard);
            } else if let Some(next) = next {
                serving[*shard as usize] = next;
            }
        }
        serving
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::*;

    #[test]
    fn a_key_stays_what_it_is() {
        // Stored by earlier versions: never to be changed.
        assert_eq!(ShardKey::new("customer 7").code(), CUSTOMER_7);
        assert_eq!(ShardKey::new("customer 7").ordered().code(), CUSTOMER_7 + 1);
        assert_eq!(ShardKey::from_code(CUSTOMER_7), Some(ShardKey::new("customer 7")));
        assert_eq!(ShardKey::from_code(1 << 53), None);
    }

    const CUSTOMER_7: u64 = 0x0002_f67b_caa5_de8c;

    #[test]
    fn keys_are_spread_over_all_lanes() {
        let mut lanes = BTreeMap::new();
        let keys: Vec<_> = (0..6400).map(|number: u32| ShardKey::new(number.to_string())).collect();
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
        for key in keys {
            *lanes.entry(key.lane(64)).or_insert(0) += 1;
            assert_eq!(key.lane(64), key.ordered().lane(64));
        }
        assert_eq!(lanes.len(), 64);
        assert!(lanes.values().all(|keys| (50..200).contains(keys)), "{lanes:?}");
    }

    #[test]
    fn only_what_has_to_move_moves() {
        let ring = Ring::new(64);
        assert_eq!(ring.serving(|_| true), (0..64).collect::<Vec<_>>());
        assert_eq!(ring.serving(|_| false), (0..64).collect::<Vec<_>>());
        let half = ring.serving(|shard| shard < 32);
        assert!(half[..32].iter().copied().eq(0..32) && half[32..].iter().all(|shard| *shard < 32));
        assert!(half[32..].iter().collect::<HashSet<_>>().len() > 8, "{half:?}");
        // One more is lost: only its lanes move. It comes back: so do they.
        let fewer = ring.serving(|shard| shard < 31);
        let moved: Vec<_> = (0..64).filter(|lane| half[*lane] != fewer[*lane]).collect();
        assert!(moved.iter().all(|lane| half[*lane] == 31) && moved.contains(&31), "{moved:?}");
    }
}
