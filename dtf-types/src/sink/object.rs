//! The sink that writes results to an object of a store.
//!
//! Results are kept in the database while the task runs, as those of `keep`, and written as a whole at its end: an object appears complete or
//! not at all, and a collector that begins again writes the same one.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::plugin::{CollectorSupport, ResultOf, TaskCollector, TaskResult};
use dtf_model::result::ResultTable;
use dtf_model::{Counts, RunEpoch, TaskId};
use serde_json::json;

use super::csv::CsvRows;
use super::keep::KeepSink;
use super::summary::summary;
use crate::stores::{ObjectStores, Upload};

/// The results that are read in one call.
const PAGE: u32 = 1000;

/// The format of an object.
pub(crate) enum ObjectFormat {
    Jsonl,
    Csv(Vec<String>),
}

pub(crate) struct ObjectSink {
    kept: KeepSink,
    table: Arc<dyn ResultTable>,
    task: (TaskId, RunEpoch),
    stores: Option<ObjectStores>,
    address: String,
    format: ObjectFormat,
}

impl ObjectSink {
    pub(crate) fn new(
        table: Arc<dyn ResultTable>,
        task: (TaskId, RunEpoch),
        stores: Option<ObjectStores>,
        address: &str,
        format: ObjectFormat,
    ) -> Self {
        let kept = KeepSink::new(table.clone(), task.0, task.1);
        Self { kept, table, task, stores, address: address.to_owned(), format }
    }

    async fn write(&self) -> anyhow::Result<()> {
        let mut upload = Upload::begin(self.stores.as_ref(), &self.address).await?;
        let mut rows = match &self.format {
            ObjectFormat::Jsonl => None,
            ObjectFormat::Csv(columns) => Some(CsvRows { columns: columns.clone() }),
        };
        let (mut next, mut has_header) = (0, false);
        loop {
            let page = self.table.results(self.task.0, self.task.1, next, PAGE).await?;
            let mut text = Vec::new();
            for (number, result) in &page {
                next = number + 1;
                match &mut rows {
                    None => {
                        text.extend_from_slice(result);
                        text.push(b'\n');
                    }
                    Some(rows) => {
                        let row = rows.row(result)?;
                        if !std::mem::replace(&mut has_header, true) {
                            text.extend(rows.header()?);
                        }
                        text.extend(row);
                    }
                }
            }
            if page.is_empty() {
                break;
            }
            upload.write(&text).await?;
        }
        if let Some(rows) = rows.filter(|_| !has_header) {
            upload.write(&rows.header()?).await?;
        }
        upload.finish().await
    }
}

#[async_trait]
impl TaskCollector for ObjectSink {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        self.kept.begin(saved).await
    }

    async fn after_execution(
        &mut self,
        result: &ResultOf,
        support: &mut CollectorSupport,
    ) -> anyhow::Result<()> {
        self.kept.after_execution(result, support).await
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        self.kept.flush().await
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        self.kept.save_status()
    }

    async fn after_task_completed(&mut self, counts: &Counts) -> anyhow::Result<TaskResult> {
        self.write().await?;
        Ok(summary(counts, json!({ "object": self.address })))
    }
}

#[cfg(test)]
#[cfg(feature = "object-stores")]
mod tests {
    use dtf_memory::MemoryTable;
    use dtf_model::plugin::SubtaskResult;
    use dtf_model::queue::Outcome;
    use dtf_model::{EmitEpoch, Seq, SubtaskId};
    use object_store::memory::InMemory;
    use object_store::{ObjectStore, ObjectStoreExt};

    use super::*;

    async fn tell(sink: &mut ObjectSink, numbers: std::ops::Range<u64>) -> Option<Bytes> {
        for number in numbers {
            let id = SubtaskId { task: TaskId(1), run: RunEpoch(1), epoch: EmitEpoch(1), seq: Seq(number) };
            let outcome = Outcome::Succeeded(SubtaskResult::new(format!("{{\"n\":{number}}}")));
            sink.after_execution(&ResultOf { id, outcome }, &mut CollectorSupport::default()).await.unwrap();
        }
        sink.flush().await.unwrap();
        sink.save_status().unwrap()
    }

    #[tokio::test]
    async fn an_object_has_each_result_once_wherever_the_collector_dies() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let stores = ObjectStores::of("s3://bucket/out/", store.clone());
        let read = async |key: &str| {
            let object = store.get(&key.into()).await.map_err(|_| ())?;
            Ok::<_, ()>(String::from_utf8(object.bytes().await.unwrap().to_vec()).unwrap())
        };
        for (key, csv, wanted) in [
            ("out/a.jsonl", false, (0..2500).map(|n| format!("{{\"n\":{n}}}\n")).collect::<String>()),
            (
                "out/a.csv",
                true,
                std::iter::once("n\n".to_owned()).chain((0..2500).map(|n| format!("{n}\n"))).collect(),
            ),
        ] {
            let table = Arc::new(MemoryTable::new());
            let sink = || {
                let format = if csv { ObjectFormat::Csv(Vec::new()) } else { ObjectFormat::Jsonl };
                let address = format!("s3://bucket/{key}");
                ObjectSink::new(
                    table.clone(),
                    (TaskId(1), RunEpoch(1)),
                    Some(stores.clone()),
                    &address,
                    format,
                )
            };
            let mut first = sink();
            first.begin(None).await.unwrap();
            let saved = tell(&mut first, 0..1300).await;
            tell(&mut first, 1300..1400).await; // and dies before the commit
            let mut second = sink();
            second.begin(saved).await.unwrap();
            tell(&mut second, 1300..2500).await;
            assert!(read(key).await.is_err(), "it is not there before its end");
            second.after_task_completed(&Counts::default()).await.unwrap(); // and dies before the commit
            second.after_task_completed(&Counts::default()).await.unwrap();
            assert_eq!(read(key).await.unwrap(), wanted);
        }
        let empty = Arc::new(MemoryTable::new());
        let format = ObjectFormat::Csv(vec!["x".to_owned(), "y".to_owned()]);
        let address = "s3://bucket/out/none.csv";
        let mut none =
            ObjectSink::new(empty, (TaskId(1), RunEpoch(1)), Some(stores.clone()), address, format);
        none.begin(None).await.unwrap();
        none.after_task_completed(&Counts::default()).await.unwrap();
        assert_eq!(read("out/none.csv").await.unwrap(), "x,y\n");
    }
}
