//! The collector: puts results into the set of its task, and writes the manifest when all are there.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use async_trait::async_trait;
use bytes::Bytes;

use dtf_model::plugin::{CollectorSupport, ResultOf, TaskCollector, TaskResult};
use dtf_model::queue::Outcome;
use dtf_model::{Counts, RunEpoch, TaskId};
use tokio_util::sync::CancellationToken;

use super::super::{Console, plain, shown};
use super::digest::Digest;
use super::index::IndexWriter;
use super::line;
use super::manifests::without_number;
use super::record::{Found, RecordReader, for_each_item};
use super::results::Results;
use super::target::Target;

/// The results collected of a task. They belong to the plugin, so that a collector that takes over in the same process
/// finds them; a result that it is told again changes nothing.
pub(super) enum Collected {
    /// Results are coming in.
    Open(Results),
    /// The manifest is written.
    Written(TaskResult),
    /// It is not, and cannot be any more.
    Lost(String),
}

/// Of several tasks, or runs of them.
pub(super) type AllCollected = BTreeMap<(TaskId, RunEpoch), Arc<Mutex<Collected>>>;

/// The saved status: it says no more than that there is something to go on from.
const TAKEN_UP: &[u8] = b"in this process";

pub(super) struct ChecksumCollector {
    pub(super) collected: Arc<Mutex<Collected>>,
    /// True if an earlier collector of this task was in this process.
    pub(super) known: bool,
    pub(super) out: Option<PathBuf>,
    /// True if manifests are compared with files.
    pub(super) compares: bool,
    /// True if nothing is said of files that are as they should be.
    pub(super) quiet: bool,
    /// The kind of digest in the index, where the manifest gets one.
    pub(super) index: Option<Digest>,
    pub(super) console: Console,
}

#[async_trait]
impl TaskCollector for ChecksumCollector {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        if saved.is_some() && !self.known {
            bail!(
                "what was collected so far is lost with the process that collected it; create the task again"
            );
        }
        Ok(())
    }

    async fn after_execution(
        &mut self,
        result: &ResultOf,
        _support: &mut CollectorSupport,
    ) -> anyhow::Result<()> {
        if !add(&mut lock(&self.collected), &result.outcome)? {
            return Ok(());
        }
        let collected = Arc::clone(&self.collected);
        let spilled = tokio::task::spawn_blocking(move || match &mut *lock(&collected) {
            Collected::Open(results) => results.spill(),
            Collected::Written(_) | Collected::Lost(_) => Ok(()),
        });
        spilled.await?.context("cannot spill results to disk")
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(Some(Bytes::from_static(TAKEN_UP)))
    }

    async fn after_task_completed(&mut self, _counts: &Counts) -> anyhow::Result<TaskResult> {
        let collected = Arc::clone(&self.collected);
        let stop = CancellationToken::new();
        let _stop_when_dropped = stop.clone().drop_guard();
        let (out, console) = (self.out.clone(), self.console.clone());
        let manifest =
            Manifest { compares: self.compares, quiet: self.quiet, console, stop, ..Manifest::default() };
        let index = self.index;
        tokio::task::spawn_blocking(move || conclude(&mut lock(&collected), out.as_deref(), index, manifest))
            .await?
    }

    async fn cancel(&mut self) -> anyhow::Result<()> {
        let lost = Collected::Lost("the task was ended".to_owned());
        // Dropping what is there frees its memory and its files.
        drop(std::mem::replace(&mut *lock(&self.collected), lost));
        Ok(())
    }
}

fn lock(collected: &Mutex<Collected>) -> std::sync::MutexGuard<'_, Collected> {
    collected.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds what came of a subtask. True when it is time to spill.
fn add(collected: &mut Collected, outcome: &Outcome) -> anyhow::Result<bool> {
    let results = match collected {
        Collected::Open(results) => results,
        Collected::Written(_) => return Ok(false),
        Collected::Lost(why) => bail!("{why}"),
    };
    match outcome {
        Outcome::Succeeded(result) => add_records(results, &result.body).context("a result")?,
        Outcome::Failed { error, body } => add_failed(results, body, error).context("a failed subtask")?,
        Outcome::TimedOut { body } => add_failed(results, body, "timed out").context("a failed subtask")?,
        Outcome::Cancelled => {}
    }
    Ok(results.is_full())
}

fn add_records(results: &mut Results, body: &[u8]) -> io::Result<()> {
    let mut reader = RecordReader::new(body);
    let (mut path, mut found) = (Vec::new(), Vec::new());
    while reader.next(&mut path, &mut found)? {
        results.add(&path, &found);
    }
    Ok(())
}

/// No file of such a subtask is known to be hashed: all have failed.
fn add_failed(results: &mut Results, body: &[u8], error: &str) -> io::Result<()> {
    let mut failed = Vec::new();
    Found::Failed { why: error.as_bytes() }.encode(&mut failed)?;
    for_each_item(body, |item| {
        results.add(item.path, &failed);
        Ok(())
    })
}

