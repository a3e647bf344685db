//! What travels between the parts of a checksum task: items to be hashed, and records of what came of them.

use std::io::{self, BufRead, Write};

use super::super::codec::{
    PathReader, PathWriter, at_end, damaged, put_bytes, put_number, take_bytes, take_number,
};

/// How many bytes a SHA-256 digest has.
pub(super) const DIGEST: usize = 32;

/// Something found below DIR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item<'a> {
    /// Its path, as `find` prints it.
    pub(super) path: &'a [u8],
    /// For a directory that cannot be read: why. For a file, which is to be hashed: none.
    pub(super) unreadable: Option<&'a [u8]>,
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
        put_number(&mut self.bytes, u64::from(item.unreadable.is_some()))?;
        item.unreadable.map_or(Ok(()), |why| put_bytes(&mut self.bytes, why))
    }

    /// How much has been written.
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
    let mut why = Vec::new();
    while !body.is_empty() {
        let path = paths.take(&mut body)?;
        why.clear();
        let unreadable = match take_number(&mut body)? {
            0 => None,
            1 => {
                take_bytes(&mut body, &mut why)?;
                Some(why.as_slice())
            }
            _ => return Err(damaged()),
        };
        each(&Item { path, unreadable })?;
    }
    Ok(())
}

/// What came of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// It was hashed.
    Hashed {
        /// The digest.
        digest: &'a [u8],
        /// How many bytes it had.
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
            Found::Hashed { digest, size } => {
                to.push(0);
                to.extend_from_slice(digest);
                put_number(to, *size)
            }
            Found::Failed { why } => {
                to.push(1);
                to.extend_from_slice(why);
                Ok(())
            }
        }
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(super) fn decode(from: &'a [u8]) -> io::Result<Self> {
        match from.split_first() {
            Some((0, rest)) => {
                let (digest, mut size) = rest.split_at_checked(DIGEST).ok_or_else(damaged)?;
                Ok(Found::Hashed { digest, size: take_number(&mut size)? })
            }
            Some((1, why)) => Ok(Found::Failed { why }),
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
        fn items_survive(items in proptest::collection::vec((bytes(), proptest::option::of(bytes())), 0..10)) {
            let mut writer = ItemWriter::default();
            for (path, why) in &items {
                writer.put(&Item { path, unreadable: why.as_deref() }).unwrap();
            }
            let mut read = Vec::new();
            for_each_item(&writer.finish(), |item| {
                read.push((item.path.to_vec(), item.unreadable.map(<[u8]>::to_vec)));
                Ok(())
            }).unwrap();
            prop_assert_eq!(read, items);
        }

        #[test]
        fn records_survive(
            records in proptest::collection::vec((bytes(), any::<[u8; DIGEST]>(), any::<u64>(), bytes()), 0..10)
        ) {
            let mut writer = RecordWriter::new(Vec::new());
            for (path, digest, size, why) in &records {
                for found in [Found::Hashed { digest, size: *size }, Found::Failed { why }] {
                    let mut encoded = Vec::new();
                    found.encode(&mut encoded).unwrap();
                    prop_assert_eq!(Found::decode(&encoded).unwrap(), found);
                    writer.put(path, &encoded).unwrap();
                }
            }
            let written = writer.into_inner();
            let mut reader = RecordReader::new(written.as_slice());
            let (mut path, mut found) = (Vec::new(), Vec::new());
            for (expected, ..) in records.iter().flat_map(|record| [record, record]) {
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
