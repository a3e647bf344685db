//! The lines of manifests, one manifest after the other.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::vec;

use super::super::{plain, shown};
use super::digest::Digest;
use super::line;
use super::record::{Item, Known};
use super::walk::size_at;

/// No line is longer: what has no end is no manifest.
const LONGEST: u64 = 1024 * 1024;

/// The lines of manifests.
pub(super) struct Manifests {
    paths: vec::IntoIter<PathBuf>,
    open: Option<(PathBuf, Box<dyn BufRead + Send>, u64)>,
    usual: Digest,
    /// The number of items so far: messages about them come in their order.
    number: u64,
}

impl Manifests {
    pub(super) fn new(paths: Vec<PathBuf>, usual: Digest) -> Self {
        Self { paths: paths.into_iter(), open: None, usual, number: 0 }
    }

    /// Hands over the item of the next line, and how large its file is; false at the end.
    pub(super) fn next(&mut self, put: impl FnOnce(&Item<'_>, u64) -> io::Result<()>) -> io::Result<bool> {
        let Some((path, from, count)) = &mut self.open else {
            return self.open_next(put);
        };
        let mut text = Vec::new();
        let read = io::Read::take(&mut *from, LONGEST).read_until(b'\n', &mut text);
        *count += 1;
        let why = match &read {
            Ok(0) => {
                self.open = None;
                return Ok(true);
            }
            Ok(_) => "is no line of a manifest".to_owned(),
            Err(error) => plain(error),
        };
        let is_lost = read.is_err();
        let place = format!("{}:{count}", shown(path)).into_bytes();
        if is_lost {
            self.open = None;
            return self.put(&place, Known::Unreadable(why.as_bytes()), 0, put);
        }
        text.pop_if(|last| *last == b'\n');
        if text.is_empty() || text.starts_with(b"#") {
            return Ok(true);
        }
        match line::read(&text, self.usual) {
            Some(line::Expected { kind, digest, path }) => {
                let kind = Digest::ALL.iter().position(|known| *known == kind).unwrap_or(0) as u64;
                let size = size_at(&path);
                self.put(&path, Known::Expected(kind, &digest), size, put)
            }
            None => self.put(&place, Known::Unreadable(why.as_bytes()), 0, put),
        }
    }

    fn open_next(&mut self, put: impl FnOnce(&Item<'_>, u64) -> io::Result<()>) -> io::Result<bool> {
        let Some(path) = self.paths.next() else { return Ok(false) };
        let opened: io::Result<Box<dyn BufRead + Send>> = match path.as_os_str().as_encoded_bytes() {
            b"-" => Ok(Box::new(BufReader::new(io::stdin()))),
            _ => File::open(&path).map(|file| Box::new(BufReader::new(file)) as _),
        };
        match opened {
            Ok(from) => {
                self.open = Some((path, from, 0));
                Ok(true)
            }
            Err(error) => {
                let why = plain(&error);
                let name = path.as_os_str().as_encoded_bytes().to_vec();
                self.put(&name, Known::Unreadable(why.as_bytes()), 0, put)
            }
        }
    }

    /// Puts the item's number before its path.
    fn put(
        &mut self,
        path: &[u8],
        known: Known<'_>,
        size: u64,
        put: impl FnOnce(&Item<'_>, u64) -> io::Result<()>,
    ) -> io::Result<bool> {
        self.number += 1;
        let path = [&self.number.to_be_bytes()[..], path].concat();
        put(&Item { path: &path, known }, size)?;
        Ok(true)
    }
}

/// The path of an item that has its number before it.
pub(super) fn without_number(path: &[u8]) -> &[u8] {
    path.get(size_of::<u64>()..).unwrap_or_default()
}
