//! The sink that writes results to a file of comma-separated values.
//!
//! The columns are those of its parameters, or the fields of the first result that is written; they are saved with the length of the file,
//! so that a collector that takes over writes the same ones. What a result has besides is left out, and what it lacks is empty.

use anyhow::{Context, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use csv::WriterBuilder;
use dtf_model::Counts;
use dtf_model::plugin::{CollectorSupport, ResultOf, TaskCollector, TaskResult};
use dtf_model::queue::Outcome;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::part::PartFile;
use super::summary::summary;

/// The most bytes of the names of the columns: they are saved with each commit.
const MAX_COLUMN_BYTES: usize = 32 * 1024;
/// The name of the only column of results that are no objects.
const RESULT: &str = "result";

pub(crate) struct CsvSink {
    file: PartFile,
    rows: CsvRows,
}

#[derive(Default, Serialize, Deserialize)]
struct Saved {
    length: u64,
    columns: Vec<String>,
}

impl CsvSink {
    pub(crate) fn new(path: std::path::PathBuf, columns: Vec<String>) -> Self {
        Self { file: PartFile::new(path), rows: CsvRows { columns } }
    }

    fn add(&mut self, result: &[u8]) -> anyhow::Result<()> {
        let row = self.rows.row(result)?;
        self.begin_header()?;
        self.file.add(&row)
    }

    /// Writes the header, where nothing has been written and the columns are known.
    fn begin_header(&mut self) -> anyhow::Result<()> {
        match self.file.is_empty() {
            true => self.file.add(&self.rows.header()?),
            false => Ok(()),
        }
    }
}

/// Results as rows. The columns are those of the first one, where none are given.
pub(super) struct CsvRows {
    pub(super) columns: Vec<String>,
}

impl CsvRows {
    /// Returns the header; nothing where the columns are not known.
    pub(super) fn header(&self) -> anyhow::Result<Vec<u8>> {
        if self.columns.is_empty() { Ok(Vec::new()) } else { line(&self.columns) }
    }

    /// Returns the row of a result.
    pub(super) fn row(&mut self, result: &[u8]) -> anyhow::Result<Vec<u8>> {
        let result: Value = serde_json::from_slice(result).context("a result is no JSON")?;
        if self.columns.is_empty() {
            self.columns = match &result {
                Value::Object(fields) if !fields.is_empty() => fields.keys().cloned().collect(),
                _ => vec![RESULT.to_owned()],
            };
            let bytes: usize = self.columns.iter().map(String::len).sum();
            ensure!(
                bytes <= MAX_COLUMN_BYTES,
                "the names of the columns have {bytes} bytes; at most {MAX_COLUMN_BYTES} are allowed"
            );
        }
        let cell = |column: &String| match &result {
            Value::Object(fields) => fields.get(column).map_or_else(String::new, cell),
            other if column == RESULT => cell(other),
            _ => String::new(),
        };
        let record: Vec<_> = self.columns.iter().map(cell).collect();
        line(&record)
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn line(record: &[String]) -> anyhow::Result<Vec<u8>> {
    let mut writer = WriterBuilder::new().from_writer(Vec::new());
    writer.write_record(record)?;
    Ok(writer.into_inner().map_err(|error| error.into_error())?)
}

#[async_trait]
impl TaskCollector for CsvSink {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        let saved: Option<Saved> = saved.map(|saved| serde_json::from_slice(&saved)).transpose()?;
        let Saved { length, columns } = saved.unwrap_or_default();
        if !columns.is_empty() {
            self.rows.columns = columns;
        }
        self.file.begin(length)
    }

    async fn after_execution(&mut self, result: &ResultOf, _: &mut CollectorSupport) -> anyhow::Result<()> {
        match &result.outcome {
            Outcome::Succeeded(result) => self.add(&result.body),
            _ => Ok(()),
        }
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        self.file.flush()
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        let saved = Saved { length: self.file.length(), columns: self.rows.columns.clone() };
        Ok(Some(serde_json::to_vec(&saved)?.into()))
    }

    async fn after_task_completed(&mut self, counts: &Counts) -> anyhow::Result<TaskResult> {
        self.begin_header()?;
        self.file.finish()?;
        Ok(summary(counts, json!({ "path": self.file.path() })))
    }

    async fn cancel(&mut self) -> anyhow::Result<()> {
        Ok(self.file.cancel()?)
    }
}

#[cfg(test)]
mod tests {
    use dtf_model::plugin::SubtaskResult;
    use dtf_model::{EmitEpoch, RunEpoch, Seq, SubtaskId, TaskId};

    use super::*;

    async fn tell(sink: &mut CsvSink, results: &[Value]) -> Option<Bytes> {
        for (number, result) in results.iter().enumerate() {
            let id =
                SubtaskId { task: TaskId(1), run: RunEpoch(1), epoch: EmitEpoch(1), seq: Seq(number as u64) };
            let outcome = Outcome::Succeeded(SubtaskResult::new(result.to_string()));
            sink.after_execution(&ResultOf { id, outcome }, &mut CollectorSupport::default()).await.unwrap();
        }
        sink.flush().await.unwrap();
        sink.save_status().unwrap()
    }

    #[tokio::test]
    async fn the_columns_stay_those_of_the_first_result_whoever_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.csv");
        let sink = || CsvSink::new(path.clone(), Vec::new());
        let mut first = sink();
        first.begin(None).await.unwrap();
        let saved = tell(&mut first, &[json!({"b": "x, \"y\"", "a": 1})]).await;
        tell(&mut first, &[json!({"lost": true})]).await; // and dies before the commit
        let mut second = sink();
        second.begin(saved).await.unwrap();
        tell(&mut second, &[json!({"c": 0, "b": null, "a": [1, "z"]}), json!(7)]).await;
        second.after_task_completed(&Counts::default()).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "a,b\n1,\"x, \"\"y\"\"\"\n\"[1,\"\"z\"\"]\",\n,\n");
    }

    #[tokio::test]
    async fn given_columns_are_there_without_results_and_other_values_are_one_column() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.csv");
        let mut none = CsvSink::new(path.clone(), vec!["x".to_owned(), "y".to_owned()]);
        none.begin(None).await.unwrap();
        none.after_task_completed(&Counts::default()).await.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "x,y\n");
        let mut plain = CsvSink::new(path.clone(), Vec::new());
        plain.begin(None).await.unwrap();
        tell(&mut plain, &[json!("a"), json!(2)]).await;
        plain.after_task_completed(&Counts::default()).await.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "result\na\n2\n");
    }
}
