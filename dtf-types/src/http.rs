//! The function `http`: a request for each item, or for a batch of them.

mod batch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::InvalidInput;
use dtf_model::plugin::{ExecuteContext, ExecuteError, MAX_SUBTASK_TIMEOUT, SubtaskResult, TaskExecutor};
use dtf_webhook::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use dtf_webhook::{Answer, Method, Outgoing, Secret, SendError, Sender, SenderConf, Signed, Url, check_url};
use lrmf_core::Clock;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) use self::batch::HttpBatches;
use crate::function::Attempts;
use crate::template::Template;

/// The name of the member that all such functions make.
pub(crate) const MEMBER: &str = "http:push";
/// The longest wait for a receiver that asks for it, within an attempt.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The shortest wait for one.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
/// The methods.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
/// The most bytes of an answer that are kept.
const MAX_ANSWER: usize = 256 * 1024;
/// The most items of a request.
const MAX_BATCH: u32 = 1_000;
/// The most headers.
const MAX_HEADERS: usize = 50;
/// The most characters of an answer that an error tells.
const TOLD: usize = 500;

/// A request for each item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpCall {
    /// The method: GET, POST, PUT, PATCH or DELETE. Default POST.
    #[serde(default = "post")]
    pub method: String,
    /// The address. Placeholders in its path and query are filled from the item, percent-encoded.
    pub url: String,
    /// Headers. They have no placeholders.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body, with placeholders. Default: the item as JSON, except with GET and DELETE, which have none then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The most items of a request, 1 to 1000: `{"session", "items": [{"ticket", "task", "key", "attempt", "timeout_ms", "body"}]}`. The
    /// receiver answers `{"reports": [{"ticket", "result"}]}`, with `"error"` in place of a result and `"retryable"` where an item failed; or it
    /// answers 202, and sends session and reports later to `/v1/work/report` of this process. The url has no placeholders then. Default: a
    /// request for each item, whose answer is the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<u32>,
}

fn post() -> String {
    "POST".to_owned()
}

impl HttpCall {
    /// Returns a request with the item as its body.
    pub fn posting(url: impl Into<String>) -> Self {
        Self { method: post(), url: url.into(), headers: BTreeMap::new(), body: None, batch: None }
    }

    /// Checks it, as far as that can be done without an item.
    ///
    /// # Errors
    /// What cannot be used, and what is allowed.
    pub(crate) fn check(&self) -> Result<(), InvalidInput> {
        self.prepared().map(drop)
    }

    pub(crate) fn prepared(&self) -> Result<Prepared, InvalidInput> {
        let wrong = |what, got: String, allowed: String| Err(InvalidInput::OutOfRange { what, got, allowed });
        if !METHODS.contains(&self.method.as_str()) {
            return wrong("the method", format!("{:?}", self.method), METHODS.join(", "));
        }
        let authority = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
        let example = Template::parse(&self.url).example();
        if Template::parse(authority).varies() || check_url(&example).is_err() {
            let allowed =
                "http:// or https:// and a host, with placeholders behind it only, and without a user";
            return wrong("the url", format!("{:?}", self.url), allowed.to_owned());
        }
        if let Some(most) = self.batch {
            if !(1..=MAX_BATCH).contains(&most) {
                return wrong(
                    "the number of items of a request",
                    most.to_string(),
                    format!("1 to {MAX_BATCH}"),
                );
            }
            let takes_no_items = self.body.is_some() || matches!(self.method.as_str(), "GET" | "DELETE");
            if takes_no_items || Template::parse(&self.url).varies() {
                let allowed = "POST, PUT or PATCH to a url without placeholders, and no body".to_owned();
                return wrong("a request for many items", format!("{} {:?}", self.method, self.url), allowed);
            }
        }
        if self.headers.len() > MAX_HEADERS {
            let (got, allowed) = (self.headers.len().to_string(), format!("at most {MAX_HEADERS}"));
            return wrong("the number of headers", got, allowed);
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let parsed =
                name.parse::<HeaderName>().ok().filter(is_free).zip(HeaderValue::from_str(value).ok());
            let Some((name, value)) = parsed else {
                let allowed =
                    "a name and a value of a header, other than webhook-…, Host and those of the connection";
                return wrong("a header", format!("{name:?}"), allowed.to_owned());
            };
            headers.insert(name, value);
        }
        let sends_item = self.body.is_none() && !matches!(self.method.as_str(), "GET" | "DELETE");
        if sends_item && !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let method = self.method.parse().unwrap_or(Method::POST);
        let body = self.body.as_deref().map(Template::parse);
        Ok(Prepared { method, url: Template::parse(&self.url), headers, body, sends_item })
    }
}

/// Returns true for a header that is not the sender's own.
fn is_free(name: &HeaderName) -> bool {
    const OWN: [&str; 7] =
        ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"];
    !OWN.contains(&name.as_str()) && !name.as_str().starts_with("webhook-")
}

/// A request, but for its item.
pub(crate) struct Prepared {
    method: Method,
    url: Template,
    headers: HeaderMap,
    body: Option<Template>,
    sends_item: bool,
}

impl Prepared {
    /// Returns the address of a request for many items, and a new id for it.
    fn plain_url(&self) -> Result<(Url, String), (String, bool)> {
        let filled = self.url.fill(&Value::Null, str::to_owned);
        let url = filled.and_then(|url| check_url(&url).map_err(|error| error.to_string()));
        Ok((url.map_err(|error| (error, false))?, Uuid::new_v4().to_string()))
    }

