//! The port to `tbl_task_item`, on either database.
//!
//! A chunk is appended under the number that follows the last one, by a statement that does nothing where a chunk has that number
//! already. So what was decided on what had been read holds if the chunk is there afterwards, under this call's name; else it is read and
//! decided again.

use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::items::{
    Append, Appended, Feed, FeedOffset, ItemChunk, ItemTable, KEPT_PRODUCERS, READ_BYTES, READ_CHUNKS,
    appended,
};
use dtf_model::{InvalidInput, StoreError, TaskId};
use uuid::Uuid;

use crate::call::{Call, bound, kept};
use crate::row::{Number, StoredFeed, StoredResult};
use crate::sql;
use crate::table::{Database, SqlTable};

/// The place of the numbers in `drop_items.sql`.
const MARKER: &str = "/* ids */";
/// The number of attempts in a row at appending a chunk that others were ahead of.
const ATTEMPTS: u32 = 100;

/// A chunk to append.
struct NewChunk<'a> {
    feed: &'a Feed,
    items: u64,
    producer: &'a str,
    producer_next: u64,
    closes: bool,
    nonce: &'a str,
    body: &'a str,
}

#[async_trait]
impl ItemTable for SqlTable {
    async fn feed_items(
        &self,
        task: TaskId,
        offset: Option<FeedOffset<'_>>,
        items: &[Bytes],
    ) -> Result<Appended, StoreError> {
        let lines = items.iter().map(line).collect::<Result<Vec<_>, _>>()?;
        let sizes: Vec<_> = items.iter().map(Bytes::len).collect();
        let producer = offset.map_or("", |offset| offset.producer);
        let nonce = Uuid::new_v4().to_string();
        // The chunk that was sent last, and its length.
        let mut sent: Option<(u64, u64)> = None;
        let (mut before, mut lost) = (0, 0);
        loop {
            let (stored, last_is_ours) =
                self.stored_feed(task, producer, sent.map(|(number, _)| number), &nonce).await?;
            if let Some((_, count)) = sent.take() {
                (before, lost) = if last_is_ours { (before + count, 0) } else { (before, lost + 1) };
            }
            if lost > ATTEMPTS {
                let cause = format!("others append to task {task} all the time");
                return Err(StoreError::Unknown { store: "SQL", cause });
            }
            let next = offset.map(|offset| (offset.offset, stored.producer_next));
            let (first, end) = match appended(&stored.feed, next, &sizes, before) {
                Append::Now { first, end } => (first, end),
                Append::Done(answer) => return Ok(answer),
            };
            let chunk = NewChunk {
                feed: &stored.feed,
                items: (end - first) as u64,
                producer,
                producer_next: offset.map_or(0, |offset| offset.offset + end as u64),
                closes: false,
                nonce: &nonce,
                body: &lines[first..end].join("\n"),
            };
            self.append(task, &chunk).await?;
            sent = Some((stored.feed.next, chunk.items));
        }
    }

    async fn close_items(&self, task: TaskId) -> Result<(), StoreError> {
        let nonce = Uuid::new_v4().to_string();
        for _ in 0..ATTEMPTS {
            let (StoredFeed { feed, .. }, _) = self.stored_feed(task, "", None, &nonce).await?;
            if feed.closed {
                return Ok(());
            }
            let (items, producer_next) = (0, 0);
            let chunk = NewChunk {
                feed: &feed,
                items,
                producer: "",
                producer_next,
                closes: true,
                nonce: &nonce,
                body: "",
            };
            self.append(task, &chunk).await?;
        }
        Err(StoreError::Unknown { store: "SQL", cause: format!("others append to task {task} all the time") })
    }

    async fn feed(&self, task: TaskId, producer: &str) -> Result<(Feed, u64), StoreError> {
        let (stored, _) = self.stored_feed(task, producer, None, "").await?;
        Ok((stored.feed, stored.producer_next))
    }

