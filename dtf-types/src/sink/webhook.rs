//! The sink that counts, and tells a receiver of the end: a signed request (Standard Webhooks) with what the task has come to.
//!
//! It is sent before the task's end is in the books, so it may come again after a failure, under the same id. A receiver that does not accept
//! it is asked again by the next attempts of the collector; if it accepts none, the task ends as exceptional.

use anyhow::{Context, bail};
use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::Counts;
use dtf_model::plugin::{CollectorSupport, ResultOf, TaskCollector, TaskResult};
use dtf_model::{RunEpoch, TaskId};
use dtf_webhook::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use dtf_webhook::{Method, check_url};
use serde_json::json;

use super::summary::summary;
use crate::http::Outbound;

pub(crate) struct WebhookSink {
    outbound: Outbound,
    url: String,
    task: TaskId,
    run: RunEpoch,
}

impl WebhookSink {
    pub(crate) fn new(outbound: Outbound, url: String, task: TaskId, run: RunEpoch) -> Self {
        Self { outbound, url, task, run }
    }
}

#[async_trait]
impl TaskCollector for WebhookSink {
    async fn begin(&mut self, _saved: Option<Bytes>) -> anyhow::Result<()> {
        Ok(())
    }

    async fn after_execution(&mut self, _: &ResultOf, _: &mut CollectorSupport) -> anyhow::Result<()> {
        Ok(())
    }

    async fn after_task_completed(&mut self, counts: &Counts) -> anyhow::Result<TaskResult> {
        let result = summary(counts, json!({}));
        let body = json!({ "task": self.task, "run": self.run, "result": result });
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let id = format!("task-{}-{}", self.task, self.run.0);
        let url = check_url(&self.url)?;
        let answer = self.outbound.send(Method::POST, url, headers, body.to_string().into(), &id, 0).await;
        let answer = answer.with_context(|| format!("{} was not told of the end", self.url))?;
        if !answer.is_success() {
            bail!("{} was told of the end and answered {}", self.url, answer.status);
        }
        Ok(result)
    }
}
