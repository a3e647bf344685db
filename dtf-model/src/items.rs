//! Items that are fed into an open task. The port to `tbl_task_item`.
//!
//! Items stand one behind the other, each with its number, in chunks as they came. The chunk that follows is the one that begins with
//! the next number, and only one can: so whoever appends knows that nothing was appended meanwhile. What a [`Feed`] has come to decides
//! what becomes of an append, in [`appended`], the same way in every store.

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::StoreError;
use crate::ids::TaskId;

/// The most items of a task that are kept.
pub const MAX_KEPT_ITEMS: u64 = 2_000_000;
/// The most bytes of a task's items that are kept.
pub const MAX_KEPT_BYTES: u64 = 1 << 30;
/// The most bytes of a chunk, unless it is a single item.
pub const MAX_CHUNK_BYTES: usize = 1 << 20;
/// The most bytes of the chunks that are read in one call, unless it is a single chunk.
pub const READ_BYTES: u64 = 4 << 20;
/// The most chunks that are read in one call.
pub const READ_CHUNKS: u32 = 256;
/// The number of producers whose offsets are known still when their items have been dropped: those that fed last.
pub const KEPT_PRODUCERS: u32 = 1000;

/// The items of a task, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Feed {
    /// The number of the next item: so many were fed.
    pub next: u64,
    /// The number of bytes that were fed.
    pub bytes: u64,
    /// The number of items that are kept.
    pub kept_items: u64,
    /// The number of bytes that are kept.
    pub kept_bytes: u64,
    /// True once no more can be fed.
    pub closed: bool,
}

/// The place of items among those of their producer, which makes feeding them again harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedOffset<'a> {
    /// The producer, by a name of its own.
    pub producer: &'a str,
    /// The number of items that it fed to the task before these.
    pub offset: u64,
}

/// The answer to an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The items are there, all of them; some or all may have been there before.
    Taken {
        /// The number of items that are new.
        new: u64,
    },
    /// Items of the producer are missing before these: its next offset is this one.
    Missing(u64),
    /// As many items are kept as may be. Those that are new were not taken, or not all.
    Full,
    /// No more can be fed, and some of these are new.
    Closed,
}

/// Items that stand one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemChunk {
    /// The number of the first one.
    pub number: u64,
    /// The items.
    pub items: Vec<Bytes>,
}

/// The decision on an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Append {
    /// Append these of the items, and note the producer's next offset.
    Now {
        /// The first of them.
        first: usize,
        /// The one behind the last.
        end: usize,
    },
    /// It is answered.
    Done(Appended),
}

/// Decides about an append of items with these sizes. `offset` has the one that is asked for and the producer's next one; `before` counts the
/// items that this append has added already.
pub fn appended(feed: &Feed, offset: Option<(u64, u64)>, sizes: &[usize], before: u64) -> Append {
    let first = match offset {
        Some((asked, next)) if asked > next => return Append::Done(Appended::Missing(next)),
        Some((asked, next)) => usize::try_from(next - asked).unwrap_or(usize::MAX),
        None => usize::try_from(before).unwrap_or(usize::MAX),
    };
    let Some(rest) = sizes.get(first..).filter(|rest| !rest.is_empty()) else {
        return Append::Done(Appended::Taken { new: before });
    };
    if feed.closed {
        return Append::Done(Appended::Closed);
    }
    let mut bytes = 0;
    let fits = rest.iter().take_while(|size| {
        bytes += **size + 1;
        bytes <= MAX_CHUNK_BYTES
    });
    let count = fits.count().max(1);
    if feed.kept_items + count as u64 > MAX_KEPT_ITEMS || feed.kept_bytes >= MAX_KEPT_BYTES {
        return Append::Done(Appended::Full);
    }
    Append::Now { first, end: first + count }
}

/// The table of items. They go with their task.
///
/// # What an implementor guarantees
/// - A call that returned `Ok` is durable, and the next read sees it. A call that failed may have appended some of the first items that it
///   was given.
/// - Items have consecutive numbers, from 0, and come back as they were. What was read under a number never changes.
/// - Items of a producer with an offset are appended once, however often and by however many they are fed. Producers that are beyond the
///   last [`KEPT_PRODUCERS`] may be forgotten once their items are dropped.
#[async_trait]
pub trait ItemTable: Send + Sync + 'static {
    /// Appends items, as [`appended`] decides. An item is UTF-8 without a line feed; others are refused with
    /// [`StoreError::InvalidInput`].
    async fn feed_items(
        &self,
        task: TaskId,
        offset: Option<FeedOffset<'_>>,
        items: &[Bytes],
    ) -> Result<Appended, StoreError>;

    /// Ends the feeding of a task. Said again, it changes nothing.
    async fn close_items(&self, task: TaskId) -> Result<(), StoreError>;

    /// Returns the state of a task's items, and the next offset of a producer.
    async fn feed(&self, task: TaskId, producer: &str) -> Result<(Feed, u64), StoreError>;

    /// Returns the first chunks that are kept of those that begin with this number or later, as far as [`READ_BYTES`] and
    /// [`READ_CHUNKS`] go; one at least, where there is any.
    async fn items(&self, task: TaskId, from: u64) -> Result<Vec<ItemChunk>, StoreError>;

    /// Drops the chunks that begin before this number.
    async fn drop_items(&self, task: TaskId, before: u64) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_is_taken_once_in_order_and_as_far_as_there_is_room() {
        let open = Feed::default();
        let closed = Feed { closed: true, ..open };
        let full = Feed { kept_items: MAX_KEPT_ITEMS - 1, ..open };
        let large = Feed { kept_bytes: MAX_KEPT_BYTES, ..open };
        let taken = |new| Append::Done(Appended::Taken { new });
        let now = |first, end| Append::Now { first, end };
        for (feed, offset, count, before, expected) in [
            (open, None, 3, 0, now(0, 3)),
            (open, None, 3, 3, taken(3)),
            (open, None, 0, 0, taken(0)),
            (open, Some((0, 0)), 3, 0, now(0, 3)),
            (open, Some((5, 7)), 3, 0, now(2, 3)),
            (open, Some((5, 8)), 3, 1, taken(1)),
            (open, Some((5, 99)), 3, 0, taken(0)),
            (open, Some((5, 4)), 3, 0, Append::Done(Appended::Missing(4))),
            (closed, Some((5, 8)), 3, 0, taken(0)),
            (closed, Some((5, 7)), 3, 0, Append::Done(Appended::Closed)),
            (closed, None, 1, 0, Append::Done(Appended::Closed)),
            (full, None, 1, 0, now(0, 1)),
            (full, None, 2, 0, Append::Done(Appended::Full)),
            (large, None, 1, 0, Append::Done(Appended::Full)),
        ] {
            let sizes = vec![1; count];
            assert_eq!(appended(&feed, offset, &sizes, before), expected, "{offset:?} {count} {before}");
        }
        let half = MAX_CHUNK_BYTES / 2;
        assert_eq!(appended(&open, None, &[half, half - 2, 1], 0), now(0, 2));
        assert_eq!(appended(&open, None, &[2 * MAX_CHUNK_BYTES, 1], 0), now(0, 1));
    }
}
