//! The source of items that are fed into an open task.
//!
//! Its position is the chunk that is read next, and the number of its items that were generated. Where it has nothing it waits for a hint,
//! which follows each feeding. Items are kept until the task is forgotten, so that they can be generated again in another run; of a
//! task that is fed without an end, those that were collected are dropped once there are many.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use dtf_model::items::{ItemChunk, ItemTable, MAX_KEPT_BYTES, MAX_KEPT_ITEMS};
use dtf_model::plugin::{Generated, NewSubtask, TaskGenerator};
use dtf_model::queue::QueueReader;
use dtf_model::{RunEpoch, TaskId};
use serde::{Deserialize, Serialize};

/// The most bytes of a batch.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// The time after which items are looked for without a hint.
const RESYNC: Duration = Duration::from_secs(60);
/// The period of looks at whether everything was collected, while so much is kept that nothing more is generated before.
const UNTIL_COLLECTED: Duration = Duration::from_secs(1);

/// The amount of items that were generated and are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Behind {
    items: u64,
    bytes: u64,
}

impl Behind {
    /// The amount that may be kept.
    const MOST: Self = Self { items: MAX_KEPT_ITEMS, bytes: MAX_KEPT_BYTES };

    /// Returns whether it is more than this share of an amount.
    fn is_above(self, most: Self, divisor: u64) -> bool {
        self.items > most.items / divisor || self.bytes > most.bytes / divisor
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// The number of the first item of the chunk.
    chunk: u64,
    /// The number of its items that were generated.
    index: u64,
    behind: Behind,
}

/// The stores that the source works with.
#[derive(Clone)]
pub(crate) struct ItemStores {
    pub(crate) items: Arc<dyn ItemTable>,
    pub(crate) queues: Arc<dyn QueueReader>,
}

pub(crate) struct ItemSource {
    stores: ItemStores,
    task: TaskId,
    run: RunEpoch,
    position: Position,
    /// The chunks that were read; the position is within the first.
    chunks: VecDeque<ItemChunk>,
    /// True while it waits until everything is collected.
    is_held_up: bool,
    most: Behind,
}

impl ItemSource {
    pub(crate) fn new(stores: ItemStores, task: TaskId, run: RunEpoch) -> Self {
        let (position, chunks, most) = (Position::default(), VecDeque::new(), Behind::MOST);
        Self { stores, task, run, position, chunks, is_held_up: false, most }
    }

    /// Reads chunks where there are none. True where none will come any more.
    async fn read(&mut self) -> anyhow::Result<bool> {
        while self.chunks.is_empty() {
            self.chunks = self.stores.items.items(self.task, self.position.chunk).await?.into();
            let Some(first) = self.chunks.front() else {
                let (feed, _) = self.stores.items.feed(self.task, "").await?;
                match feed.next > self.position.chunk && feed.kept_items > 0 {
                    // Some came in between.
                    true => continue,
                    false => return Ok(feed.closed),
                }
            };
            if first.number != self.position.chunk {
                // Those before were dropped in an earlier run.
                self.position = Position { chunk: first.number, index: 0, ..self.position };
            }
        }
        Ok(false)
    }

    /// Returns the next item.
    fn take(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.front()?;
        let index = usize::try_from(self.position.index).ok()?;
        let item = chunk.items.get(index)?.clone();
        self.position.index += 1;
        self.position.behind.items += 1;
        self.position.behind.bytes += item.len() as u64 + 1;
        if index + 1 == chunk.items.len() {
            self.position.chunk += self.position.index;
            self.position.index = 0;
            self.chunks.pop_front();
        }
        Some(item)
    }

    /// Drops what was generated, if there is much of it and all of it is collected. Where there is too much, it is waited for.
    async fn make_room(&mut self) -> anyhow::Result<()> {
        const MANY: u64 = 20;
        const TOO_MANY: u64 = 2;
        let Position { chunk, index, behind } = self.position;
        self.is_held_up = false;
        if !behind.is_above(self.most, MANY) {
            return Ok(());
        }
        let state = self.stores.queues.state(self.task).await?;
        let all_collected = state.is_some_and(|state| {
            let counted = state.counts.counted();
            state.spec.run == self.run && counted == state.counts.created && counted == state.collected
        });
        if all_collected {
            self.stores.items.drop_items(self.task, chunk).await?;
            self.position.behind = Behind { items: index, bytes: 0 };
        } else {
            self.is_held_up = behind.is_above(self.most, TOO_MANY);
        }
        Ok(())
    }
}

#[async_trait]
impl TaskGenerator for ItemSource {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        if let Some(saved) = saved {
            self.position = serde_json::from_slice(&saved).context("the saved position is none")?;
        }
        Ok(())
    }

    async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated> {
        self.make_room().await?;
        if self.is_held_up {
            return Ok(Generated::default());
        }
        let finished = self.read().await?;
        let (mut subtasks, mut bytes) = (Vec::new(), 0);
        while subtasks.len() < most && bytes < BATCH_BYTES {
            let Some(item) = self.take() else { break };
            bytes += item.len();
            subtasks.push(NewSubtask::new(item));
        }
        Ok(Generated { subtasks, finished })
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        Ok(Some(serde_json::to_vec(&self.position)?.into()))
    }

