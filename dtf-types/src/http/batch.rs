//! Requests with many items: the function `http` with [`batch`](super::HttpCall::batch).
//!
//! Items are offered in the exchange of the process, as those for remote workers are. A *pusher* takes them from there, like a worker that
//! lives in this process, and sends as many as there are, at most a batch, in a signed request. The receiver answers with the reports,
//! or with 202: then it reports later, with the same session and tickets, as a remote worker does.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::plugin::{ExecuteContext, ExecuteError, MAX_BODY_BYTES, SubtaskResult, TaskExecutor};
use dtf_webhook::{Answer, SendError};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::{Outbound, Prepared, refusal};
use crate::exchange::{Exchange, Given, Item, ItemOutcome, MAX_WAIT, Report};
use crate::function::{Attempts, concluded, item};

/// The time for which the first item of a request waits for others.
const GATHER: Duration = Duration::from_millis(5);
/// The most bytes of an answer that are read: results of many items.
const MAX_ANSWER: usize = 8 * 1024 * 1024;
/// The status of a receiver that reports later.
const ACCEPTED: u16 = 202;

/// The body of a request.
#[derive(Serialize)]
struct Batch<'a> {
    session: Uuid,
    items: Vec<PushedItem<'a>>,
}

/// An item of a request, in the form in which remote workers are given it.
#[derive(Serialize)]
struct PushedItem<'a> {
    ticket: String,
    task: u64,
    key: String,
    attempt: u32,
    timeout_ms: u64,
    body: &'a RawValue,
}

/// The body of an answer.
#[derive(Deserialize)]
struct Answered<'a> {
    #[serde(borrow)]
    reports: Vec<AnsweredItem<'a>>,
}

/// The report on an item, in the form in which remote workers make it.
#[derive(Deserialize)]
struct AnsweredItem<'a> {
    ticket: String,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default = "retryable")]
    retryable: bool,
}

fn retryable() -> bool {
    true
}

/// The failure of all items of a request: why, and whether another attempt may succeed.
type Failure = (String, bool);

/// Has items executed by a receiver, many in a request.
pub(crate) struct HttpBatches {
    exchange: Exchange,
    outbound: Outbound,
    call: Arc<Prepared>,
    /// The most items of a request.
    most: usize,
    timeout: Duration,
    attempts: Attempts,
    /// The name under which the items wait, which no worker can offer.
    queue: Arc<str>,
    /// Begun with the first item.
    pusher: OnceLock<AbortOnDropHandle<()>>,
}

impl HttpBatches {
    pub(crate) fn new(
        exchange: Exchange,
        outbound: Outbound,
        call: Prepared,
        most: usize,
        timeout: Duration,
        attempts: Attempts,
    ) -> Self {
        let queue = format!("{}:{}", super::MEMBER, Uuid::new_v4()).into();
        let (call, pusher) = (Arc::new(call), OnceLock::new());
        Self { exchange, outbound, call, most, timeout, attempts, queue, pusher }
    }

    fn begin_pushing(&self) {
        self.pusher.get_or_init(|| {
            let pusher = Pusher {
                session: self.exchange.begin_local(&self.queue),
                exchange: self.exchange.clone(),
                outbound: self.outbound.clone(),
                call: self.call.clone(),
                most: self.most,
                timeout: self.timeout,
            };
            AbortOnDropHandle::new(tokio::spawn(async move { pusher.run().await }))
        });
    }
}

#[async_trait]
impl TaskExecutor for HttpBatches {
    fn may_block(&self) -> bool {
        false
    }

    /// All of a parcel: it waits for the receiver.
    fn at_once(&self) -> usize {
        usize::MAX
    }

    async fn execute(&self, body: &Bytes, context: &ExecuteContext) -> Result<SubtaskResult, ExecuteError> {
        self.begin_pushing();
        let item = Item { key: None, ..item(&self.queue, self.timeout, body, context) };
        let run = self.exchange.run(item, context.cancelled.cancelled());
        match tokio::time::timeout(self.timeout, run).await {
            Ok(outcome) => concluded(outcome, self.attempts, context),
            Err(_) => {
                let late = format!("there was no report on it within {:?}", self.timeout);
                Err(self.attempts.failed(context, late, true))
            }
        }
    }
}

/// Sends what is offered.
struct Pusher {
    exchange: Exchange,
    /// Its session, which lasts as long as it does.
    session: Uuid,
    outbound: Outbound,
    call: Arc<Prepared>,
    most: usize,
    timeout: Duration,
}

impl Drop for Pusher {
    fn drop(&mut self) {
        self.exchange.leave(self.session);
    }
}

