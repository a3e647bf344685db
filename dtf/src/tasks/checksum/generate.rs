//! The generator: the walk, cut into batches.
//!
//! A batch is what one subtask hashes. Many small files share one, so that the framework's cost of a subtask, some
//! microseconds, vanishes beside the hashing; large files have one to themselves, so that no core waits at the end for
//! another that has a long batch.

use std::path::Path;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::plugin::{Generated, NewSubtask, TaskGenerator};

use super::record::{Item, ItemWriter};
use super::target::Skip;
use super::walk::{Step, Walk, bytes_of};

/// When a batch is full: at so many files, …
const MOST_FILES: usize = 256;
/// … bytes in them, …
const MOST_BYTES: u64 = 8 * 1024 * 1024;
/// … or bytes of their encoded paths.
const MOST_ENCODED: usize = 64 * 1024;
/// The most that one call looks at, so that the first batches come at once and no call takes long. A count and no time,
/// as the same calls must yield the same batches.
const STEPS_A_CALL: usize = 4096;

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

struct Cutter {
    walk: Walk,
    batch: Batch,
}

impl Cutter {
    fn next(&mut self, most: usize) -> std::io::Result<Generated> {
        let mut generated = Generated::default();
        for _ in 0..STEPS_A_CALL {
            if generated.subtasks.len() >= most {
                return Ok(generated);
            }
            match self.walk.next() {
                Some(Step::File(path, size)) => {
                    self.batch.put(&Item { path: bytes_of(&path), unreadable: None }, size)?;
                }
                Some(Step::Unreadable(path, why)) => {
                    let item = Item { path: bytes_of(&path), unreadable: Some(why.as_bytes()) };
                    self.batch.put(&item, 0)?;
                }
                Some(Step::Other) => {}
                None => {
                    generated.finished = true;
                    self.emit(&mut generated);
                    return Ok(generated);
                }
            }
            if self.batch.is_full() {
                self.emit(&mut generated);
            }
        }
        Ok(generated)
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
    root: std::path::PathBuf,
    skip: Option<Skip>,
}

impl ChecksumGenerator {
    pub(super) fn new(root: &Path, skip: Option<Skip>) -> Self {
        Self { cutter: None, root: root.to_owned(), skip }
    }
}

#[async_trait]
impl TaskGenerator for ChecksumGenerator {
    async fn begin(&mut self, _saved: Option<Bytes>) -> anyhow::Result<()> {
        self.cutter =
            Some(Cutter { walk: Walk::new(&self.root, self.skip.clone()), batch: Batch::default() });
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
