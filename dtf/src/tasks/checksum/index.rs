//! The index beside a manifest: the state of each file when it was hashed, so that an update reads only what has changed.
//!
//! A file with records in the order of their paths (path, [`Stamp`], digest), the offsets of the records, and a trailer: the
//! kind of digest, the number of records, and the BLAKE3 digest of everything before, by which damage is noticed. It is
//! searched on disk, so that memory is bounded however many files there are.

use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use super::super::codec::{damaged, put_bytes, take_bytes};
use super::super::{Console, plain};
use super::digest::Digest;

/// The beginning of an index: its format.
const MAGIC: &[u8; 12] = b"dtf-index 1\n";
/// The bytes of a trailer: the kind, the number of records, the digest.
const TRAILER: usize = 1 + 8 + 32;
/// A file that was written to within so many seconds before it was hashed may be written to again without a newer time,
/// as times of files are coarse: the index says nothing of it.
const COARSE: i64 = 2;

/// The state of a file by which a change of its content is noticed: its size, the times of the last change of its content
/// and of its inode, and the number of its inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp([u64; 6]);

impl Stamp {
    /// The number of bytes of a stamp.
    pub(super) const BYTES: usize = 48;

    pub(super) fn of(metadata: &Metadata) -> Self {
        let time = i64::cast_unsigned;
        Self([
            metadata.len(),
            time(metadata.mtime()),
            time(metadata.mtime_nsec()),
            time(metadata.ctime()),
            time(metadata.ctime_nsec()),
            metadata.ino(),
        ])
    }

    /// The stamp of a file at the beginning of its reading; none where a later change might not be seen in it.
    pub(super) fn settled(metadata: &Metadata, now: SystemTime) -> Option<Self> {
        let now = now.duration_since(UNIX_EPOCH).ok()?.as_secs().cast_signed();
        (metadata.mtime().max(metadata.ctime()) + COARSE < now).then(|| Self::of(metadata))
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// Reads a stamp; none where the bytes have another length.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (words, []) = bytes.as_chunks::<8>() else { return None };
        Some(Self(<[[u8; 8]; 6]>::try_from(words).ok()?.map(u64::from_be_bytes)))
    }
}

/// The index of an update, opened when the first file is looked at.
pub(super) struct Update {
    path: PathBuf,
    kind: Digest,
    console: Console,
    before: OnceLock<Option<Index>>,
}

impl Update {
    pub(super) fn new(path: PathBuf, kind: Digest, console: Console) -> Self {
        Self { path, kind, console, before: OnceLock::new() }
    }

    /// The digest of a file whose state is the one of the index, and that state.
    pub(super) fn known(&self, path: &[u8], is: &Metadata) -> Option<(Stamp, Vec<u8>)> {
        let index = self.before.get_or_init(|| self.open()).as_ref()?;
        let stamp = Stamp::of(is);
        let (known, digest) = index.find(path).ok()??;
        (known == stamp && is.is_file()).then_some((stamp, digest))
    }

    fn open(&self) -> Option<Index> {
        match Index::open(&self.path, self.kind) {
            Ok(index) => Some(index),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let why = format!("{}; all files are read", plain(&error));
                self.console.complain(self.path.as_os_str().as_encoded_bytes(), why.as_bytes());
                None
            }
        }
    }
}

/// An index on disk, whole and of one kind of digest.
pub(super) struct Index {
    file: File,
    /// The offset of the offsets, which is the end of the records.
    offsets: u64,
    count: u64,
}

impl Index {
    /// Opens an index, and reads all of it once to see that it is whole.
    ///
    /// # Errors
    /// It cannot be read, is damaged, or has digests of another kind.
    pub(super) fn open(path: &Path, kind: Digest) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let body = length.checked_sub(TRAILER as u64).ok_or_else(damaged)?;
        let mut trailer = [0; TRAILER];
        file.read_exact_at(&mut trailer, body)?;
        let (head, digest) = trailer.split_at(TRAILER - 32);
        let mut hash = blake3::Hasher::new();
        let hashed = io::copy(&mut Read::by_ref(&mut file).take(body + 9), &mut hash)?;
        if hashed != body + 9 || hash.finalize().as_bytes() != digest {
            return Err(damaged());
        }
        let mut magic = [0; MAGIC.len()];
        file.read_exact_at(&mut magic, 0)?;
        let count = u64::from_be_bytes(head[1..].try_into().map_err(|_| damaged())?);
        let offsets = count.checked_mul(8).and_then(|bytes| body.checked_sub(bytes)).ok_or_else(damaged)?;
        if magic != *MAGIC {
            return Err(damaged());
        }
        if Digest::ALL.get(usize::from(head[0])) != Some(&kind) {
            return Err(io::Error::other(format!("its digests are not of the kind {}", kind.tag())));
        }
        Ok(Self { file, offsets, count })
    }

    /// Finds what is known of a file.
    pub(super) fn find(&self, path: &[u8]) -> io::Result<Option<(Stamp, Vec<u8>)>> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let (found, known) = self.record(middle)?;
            match found.as_slice().cmp(path) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => {
                    let (stamp, digest) = known.split_at_checked(Stamp::BYTES).ok_or_else(damaged)?;
                    return Ok(Some((Stamp::read(stamp).ok_or_else(damaged)?, digest.to_vec())));
                }
            }
        }
        Ok(None)
    }

    fn record(&self, at: u64) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let begin = self.offset(at)?;
        let end = if at + 1 < self.count { self.offset(at + 1)? } else { self.offsets };
        let length = end.checked_sub(begin).and_then(|length| usize::try_from(length).ok());
        let mut bytes = vec![0; length.ok_or_else(damaged)?];
        self.file.read_exact_at(&mut bytes, begin)?;
        let (mut path, mut known, mut rest) = (Vec::new(), Vec::new(), bytes.as_slice());
        take_bytes(&mut rest, &mut path)?;
        take_bytes(&mut rest, &mut known)?;
        Ok((path, known))
    }

    fn offset(&self, at: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, self.offsets + 8 * at)?;
        Ok(u64::from_be_bytes(bytes))
    }
}

