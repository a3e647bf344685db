//! Feeding items into open tasks. It is no change that the audit has: a task that is open was created to be fed.

use bytes::Bytes;
use dtf_api as api;
use dtf_api::Code;
use dtf_model::TaskId;
use dtf_model::items::{Appended, FeedOffset, MAX_KEPT_BYTES, MAX_KEPT_ITEMS};
use dtf_model::plugin::MAX_BODY_BYTES;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{App, Change, target};
use crate::problem::Failed;

/// The most items of a request.
const MAX_ITEMS: usize = 10_000;
/// The longest name of a producer, in characters.
const MAX_PRODUCER_CHARS: usize = 100;

impl App {
    /// Feeds items, one JSON value a line, into a task.
    ///
    /// # Errors
    /// The task does not exist, has ended, is closed or takes no items; a line is no JSON; too many items are kept; or a store failed.
    pub async fn feed_items(
        &self,
        id: u64,
        query: &api::FeedQuery,
        body: &Bytes,
    ) -> Result<api::Fed, Failed> {
        let offset = match (&query.producer, query.offset) {
            (Some(producer), Some(offset)) => Some(FeedOffset { producer: checked(producer)?, offset }),
            (None, None) => None,
            _ => return Err(Failed::invalid("producer and offset go together; give both or none")),
        };
        let items = lines(body)?;
        self.check_task(id).await?;
        match self.client.feed_items(TaskId(id), offset, &items).await? {
            Appended::Taken { new } => Ok(api::Fed { new }),
            Appended::Closed => {
                Err(Failed::new(Code::NotAllowed, format!("task {id} is closed and takes no more items")))
            }
            Appended::Missing(next) => {
                let detail = format!("items of the producer are missing: its next offset is {next}");
                Err(Failed::new(Code::ItemsMissing, detail))
            }
            Appended::Full => Err(Failed::new(
                Code::Full,
                format!(
                    "task {id} has as many items waiting as may wait ({MAX_KEPT_ITEMS}, and {MAX_KEPT_BYTES} bytes); try again later"
                ),
            )),
        }
    }

    /// Says that no more items come.
    ///
    /// # Errors
    /// The task does not exist, has ended or takes no items; or a store failed.
    pub async fn close_items(&self, id: u64) -> Result<api::Task, Failed> {
        self.check_task(id).await?;
        let (target, request) = (target(TaskId(id)), Uuid::new_v4());
        let change = Change { action: "task.close", target, detail: String::new(), request };
        self.noted(change, |client| async move { Ok(client.close_items(TaskId(id)).await?) }).await?;
        self.task(id).await
    }

    /// Returns the state of a task's items.
    ///
    /// # Errors
    /// The task does not exist or takes no items; or a store failed.
    pub async fn item_feed(&self, id: u64, query: &api::ProducerQuery) -> Result<api::ItemFeed, Failed> {
        self.check_task(id).await?;
        let producer = query.producer.as_deref().unwrap_or_default();
        let (feed, next_offset) = self.client.item_feed(TaskId(id), producer).await?;
        Ok(api::ItemFeed { items: feed.next, kept: feed.kept_items, closed: feed.closed, next_offset })
    }
}

fn checked(producer: &str) -> Result<&str, Failed> {
    let chars = producer.chars().count();
    if (1..=MAX_PRODUCER_CHARS).contains(&chars) {
        return Ok(producer);
    }
    Err(Failed::invalid(format!("producer has {chars} characters; allowed are 1 to {MAX_PRODUCER_CHARS}")))
}

/// Returns the items of a body; empty lines are none.
fn lines(body: &Bytes) -> Result<Vec<Bytes>, Failed> {
    let mut items = Vec::new();
    for (number, line) in (1..).zip(body.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if let Err(error) = serde_json::from_slice::<&RawValue>(line) {
            return Err(Failed::invalid(format!("line {number} is no JSON value: {error}")));
        }
        if line.len() > MAX_BODY_BYTES {
            let detail =
                format!("line {number} has {} bytes; at most {MAX_BODY_BYTES} are taken", line.len());
            return Err(Failed::new(Code::TooLarge, detail));
        }
        items.push(body.slice_ref(line));
    }
    if items.len() > MAX_ITEMS {
        let detail =
            format!("{} items are too many for a request; at most {MAX_ITEMS} are taken", items.len());
        return Err(Failed::new(Code::TooLarge, detail));
    }
    Ok(items)
}
