//! The sink that keeps results in the database.
//!
//! Results are numbered in the order of their collection, and the next number is saved with each commit. After a crash the same results
//! come again in the same order, get the same numbers, and are there already.

use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::plugin::{CollectorSupport, ResultOf, TaskCollector, TaskResult};
use dtf_model::queue::Outcome;
use dtf_model::result::ResultTable;
use dtf_model::{Counts, RunEpoch, TaskId};
use serde_json::json;

use super::summary::summary;

/// The results that are written in one call.
const TOGETHER: usize = 500;

pub(crate) struct KeepSink {
    table: Arc<dyn ResultTable>,
    task: TaskId,
    run: RunEpoch,
    /// The number of the first result that is not written.
    next: u64,
    waiting: Vec<Bytes>,
}

impl KeepSink {
    pub(crate) fn new(table: Arc<dyn ResultTable>, task: TaskId, run: RunEpoch) -> Self {
        Self { table, task, run, next: 0, waiting: Vec::new() }
    }
}

#[async_trait]
impl TaskCollector for KeepSink {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        if let Some(saved) = saved {
            self.next = str::from_utf8(&saved)?.parse().context("the saved number is none")?;
        }
        Ok(())
    }

    async fn after_execution(&mut self, result: &ResultOf, _: &mut CollectorSupport) -> anyhow::Result<()> {
        if let Outcome::Succeeded(result) = &result.outcome {
            self.waiting.push(result.body.clone());
        }
        if self.waiting.len() >= TOGETHER { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        self.table.keep_results(self.task, self.run, self.next, &self.waiting).await?;
        self.next += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(Some(self.next.to_string().into()))
    }

    async fn after_task_completed(&mut self, counts: &Counts) -> anyhow::Result<TaskResult> {
        Ok(summary(counts, json!({ "kept": self.next })))
    }
}