/// Writes an index: records in the order of their paths, then the end.
pub(super) struct IndexWriter<W: Write> {
    to: Hashing<BufWriter<W>>,
    /// The offsets so far, in a file without a name.
    offsets: BufWriter<File>,
    count: u64,
}

impl<W: Write> IndexWriter<W> {
    pub(super) fn new(to: W, scratch: &Path) -> io::Result<Self> {
        let mut to = Hashing { to: BufWriter::new(to), hash: blake3::Hasher::new(), length: 0 };
        to.write_all(MAGIC)?;
        let offsets = BufWriter::new(tempfile::tempfile_in(scratch)?);
        Ok(Self { to, offsets, count: 0 })
    }

    pub(super) fn put(&mut self, path: &[u8], stamp: Stamp, digest: &[u8]) -> io::Result<()> {
        self.count += 1;
        self.offsets.write_all(&self.to.length.to_be_bytes())?;
        put_bytes(&mut self.to, path)?;
        put_bytes(&mut self.to, &[&stamp.to_bytes(), digest].concat())
    }

    pub(super) fn finish(mut self, kind: Digest) -> io::Result<()> {
        let mut offsets = self.offsets.into_inner().map_err(io::IntoInnerError::into_error)?;
        offsets.rewind()?;
        io::copy(&mut offsets, &mut self.to)?;
        let place = Digest::ALL.iter().position(|known| *known == kind).unwrap_or_default();
        self.to.write_all(&[u8::try_from(place).unwrap_or_default()])?;
        self.to.write_all(&self.count.to_be_bytes())?;
        let digest = self.to.hash.finalize();
        self.to.to.write_all(digest.as_bytes())?;
        self.to.to.flush()
    }
}

/// A writer that hashes and counts what goes through it.
struct Hashing<W> {
    to: W,
    hash: blake3::Hasher,
    length: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn write(dir: &Path, records: &BTreeMap<Vec<u8>, [u64; 6]>) -> PathBuf {
        let path = dir.join("index");
        let mut writer = IndexWriter::new(File::create(&path).unwrap(), dir).unwrap();
        for (path, stamp) in records {
            writer.put(path, Stamp(*stamp), &stamp[0].to_be_bytes()).unwrap();
        }
        writer.finish(Digest::Blake3).unwrap();
        path
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_was_put_in_is_found_and_nothing_else(
            records in proptest::collection::btree_map(proptest::collection::vec(any::<u8>(), 0..4), any::<[u64; 6]>(), 0..60),
            other in proptest::collection::vec(any::<u8>(), 0..4),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let index = Index::open(&write(dir.path(), &records), Digest::Blake3).unwrap();
            for path in records.keys().chain([&other]) {
                let known = records.get(path).map(|stamp| (Stamp(*stamp), stamp[0].to_be_bytes().to_vec()));
                prop_assert_eq!(index.find(path).unwrap(), known);
            }
        }

        #[test]
        fn one_bit_that_differs_and_one_byte_that_is_missing_are_noticed(
            records in proptest::collection::btree_map(proptest::collection::vec(any::<u8>(), 0..4), any::<[u64; 6]>(), 0..9),
            at in any::<proptest::sample::Index>(),
            bit in 0..8_u32,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = write(dir.path(), &records);
            let whole = std::fs::read(&path).unwrap();
            let mut bent = whole.clone();
            bent[at.index(whole.len())] ^= 1 << bit;
            for broken in [&bent[..], &whole[..at.index(whole.len())], &[]] {
                std::fs::write(&path, broken).unwrap();
                prop_assert!(Index::open(&path, Digest::Blake3).is_err());
            }
        }
    }

    #[test]
    fn an_index_of_other_digests_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), &BTreeMap::new());
        let error = Index::open(&path, Digest::Sha256).err().unwrap().to_string();
        assert_eq!(error, "its digests are not of the kind SHA256");
    }

    #[test]
    fn a_file_that_was_written_to_just_now_has_no_stamp_yet() {
        let metadata = tempfile::tempfile().unwrap().metadata().unwrap();
        let written = UNIX_EPOCH + std::time::Duration::from_secs(metadata.ctime().cast_unsigned());
        let later = |seconds| written + std::time::Duration::from_secs(seconds);
        assert_eq!(Stamp::settled(&metadata, later(2)), None);
        assert_eq!(Stamp::settled(&metadata, later(3)), Some(Stamp::of(&metadata)));
        let stamp = Stamp::of(&metadata);
        assert_eq!(Stamp::read(&stamp.to_bytes()), Some(stamp));
    }
}