impl Pusher {
    async fn run(&self) {
        let (mut under_way, most) = (FuturesUnordered::new(), self.outbound.sender.per_host());
        loop {
            tokio::select! {
                Some(()) = under_way.next() => {}
                given = self.take(), if under_way.len() < most => match given {
                    Some(given) if !given.is_empty() => under_way.push(self.push(given)),
                    Some(_) => {}
                    None => return,
                },
            }
        }
    }

    /// Waits for items, and a moment for others to go with them; none where the session has ended. Dropped while it waits, it has taken
    /// nothing that another one does not find.
    async fn take(&self) -> Option<Vec<Given>> {
        self.exchange.offered(self.session, MAX_WAIT).await.ok()?;
        tokio::time::sleep(GATHER).await;
        let (given, _) = self.exchange.poll(self.session, self.most, Duration::ZERO).await.ok()?;
        Some(given)
    }

    async fn push(&self, given: Vec<Given>) {
        let sent = tokio::time::timeout(self.timeout, self.send(&given)).await;
        let late = || Err((format!("it was not accepted within {:?}", self.timeout), true));
        let reports = match sent.unwrap_or_else(|_| late()) {
            Ok(reports) => reports,
            Err((message, retryable)) => {
                let outcome = ItemOutcome::Failed { message, retryable };
                given.iter().map(|given| Report { ticket: given.ticket, outcome: outcome.clone() }).collect()
            }
        };
        // Nobody waits any more for those that it does not know, and its session ends with it.
        drop(self.exchange.report(self.session, reports));
    }

    /// Sends a request, and returns the reports that its answer makes: on all of its items, or on none where they come later.
    async fn send(&self, given: &[Given]) -> Result<Vec<Report>, Failure> {
        let key = self.exchange.ticket_key().await.map_err(|error| (error.to_string(), true))?;
        let items = given.iter().map(|Given { ticket, item }| {
            Ok(PushedItem {
                ticket: key.sign(*ticket),
                task: item.subtask.task.0,
                key: item.subtask.to_string(),
                attempt: item.attempt,
                timeout_ms: u64::try_from(item.timeout.as_millis()).unwrap_or(u64::MAX),
                body: serde_json::from_slice(&item.body)?,
            })
        });
        let unsound = |error: serde_json::Error| (error.to_string(), false);
        let items = items.collect::<Result<_, serde_json::Error>>().map_err(unsound)?;
        let body = serde_json::to_vec(&Batch { session: self.session, items }).map_err(unsound)?;
        let (url, id) = self.call.plain_url()?;
        let answer = self.outbound.answer(&self.call, url, body.into(), &id, MAX_ANSWER).await;
        match answer {
            Ok(answer) if answer.status == ACCEPTED => Ok(Vec::new()),
            Ok(answer) if answer.is_success() => self.read(given, &answer).await,
            Ok(answer) => Err((refusal(&answer), answer.is_temporary())),
            Err(error @ SendError::NoAnswer(_)) => Err((error.to_string(), true)),
            Err(error) => Err((error.to_string(), false)),
        }
    }

    /// Reads the reports of an answer. An item without one has failed, and may be tried again.
    async fn read(&self, given: &[Given], answer: &Answer) -> Result<Vec<Report>, Failure> {
        let key = self.exchange.ticket_key().await.map_err(|error| (error.to_string(), true))?;
        let unsound = |error| (format!("the answer has no reports that can be read: {error}"), true);
        let answered: Answered<'_> = serde_json::from_slice(&answer.body).map_err(unsound)?;
        let known = answered.reports.into_iter().filter_map(|answered| {
            let ticket = key.verify(&answered.ticket)?;
            Some(Report { ticket, outcome: outcome(answered) })
        });
        let missing = given.iter().map(|given| {
            let message = "the answer has no report on it".to_owned();
            Report { ticket: given.ticket, outcome: ItemOutcome::Failed { message, retryable: true } }
        });
        // The first report on an item is the one that counts.
        Ok(known.chain(missing).collect())
    }
}

fn outcome(answered: AnsweredItem<'_>) -> ItemOutcome {
    let AnsweredItem { result, error, retryable, .. } = answered;
    if let Some(message) = error {
        return ItemOutcome::Failed { message, retryable };
    }
    let json = result.map_or("null", RawValue::get);
    if json.len() > MAX_BODY_BYTES {
        let message = format!("the result has {} bytes; at most {MAX_BODY_BYTES} are taken", json.len());
        return ItemOutcome::Failed { message, retryable: false };
    }
    ItemOutcome::Succeeded(Bytes::copy_from_slice(json.as_bytes()))
}

#[cfg(test)]
mod tests;
