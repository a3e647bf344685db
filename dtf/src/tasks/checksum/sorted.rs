//! Sorted runs of records, and the merge of many into one.
//!
//! A run is a file without a name: whatever ends the process, it is gone.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::path::Path;

use super::record::{RecordReader, RecordWriter};

const BUFFER: usize = 64 * 1024;

/// Records in memory, to be sorted.
#[derive(Default)]
pub(super) struct Memory {
    data: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    start: usize,
    path: u32,
    found: u32,
}

impl Memory {
    /// Returns the number of bytes it takes.
    pub(super) fn size(&self) -> usize {
        self.data.len() + self.entries.len() * size_of::<Entry>()
    }

    pub(super) fn push(&mut self, path: &[u8], found: &[u8]) {
        let length = |part: &[u8]| u32::try_from(part.len()).expect("invariant: no path has 4 GiB");
        let entry = Entry { start: self.data.len(), path: length(path), found: length(found) };
        self.entries.push(entry);
        self.data.extend_from_slice(path);
        self.data.extend_from_slice(found);
    }

    /// Sorts by path, then by what was found.
    pub(super) fn sort(&mut self) {
        let Self { data, entries } = self;
        entries.sort_unstable_by(|left, right| parts(data, *left).cmp(&parts(data, *right)));
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|entry| parts(&self.data, *entry))
    }

    pub(super) fn clear(&mut self) {
        self.data.clear();
        self.entries.clear();
    }
}

fn parts(data: &[u8], entry: Entry) -> (&[u8], &[u8]) {
    let middle = entry.start + entry.path as usize;
    (&data[entry.start..middle], &data[middle..middle + entry.found as usize])
}

/// A sorted run on disk.
pub(super) struct Run(File);

impl Run {
    /// Writes what is in memory, which must be sorted.
    pub(super) fn from_memory(memory: &Memory, scratch: &Path) -> io::Result<Self> {
        Self::write(scratch, |run| memory.iter().try_for_each(|(path, found)| run.put(path, found)))
    }

    /// Writes the merge of several.
    pub(super) fn from_runs(runs: &[Run], scratch: &Path) -> io::Result<Self> {
        Self::write(scratch, |run| merge(runs, &Memory::default(), |path, found| run.put(path, found)))
    }

    fn write(
        scratch: &Path,
        fill: impl FnOnce(&mut RecordWriter<BufWriter<File>>) -> io::Result<()>,
    ) -> io::Result<Self> {
        let file = tempfile::tempfile_in(scratch)?;
        let mut writer = RecordWriter::new(BufWriter::with_capacity(BUFFER, file));
        fill(&mut writer)?;
        let mut buffer = writer.into_inner();
        buffer.flush()?;
        Ok(Self(buffer.into_inner().map_err(io::IntoInnerError::into_error)?))
    }

    fn read(&self) -> io::Result<Source<'_>> {
        let mut file = &self.0;
        file.rewind()?;
        Ok(Source::Run(RecordReader::new(BufReader::with_capacity(BUFFER, file))))
    }
}

enum Source<'a> {
    Run(RecordReader<BufReader<&'a File>>),
    Memory(Box<dyn Iterator<Item = (&'a [u8], &'a [u8])> + 'a>),
}

impl Source<'_> {
    /// Puts the next record into `head`; false at the end.
    fn next(&mut self, head: &mut Head) -> io::Result<bool> {
        match self {
            Source::Run(reader) => reader.next(&mut head.path, &mut head.found),
            Source::Memory(records) => Ok(records.next().is_some_and(|(path, found)| {
                head.path.clear();
                head.path.extend_from_slice(path);
                head.found.clear();
                head.found.extend_from_slice(found);
                true
            })),
        }
    }
}

/// The first record that a source has left. Ordered by path, then by what was found.
#[derive(Default, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    path: Vec<u8>,
    found: Vec<u8>,
    source: usize,
}

/// Calls `each` with the records of all, sorted; of several with one path only with the first.
pub(super) fn merge(
    runs: &[Run],
    memory: &Memory,
    mut each: impl FnMut(&[u8], &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut sources = runs.iter().map(Run::read).collect::<io::Result<Vec<_>>>()?;
    sources.push(Source::Memory(Box::new(memory.iter())));
    let mut heads = BinaryHeap::new();
    for (at, source) in sources.iter_mut().enumerate() {
        let mut head = Head { source: at, ..Head::default() };
        if source.next(&mut head)? {
            heads.push(Reverse(head));
        }
    }
    let mut last: Option<Vec<u8>> = None;
    while let Some(mut first) = heads.peek_mut() {
        let Reverse(head) = &mut *first;
        if last.as_deref() != Some(head.path.as_slice()) {
            each(&head.path, &head.found)?;
            let last = last.get_or_insert_default();
            last.clear();
            last.extend_from_slice(&head.path);
        }
        if !sources[head.source].next(head)? {
            PeekMut::pop(first);
        }
    }
    Ok(())
}