    fn asks_again_after(&self) -> Duration {
        if self.is_held_up { UNTIL_COLLECTED } else { RESYNC }
    }

    async fn cancel(&mut self) -> anyhow::Result<()> {
        Ok(self.stores.items.drop_items(self.task, u64::MAX).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use dtf_memory::MemoryTable;
    use dtf_model::items::Appended;
    use dtf_model::queue::{Incarnation, TaskProgress, TaskState};
    use dtf_model::{StoreError, TaskParam, TaskSpec, TaskTypeId};
    use uuid::Uuid;

    use super::*;

    const TASK: TaskId = TaskId(7);
    const RUN: RunEpoch = RunEpoch(2);

    /// Queues with these books.
    struct Books(Mutex<TaskState>);

    impl Books {
        fn new() -> Arc<Self> {
            let param = Arc::new(TaskParam::default());
            let (request, task_type) = (Uuid::nil(), TaskTypeId(5));
            Arc::new(Self(Mutex::new(TaskState::begun(TaskSpec {
                id: TASK,
                request,
                run: RUN,
                task_type,
                param,
            }))))
        }

        /// So many were generated, and so many of them are collected.
        fn are(&self, created: u64, collected: u64) {
            let mut state = self.0.lock().unwrap();
            (state.counts.created, state.counts.succeeded, state.collected) = (created, created, collected);
        }
    }

    #[async_trait]
    impl QueueReader for Books {
        async fn incarnation(&self) -> Result<Incarnation, StoreError> {
            Ok(Incarnation::default())
        }

        async fn state(&self, _: TaskId) -> Result<Option<TaskState>, StoreError> {
            Ok(Some(self.0.lock().unwrap().clone()))
        }

        async fn progress_of(&self, _: &[TaskId]) -> Result<Vec<(TaskId, TaskProgress)>, StoreError> {
            Ok(Vec::new())
        }
    }

    fn source(table: &Arc<MemoryTable>, books: &Arc<Books>) -> ItemSource {
        let source = ItemSource::new(ItemStores { items: table.clone(), queues: books.clone() }, TASK, RUN);
        ItemSource { most: Behind { items: 100, bytes: 1 << 20 }, ..source }
    }

    async fn feed(table: &MemoryTable, numbers: std::ops::Range<u64>) {
        let items: Vec<_> = numbers.map(|number| Bytes::from(number.to_string())).collect();
        let fed = table.feed_items(TASK, None, &items).await.unwrap();
        assert_eq!(fed, Appended::Taken { new: items.len() as u64 });
    }

    async fn next(source: &mut ItemSource, most: usize) -> (Vec<u64>, bool) {
        let Generated { subtasks, finished } = source.next_subtasks(most).await.unwrap();
        (subtasks.iter().map(|item| serde_json::from_slice(&item.body).unwrap()).collect(), finished)
    }

    #[tokio::test]
    async fn every_item_is_generated_wherever_generating_stops() {
        for most in 1..6 {
            let (table, books) = (Arc::new(MemoryTable::new()), Books::new());
            let (mut saved, mut all) = (None, Vec::new());
            for chunk in 0..3_u64 {
                feed(&table, chunk * 3..chunk * 3 + 3).await;
                loop {
                    // As after a crash: from the saved position, with nothing else.
                    let mut source = source(&table, &books);
                    source.begin(saved).await.unwrap();
                    let (items, finished) = next(&mut source, most).await;
                    saved = source.save_status().unwrap();
                    assert!(!finished);
                    if items.is_empty() {
                        assert_eq!(source.asks_again_after(), RESYNC);
                        break;
                    }
                    all.extend(items);
                }
            }
            assert_eq!(all, (0..9).collect::<Vec<_>>());
            table.close_items(TASK).await.unwrap();
            let mut source = source(&table, &books);
            source.begin(saved).await.unwrap();
            assert_eq!(next(&mut source, most).await, (vec![], true));
        }
    }

    #[tokio::test]
    async fn what_is_collected_is_dropped_once_there_is_much_and_waited_for_where_there_is_too_much() {
        let (table, books) = (Arc::new(MemoryTable::new()), Books::new());
        let mut source = source(&table, &books);
        source.begin(None).await.unwrap();
        let kept = async || table.feed(TASK, "").await.unwrap().0.kept_items;
        feed(&table, 0..5).await;
        assert_eq!(next(&mut source, 5).await.0.len(), 5);
        books.are(5, 5);
        assert!(next(&mut source, 5).await.0.is_empty());
        assert_eq!(kept().await, 5, "so few are kept for another run");
        feed(&table, 5..55).await;
        assert_eq!(next(&mut source, 46).await.0.len(), 46);
        books.are(51, 50);
        assert!(next(&mut source, 4).await.0.is_empty(), "one is not collected");
        assert_eq!(source.asks_again_after(), UNTIL_COLLECTED);
        assert_eq!(kept().await, 55);
        books.are(51, 51);
        assert_eq!(next(&mut source, 10).await.0, [51, 52, 53, 54]);
        assert_eq!(source.asks_again_after(), RESYNC);
        assert_eq!(kept().await, 50, "of the chunk that is being read nothing is dropped");
        // A later run begins with what is there.
        let mut again = self::source(&table, &books);
        again.begin(None).await.unwrap();
        assert_eq!(next(&mut again, 2).await.0, [5, 6]);
    }
}
