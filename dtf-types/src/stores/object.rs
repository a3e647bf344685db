//! One object: read from an offset on, and written as a whole.

use std::io::{self, Read};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, WriteMultipart};
use tokio::runtime::Handle;
use tokio::sync::mpsc as async_mpsc;

use super::ObjectStores;
use crate::source::Version;

/// The bytes that are read in one request.
const CHUNK: u64 = 4 * 1024 * 1024;
/// The longest that a request may take, with the attempts of the store's client.
const PATIENCE: Duration = Duration::from_secs(300);
/// The parts of an upload that are under way at once.
const PARTS: usize = 4;

/// An object that is read. Another one under the same name is noticed, and not read on.
pub(crate) struct ObjectReader {
    /// Asks for the next chunk.
    asking: async_mpsc::UnboundedSender<()>,
    answers: mpsc::Receiver<object_store::Result<Bytes>>,
    /// What was read and not taken.
    chunk: Bytes,
    /// The bytes that have not been read.
    left: u64,
}

/// Opens an object at an offset, and returns it with its version.
///
/// # Errors
/// It is in no store that may be used, is not there, or is shorter.
pub(crate) fn open(
    stores: Option<&ObjectStores>,
    address: &str,
    offset: u64,
) -> anyhow::Result<(ObjectReader, Version)> {
    let stores =
        stores.with_context(|| format!("{address} cannot be read: this process uses no object stores"))?;
    let (store, key) = stores.find(address)?;
    let meta = wait_for(&stores.on, {
        let (store, key) = (store.clone(), key.clone());
        async move { store.head(&key).await }
    })
    .with_context(|| format!("the source {address} cannot be opened"))?;
    anyhow::ensure!(meta.size >= offset, "the source {address} has become shorter");
    let version = version_of(&meta);
    let ((asking, asked), (answering, answers)) = (async_mpsc::unbounded_channel(), mpsc::channel());
    stores.on.spawn(fetch(store, key, meta.e_tag, offset..meta.size, asked, answering));
    Ok((ObjectReader { asking, answers, chunk: Bytes::new(), left: meta.size - offset }, version))
}

/// Returns the version of an object: its tag, where the store has any, else the time of its last change.
fn version_of(meta: &ObjectMeta) -> Version {
    let changed = match &meta.e_tag {
        // FNV-1a of 128 bits: it is compared with that of the same object only.
        Some(tag) => tag.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
            (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
        }),
        None => u128::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0),
    };
    Version { bytes: meta.size, changed }
}

/// Waits for a call on another runtime. The thread may block: sources are read on threads of plugins.
pub(super) fn wait_for<T: Send + 'static>(
    on: &Handle,
    call: impl Future<Output = object_store::Result<T>> + Send + 'static,
) -> anyhow::Result<T> {
    let (answer, answered) = mpsc::channel();
    on.spawn(async move { answer.send(call.await) });
    Ok(answered.recv_timeout(PATIENCE).context("the object store does not answer")??)
}

/// Reads chunk after chunk, as it is asked to.
async fn fetch(
    store: std::sync::Arc<dyn ObjectStore>,
    key: Key,
    if_match: Option<String>,
    mut left: std::ops::Range<u64>,
    mut asked: async_mpsc::UnboundedReceiver<()>,
    answers: mpsc::Sender<object_store::Result<Bytes>>,
) {
    while asked.recv().await.is_some() {
        let range = left.start..left.end.min(left.start + CHUNK);
        left.start = range.end;
        let range = Some(GetRange::Bounded(range));
        let options = GetOptions { if_match: if_match.clone(), range, ..GetOptions::default() };
        let chunk = async { store.get_opts(&key, options).await?.bytes().await };
        if answers.send(chunk.await).is_err() {
            return;
        }
    }
}

impl Read for ObjectReader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() && self.left > 0 {
            // Where its end has gone, the answer says so.
            self.asking.send(()).unwrap_or_default();
            let answer = self.answers.recv_timeout(PATIENCE);
            let answer = answer.map_err(|_| io::Error::other("the object store does not answer"))?;
            self.chunk = answer.map_err(|error| match error {
                object_store::Error::Precondition { .. } => {
                    io::Error::other("it has changed since the task began; create the task again")
                }
                error => io::Error::other(error),
            })?;
            self.left = self.left.saturating_sub(self.chunk.len() as u64);
        }
        let taken = self.chunk.split_to(self.chunk.len().min(to.len()));
        to[..taken.len()].copy_from_slice(&taken);
        Ok(taken.len())
    }
}

/// An object that is written. It is there when it is complete, and not before.
pub(crate) struct Upload(WriteMultipart);

impl Upload {
    /// Begins to write an object.
    ///
    /// # Errors
    /// It is in no store that may be used, or the store refuses it.
    pub(crate) async fn begin(stores: Option<&ObjectStores>, address: &str) -> anyhow::Result<Self> {
        let stores = stores
            .with_context(|| format!("{address} cannot be written: this process uses no object stores"))?;
        let (store, key) = stores.find(address)?;
        let upload = store.put_multipart(&key).await;
        Ok(Self(WriteMultipart::new(
            upload.with_context(|| format!("the sink {address} cannot be written"))?,
        )))
    }

    /// Writes bytes, and waits while too many are under way.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.0.wait_for_capacity(PARTS).await?;
        self.0.write(bytes);
        Ok(())
    }

    /// Completes the object.
    ///
    /// # Errors
    /// The store failed; then there is none, or the one that was there.
    pub(crate) async fn finish(self) -> anyhow::Result<()> {
        Ok(self.0.finish().await.map(drop)?)
    }
}
