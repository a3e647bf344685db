//! Listing the tasks of a partition, in case hints were lost.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dtf_model::queue::{Incarnation, QueueReader};
use dtf_model::table::{BucketOf, TaskHead, TaskTable};
use dtf_model::{StoreError, TaskId};
use tokio::time::Instant;
use tracing::warn;

/// The period of lists of all tasks.
const LIST_AGAIN: Duration = Duration::from_secs(5);
/// Rows a page.
const PAGE: u32 = 1000;

type Reading = Pin<Box<dyn Future<Output = Result<(Vec<TaskHead>, Option<Incarnation>), StoreError>> + Send>>;

/// Some of the tasks of a partition.
pub(super) struct Page {
    pub(super) tasks: Vec<TaskId>,
    /// True if all tasks have been listed now.
    pub(super) last: bool,
    /// True if the store of the queues may have forgotten something since the list before.
    pub(super) store_may_have_forgotten: bool,
}

/// Lists the tasks of a partition on a period, a page at a time. Neither thousands of tasks nor a database that does not
/// answer keep the scheduler from dispatching what it knows of.
pub(super) struct Lister {
    table: Arc<dyn TaskTable>,
    queues: Arc<dyn QueueReader>,
    share: BucketOf,
    /// In which life the store of the queues was when the list before began.
    known: Option<Incarnation>,
    /// The begin of the next list.
    due: Instant,
    /// The last task listed, where the list has begun.
    after: Option<TaskId>,
    reading: Option<Reading>,
}

impl Lister {
    /// Lists at once, and then on the period.
    pub(super) fn new(table: Arc<dyn TaskTable>, queues: Arc<dyn QueueReader>, share: BucketOf) -> Self {
        Self { table, queues, share, known: None, due: Instant::now(), after: None, reading: None }
    }

    /// Begins the next list after this span at the latest, the present one ended.
    pub(super) fn list_within(&mut self, span: Duration) {
        self.due = self.due.min(Instant::now() + span);
    }

    /// Waits for the next page. Dropping the future loses nothing: the next call goes on.
    pub(super) async fn next(&mut self) -> Page {
        loop {
            let after = match self.after {
                Some(after) => after,
                None => {
                    tokio::time::sleep_until(self.due).await;
                    self.due = Instant::now() + LIST_AGAIN;
                    *self.after.insert(TaskId(0))
                }
            };
            let (table, queues, share) = (&self.table, &self.queues, self.share);
            let reading = self.reading.get_or_insert_with(|| {
                let (table, queues) = (table.clone(), queues.clone());
                Box::pin(async move {
                    // Before everything else: what is read behind it is as new as it at least.
                    let incarnation = match after {
                        TaskId(0) => Some(queues.incarnation().await?),
                        _ => None,
                    };
                    Ok((table.active(share, after, PAGE).await?, incarnation))
                })
            });
            let read = reading.await;
            self.reading = None;
            match read {
                Ok((rows, incarnation)) => {
                    let store_may_have_forgotten = incarnation.is_some() && incarnation != self.known;
                    self.known = incarnation.or(self.known.take());
                    let tasks: Vec<_> = rows.iter().map(|row| row.id).collect();
                    self.after = tasks.last().copied().filter(|_| rows.len() as u32 == PAGE);
                    return Page { tasks, last: self.after.is_none(), store_may_have_forgotten };
                }
                Err(error) => {
                    warn!(partition = self.share.bucket, %error, "tasks not listed");
                    self.after = None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dtf_memory::{MemoryQueues, MemoryTable};
    use dtf_model::table::NewTask;
    use dtf_model::{TaskParam, TaskTypeId};
    use lrmf_core::clock::RuntimeClock;
    use uuid::Uuid;

    use super::*;

    const ALL: BucketOf = BucketOf::ALL;

    fn queues() -> Arc<MemoryQueues> {
        Arc::new(MemoryQueues::new(Arc::new(RuntimeClock::new())))
    }

    async fn add(table: &MemoryTable, tasks: std::ops::Range<u128>) {
        for request in tasks.map(Uuid::from_u128) {
            let task = NewTask { request, task_type: TaskTypeId(1), param: TaskParam::default(), now: 0 };
            table.insert(&task).await.expect("a new task");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_listed_again_and_again() {
        let table = Arc::new(MemoryTable::new());
        add(&table, 1..2501).await;
        let mut lister = Lister::new(table.clone(), queues(), ALL);
        let mut page = async || {
            let page = lister.next().await;
            (page.tasks.len(), page.last)
        };
        assert_eq!([page().await, page().await, page().await], [(1000, false), (1000, false), (500, true)]);
        add(&table, 2501..3001).await;
        let begin = Instant::now();
        assert_eq!([page().await, page().await], [(1000, false), (1000, false)]);
        assert_eq!(begin.elapsed(), LIST_AGAIN);
        // The page that ends with the last task is not known to be the last.
        assert_eq!([page().await, page().await], [(1000, false), (0, true)]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_lists_at_once_when_told_to_even_while_it_lists() {
        let table = Arc::new(MemoryTable::new());
        add(&table, 1..1002).await;
        let mut lister = Lister::new(table, queues(), ALL);
        let begin = Instant::now();
        assert!(!lister.next().await.last);
        lister.list_within(Duration::ZERO);
        assert!(lister.next().await.last);
        assert!(!lister.next().await.last);
        assert!(begin.elapsed() < LIST_AGAIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_dropped_loses_nothing() {
        let table = Arc::new(MemoryTable::new());
        add(&table, 1..2).await;
        let mut lister = Lister::new(table, queues(), ALL);
        assert!(lister.next().await.last);
        for _ in 0..10 {
            assert!(tokio::time::timeout(LIST_AGAIN / 20, lister.next()).await.is_err());
        }
        assert_eq!(lister.next().await.tasks, [TaskId(1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_says_once_that_the_store_lives_another_life() {
        let (table, queues) = (Arc::new(MemoryTable::new()), queues());
        add(&table, 1..1500).await;
        let mut lister = Lister::new(table, queues.clone(), ALL);
        let mut forgotten = Vec::new();
        for page in 0..6 {
            forgotten.push(lister.next().await.store_may_have_forgotten);
            if page == 2 {
                queues.roll_back(&queues.snapshot());
            }
        }
        // Two pages a list; nothing is known before the first.
        assert_eq!(forgotten, [true, false, false, false, true, false]);
    }
}
