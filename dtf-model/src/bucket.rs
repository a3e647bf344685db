//! The buckets that tasks are dealt to by their ids.
//!
//! # The problem
//! Each bucket is to get the same number of tasks, also where ids are not consecutive: servers that replicate each other give every
//! fourth number only (`auto_increment_increment`), and the remainder of such numbers uses a quarter of the buckets. Databases have to
//! compute it too, in integers of 64 bits with a sign, and have no hash function in common. So an id is multiplied modulo a prime, as
//! Lehmer's generator of random numbers does, before the remainder is taken.

use serde::{Deserialize, Serialize};

use crate::ids::{ScheduleId, TaskId};

/// The way in which ids are dealt to buckets. All processes of a cluster use the same, so it is part of its shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BucketMapping {
    /// By the remainder of the id: clusters of an earlier version, until they are [changed](crate::cluster::grow).
    Remainder,
    /// By the remainder of a hash of the id.
    #[default]
    Hash,
}

impl BucketMapping {
    /// The mapping of a shape that does not name one.
    pub(crate) fn of_earlier_versions() -> Self {
        Self::Remainder
    }

    /// The modulus and the factor of the hash: ids are mapped to `id % modulus * factor % modulus`, which stays below 2^62.
    pub fn constants(self) -> (u64, u64) {
        match self {
            // Changes no id.
            Self::Remainder => (1 << 62, 1),
            // A prime and one of the best factors for it (Fishman and Moore, 1986).
            Self::Hash => ((1 << 31) - 1, 950_706_376),
        }
    }
}

/// A share of all tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketOf {
    /// The number of the share.
    pub bucket: u32,
    /// The number of shares; at least 1.
    pub of: u32,
    /// The way in which tasks are dealt to shares.
    pub mapping: BucketMapping,
}

impl BucketOf {
    /// All tasks.
    pub const ALL: Self = Self { bucket: 0, of: 1, mapping: BucketMapping::Hash };

    /// Returns the number of the bucket of a task.
    pub fn number(task: TaskId, of: u32, mapping: BucketMapping) -> u32 {
        let (modulus, factor) = mapping.constants();
        // The remainder is below `of`, so it fits.
        (task.0 % modulus * factor % modulus % u64::from(of.max(1))) as u32
    }

    /// Returns whether a schedule is in this share.
    pub fn has_schedule(&self, schedule: ScheduleId) -> bool {
        self.has(schedule.as_hint())
    }

    /// Returns whether a task is in this share.
    pub fn has(&self, task: TaskId) -> bool {
        Self::number(task, self.of, self.mapping) == self.bucket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of tasks in the fullest and in the emptiest bucket.
    fn extremes(increment: u64, of: u32, mapping: BucketMapping) -> (u64, u64) {
        let mut buckets = vec![0; of as usize];
        for n in 0..1000 * u64::from(of) {
            buckets[BucketOf::number(TaskId(1 + n * increment), of, mapping) as usize] += 1;
        }
        (buckets.iter().copied().max().unwrap_or(0), buckets.iter().copied().min().unwrap_or(0))
    }

    #[test]
    fn every_bucket_gets_its_share_whatever_the_distance_of_ids() {
        for of in [2, 3, 4, 16, 64, 100] {
            for increment in [1, 2, 3, 4, 5, 7, 8, 10, 16, 32, 64, 100, 1000] {
                let (most, least) = extremes(increment, of, BucketMapping::Hash);
                assert!(
                    most < 1200 && least > 800,
                    "{least} to {most} of 1000 in {of} buckets, every {increment}"
                );
            }
        }
        assert_eq!(extremes(4, 16, BucketMapping::Remainder), (4000, 0));
    }

    #[test]
    fn buckets_of_earlier_versions_are_remainders() {
        for id in [0, 1, 15, 16, 17, 1 << 31, (1 << 53) + 5] {
            assert_eq!(u64::from(BucketOf::number(TaskId(id), 16, BucketMapping::Remainder)), id % 16);
        }
    }
}
