//! The number of subtasks to ask a generator for, and to put into a parcel, by the size of their bodies.
//!
//! A batch is pushed in one call together with the checkpoint behind it, so it cannot be divided afterwards: its size is bounded
//! by asking for no more than what, going by the batches so far, makes [`PUSH_BYTES`].

/// The size of a batch, all together.
const PUSH_BYTES: usize = 4 << 20;
/// The largest size of a parcel of more than one subtask: several parcels travel in one call.
pub(crate) const PARCEL_BYTES: usize = 256 << 10;
/// The size that subtasks are taken to have as long as none is known, …
const UNKNOWN_BYTES: u64 = 64 << 10;
/// … and the fewest and the most that are asked for then.
const UNKNOWN: std::ops::RangeInclusive<u64> = 16..=64;

/// The known sizes of a task's subtasks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BatchSize {
    /// The mean size of one.
    mean: Option<usize>,
}

impl BatchSize {
    /// Returns the number to ask for, where so many bytes may be added; at least one.
    pub(crate) fn most(&self, bytes: u64) -> usize {
        let Some(mean) = self.mean else {
            let guessed = (bytes / UNKNOWN_BYTES).clamp(*UNKNOWN.start(), *UNKNOWN.end());
            return usize::try_from(guessed).unwrap_or(usize::MAX);
        };
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(PUSH_BYTES);
        (bytes / mean.max(1)).max(1)
    }

    /// A batch of so many has so many bytes. Larger ones count at once, smaller ones by and by.
    pub(crate) fn note(&mut self, subtasks: usize, bytes: usize) {
        let Some(now) = bytes.checked_div(subtasks) else { return };
        self.mean = Some(now.max(self.mean.map_or(0, |before| before / 2)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_asked_for_as_fit() {
        let mut sizes = BatchSize::default();
        assert_eq!([0, 20 << 16, 1 << 40].map(|bytes| sizes.most(bytes)), [16, 20, 64]);
        assert_eq!(sizes.most(u64::MAX), 64);
        sizes.note(64, 64 << 10);
        assert_eq!(sizes.most(u64::MAX), 4096);
        sizes.note(0, 0);
        assert_eq!(sizes.most(u64::MAX), 4096);
        assert_eq!([0, 100 << 10].map(|bytes| sizes.most(bytes)), [1, 100]);
        sizes.note(10, 10 << 20);
        assert_eq!(sizes.most(u64::MAX), 4);
        for most in [8, 16, 32] {
            sizes.note(4, 0);
            assert_eq!(sizes.most(u64::MAX), most);
        }
        sizes.note(1, usize::MAX);
        assert_eq!(sizes.most(u64::MAX), 1);
    }
}
