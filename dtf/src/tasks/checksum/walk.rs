//! The walk over DIR: every regular file below it, lazily, without following symlinks.
//!
//! # Bounds
//! The walk holds open the directories from DIR down to where it is, at most [`MOST_OPEN`] of them, and reads each as it
//! goes: a directory of millions of entries takes no more memory than one of ten. Deeper directories wait as paths.

use std::fs::{self, DirEntry, ReadDir};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::super::plain;
use super::target::Skip;

/// How many directories are open at once.
const MOST_OPEN: usize = 128;

/// What the walk comes by.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A regular file, and how many bytes it has.
    File(PathBuf, u64),
    /// Something that cannot be looked at, and why.
    Unreadable(PathBuf, String),
    /// Something else.
    Other,
}

struct Open {
    path: PathBuf,
    entries: ReadDir,
    /// Whether [`Skip`] is about this directory.
    skips: bool,
}

/// The walk.
pub(super) struct Walk {
    skip: Option<Skip>,
    open: Vec<Open>,
    waiting: Vec<PathBuf>,
}

impl Walk {
    /// Below this directory.
    pub(super) fn new(root: &Path, skip: Option<Skip>) -> Self {
        Self { skip, open: Vec::new(), waiting: vec![root.to_owned()] }
    }

    /// The next step; none when all has been seen.
    pub(super) fn next(&mut self) -> Option<Step> {
        if self.open.len() < MOST_OPEN
            && let Some(path) = self.waiting.pop()
        {
            return Some(self.enter(path));
        }
        let top = self.open.last_mut()?;
        let step = match top.entries.next() {
            Some(Ok(entry)) => self.look_at(&entry),
            // What was read before stays; the rest of this directory is lost.
            Some(Err(error)) => {
                let path = top.path.clone();
                self.open.pop();
                Step::Unreadable(path, plain(&error))
            }
            None => {
                self.open.pop();
                Step::Other
            }
        };
        Some(step)
    }

    fn enter(&mut self, path: PathBuf) -> Step {
        let opened = fs::read_dir(&path).and_then(|entries| {
            let skips = self.skip.as_ref().map_or(Ok(false), |skip| skip.is_in(&path))?;
            Ok((entries, skips))
        });
        match opened {
            Ok((entries, skips)) => {
                self.open.push(Open { path, entries, skips });
                Step::Other
            }
            Err(error) => Step::Unreadable(path, plain(&error)),
        }
    }

    fn look_at(&mut self, entry: &DirEntry) -> Step {
        let skips = self.open.last().is_some_and(|open| open.skips);
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => {
                self.waiting.push(entry.path());
                Step::Other
            }
            Ok(kind) if !kind.is_file() => Step::Other,
            Ok(_) if skips && self.skip.as_ref().is_some_and(|skip| skip.has(&entry.file_name())) => {
                Step::Other
            }
            Ok(_) => size(entry).map_or_else(
                |error| Step::Unreadable(entry.path(), plain(&error)),
                |size| Step::File(entry.path(), size),
            ),
            Err(error) => Step::Unreadable(entry.path(), plain(&error)),
        }
    }
}

fn size(entry: &DirEntry) -> io::Result<u64> {
    entry.metadata().map(|metadata| metadata.len())
}

/// The bytes of a path.
pub(super) fn bytes_of(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}
