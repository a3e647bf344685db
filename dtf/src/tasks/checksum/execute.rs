//! The executor: hashes the files of a batch.

use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::plugin::{ExecuteContext, ExecuteError, SubtaskResult, TaskExecutor};
use rustix::fs::OFlags;
use tokio_util::sync::CancellationToken;

use super::super::codec::damaged;
use super::super::plain;
use super::digest::Digest;
use super::index::{Stamp, Update};
use super::manifests::without_number;
use super::record::{Found, Item, Known, RecordWriter, for_each_item};

/// The number of bytes that are read at a time; between two reads the work can be stopped.
const CHUNK: usize = 128 * 1024;

/// Hashes the files of a batch.
///
/// The work is synchronous and runs on a thread for such work. When the future is dropped, as its time is over, the
/// thread is told and stops at the next chunk; only a read that never returns keeps it.
pub(super) struct ChecksumExecutor {
    /// The digest of files that no manifest says anything of.
    pub(super) digest: Digest,
    /// The index of an update.
    pub(super) update: Option<Arc<Update>>,
}

#[async_trait]
impl TaskExecutor for ChecksumExecutor {
    async fn execute(&self, body: &Bytes, context: &ExecuteContext) -> Result<SubtaskResult, ExecuteError> {
        let stop = context.cancelled.child_token();
        let _stop_when_dropped = stop.clone().drop_guard();
        let (body, how) = (body.clone(), How { digest: self.digest, update: self.update.clone(), stop });
        let hashed = tokio::task::spawn_blocking(move || hash_batch(&body, &how)).await;
        match hashed.map_err(ExecuteError::final_error)? {
            Ok(records) => Ok(SubtaskResult::new(records)),
            Err(error) => Err(ExecuteError::final_error(error)),
        }
    }
}

/// The way to hash files.
struct How {
    digest: Digest,
    update: Option<Arc<Update>>,
    stop: CancellationToken,
}

/// The records of a batch. A file that cannot be read is a record of its own and no error.
fn hash_batch(body: &[u8], how: &How) -> io::Result<Vec<u8>> {
    let mut records = RecordWriter::new(Vec::with_capacity(body.len() * 2));
    let mut chunk = vec![0; CHUNK];
    let mut found = Vec::new();
    for_each_item(body, |item| {
        found.clear();
        look_into(item, how, &mut chunk)?.encode(&mut found)?;
        records.put(item.path, &found)
    })?;
    Ok(records.into_inner())
}

/// [`Found`], with what it refers to.
enum Looked<'a> {
    Hashed(Hashed),
    Kept(Stamp, Vec<u8>, u64),
    Compared(bool, u64),
    Unreadable(&'a [u8]),
    Failed(String),
}

/// The result of reading a file.
struct Hashed {
    digest: Vec<u8>,
    size: u64,
    changed: bool,
    stamp: Option<Stamp>,
}

impl Looked<'_> {
    fn encode(&self, to: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Looked::Hashed(Hashed { digest, size, changed, stamp }) => {
                Found::Hashed { digest, size: *size, changed: *changed, stamp: *stamp }
            }
            Looked::Kept(stamp, digest, size) => Found::Kept { digest, size: *size, stamp: *stamp },
            Looked::Compared(same, size) => Found::Compared { same: *same, size: *size },
            Looked::Unreadable(why) => Found::Failed { why },
            Looked::Failed(why) => Found::Failed { why: why.as_bytes() },
        }
        .encode(to)
    }
}

/// # Errors
/// Only that it was told to stop.
fn look_into<'a>(item: &Item<'a>, how: &How, chunk: &mut [u8]) -> io::Result<Looked<'a>> {
    let How { update, stop, .. } = how;
    let (path, digest, expected) = match item.known {
        Known::Unreadable(why) => return Ok(Looked::Unreadable(why)),
        Known::File => (item.path, how.digest, None),
        Known::Expected(kind, expected) => {
            let kind = usize::try_from(kind).ok().and_then(|kind| Digest::ALL.get(kind).copied());
            (without_number(item.path), kind.ok_or_else(damaged)?, Some(expected))
        }
    };
    if let (Some(update), None) = (update, expected)
        && let Ok(metadata) = std::fs::symlink_metadata(OsStr::from_bytes(path))
        && let Some((stamp, digest)) = update.known(path, &metadata)
    {
        return Ok(Looked::Kept(stamp, digest, metadata.len()));
    }
    let file = if expected.is_some() { open_listed(path) } else { open(path) };
    let hashed = file.and_then(|file| hash(file, digest, chunk, stop));
    match hashed {
        Ok(hashed) => Ok(match expected {
            None => Looked::Hashed(Hashed { stamp: hashed.stamp.filter(|_| update.is_some()), ..hashed }),
            Some(expected) => Looked::Compared(hashed.digest == expected, hashed.size),
        }),
        Err(_) if stop.is_cancelled() => Err(io::Error::other("told to stop")),
        Err(error) => Ok(Looked::Failed(plain(&error))),
    }
}

fn hash(mut file: File, digest: Digest, chunk: &mut [u8], stop: &CancellationToken) -> io::Result<Hashed> {
    let mut hash = digest.begin();
    let mut size = 0;
    let before = file.metadata()?;
    let stamp = Stamp::settled(&before, SystemTime::now());
    loop {
        if stop.is_cancelled() {
            return Err(io::Error::other("told to stop"));
        }
        match file.read(chunk) {
            Ok(0) => break,
            Ok(length) => {
                hash.update(&chunk[..length]);
                size += length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let after = file.metadata()?;
    let changed = size != before.len() || written_at(&before) != written_at(&after);
    let stamp = stamp.filter(|stamp| !changed && Stamp::of(&after) == *stamp);
    Ok(Hashed { digest: hash.finish(), size, changed: changed && after.is_file(), stamp })
}

/// Returns the time of the last write to a file, and its size.
fn written_at(metadata: &Metadata) -> (i64, i64, u64) {
    (metadata.mtime(), metadata.mtime_nsec(), metadata.len())
}

/// Opens what a manifest lists, as it is: symlinks are followed, as `sha256sum` does.
fn open_listed(path: &[u8]) -> io::Result<File> {
    let file = File::open(OsStr::from_bytes(path))?;
    match file.metadata()?.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(file),
    }
}

/// Opens what was a regular file when the walk saw it. What has become of it since, a pipe say, must not block.
fn open(path: &[u8]) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits().cast_signed());
    let file = options.open(OsStr::from_bytes(path))?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("is no regular file any more")),
    }
}
