//! A file that appears when the task has ended, each of whose bytes is written once.
//!
//! Until then it is `PATH.part`, and its length behind the last result is saved with each commit: a collector that begins again cuts off
//! what comes behind it. At the end the file is synced and renamed. A collector that dies between that and its commit leaves the file with
//! its final name; the next one takes it back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// The bytes that are written in one call.
const TOGETHER: usize = 256 * 1024;

pub(super) struct PartFile {
    path: PathBuf,
    file: Option<File>,
    /// The length of the file, without what waits.
    length: u64,
    waiting: Vec<u8>,
}

impl PartFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None, length: 0, waiting: Vec::new() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the length to save.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Returns whether nothing was ever written or waits to be.
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0 && self.waiting.is_empty()
    }

    fn part(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".part");
        name.into()
    }

    /// Opens it at a length that was saved.
    pub(super) fn begin(&mut self, length: u64) -> anyhow::Result<()> {
        self.length = length;
        let opened = self.open();
        self.file =
            Some(opened.with_context(|| format!("the sink {} cannot be opened", self.path.display()))?);
        Ok(())
    }

    fn open(&mut self) -> anyhow::Result<File> {
        let part = self.part();
        if self.length > 0 && !part.exists() && self.path.exists() {
            fs::rename(&self.path, &part)?;
        }
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&part)?;
        let there = file.metadata()?.len();
        ensure!(there >= self.length, "{} was cut: it has {there} bytes of {}", part.display(), self.length);
        file.set_len(self.length)?;
        file.seek(SeekFrom::Start(self.length))?;
        Ok(file)
    }

    /// Adds bytes, which are written when there are many.
    pub(super) fn add(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= TOGETHER { self.flush() } else { Ok(()) }
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        let file = self.file.as_mut().context("the sink was not begun")?;
        file.write_all(&self.waiting)
            .with_context(|| format!("{} cannot be written", self.path.display()))?;
        self.length += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    /// Gives it its name.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        self.flush()?;
        let file = self.file.as_ref().context("the sink was not begun")?;
        file.sync_all()?;
        // It has its name already where the commit behind this failed, and the task is summed up again.
        if self.part().exists() {
            fs::rename(self.part(), &self.path)?;
        }
        let directory = self.path.parent().context("the sink has no directory")?;
        Ok(File::open(directory)?.sync_all()?)
    }

    /// Removes what is not complete.
    pub(super) fn cancel(&mut self) -> io::Result<()> {
        match fs::remove_file(self.part()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
