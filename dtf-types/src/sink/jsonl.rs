//! The sink that writes results to a file, one JSON value a line.
//!
//! Until the task has ended the file is `PATH.part`, and its length behind the last result is saved with each commit: a collector that
//! begins again cuts off what comes behind it. At the end the file is synced and renamed. A collector that dies between that and its
//! commit leaves the file with its final name; the next one takes it back.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::Counts;
use dtf_model::plugin::{CollectorSupport, ResultOf, TaskCollector, TaskResult};
use dtf_model::queue::Outcome;
use serde_json::json;

use super::summary::summary;

/// The bytes that are written in one call.
const TOGETHER: usize = 256 * 1024;

pub(crate) struct JsonlSink {
    path: PathBuf,
    file: Option<File>,
    /// The length of the file, without what waits.
    length: u64,
    waiting: Vec<u8>,
}

impl JsonlSink {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, file: None, length: 0, waiting: Vec::new() }
    }

    fn part(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".part");
        name.into()
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

    fn write(&mut self) -> anyhow::Result<()> {
        let file = self.file.as_mut().context("the sink was not begun")?;
        file.write_all(&self.waiting)
            .with_context(|| format!("{} cannot be written", self.path.display()))?;
        self.length += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}

#[async_trait]
impl TaskCollector for JsonlSink {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        if let Some(saved) = saved {
            self.length = str::from_utf8(&saved)?.parse().context("the saved length is no number")?;
        }
        let opened = self.open();
        self.file =
            Some(opened.with_context(|| format!("the sink {} cannot be opened", self.path.display()))?);
        Ok(())
    }

    async fn after_execution(&mut self, result: &ResultOf, _: &mut CollectorSupport) -> anyhow::Result<()> {
        if let Outcome::Succeeded(result) = &result.outcome {
            self.waiting.extend_from_slice(&result.body);
            self.waiting.push(b'\n');
        }
        if self.waiting.len() >= TOGETHER { self.write() } else { Ok(()) }
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        self.write()
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(Some(self.length.to_string().into()))
    }

    async fn after_task_completed(&mut self, counts: &Counts) -> anyhow::Result<TaskResult> {
        self.write()?;
        let file = self.file.as_ref().context("the sink was not begun")?;
        file.sync_all()?;
        // It has its name already where the commit behind this failed, and the task is summed up again.
        if self.part().exists() {
            fs::rename(self.part(), &self.path)?;
        }
        let directory = self.path.parent().context("the sink has no directory")?;
        File::open(directory)?.sync_all()?;
        Ok(summary(counts, json!({ "path": self.path })))
    }

    async fn cancel(&mut self) -> anyhow::Result<()> {
        match fs::remove_file(self.part()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use dtf_model::plugin::SubtaskResult;
    use dtf_model::{EmitEpoch, RunEpoch, Seq, SubtaskId, TaskId};

    use super::*;

    fn result(number: u64) -> ResultOf {
        let id = SubtaskId { task: TaskId(1), run: RunEpoch(1), epoch: EmitEpoch(1), seq: Seq(number) };
        ResultOf { id, outcome: Outcome::Succeeded(SubtaskResult::new(number.to_string())) }
    }

    async fn tell(sink: &mut JsonlSink, numbers: std::ops::Range<u64>) -> Option<Bytes> {
        for number in numbers {
            sink.after_execution(&result(number), &mut CollectorSupport::default()).await.unwrap();
        }
        sink.flush().await.unwrap();
        sink.save_status().unwrap()
    }

    #[tokio::test]
    async fn each_result_is_written_once_wherever_the_collector_dies() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.jsonl");
        let mut first = JsonlSink::new(path.clone());
        first.begin(None).await.unwrap();
        let saved = tell(&mut first, 0..3).await;
        tell(&mut first, 3..5).await; // and dies before the commit

        let mut second = JsonlSink::new(path.clone());
        second.begin(saved.clone()).await.unwrap();
        tell(&mut second, 3..6).await;
        assert!(!path.exists(), "it is not there before its end");
        second.after_task_completed(&Counts::default()).await.unwrap(); // and dies before the commit

        let mut third = JsonlSink::new(path.clone());
        third.begin(saved).await.unwrap();
        tell(&mut third, 3..6).await;
        third.after_task_completed(&Counts::default()).await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "0\n1\n2\n3\n4\n5\n");

        let mut cut = JsonlSink::new(dir.path().join("other"));
        let refused = cut.begin(Some("9".into())).await.unwrap_err();
        assert!(format!("{refused:#}").contains("was cut: it has 0 bytes of 9"), "{refused:#}");
    }
}
