//! The sink that counts, and the summary that all sinks make of a task.

use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::Counts;
use dtf_model::plugin::{CollectorSupport, ResultOf, TaskCollector, TaskResult};
use serde_json::{Value, json};

/// Returns what a task has come to; `more` says where the results are.
pub(super) fn summary(counts: &Counts, more: Value) -> TaskResult {
    let not_succeeded = counts.failed + counts.timed_out;
    let reason = match not_succeeded {
        0 => String::new(),
        failed => format!("{failed} of {} items failed", counts.created),
    };
    let mut data = json!({ "items": counts.created, "succeeded": counts.succeeded, "failed": not_succeeded });
    if let (Some(data), Value::Object(more)) = (data.as_object_mut(), more) {
        data.extend(more);
    }
    TaskResult { code: i32::from(not_succeeded > 0), reason, data }
}

/// Counts, which the books do.
pub(crate) struct CountSink;

#[async_trait]
impl TaskCollector for CountSink {
    async fn begin(&mut self, _saved: Option<Bytes>) -> anyhow::Result<()> {
        Ok(())
    }

    async fn after_execution(&mut self, _: &ResultOf, _: &mut CollectorSupport) -> anyhow::Result<()> {
        Ok(())
    }

    async fn after_task_completed(&mut self, counts: &Counts) -> anyhow::Result<TaskResult> {
        Ok(summary(counts, json!({})))
    }
}
