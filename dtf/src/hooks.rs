//! The carrying of messages to hooks: signed requests to addresses, and calls of the program's own callbacks.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use dtf_control::signing_secrets;
use dtf_model::flow::End;
use dtf_model::hook::{Answer, Courier, Hook, Receiver, TaskEnd};
use dtf_model::plugin::PluginRegistry;
use dtf_model::table::{TaskRow, TaskTable};
use dtf_model::{StoreError, TaskStatus};
use dtf_webhook::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use dtf_webhook::{Method, Outgoing, SendError, Sender, Signed, check_url};
use futures::FutureExt;
use futures::future::BoxFuture;
use lrmf_core::Clock;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

/// The largest result that goes with a message, in bytes of JSON.
const MAX_RESULT_BYTES: usize = 64 * 1024;
/// The answer of a receiver that wants no messages any more.
const GONE: u16 = 410;

/// A function of the program that is called with the ends of tasks.
pub(crate) type Callback = Arc<dyn Fn(TaskEnd) -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync>;

/// Carries messages.
pub(crate) struct Messenger {
    pub(crate) table: Arc<dyn TaskTable>,
    pub(crate) types: Arc<PluginRegistry>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sender: Sender,
    pub(crate) callbacks: BTreeMap<String, Callback>,
    /// The runtime of the program's own code.
    pub(crate) runtime: Handle,
}

fn later(error: impl Into<String>) -> Answer {
    Answer::Later { error: error.into(), after: None }
}

#[async_trait]
impl Courier for Messenger {
    async fn deliver(&self, hook: &Hook, end: &TaskEnd) -> Answer {
        match &hook.to {
            Receiver::Callback(name) => self.call(name, end).await,
            Receiver::Url(url) => match self.post(url, end).await {
                Ok(answer) => answer,
                Err(error) => later(error.to_string()),
            },
        }
    }
}

impl Messenger {
    async fn call(&self, name: &str, end: &TaskEnd) -> Answer {
        let Some(callback) = self.callbacks.get(name) else {
            let known = self.callbacks.keys().cloned().collect::<Vec<_>>().join(", ");
            return later(format!(
                "no callback {name:?} is registered in this process; registered are: {known}"
            ));
        };
        let (callback, end) = (callback.clone(), end.clone());
        // Where the call panics before it returns its future, too.
        let call = async move { callback(end).await };
        let called = AbortOnDropHandle::new(self.runtime.spawn(AssertUnwindSafe(call).catch_unwind()));
        match called.await {
            Ok(Ok(Ok(()))) => Answer::Delivered,
            Ok(Ok(Err(error))) => later(format!("{error:#}")),
            Ok(Err(_)) | Err(_) => later("the callback panicked"),
        }
    }

    async fn post(&self, url: &str, end: &TaskEnd) -> Result<Answer, StoreError> {
        let url = match check_url(url) {
            Ok(url) => url,
            Err(error) => return Ok(Answer::Refused { error: error.to_string() }),
        };
        let now = self.clock.unix_millis();
        let secrets = signing_secrets(&*self.table, &end.row.param.group, now).await?;
        let body = message(&self.types, end).to_string();
        let signed = Signed::new(&secrets, &end.id.to_string(), now / 1000, body.as_bytes());
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let outgoing = Outgoing {
            method: Method::POST,
            url,
            headers,
            body: body.into(),
            signed: Some(signed),
            most_bytes: 0,
        };
        Ok(match self.sender.send(outgoing).await {
            Ok(answer) if answer.is_success() => Answer::Delivered,
            Ok(answer) if answer.status == GONE => {
                Answer::Refused { error: "the receiver is gone for good (410)".to_owned() }
            }
            Ok(answer) => {
                let error = format!("the receiver answered {}", answer.status);
                Answer::Later { error, after: answer.retry_after }
            }
            // Another try would find the same.
            Err(error @ (SendError::Url(_) | SendError::Private(_) | SendError::NoTls)) => {
                Answer::Refused { error: error.to_string() }
            }
            Err(error) => later(error.to_string()),
        })
    }
}

/// The message of a task's end: the fields that Standard Webhooks recommends, and the task as the HTTP API names its parts.
fn message(types: &PluginRegistry, end: &TaskEnd) -> Value {
    let row = &end.row;
    let result = row.result.as_ref().map(|result| json!(result)).unwrap_or_default();
    let is_small = result.to_string().len() <= MAX_RESULT_BYTES;
    json!({
        "type": event(end),
        "timestamp": timestamp(row),
        "data": {
            "id": row.id,
            "type": types.name_of(row.task_type, &row.param),
            "name": row.param.name,
            "group": row.param.group,
            "status": row.status.to_string(),
            "reason": row.reason,
            "progress": row.counts,
            "created_at": row.created_at,
            "started_at": row.started_at,
            "finished_at": row.finished_at,
            "retry_of": row.param.retry_of,
            "flow": row.flow.as_ref().map(|member| member.flow),
            "flow_task": row.flow.as_ref().map(|member| &member.name),
            "result": if is_small { result } else { Value::Null },
            "result_left_out": !is_small,
        },
    })
}

/// The name of the event.
fn event(end: &TaskEnd) -> &'static str {
    match (end.end, end.row.status) {
        (End::Completed, _) => "task.completed",
        (End::Failed, _) => "task.failed",
        (End::Other, TaskStatus::Skipped) => "task.skipped",
        (End::Other, _) => "task.cancelled",
    }
}

fn timestamp(row: &TaskRow) -> String {
    let at = row.finished_at.unwrap_or_default();
    format!("{}.{:03}Z", dtf_control::utc(at).replace(' ', "T"), at % 1000)
}