    /// Returns the address and the body for an item.
    fn fill(&self, item: &Bytes) -> Result<(Url, Bytes), String> {
        let parsed: Value = serde_json::from_slice(item).map_err(|error| error.to_string())?;
        let climbs = std::cell::Cell::new(false);
        let url = self.url.fill(&parsed, |value| {
            climbs.set(climbs.get() || matches!(value, "." | ".."));
            percent_encoded(value)
        })?;
        if climbs.get() {
            return Err("a value for the url is \".\" or \"..\", which would lead elsewhere".to_owned());
        }
        let url = check_url(&url).map_err(|error| error.to_string())?;
        let body = match &self.body {
            Some(template) => template.fill(&parsed, str::to_owned)?.into(),
            None if self.sends_item => item.clone(),
            None => Bytes::new(),
        };
        Ok((url, body))
    }
}

fn percent_encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte as char),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// The way to receivers of requests, in a process that executes.
#[derive(Clone)]
pub struct Outbound {
    /// Sends within its rule on addresses and its limits a host.
    pub sender: Sender,
    /// The secrets that requests are signed with, as Standard Webhooks have it; without any they are not signed.
    pub secrets: Vec<Secret>,
    /// The clock of the signatures.
    pub clock: Arc<dyn Clock>,
}

impl Outbound {
    /// Returns a way on which requests may take as long as an item may, and answers may be as large as results. The settings say the rest.
    ///
    /// # Errors
    /// The TLS library cannot be set up.
    pub fn new(conf: SenderConf, secrets: Vec<Secret>, clock: Arc<dyn Clock>) -> Result<Self, SendError> {
        let sender =
            Sender::new(SenderConf { timeout: MAX_SUBTASK_TIMEOUT, most_bytes: MAX_ANSWER, ..conf })?;
        Ok(Self { sender, secrets, clock })
    }

    /// Sends a request under an id, which is the same in each attempt.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Bytes,
        id: &str,
        most_bytes: usize,
    ) -> Result<Answer, SendError> {
        let seconds = self.clock.unix_millis() / 1000;
        let signed = (!self.secrets.is_empty()).then(|| Signed::new(&self.secrets, id, seconds, &body));
        self.sender.send(Outgoing { method, url, headers, body, signed, most_bytes }).await
    }

    /// Sends until there is an answer that is none to wait for.
    async fn answer(
        &self,
        call: &Prepared,
        url: Url,
        body: Bytes,
        id: &str,
        most_bytes: usize,
    ) -> Result<Answer, SendError> {
        loop {
            let (method, headers) = (call.method.clone(), call.headers.clone());
            let answer = self.send(method, url.clone(), headers, body.clone(), id, most_bytes).await?;
            match answer.retry_after.filter(|wait| answer.is_temporary() && *wait <= LONGEST_WAIT) {
                Some(wait) => tokio::time::sleep(wait.max(SHORTEST_WAIT)).await,
                None => return Ok(answer),
            }
        }
    }
}

/// Has a receiver's answer as the result of an item.
pub(crate) struct HttpFunction {
    outbound: Outbound,
    call: Prepared,
    timeout: Duration,
    attempts: Attempts,
}

impl HttpFunction {
    pub(crate) fn new(outbound: Outbound, call: Prepared, timeout: Duration, attempts: Attempts) -> Self {
        Self { outbound, call, timeout, attempts }
    }
}

#[async_trait]
impl TaskExecutor for HttpFunction {
    fn may_block(&self) -> bool {
        false
    }

    async fn execute(&self, item: &Bytes, context: &ExecuteContext) -> Result<SubtaskResult, ExecuteError> {
        let failed = |why: String, retryable| Err(self.attempts.failed(context, why, retryable));
        let (url, body) = match self.call.fill(item) {
            Ok(filled) => filled,
            Err(why) => return failed(why, false),
        };
        let id = context.id.to_string();
        let answer = self.outbound.answer(&self.call, url, body, &id, MAX_ANSWER);
        let answer = tokio::time::timeout(self.timeout, answer);
        let answer = tokio::select! {
            answer = answer => answer,
            () = context.cancelled.cancelled() => return failed("cancelled".to_owned(), false),
        };
        match answer {
            Err(_) => failed(format!("it was not accepted within {:?}", self.timeout), true),
            Ok(Err(error @ SendError::NoAnswer(_))) => failed(error.to_string(), true),
            Ok(Err(error)) => failed(error.to_string(), false),
            Ok(Ok(answer)) if answer.is_success() => Ok(SubtaskResult::new(result(&answer))),
            Ok(Ok(answer)) => failed(refusal(&answer), answer.is_temporary()),
        }
    }
}

fn result(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let body = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned()));
    let mut result = json!({ "status": answer.status, "body": body });
    if answer.is_cut {
        result["cut"] = true.into();
    }
    result.to_string()
}

fn refusal(answer: &Answer) -> String {
    let told: String = String::from_utf8_lossy(&answer.body).trim().chars().take(TOLD).collect();
    match (answer.status, told.as_str()) {
        (status @ 300..400, _) => format!("it answered {status}; redirects are not followed"),
        (status, "") => format!("it answered {status}"),
        (status, told) => format!("it answered {status}: {told}"),
    }
}

#[cfg(test)]
mod tests;
