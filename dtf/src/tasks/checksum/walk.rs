//! The walk over one DIR after the other: every regular file below it, lazily, without following symlinks.
//!
//! # Bounds
//! The walk holds open the directories from DIR down to where it is, at most [`MOST_OPEN`] of them, and reads each as it
//! goes: a directory of millions of entries takes no more memory than one of ten. Deeper directories wait as paths.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, ReadDir};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::plain;
use super::exclude::Exclude;
use super::target::Skip;

/// The number of directories that are open at once.
const MOST_OPEN: usize = 128;

/// A step of the walk.
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
    /// The DIR that it is below.
    root: Arc<Path>,
    entries: ReadDir,
    /// True if [`Skip`] is about this directory.
    skips: bool,
}

/// The walk.
pub(super) struct Walk {
    skip: Option<Skip>,
    exclude: Exclude,
    open: Vec<Open>,
    waiting: Vec<(Arc<Path>, PathBuf)>,
}

impl Walk {
    /// Below these directories.
    pub(super) fn new(roots: &[PathBuf], skip: Option<Skip>, exclude: Exclude) -> Self {
        let waiting = roots.iter().rev().map(|root| (Arc::from(root.as_path()), root.clone())).collect();
        Self { skip, exclude, open: Vec::new(), waiting }
    }

    /// The next step; none when all has been seen.
    pub(super) fn next(&mut self) -> Option<Step> {
        if self.open.len() < MOST_OPEN
            && let Some((root, path)) = self.waiting.pop()
        {
            return Some(self.enter(root, path));
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

    fn enter(&mut self, root: Arc<Path>, path: PathBuf) -> Step {
        let opened = fs::read_dir(&path).and_then(|entries| {
            let skips = self.skip.as_ref().map_or(Ok(false), |skip| skip.is_in(&path))?;
            Ok((entries, skips))
        });
        match opened {
            Ok((entries, skips)) => {
                self.open.push(Open { path, root, entries, skips });
                Step::Other
            }
            Err(error) => Step::Unreadable(path, plain(&error)),
        }
    }

    fn look_at(&mut self, entry: &DirEntry) -> Step {
        let Some(open) = self.open.last() else { return Step::Other };
        let (skips, root) = (open.skips, Arc::clone(&open.root));
        let leaves_out = |is_dir| {
            let path = entry.path();
            path.strip_prefix(&root).is_ok_and(|below| self.exclude.leaves_out(below, is_dir))
        };
        match entry.file_type() {
            Ok(kind) if leaves_out(kind.is_dir()) => Step::Other,
            Ok(kind) if kind.is_dir() => {
                self.waiting.push((root, entry.path()));
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

/// Returns the size of a file; 0 if it is not known.
pub(super) fn size_at(path: &[u8]) -> u64 {
    fs::metadata(OsStr::from_bytes(path)).map_or(0, |metadata| metadata.len())
}

/// The bytes of a path.
pub(super) fn bytes_of(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}
