//! The number of subtasks to ask a generator for, and to put into a parcel, by the size of their bodies.
//!
//! A batch is pushed in one call together with the checkpoint behind it, so it cannot be divided afterwards: its size is bounded
//! by asking for no more than what, going by the batches so far, makes [`PUSH_BYTES`].

/// The size of a batch, all together.
const PUSH_BYTES: usize = 4 << 20;
/// The largest size of a parcel of more than one subtask: several parcels travel in one call.
pub(crate) const PARCEL_BYTES: usize = 256 << 10;
/// The number that is asked for as long as no size is known.
const UNKNOWN: usize = 64;

/// The known sizes of a task's subtasks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BatchSize {
    /// The mean size of one.
    mean: Option<usize>,
}

impl BatchSize {
    /// Returns the number to ask for; at least one.
    pub(crate) fn most(&self) -> usize {
        self.mean.map_or(UNKNOWN, |mean| (PUSH_BYTES / mean.max(1)).max(1))
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
        assert_eq!(sizes.most(), 64);
        sizes.note(64, 64 << 10);
        assert_eq!(sizes.most(), 4096);
        sizes.note(0, 0);
        assert_eq!(sizes.most(), 4096);
        sizes.note(10, 10 << 20);
        assert_eq!(sizes.most(), 4);
        for most in [8, 16, 32] {
            sizes.note(4, 0);
            assert_eq!(sizes.most(), most);
        }
        sizes.note(1, usize::MAX);
        assert_eq!(sizes.most(), 1);
    }
}
