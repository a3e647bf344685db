//! The generator: the walk, or the lines of manifests, cut into batches.
//!
//! A batch is what one subtask hashes. Many small files share one, so that the framework's cost of a subtask, some
//! microseconds, vanishes beside the hashing; large files have one to themselves, so that no core waits at the end for
//! another that has a long batch.

use std::path::PathBuf;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::plugin::{Generated, NewSubtask, TaskGenerator};

use super::digest::Digest;
use super::exclude::Exclude;
use super::manifests::Manifests;
use super::record::{Item, ItemWriter, Known};
use super::target::Skip;
use super::walk::{Step, Walk, bytes_of};

/// The number of files at which a batch is full, …
const MOST_FILES: usize = 256;
/// … bytes in them, …
const MOST_BYTES: u64 = 8 * 1024 * 1024;
/// … or bytes of their encoded paths.
const MOST_ENCODED: usize = 64 * 1024;
/// The most that one call looks at, so that the first batches come at once and no call takes long. A count and no time,
/// as the same calls must yield the same batches.
const STEPS_A_CALL: usize = 4096;
/// The factor by which a call looks further where there is no file at all.
const FURTHER: usize = 64;

/// A batch in the making.
#[derive(Default)]
struct Batch {
    items: ItemWriter,
    count: usize,
    bytes: u64,
}

impl Batch {
    fn put(&mut self, item: &Item<'_>, size: u64) -> std::io::Result<()> {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(size);
        self.items.put(item)
    }

    fn is_full(&self) -> bool {
        self.count >= MOST_FILES || self.bytes >= MOST_BYTES || self.items.len() >= MOST_ENCODED
    }
}

/// The source of items.
enum Source {
    Walk(Walk),
    Manifests(Manifests),
}

struct Cutter {
    source: Source,
    batch: Batch,
    steps_a_call: usize,
}

impl Cutter {
    fn new(source: Source, steps_a_call: usize) -> Self {
        Self { source, batch: Batch::default(), steps_a_call }
    }

    fn next(&mut self, most: usize) -> std::io::Result<Generated> {
        let mut generated = Generated::default();
        for step in 1..=self.steps_a_call * FURTHER {
            if generated.subtasks.len() >= most {
                break;
            }
            generated.finished = !self.step()?;
            // Where files are few, a call that has looked at enough gives what it has: an empty answer would mean that
            // there is nothing to do for a while.
            let enough = step >= self.steps_a_call && generated.subtasks.is_empty();
            if generated.finished || enough || self.batch.is_full() {
                self.emit(&mut generated);
            }
            if generated.finished || (step >= self.steps_a_call && !generated.subtasks.is_empty()) {
                break;
            }
        }
        Ok(generated)
    }

    /// Puts what comes next into the batch; false at the end.
    fn step(&mut self) -> std::io::Result<bool> {
        match &mut self.source {
            Source::Walk(walk) => match walk.next() {
                Some(Step::File(path, size)) => {
                    self.batch.put(&Item { path: bytes_of(&path), known: Known::File }, size)?;
                }
                Some(Step::Unreadable(path, why)) => {
                    let known = Known::Unreadable(why.as_bytes());
                    self.batch.put(&Item { path: bytes_of(&path), known }, 0)?;
                }
                Some(Step::Other) => {}
                None => return Ok(false),
            },
            Source::Manifests(manifests) => return manifests.next(|item, size| self.batch.put(item, size)),
        }
        Ok(true)
    }

    fn emit(&mut self, to: &mut Generated) {
        let batch = std::mem::take(&mut self.batch);
        if batch.count > 0 {
            to.subtasks.push(NewSubtask::new(batch.items.finish()));
        }
    }
}

/// Walks and cuts. Cannot be continued by another, only started again: a directory has no order to go on in. As the
/// collector keeps a set of files, a file that is emitted twice is in the manifest once.
pub(super) struct ChecksumGenerator {
    /// None while a call has it, and after a call that was dropped.
    cutter: Option<Cutter>,
    what: What,
}

/// The task of a walk: directories, or manifests.
pub(super) enum What {
    /// Directories, but for what is skipped and left out.
    Directories(Vec<PathBuf>, Option<Skip>, Exclude),
    /// Manifests whose digests are of this kind where their length does not tell.
    Manifests(Vec<PathBuf>, Digest),
}

impl What {
    fn begin(&self) -> Source {
        match self {
            Self::Directories(roots, skip, exclude) => {
                Source::Walk(Walk::new(roots, skip.clone(), exclude.clone()))
            }
            Self::Manifests(paths, usual) => Source::Manifests(Manifests::new(paths.clone(), *usual)),
        }
    }
}

impl ChecksumGenerator {
    pub(super) fn new(what: What) -> Self {
        Self { cutter: None, what }
    }
}

#[async_trait]
impl TaskGenerator for ChecksumGenerator {
    async fn begin(&mut self, _saved: Option<Bytes>) -> anyhow::Result<()> {
        self.cutter = Some(Cutter::new(self.what.begin(), STEPS_A_CALL));
        Ok(())
    }

    async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated> {
        let mut cutter = self.cutter.take().context("the walk was interrupted; it must begin again")?;
        let (cutter, generated) = tokio::task::spawn_blocking(move || {
            let generated = cutter.next(most);
            (cutter, generated)
        })
        .await?;
        self.cutter = Some(cutter);
        Ok(generated?)
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(None)
    }

    async fn cancel(&mut self) -> anyhow::Result<()> {
        self.cutter = None;
        Ok(())
    }

    async fn end(&mut self) -> anyhow::Result<()> {
        self.cutter = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const STEPS: usize = 64;

    fn walk(root: &Path, most: usize) -> Vec<usize> {
        let what = What::Directories(vec![root.to_owned()], None, Exclude::new(&[]).unwrap());
        let mut cutter = Cutter::new(what.begin(), STEPS);
        let mut calls = Vec::new();
        loop {
            let generated = cutter.next(most).unwrap();
            calls.push(generated.subtasks.len());
            if generated.finished {
                return calls;
            }
        }
    }

    #[test]
    fn a_call_gives_something_however_few_files_there_are() {
        let tree = tempfile::tempdir().unwrap();
        for number in 0..STEPS {
            std::fs::create_dir(tree.path().join(number.to_string())).unwrap();
        }
        assert_eq!(walk(tree.path(), 10), [0]);
        for number in (0..STEPS).step_by(4) {
            std::fs::write(tree.path().join(number.to_string()).join("file"), "").unwrap();
        }
        let calls = walk(tree.path(), 10);
        assert!(calls.len() > 2 && calls[..calls.len() - 1].iter().all(|batches| *batches == 1), "{calls:?}");
        assert_eq!(calls, walk(tree.path(), 10));
    }

    #[test]
    fn a_call_gives_no_more_than_asked_for_and_large_files_are_alone() {
        let tree = tempfile::tempdir().unwrap();
        for number in 0..7 {
            let file = std::fs::File::create(tree.path().join(number.to_string())).unwrap();
            file.set_len(MOST_BYTES).unwrap();
        }
        assert_eq!(walk(tree.path(), 2), [2, 2, 2, 1]);
    }
}
