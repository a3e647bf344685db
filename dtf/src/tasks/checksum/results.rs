//! The results of a task: a set of paths with what was found there, larger than memory, read out in order.
//!
//! It is a set so that collecting a result again changes nothing: of several records of one path the least counts, and a
//! digest is less than a failure.

use std::io;
use std::path::PathBuf;

use super::sorted::{Memory, Run, merge};

/// The limits on the resources of collecting results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The number of bytes of results that stay in memory before they are sorted and spilled to disk.
    pub memory: usize,
    /// The number of spilled runs that are merged, and open, at once; at least 2.
    pub fan_in: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 64 * 1024 * 1024, fan_in: 64 }
    }
}

/// The set.
///
/// Runs are kept in levels: `fan_in` runs of one level become one of the next, so that the number of open files grows
/// with the logarithm of the number of records, and each record is written once a level.
pub(super) struct Results {
    scratch: PathBuf,
    limits: Limits,
    memory: Memory,
    levels: Vec<Vec<Run>>,
}

impl Results {
    /// An empty set that spills into the directory `scratch`.
    pub(super) fn new(scratch: PathBuf, limits: Limits) -> Self {
        let limits = Limits { fan_in: limits.fan_in.max(2), ..limits };
        Self { scratch, limits, memory: Memory::default(), levels: Vec::new() }
    }

    /// Adds a record.
    pub(super) fn add(&mut self, path: &[u8], found: &[u8]) {
        self.memory.push(path, found);
    }

    /// Returns true if so much is in memory that [`spill`](Self::spill) is due.
    pub(super) fn is_full(&self) -> bool {
        self.memory.size() >= self.limits.memory
    }

    /// Writes what is in memory to disk.
    pub(super) fn spill(&mut self) -> io::Result<()> {
        self.memory.sort();
        let run = Run::from_memory(&self.memory, &self.scratch)?;
        self.memory.clear();
        self.add_run(0, run)
    }

    fn add_run(&mut self, level: usize, run: Run) -> io::Result<()> {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(run);
        if self.levels[level].len() < self.limits.fan_in {
            return Ok(());
        }
        let merged = Run::from_runs(&self.levels[level], &self.scratch)?;
        self.levels[level].clear();
        self.add_run(level + 1, merged)
    }

    /// Calls `each` with every record in the order of the paths' bytes. Can be called again.
    pub(super) fn for_each(&mut self, each: impl FnMut(&[u8], &[u8]) -> io::Result<()>) -> io::Result<()> {
        self.memory.sort();
        let mut runs: Vec<Run> = self.levels.drain(..).flatten().collect();
        while runs.len() > self.limits.fan_in {
            // The first are the smallest: levels are in this order, and what is merged goes to the end.
            let merged = Run::from_runs(&runs[..self.limits.fan_in], &self.scratch)?;
            runs.drain(..self.limits.fan_in);
            runs.push(merged);
        }
        self.levels = vec![runs];
        merge(&self.levels[0], &self.memory, each)
    }

    #[cfg(test)]
    fn runs(&self) -> usize {
        self.levels.iter().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Records = Vec<(Vec<u8>, Vec<u8>)>;

    fn read(results: &mut Results) -> Records {
        let mut all = Vec::new();
        results
            .for_each(|path, found| {
                all.push((path.to_vec(), found.to_vec()));
                Ok(())
            })
            .unwrap();
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_is_a_sorted_set_however_much_is_spilled(
            records in proptest::collection::vec(("[ab\n]{1,6}", "[01]{0,2}"), 0..200),
            memory in 1_usize..2000,
            fan_in in 2_usize..5,
        ) {
            let mut results = Results::new(std::env::temp_dir(), Limits { memory, fan_in });
            let mut expected = BTreeMap::<Vec<u8>, Vec<u8>>::new();
            for (path, found) in records {
                results.add(path.as_bytes(), found.as_bytes());
                if results.is_full() {
                    results.spill().unwrap();
                }
                let least = expected.entry(path.into_bytes()).or_insert_with(|| found.clone().into_bytes());
                *least = least.clone().min(found.into_bytes());
            }
            let expected: Records = expected.into_iter().collect();
            prop_assert_eq!(&read(&mut results), &expected);
            prop_assert!(results.runs() <= fan_in);
            prop_assert_eq!(&read(&mut results), &expected);
        }
    }
}
