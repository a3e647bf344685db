//! Servers that forget: what they wrote last, or everything.

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, ensure};

use super::etcd::Etcd;
use super::redis::Redis;
use super::{Process, Source};

impl Redis {
    /// Returns the length of its append-only file, in bytes. Everything that it has answered is in there.
    ///
    /// # Errors
    /// It is not private, or has no such file.
    pub fn written(&self) -> anyhow::Result<u64> {
        Ok(fs::metadata(self.append_only_file()?)?.len())
    }

    /// Cuts its append-only file, so that it forgets what it wrote behind so many bytes. It must have been killed.
    ///
    /// # Errors
    /// It is not private, still runs, or its file is shorter.
    pub fn forget_behind(&self, bytes: u64) -> anyhow::Result<()> {
        ensure!(self.process()?.pid().is_none(), "a server that runs goes on writing behind the cut");
        let file = self.append_only_file()?;
        ensure!(self.written()? >= bytes, "the file was written anew: it is shorter than {bytes} bytes");
        Ok(File::options().write(true).open(file)?.set_len(bytes)?)
    }

    /// Deletes the files of its data. It must have been killed.
    ///
    /// # Errors
    /// It is not private, still runs, or a file cannot be deleted.
    pub fn forget_everything(&self) -> anyhow::Result<()> {
        ensure!(self.process()?.pid().is_none(), "a server that runs has its data in memory");
        let dir = self.process()?.dir();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else if name.starts_with("appendonly") || name.ends_with(".rdb") {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Empties it while it runs.
    ///
    /// # Errors
    /// It does not answer.
    pub fn flush(&self) -> anyhow::Result<()> {
        self.ask(&["FLUSHALL"]).map(drop)
    }

    fn process(&self) -> anyhow::Result<&Process> {
        own(&self.source)
    }

    /// The file that it writes to now: since Redis 7 the last one of a directory.
    fn append_only_file(&self) -> anyhow::Result<PathBuf> {
        let dir = self.process()?.dir();
        let single = dir.join("appendonly.aof");
        if single.is_file() {
            return Ok(single);
        }
        let number = |name: &str| name.strip_suffix(".incr.aof")?.rsplit_once('.')?.1.parse::<u64>().ok();
        let entries = fs::read_dir(dir.join("appendonlydir"))?.collect::<Result<Vec<_>, _>>()?;
        let numbered = entries
            .iter()
            .filter_map(|entry| Some((number(&entry.file_name().to_string_lossy())?, entry.path())));
        numbered.max().map(|(_, path)| path).context("it has no append-only file")
    }
}

impl Etcd {
    /// Deletes its data. It must have been killed.
    ///
    /// # Errors
    /// It is not private, still runs, or its data cannot be deleted.
    pub fn forget_everything(&self) -> anyhow::Result<()> {
        let process = own(&self.source)?;
        ensure!(process.pid().is_none(), "a server that runs has its data in memory");
        Ok(fs::remove_dir_all(process.dir().join("data"))?)
    }
}

fn own(source: &Source) -> anyhow::Result<&Process> {
    match source {
        Source::Private(process) => Ok(process),
        Source::Named(_) => None.context("this server is not the test's own: it is left alone"),
    }
}
