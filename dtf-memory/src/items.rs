//! `tbl_task_item` in memory.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::error::{InvalidInput, StoreError};
use dtf_model::ids::TaskId;
use dtf_model::items::{
    Append, Appended, Feed, FeedOffset, ItemChunk, ItemTable, READ_BYTES, READ_CHUNKS, appended,
};

use super::MemoryTable;

/// The items of each task.
pub(super) type Items = BTreeMap<TaskId, Fed>;

#[derive(Debug, Default)]
pub(super) struct Fed {
    feed: Feed,
    chunks: BTreeMap<u64, Vec<Bytes>>,
    /// The next offset of each producer.
    producers: HashMap<String, u64>,
}

#[async_trait]
impl ItemTable for MemoryTable {
    async fn feed_items(
        &self,
        task: TaskId,
        offset: Option<FeedOffset<'_>>,
        items: &[Bytes],
    ) -> Result<Appended, StoreError> {
        if let Some(wrong) = items.iter().find(|item| str::from_utf8(item).is_err() || item.contains(&b'\n'))
        {
            let (got, allowed) = (format!("{wrong:?}"), "UTF-8 without a line feed".to_owned());
            return Err(InvalidInput::OutOfRange { what: "an item", got, allowed }.into());
        }
        let sizes: Vec<_> = items.iter().map(Bytes::len).collect();
        let mut state = self.state();
        let fed = state.items.entry(task).or_default();
        let mut before = 0;
        loop {
            let next = offset.map(|FeedOffset { producer, offset }| {
                (offset, fed.producers.get(producer).copied().unwrap_or(0))
            });
            let (first, end) = match appended(&fed.feed, next, &sizes, before) {
                Append::Now { first, end } => (first, end),
                Append::Done(answer) => return Ok(answer),
            };
            let (count, bytes) = ((end - first) as u64, size_of(&items[first..end]));
            fed.chunks.insert(fed.feed.next, items[first..end].to_vec());
            fed.feed.next += count;
            fed.feed.kept_items += count;
            fed.feed.bytes += bytes;
            fed.feed.kept_bytes += bytes;
            before += count;
            if let Some(FeedOffset { producer, offset }) = offset {
                fed.producers.insert(producer.to_owned(), offset + end as u64);
            }
        }
    }

    async fn close_items(&self, task: TaskId) -> Result<(), StoreError> {
        let mut state = self.state();
        state.items.entry(task).or_default().feed.closed = true;
        self.write_entry(&mut state, task.0);
        Ok(())
    }

    async fn feed(&self, task: TaskId, producer: &str) -> Result<(Feed, u64), StoreError> {
        let state = self.state();
        let fed = state.items.get(&task);
        Ok(fed.map_or_else(Default::default, |fed| {
            (fed.feed, fed.producers.get(producer).copied().unwrap_or(0))
        }))
    }

    async fn items(&self, task: TaskId, from: u64) -> Result<Vec<ItemChunk>, StoreError> {
        let state = self.state();
        let Some(fed) = state.items.get(&task) else { return Ok(Vec::new()) };
        let mut before = 0;
        let fits = |(_, items): &(&u64, &Vec<Bytes>)| {
            let fits = before <= READ_BYTES;
            before += size_of(items);
            fits
        };
        let chunks = fed.chunks.range(from..).take(READ_CHUNKS as usize).take_while(fits);
        Ok(chunks.map(|(number, items)| ItemChunk { number: *number, items: items.clone() }).collect())
    }

    async fn drop_items(&self, task: TaskId, before: u64) -> Result<(), StoreError> {
        if let Some(fed) = self.state().items.get_mut(&task) {
            fed.chunks = fed.chunks.split_off(&before);
            fed.feed.kept_items = fed.chunks.values().map(|items| items.len() as u64).sum();
            fed.feed.kept_bytes = fed.chunks.values().map(|items| size_of(items)).sum();
        }
        Ok(())
    }
}

/// The bytes of items, with what is between them.
fn size_of(items: &[Bytes]) -> u64 {
    items.iter().map(|item| item.len() as u64 + 1).sum()
}