    async fn items(&self, task: TaskId, from: u64) -> Result<Vec<ItemChunk>, StoreError> {
        let (task, from) = (bound(task.0), bound(from));
        let call = Call::new(sql::ITEMS).with(task).with(from).with(bound(READ_BYTES)).with(task).with(from);
        let rows: Vec<StoredResult> = self.fetch(call.with(READ_CHUNKS)).await?;
        let chunk = |StoredResult { number, body }: StoredResult| {
            let body = Bytes::from(body);
            ItemChunk {
                number,
                items: body.split(|byte| *byte == b'\n').map(|item| body.slice_ref(item)).collect(),
            }
        };
        Ok(rows.into_iter().map(chunk).collect())
    }

    async fn drop_items(&self, task: TaskId, before: u64) -> Result<(), StoreError> {
        let (task, before) = (bound(task.0), bound(before));
        let last: Vec<Number> = self.fetch(Call::new(sql::LAST_CHUNK).with(task)).await?;
        // It says what the next number is.
        let Some(last) = last.first() else { return Ok(()) };
        let of_producers = Call::new(sql::LAST_OF_PRODUCERS).with(task).with(KEPT_PRODUCERS);
        let mut stay: Vec<_> =
            self.fetch::<Number>(of_producers).await?.iter().map(|number| number.0).collect();
        stay.push(last.0);
        let statement = match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => sql::sqlite::DROP_ITEMS,
            #[cfg(feature = "mysql")]
            Database::MySql(_) => sql::mysql::DROP_ITEMS,
        };
        let places = vec!["?"; stay.len()].join(", ");
        let call = Call::assembled(statement.replacen(MARKER, &places, 1)).with(task).with(before);
        let call = stay.iter().fold(call, |call, number| call.with(bound(*number))).repeatable();
        while self.execute(call.clone()).await? {}
        self.execute(Call::new(sql::EMPTY_ITEMS).with(task).with(before).repeatable()).await.map(drop)
    }
}

impl SqlTable {
    /// The state of a task's items, and whether a call with this name appended the chunk with a number.
    async fn stored_feed(
        &self,
        task: TaskId,
        producer: &str,
        number: Option<u64>,
        nonce: &str,
    ) -> Result<(StoredFeed, bool), StoreError> {
        let task = bound(task.0);
        let call = Call::new(sql::FEED).with(task).with(task).with(task).with(producer);
        let call = call.with(task).with(number.map_or(-1, bound)).with(task);
        let stored: Vec<StoredFeed> = self.fetch(call).await?;
        let stored = stored.into_iter().next().unwrap_or_default();
        let is_ours = stored.nonce == nonce;
        Ok((stored, is_ours))
    }

    async fn append(&self, task: TaskId, chunk: &NewChunk<'_>) -> Result<(), StoreError> {
        let statement = match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => sql::sqlite::APPEND_ITEMS,
            #[cfg(feature = "mysql")]
            Database::MySql(_) => sql::mysql::APPEND_ITEMS,
        };
        // With a line feed for each item, so that bytes are counted alike however items come.
        let bytes = if chunk.closes { 0 } else { chunk.body.len() as u64 + 1 };
        let call = Call::new(statement)
            .with(kept("the task's id", task.0)?)
            .with(kept("the number of an item", chunk.feed.next)?)
            .with(bound(chunk.items))
            .with(bound(chunk.feed.bytes))
            .with(bound(bytes))
            .with(chunk.producer)
            .with(kept("the offset", chunk.producer_next)?)
            .with(u8::from(chunk.closes))
            .with(u8::from(!chunk.closes))
            .with(chunk.nonce)
            .with(chunk.body);
        // It has one effect however often it is sent, as its number is taken then.
        self.execute(call.repeatable()).await.map(drop)
    }
}

fn line(item: &Bytes) -> Result<&str, StoreError> {
    let wrong = |got| {
        let allowed = "UTF-8 without a line feed".to_owned();
        StoreError::from(InvalidInput::OutOfRange { what: "an item", got, allowed })
    };
    let line = str::from_utf8(item).map_err(|error| wrong(error.to_string()))?;
    if line.contains('\n') { Err(wrong("one with a line feed".to_owned())) } else { Ok(line) }
}
