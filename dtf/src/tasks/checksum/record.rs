//! The records that travel between the parts of a checksum task: items to be hashed, and their results.

use std::io::{self, BufRead, Write};

use super::super::codec::{
    PathReader, PathWriter, at_end, damaged, put_bytes, put_number, take_bytes, take_number,
};
use super::index::Stamp;

/// Something to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    /// Its path, as `find` prints it.
    pub(super) path: &'a [u8],
    /// The knowledge of the item.
    pub(super) known: Known<'a>,
}

/// The knowledge of an item before it is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known<'a> {
    /// It is a file, which is to be hashed.
    File,
    /// It cannot be read, or is no line of a manifest, for this reason.
    Unreadable(&'a [u8]),
    /// It has this digest of this kind (its place in [`Digest::ALL`](super::digest::Digest::ALL)) if it is what the manifest says.
    Expected(u64, &'a [u8]),
}

/// Writes items one after the other.
#[derive(Default)]
pub(super) struct ItemWriter {
    bytes: Vec<u8>,
    paths: PathWriter,
}

impl ItemWriter {
    pub(super) fn put(&mut self, item: &Item<'_>) -> io::Result<()> {
        self.paths.put(&mut self.bytes, item.path)?;
        match item.known {
            Known::File => put_number(&mut self.bytes, 0),
            Known::Unreadable(why) => {
                put_number(&mut self.bytes, 1)?;
                put_bytes(&mut self.bytes, why)
            }
            Known::Expected(kind, digest) => {
                put_number(&mut self.bytes, 2 + kind)?;
                put_bytes(&mut self.bytes, digest)
            }
        }
    }

    /// Returns the number of bytes written.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Calls `each` with every item in `body`.
///
/// # Errors
/// The body is damaged, or `each` failed.
pub(super) fn for_each_item(
    mut body: &[u8],
    mut each: impl FnMut(&Item<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let mut paths = PathReader::default();
    let mut bytes = Vec::new();
    while !body.is_empty() {
        let path = paths.take(&mut body)?;
        bytes.clear();
        let form = take_number(&mut body)?;
        if form > 0 {
            take_bytes(&mut body, &mut bytes)?;
        }
        let known = match form {
            0 => Known::File,
            1 => Known::Unreadable(&bytes),
            kind => Known::Expected(kind - 2, &bytes),
        };
        each(&Item { path, known })?;
    }
    Ok(())
}

/// The result of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// It was hashed.
    Hashed {
        /// The digest.
        digest: &'a [u8],
        /// The number of its bytes.
        size: u64,
        /// True if it was written to while it was read.
        changed: bool,
        /// Its state, for the index of an update.
        stamp: Option<Stamp>,
    },
    /// It is as it was when it was hashed before, and was not read.
    Kept {
        /// The digest.
        digest: &'a [u8],
        /// The number of its bytes.
        size: u64,
        /// Its state.
        stamp: Stamp,
    },
    /// It was compared with what it should be.
    Compared {
        /// True if it is the expected one.
        same: bool,
        /// The number of its bytes.
        size: u64,
    },
    /// It could not be read.
    Failed {
        /// Why.
        why: &'a [u8],
    },
}

impl<'a> Found<'a> {
    /// Appends the form that is kept. Hashed sorts before failed.
    pub(super) fn encode(&self, to: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Found::Hashed { digest, size, changed, stamp } => {
                to.push(u8::from(*changed));
                put_bytes(to, digest)?;
                put_number(to, *size)?;
                to.extend(stamp.iter().flat_map(|stamp| stamp.to_bytes()));
                Ok(())
            }
            Found::Kept { digest, size, stamp } => {
                to.push(4);
                put_bytes(to, digest)?;
                put_number(to, *size)?;
                to.extend(stamp.to_bytes());
                Ok(())
            }
            Found::Compared { same, size } => {
                to.push(2 + u8::from(*same));
                put_number(to, *size)
            }
            Found::Failed { why } => {
                to.push(5);
                to.extend_from_slice(why);
                Ok(())
            }
        }
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(super) fn decode(from: &'a [u8]) -> io::Result<Self> {
        match from.split_first() {
            Some((form @ (0 | 1 | 4), mut rest)) => {
                let length = usize::try_from(take_number(&mut rest)?).map_err(|_| damaged())?;
                let (digest, mut rest) = rest.split_at_checked(length).ok_or_else(damaged)?;
                let size = take_number(&mut rest)?;
                match (form, Stamp::read(rest)) {
                    (4, Some(stamp)) => Ok(Found::Kept { digest, size, stamp }),
                    (4, None) => Err(damaged()),
                    (_, stamp) => Ok(Found::Hashed { digest, size, changed: *form == 1, stamp }),
                }
            }
            Some((form @ (2 | 3), mut size)) => {
                Ok(Found::Compared { same: *form == 3, size: take_number(&mut size)? })
            }
            Some((5, why)) => Ok(Found::Failed { why }),
            _ => Err(damaged()),
        }
    }
}

/// Writes records: a path, and the encoded form of what was [`Found`] there.
pub(super) struct RecordWriter<W> {
    to: W,
    paths: PathWriter,
}

impl<W: Write> RecordWriter<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, paths: PathWriter::default() }
    }

    pub(super) fn put(&mut self, path: &[u8], found: &[u8]) -> io::Result<()> {
        self.paths.put(&mut self.to, path)?;
        put_bytes(&mut self.to, found)
    }

    pub(super) fn into_inner(self) -> W {
        self.to
    }
}

