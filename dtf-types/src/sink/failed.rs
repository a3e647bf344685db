//! The sink of failed items: a file with a JSON object a line for each, beside the sink of the results.

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::Counts;
use dtf_model::plugin::{CollectorSupport, ResultOf, TaskCollector, TaskResult};
use dtf_model::queue::Outcome;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::part::PartFile;

/// A sink, and a file for what it does not take.
pub(crate) struct WithFailed {
    sink: Box<dyn TaskCollector>,
    failed: PartFile,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    /// The status of the sink of the results, which all sinks write as text.
    sink: Option<String>,
    /// The length of the file of failed items.
    failed: u64,
}

/// A failed item, as it is written.
#[derive(Serialize)]
struct Failed<'a> {
    key: String,
    item: &'a RawValue,
    error: &'a str,
    timed_out: bool,
}

impl WithFailed {
    pub(crate) fn new(sink: Box<dyn TaskCollector>, path: std::path::PathBuf) -> Self {
        Self { sink, failed: PartFile::new(path) }
    }

    fn add(&mut self, result: &ResultOf, body: &[u8], error: &str, timed_out: bool) -> anyhow::Result<()> {
        let item: &RawValue = serde_json::from_slice(body).context("an item is no JSON")?;
        let mut line = serde_json::to_vec(&Failed { key: result.id.to_string(), item, error, timed_out })?;
        line.push(b'\n');
        self.failed.add(&line)
    }
}

#[async_trait]
impl TaskCollector for WithFailed {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        let saved: Option<Saved> = saved.map(|saved| serde_json::from_slice(&saved)).transpose()?;
        let Saved { sink, failed } = saved.unwrap_or(Saved { sink: None, failed: 0 });
        self.failed.begin(failed)?;
        self.sink.begin(sink.map(Bytes::from)).await
    }

    async fn after_execution(
        &mut self,
        result: &ResultOf,
        support: &mut CollectorSupport,
    ) -> anyhow::Result<()> {
        match &result.outcome {
            Outcome::Failed { error, body } => self.add(result, body, error, false)?,
            Outcome::TimedOut { body } => self.add(result, body, "it took too long", true)?,
            Outcome::Succeeded(_) | Outcome::Cancelled => {}
        }
        self.sink.after_execution(result, support).await
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        self.failed.flush()?;
        self.sink.flush().await
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        let sink = self.sink.save_status()?.map(|saved| String::from_utf8(saved.into())).transpose()?;
        Ok(Some(serde_json::to_vec(&Saved { sink, failed: self.failed.length() })?.into()))
    }

    async fn after_task_completed(&mut self, counts: &Counts) -> anyhow::Result<TaskResult> {
        self.failed.finish()?;
        let mut result = self.sink.after_task_completed(counts).await?;
        if let Value::Object(data) = &mut result.data {
            data.insert("failed_path".to_owned(), json!(self.failed.path()));
        }
        Ok(result)
    }

    async fn cancel(&mut self) -> anyhow::Result<()> {
        self.failed.cancel()?;
        self.sink.cancel().await
    }
}

#[cfg(test)]
mod tests {
    use dtf_model::plugin::SubtaskResult;
    use dtf_model::{EmitEpoch, RunEpoch, Seq, SubtaskId, TaskId};

    use super::super::{JsonlSink, WithFailed};
    use super::*;

    fn result(number: u64) -> ResultOf {
        let id = SubtaskId { task: TaskId(1), run: RunEpoch(1), epoch: EmitEpoch(1), seq: Seq(number) };
        let body = Bytes::from(format!("{{\"n\":{number}}}"));
        let outcome = match number % 3 {
            0 => Outcome::Succeeded(SubtaskResult::new(body)),
            1 => Outcome::Failed { error: "no \"luck\"".to_owned(), body },
            _ => Outcome::TimedOut { body },
        };
        ResultOf { id, outcome }
    }

    #[tokio::test]
    async fn each_item_is_in_one_of_the_files_wherever_the_collector_dies() {
        let dir = tempfile::tempdir().unwrap();
        let (out, failed) = (dir.path().join("out"), dir.path().join("failed"));
        let sink = || WithFailed::new(Box::new(JsonlSink::new(out.clone())), failed.clone());
        let (mut saved, mut support) = (None, CollectorSupport::default());
        for number in 0..6 {
            let mut sink = sink();
            sink.begin(saved).await.unwrap();
            sink.after_execution(&result(number), &mut support).await.unwrap();
            sink.flush().await.unwrap();
            saved = sink.save_status().unwrap();
            sink.after_execution(&result(number + 1), &mut support).await.unwrap();
            sink.flush().await.unwrap(); // and dies before the commit
        }
        let mut last = sink();
        last.begin(saved).await.unwrap();
        let data = last.after_task_completed(&Counts::default()).await.unwrap().data;
        assert_eq!(data["failed_path"], json!(failed));
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "{\"n\":0}\n{\"n\":3}\n");
        let lines = std::fs::read_to_string(&failed).unwrap();
        let items: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let told: Vec<_> =
            items.iter().map(|item| (item["item"]["n"].as_u64(), item["timed_out"].clone())).collect();
        let expected = [(1, false), (2, true), (4, false), (5, true)];
        assert_eq!(told, expected.map(|(n, timed_out)| (Some(n), json!(timed_out))));
        assert_eq!(items[0]["error"], "no \"luck\"");
    }
}
