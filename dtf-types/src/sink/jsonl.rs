//! The sink that writes results to a file, one JSON value a line.

use std::path::PathBuf;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::Counts;
use dtf_model::plugin::{CollectorSupport, ResultOf, TaskCollector, TaskResult};
use dtf_model::queue::Outcome;
use serde_json::json;

use super::part::PartFile;
use super::summary::summary;

pub(crate) struct JsonlSink(PartFile);

impl JsonlSink {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(PartFile::new(path))
    }
}

#[async_trait]
impl TaskCollector for JsonlSink {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        let saved =
            saved.map(|saved| str::from_utf8(&saved)?.parse().context("the saved length is no number"));
        self.0.begin(saved.transpose()?.unwrap_or(0))
    }

    async fn after_execution(&mut self, result: &ResultOf, _: &mut CollectorSupport) -> anyhow::Result<()> {
        if let Outcome::Succeeded(result) = &result.outcome {
            self.0.add(&[&result.body[..], b"\n"].concat())?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        self.0.flush()
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(Some(self.0.length().to_string().into()))
    }

    async fn after_task_completed(&mut self, counts: &Counts) -> anyhow::Result<TaskResult> {
        self.0.finish()?;
        Ok(summary(counts, json!({ "path": self.0.path() })))
    }

    async fn cancel(&mut self) -> anyhow::Result<()> {
        Ok(self.0.cancel()?)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