/// Reads what a [`RecordWriter`] wrote.
pub(super) struct RecordReader<R> {
    from: R,
    paths: PathReader,
}

impl<R: BufRead> RecordReader<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, paths: PathReader::default() }
    }

    /// Puts the next record into `path` and `found`; false at the end.
    pub(super) fn next(&mut self, path: &mut Vec<u8>, found: &mut Vec<u8>) -> io::Result<bool> {
        if at_end(&mut self.from)? {
            return Ok(false);
        }
        let read = self.paths.take(&mut self.from)?;
        path.clear();
        path.extend_from_slice(read);
        found.clear();
        take_bytes(&mut self.from, found)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..20)
    }

    proptest! {
        #[test]
        fn items_survive(items in proptest::collection::vec((bytes(), 0_u64..6, bytes()), 0..10)) {
            fn known(form: u64, bytes: &[u8]) -> Known<'_> {
                match form {
                    0 => Known::File,
                    1 => Known::Unreadable(bytes),
                    kind => Known::Expected(kind - 2, bytes),
                }
            }
            let mut writer = ItemWriter::default();
            for (path, form, bytes) in &items {
                writer.put(&Item { path, known: known(*form, bytes) }).unwrap();
            }
            let mut expected = items.iter();
            for_each_item(&writer.finish(), |item| {
                let (path, form, bytes) = expected.next().unwrap();
                assert_eq!(item, &Item { path, known: known(*form, bytes) });
                Ok(())
            }).unwrap();
            prop_assert!(expected.next().is_none());
        }

        #[test]
        fn records_survive(
            records in proptest::collection::vec((bytes(), bytes(), any::<(u64, bool)>(), bytes()), 0..10)
        ) {
            let mut writer = RecordWriter::new(Vec::new());
            for (path, digest, (size, flag), why) in &records {
                let (size, flag) = (*size, *flag);
                let stamp = Stamp::read(&[7; Stamp::BYTES]).unwrap();
                let hashed = Found::Hashed { digest, size, changed: flag, stamp: flag.then_some(stamp) };
                let kept = Found::Kept { digest, size, stamp };
                for found in [hashed, kept, Found::Compared { same: flag, size }, Found::Failed { why }] {
                    let mut encoded = Vec::new();
                    found.encode(&mut encoded).unwrap();
                    prop_assert_eq!(Found::decode(&encoded).unwrap(), found);
                    writer.put(path, &encoded).unwrap();
                }
            }
            let written = writer.into_inner();
            let mut reader = RecordReader::new(written.as_slice());
            let (mut path, mut found) = (Vec::new(), Vec::new());
            for (expected, ..) in records.iter().flat_map(|record| [record; 4]) {
                prop_assert!(reader.next(&mut path, &mut found).unwrap());
                prop_assert_eq!(&path, expected);
            }
            prop_assert!(!reader.next(&mut path, &mut found).unwrap());
        }

        #[test]
        fn nonsense_is_an_error_and_no_panic(body in bytes()) {
            for_each_item(&body, |_| Ok(())).unwrap_or_default();
            Found::decode(&body).map(drop).unwrap_or_default();
            let mut reader = RecordReader::new(body.as_slice());
            while matches!(reader.next(&mut Vec::new(), &mut Vec::new()), Ok(true)) {}
        }
    }
}
