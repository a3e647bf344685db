//! The function `checksum`: the digest of the file or object that an item names. With the source `files` and a file as sink, that is a manifest.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::plugin::{ExecuteContext, ExecuteError, SubtaskResult, TaskExecutor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Digest;

use crate::function::Attempts;
use crate::stores::{self, ObjectStores};

/// The member of the type that executes it.
pub(crate) const MEMBER: &str = "checksum:file";

/// The bytes that are read at once.
const CHUNK: usize = 256 * 1024;

/// A kind of digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DigestKind {
    /// SHA-256, as `sha256sum` makes it.
    Sha256,
    /// SHA-512, as `sha512sum` makes it.
    Sha512,
}

impl DigestKind {
    /// The name of the field of a result.
    fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Reads to the end, unless it is called off.
    fn of(self, reader: &mut dyn Read, called_off: &AtomicBool) -> io::Result<(String, u64)> {
        match self {
            Self::Sha256 => digest::<sha2::Sha256>(reader, called_off),
            Self::Sha512 => digest::<sha2::Sha512>(reader, called_off),
        }
    }
}

fn digest<D: Digest>(reader: &mut dyn Read, called_off: &AtomicBool) -> io::Result<(String, u64)> {
    let (mut digest, mut chunk, mut bytes) = (D::new(), vec![0; CHUNK], 0);
    loop {
        if called_off.load(Ordering::Relaxed) {
            return Err(io::Error::other("it was called off"));
        }
        match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => {
                digest.update(&chunk[..read]);
                bytes += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let hex = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((hex, bytes))
}

/// Makes digests of what items name.
pub(crate) struct ChecksumFunction {
    pub(crate) kind: DigestKind,
    pub(crate) stores: Option<ObjectStores>,
    pub(crate) timeout: Duration,
    pub(crate) attempts: Attempts,
}

/// Calls the work of a thread off when nobody waits for it any more.
struct CallOff(Arc<AtomicBool>);

impl Drop for CallOff {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Returns the file that an item names: by its path, or by its field `path`, as items of the source `files` have it.
fn named(item: &Bytes) -> Result<PathBuf, String> {
    let wrong = || {
        let item = String::from_utf8_lossy(item);
        format!(
            "the item is {item:.200}; allowed is an absolute path or the address of an object, or an object with the field path"
        )
    };
    let value: Value = serde_json::from_slice(item).map_err(|_| wrong())?;
    let path = value.as_str().or_else(|| value.get("path")?.as_str()).map(PathBuf::from);
    path.filter(|path| path.is_absolute() || stores::address(path).is_some()).ok_or_else(wrong)
}

fn open(path: &Path, stores: Option<&ObjectStores>) -> anyhow::Result<Box<dyn Read>> {
    if let Some(address) = stores::address(path) {
        return Ok(Box::new(stores::open(stores, address, 0)?.0));
    }
    let file = File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
    anyhow::ensure!(file.metadata()?.is_file(), "{} is no file", path.display());
    Ok(Box::new(file))
}

#[async_trait]
impl TaskExecutor for ChecksumFunction {
    async fn execute(&self, body: &Bytes, context: &ExecuteContext) -> Result<SubtaskResult, ExecuteError> {
        let failed = |message, retryable| self.attempts.failed(context, message, retryable);
        let path = named(body).map_err(|wrong| failed(wrong, false))?;
        let called_off = Arc::new(AtomicBool::new(false));
        let _call_off = CallOff(called_off.clone());
        let (kind, stores) = (self.kind, self.stores.clone());
        let work = tokio::task::spawn_blocking(move || {
            let mut reader = open(&path, stores.as_ref())?;
            let read = kind.of(&mut *reader, &called_off);
            let (digest, bytes) = read.with_context(|| format!("{} cannot be read", path.display()))?;
            anyhow::Ok(json!({ "path": path, kind.name(): digest, "bytes": bytes }))
        });
        let ended = tokio::select! {
            ended = tokio::time::timeout(self.timeout, work) => ended,
            () = context.cancelled.cancelled() => return Err(failed("cancelled".to_owned(), false)),
        };
        match ended {
            Ok(Ok(Ok(result))) => Ok(SubtaskResult::new(result.to_string())),
            Ok(Ok(Err(error))) => {
                // What is not there will not be there at the next attempt.
                let missing = |cause: &io::Error| cause.kind() == io::ErrorKind::NotFound;
                let is_final = error.downcast_ref::<io::Error>().is_some_and(missing);
                Err(failed(format!("{error:#}"), !is_final))
            }
            Ok(Err(error)) => Err(failed(format!("reading panicked: {error}"), false)),
            Err(_) => Err(failed(format!("it was not read within {:?}", self.timeout), true)),
        }
    }
}

#[cfg(test)]
mod tests {
    use dtf_model::{EmitEpoch, RunEpoch, Seq, SubtaskId, TaskId};
    use tokio_util::sync::CancellationToken;

    use super::*;

    async fn run(item: Value, kind: DigestKind) -> Result<Value, ExecuteError> {
        let (timeout, attempts) = (Duration::from_secs(60), Attempts(3));
        let function = ChecksumFunction { kind, stores: None, timeout, attempts };
        let id = SubtaskId { task: TaskId(1), run: RunEpoch(1), epoch: EmitEpoch(1), seq: Seq(0) };
        let context = ExecuteContext { id, key: None, attempt: 0, cancelled: CancellationToken::new() };
        let result = function.execute(&item.to_string().into(), &context).await?;
        Ok(serde_json::from_slice(&result.body).unwrap())
    }

    /// The digests are those of FIPS 180-4's example "abc".
    #[tokio::test]
    async fn files_are_named_by_their_path_or_as_the_source_names_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for item in [json!(path), json!({ "path": path, "bytes": 3 })] {
            let result = run(item, DigestKind::Sha256).await.unwrap();
            assert_eq!(result, json!({ "path": path, "sha256": sha256, "bytes": 3 }));
        }
        let long = run(json!(path), DigestKind::Sha512).await.unwrap();
        assert!(long["sha512"].as_str().is_some_and(|hex| hex.starts_with("ddaf35a1") && hex.len() == 128));
    }

    #[tokio::test]
    async fn what_cannot_be_read_says_so_and_whether_it_is_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        for (item, said, is_final) in [
            (json!("/there/is/no/such/file"), "cannot be opened", true),
            (json!("relative"), "allowed is an absolute path", true),
            (json!(7), "the item is 7;", true),
            (json!(directory.path()), "is no file", false),
            (json!("s3://bucket/key"), "object stores", false),
        ] {
            let error = run(item.clone(), DigestKind::Sha256).await.unwrap_err();
            assert!(error.to_string().contains(said), "{item}: {error}");
            assert_eq!(matches!(error, ExecuteError::Final(_)), is_final, "{item}: {error}");
        }
    }
}