/// Writes the manifest. Called again, it says what it said before.
fn conclude(
    collected: &mut Collected,
    out: Option<&Path>,
    index: Option<Digest>,
    mut manifest: Manifest,
) -> anyhow::Result<TaskResult> {
    let results = match collected {
        Collected::Open(results) => results,
        Collected::Written(result) => return Ok(result.clone()),
        Collected::Lost(why) => bail!("{why}"),
    };
    let written = match out {
        Some(out) => {
            let target = Target::resolve(out).map_err(anyhow::Error::msg)?;
            let written = target.write(|file| manifest.write(results, file));
            written
                .and_then(|()| index.map_or(Ok(()), |kind| write_index(&target, kind, results)))
                .map_err(|error| anyhow::anyhow!("cannot write {}: {}", shown(out), plain(&error)))
        }
        None => {
            let console = manifest.console.clone();
            let written = manifest.write(results, &mut *console.out());
            written.map_err(|error| anyhow::anyhow!("cannot write to standard output: {}", plain(&error)))
        }
    };
    match written {
        Ok(()) => {
            let result = manifest.to_result();
            *collected = Collected::Written(result.clone());
            Ok(result)
        }
        Err(error) => {
            // A file can be tried again. Of what went to standard output some may have been read.
            if out.is_none() {
                *collected = Collected::Lost(error.to_string());
            }
            Err(error)
        }
    }
}

/// Writes the index of a manifest beside it.
fn write_index(target: &Target, kind: Digest, results: &mut Results) -> io::Result<()> {
    target.index().write(|file| {
        let mut writer = IndexWriter::new(file, target.parent())?;
        results.for_each(|path, found| match Found::decode(found)? {
            Found::Hashed { digest, stamp: Some(stamp), .. } | Found::Kept { digest, stamp, .. } => {
                writer.put(path, stamp, digest)
            }
            _ => Ok(()),
        })?;
        writer.finish(kind)
    })
}

/// The manifest, or what came of comparing one; and what is in it.
#[derive(Default)]
struct Manifest {
    compares: bool,
    quiet: bool,
    console: Console,
    stop: CancellationToken,
    files: u64,
    bytes: u64,
    /// Files that are not what the manifest says.
    differ: u64,
    failed: u64,
    /// Files that were written to while they were read.
    changed: u64,
    /// Files that are as they were, and were not read.
    kept: u64,
}

impl Manifest {
    fn write(&mut self, results: &mut Results, to: &mut (impl Write + ?Sized)) -> io::Result<()> {
        let mut to = BufWriter::with_capacity(256 * 1024, to);
        let mut text = Vec::new();
        results.for_each(|path, found| {
            if self.stop.is_cancelled() {
                return Err(io::Error::other("told to stop"));
            }
            text.clear();
            self.put(&mut text, path, Found::decode(found)?);
            to.write_all(&text)
        })?;
        if self.compares && self.files + self.failed == 0 {
            self.failed = 1;
            self.console.complain(b"checksum", b"there is no line in the manifests: nothing was checked");
        }
        to.flush()
    }

    /// Counts an item, and makes its line.
    fn put(&mut self, text: &mut Vec<u8>, path: &[u8], found: Found<'_>) {
        let name = if self.compares { without_number(path) } else { path };
        match found {
            Found::Kept { digest, size, .. } => {
                self.files += 1;
                self.bytes += size;
                self.kept += 1;
                line::append(text, digest, path);
            }
            Found::Hashed { digest, size, changed, .. } => {
                self.files += 1;
                self.bytes += size;
                line::append(text, digest, path);
                if changed {
                    self.changed += 1;
                    self.console.complain(
                        name,
                        b"was written to while it was read: its digest may be of no state of it",
                    );
                }
            }
            Found::Compared { same, size } => {
                self.files += 1;
                self.bytes += size;
                self.differ += u64::from(!same);
                if !same || !self.quiet {
                    verdict(text, name, if same { b"OK" } else { b"FAILED" });
                }
            }
            Found::Failed { why } => {
                self.failed += 1;
                self.console.complain(name, why);
                if self.compares {
                    verdict(text, name, b"FAILED open or read");
                }
            }
        }
    }

    fn to_result(&self) -> TaskResult {
        let Self { files, bytes, differ, failed, changed, kept, .. } = self;
        let mut reason = format!("{files} files, {bytes} bytes");
        for (count, what) in [
            (differ, "do not match"),
            (failed, "items failed"),
            (changed, "were written to while they were read"),
            (kept, "were not read, as they have not changed"),
        ] {
            if *count > 0 {
                reason.push_str(&format!("; {count} {what}"));
            }
        }
        TaskResult {
            code: 0,
            reason,
            data: serde_json::json!({
                "files": files,
                "bytes": bytes,
                "differ": differ,
                "changed": changed,
                "kept": kept,
                "failed_items": failed + differ,
            }),
        }
    }
}

/// Appends the line of a file that was compared, as `sha256sum -c` prints it.
fn verdict(text: &mut Vec<u8>, path: &[u8], verdict: &[u8]) {
    if path.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        text.push(b'\\');
        line::append_path(text, path);
    } else {
        text.extend_from_slice(path);
    }
    text.extend_from_slice(b": ");
    text.extend_from_slice(verdict);
    text.push(b'\n');
}
