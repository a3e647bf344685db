//! The executor: hashes the files of a batch.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;

use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::plugin::{ExecuteContext, ExecuteError, SubtaskResult, TaskExecutor};
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::super::plain;
use super::record::{Found, Item, RecordWriter, for_each_item};

/// How much is read at a time; between two reads the work can be stopped.
const CHUNK: usize = 128 * 1024;

/// Hashes the files of a batch.
///
/// The work is synchronous and runs on a thread for such work. When the future is dropped, as its time is over, the
/// thread is told and stops at the next chunk; only a read that never returns keeps it.
pub(super) struct ChecksumExecutor;

#[async_trait]
impl TaskExecutor for ChecksumExecutor {
    async fn execute(&self, body: &Bytes, context: &ExecuteContext) -> Result<SubtaskResult, ExecuteError> {
        let stop = context.cancelled.child_token();
        let _stop_when_dropped = stop.clone().drop_guard();
        let body = body.clone();
        let hashed = tokio::task::spawn_blocking(move || hash_batch(&body, &stop)).await;
        match hashed.map_err(ExecuteError::final_error)? {
            Ok(records) => Ok(SubtaskResult::new(records)),
            Err(error) => Err(ExecuteError::final_error(error)),
        }
    }
}

/// The records of a batch. A file that cannot be read is a record of its own and no error.
pub(super) fn hash_batch(body: &[u8], stop: &CancellationToken) -> io::Result<Vec<u8>> {
    let mut records = RecordWriter::new(Vec::with_capacity(body.len() * 2));
    let mut chunk = vec![0; CHUNK];
    let mut found = Vec::new();
    for_each_item(body, |item| {
        found.clear();
        look_into(item, &mut chunk, stop)?.encode(&mut found)?;
        records.put(item.path, &found)
    })?;
    Ok(records.into_inner())
}

/// [`Found`], with what it refers to.
enum Looked<'a> {
    Hashed([u8; super::record::DIGEST], u64),
    Unreadable(&'a [u8]),
    Failed(String),
}

impl Looked<'_> {
    fn encode(&self, to: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Looked::Hashed(digest, size) => Found::Hashed { digest, size: *size },
            Looked::Unreadable(why) => Found::Failed { why },
            Looked::Failed(why) => Found::Failed { why: why.as_bytes() },
        }
        .encode(to)
    }
}

/// # Errors
/// Only that it was told to stop.
fn look_into<'a>(item: &Item<'a>, chunk: &mut [u8], stop: &CancellationToken) -> io::Result<Looked<'a>> {
    if let Some(why) = item.unreadable {
        return Ok(Looked::Unreadable(why));
    }
    let mut file = match open(item.path) {
        Ok(file) => file,
        Err(error) => return Ok(Looked::Failed(plain(&error))),
    };
    let mut hash = Sha256::new();
    let mut size = 0;
    loop {
        if stop.is_cancelled() {
            return Err(io::Error::other("told to stop"));
        }
        match file.read(chunk) {
            Ok(0) => return Ok(Looked::Hashed(hash.finalize().into(), size)),
            Ok(length) => {
                hash.update(&chunk[..length]);
                size += length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Looked::Failed(plain(&error))),
        }
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
