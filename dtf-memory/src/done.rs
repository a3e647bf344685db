//! The set of counted subtasks: one bit each, and no bits for full stretches.

use std::collections::{BTreeMap, BTreeSet};

use dtf_model::ids::Seq;

/// Subtasks a chunk.
const CHUNK: u64 = 1 << 16;
const WORDS: usize = (CHUNK / 64) as usize;

/// A set of subtask numbers. Memory is a bit for each number in a chunk that has gaps, and next to nothing for a chunk
/// that is full, so it depends on how far the numbers are apart that come in, not on how many there are.
#[derive(Clone, Debug, Default)]
pub(super) struct DoneSet {
    /// Chunks with gaps.
    open: BTreeMap<u64, Chunk>,
    /// Full chunks, as ranges: first chunk to the chunk behind the last.
    full: BTreeSet<(u64, u64)>,
}

#[derive(Clone, Debug)]
struct Chunk {
    bits: Box<[u64; WORDS]>,
    count: u32,
}

impl DoneSet {
    pub(super) fn contains(&self, seq: Seq) -> bool {
        let (chunk, word, bit) = place(seq);
        match self.open.get(&chunk) {
            Some(open) => open.bits[word] & bit != 0,
            None => self.is_full(chunk),
        }
    }

    /// Adds a number and says whether it was new.
    pub(super) fn insert(&mut self, seq: Seq) -> bool {
        let (chunk, word, bit) = place(seq);
        if !self.open.contains_key(&chunk) && self.is_full(chunk) {
            return false;
        }
        let open = self.open.entry(chunk).or_insert_with(|| Chunk { bits: Box::new([0; WORDS]), count: 0 });
        if open.bits[word] & bit != 0 {
            return false;
        }
        open.bits[word] |= bit;
        open.count += 1;
        if u64::from(open.count) == CHUNK {
            self.open.remove(&chunk);
            self.add_full(chunk);
        }
        true
    }

    fn is_full(&self, chunk: u64) -> bool {
        self.full.range(..=(chunk, u64::MAX)).next_back().is_some_and(|(_, end)| chunk < *end)
    }

    fn add_full(&mut self, chunk: u64) {
        let (mut first, mut end) = (chunk, chunk + 1);
        let before = self.full.range(..(chunk, 0)).next_back().copied();
        if let Some(range) = before.filter(|range| range.1 == chunk) {
            self.full.remove(&range);
            first = range.0;
        }
        let behind = self.full.range((end, 0)..).next().copied();
        if let Some(range) = behind.filter(|range| range.0 == end) {
            self.full.remove(&range);
            end = range.1;
        }
        self.full.insert((first, end));
    }
}

fn place(seq: Seq) -> (u64, usize, u64) {
    let within = seq.0 % CHUNK;
    (seq.0 / CHUNK, (within / 64) as usize, 1 << (within % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn full_chunks_become_ranges() {
        let mut done = DoneSet::default();
        for chunk in [2, 0, 1] {
            for seq in 0..CHUNK {
                assert!(done.insert(Seq(chunk * CHUNK + seq)));
            }
        }
        assert!(done.open.is_empty());
        assert_eq!(done.full.iter().copied().collect::<Vec<_>>(), [(0, 3)]);
        assert!(done.contains(Seq(3 * CHUNK - 1)));
        assert!(!done.contains(Seq(3 * CHUNK)));
        assert!(!done.insert(Seq(CHUNK)));
        assert!(done.insert(Seq::FIRST_FOLLOW_UP));
    }

    proptest! {
        #[test]
        fn it_is_a_set(seqs in prop::collection::vec(0u64..300_000, 0..300)) {
            let mut done = DoneSet::default();
            let mut model = HashSet::new();
            for seq in seqs {
                prop_assert_eq!(done.contains(Seq(seq)), model.contains(&seq));
                prop_assert_eq!(done.insert(Seq(seq)), model.insert(seq));
            }
        }
    }
}
