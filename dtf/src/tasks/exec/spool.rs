//! The output of a command that is not shown yet: a little of it in memory, the rest in a file without a name.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The number of bytes that stay in memory.
const IN_MEMORY: usize = 32 * 1024;

/// The directory of the files, and the number of further ones that are allowed.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) files: Arc<Semaphore>,
}

/// One output of a command.
#[derive(Debug, Default)]
pub(super) struct Spool {
    memory: Vec<u8>,
    file: Option<(File, OwnedSemaphorePermit)>,
}

/// Nothing more can be kept.
#[derive(Debug)]
pub(super) struct Full {
    /// The bytes that could not be kept.
    pub(super) rest: Vec<u8>,
    /// Why.
    pub(super) why: io::Error,
}

impl Spool {
    pub(super) fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.file.is_none()
    }

    /// Returns true if adding so much takes no more than memory.
    pub(super) fn has_room_in_memory(&self, more: usize) -> bool {
        self.file.is_none() && self.memory.len() + more <= IN_MEMORY
    }

    /// Adds to it.
    ///
    /// # Errors
    /// There is no place for all of it. What is kept already stays.
    pub(super) fn put(&mut self, bytes: &[u8], place: &Place) -> Result<(), Full> {
        if self.has_room_in_memory(bytes.len()) {
            self.memory.extend_from_slice(bytes);
            return Ok(());
        }
        let mut kept = 0;
        self.put_in_file(bytes, place, &mut kept).map_err(|why| Full { rest: bytes[kept..].to_vec(), why })
    }

    fn put_in_file(&mut self, bytes: &[u8], place: &Place, kept: &mut usize) -> io::Result<()> {
        let (file, _) = match &mut self.file {
            Some(file) => file,
            none => {
                let permit = Arc::clone(&place.files).try_acquire_owned();
                let permit = permit.map_err(|_| io::Error::other("too many files are open"))?;
                none.insert((tempfile::tempfile()?, permit))
            }
        };
        while *kept < bytes.len() {
            match file.write(&bytes[*kept..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => *kept += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all of it and forgets it.
    pub(super) fn empty_into(&mut self, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(&self.memory)?;
        self.memory = Vec::new();
        if let Some((mut file, _permit)) = self.file.take() {
            file.rewind()?;
            let mut chunk = vec![0; 64 * 1024];
            loop {
                match file.read(&mut chunk)? {
                    0 => break,
                    length => to.write_all(&chunk[..length])?,
                }
            }
        }
        Ok(())
    }
}

/// Begins each line with a text.
#[derive(Clone, Debug, Default)]
pub(super) struct Tag {
    pub(super) text: Vec<u8>,
}

/// A writer whose lines begin with a tag.
pub(super) struct Tagged<'a> {
    pub(super) to: &'a mut dyn Write,
    pub(super) tag: &'a Tag,
    pub(super) within_line: &'a mut bool,
}

impl Write for Tagged<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.tag.text.is_empty() {
            return self.to.write(bytes);
        }
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !*self.within_line {
                self.to.write_all(&self.tag.text)?;
            }
            self.to.write_all(line)?;
            *self.within_line = !line.ends_with(b"\n");
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(files: usize) -> Place {
        Place { files: Arc::new(Semaphore::new(files)) }
    }

    #[test]
    fn what_is_put_in_comes_out_and_files_are_given_back() {
        let place = place(1);
        let mut spool = Spool::default();
        for size in [1, IN_MEMORY - 1, 1, 200_000] {
            spool.put(&vec![b'x'; size], &place).unwrap();
        }
        let full = Spool::default().put(&vec![b'y'; IN_MEMORY + 1], &place).unwrap_err();
        assert_eq!(full.rest.len(), IN_MEMORY + 1);
        let mut out = Vec::new();
        spool.empty_into(&mut out).unwrap();
        assert_eq!(out.len(), IN_MEMORY + 200_001);
        assert!(spool.is_empty());
        spool.put(&vec![b'x'; IN_MEMORY + 1], &place).unwrap();
    }

    #[test]
    fn every_line_begins_with_the_tag_however_it_is_written() {
        let tag = Tag { text: b"a\t".to_vec() };
        let (mut out, mut within) = (Vec::new(), false);
        for part in ["one\ntw", "o\n", "\n", "end"] {
            Tagged { to: &mut out, tag: &tag, within_line: &mut within }.write_all(part.as_bytes()).unwrap();
        }
        assert_eq!(out, b"a\tone\na\ttwo\na\t\na\tend");
    }
}
