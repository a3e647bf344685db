//! Outputs of running tasks, for a reader in the process that collects them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dtf_model::{RunEpoch, SubtaskId, TaskId};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock, mpsc};

/// One result of a subtask, as it is collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveResult {
    /// The subtask.
    pub id: SubtaskId,
    /// The encoded output, or the reason why the subtask failed.
    pub output: Result<Bytes, String>,
}

/// The running tasks of one type whose outputs are read in this process.
///
/// Each result is given to the reader once per run of its task, however often it is collected: the collector says at which
/// position the result stands, and a position that was given already is passed over.
#[derive(Default)]
pub struct Live {
    feeds: Mutex<HashMap<TaskId, Arc<Feed>>>,
    /// Held while a task is being created whose id is not known yet, so that its collector waits for the reader.
    opening: Arc<RwLock<()>>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}

impl Live {
    /// Prepares for a task that is about to be created. No task of this type begins to be collected before the
    /// [`Opening`] is attached or dropped.
    pub async fn open(self: &Arc<Self>) -> Opening {
        Opening { _guard: self.opening.clone().write_owned().await, live: self.clone() }
    }

    /// Returns the feed of a task, if it is read here.
    pub(crate) async fn feed(&self, task: TaskId) -> Option<Arc<Feed>> {
        let _no_opening = self.opening.read().await;
        self.feeds().get(&task).cloned()
    }

    fn feeds(&self) -> MutexGuard<'_, HashMap<TaskId, Arc<Feed>>> {
        // A panic while it is held can only come from an allocation failure.
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The moment between the wish to read a task's outputs and the creation of the task.
pub struct Opening {
    live: Arc<Live>,
    _guard: OwnedRwLockWriteGuard<()>,
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").finish_non_exhaustive()
    }
}

impl Opening {
    /// Attaches a reader to the task that was created. At most `capacity` results wait for the reader; then the collector
    /// waits.
    pub fn attach(self, task: TaskId, capacity: usize) -> LiveResults {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        let feed = Feed { sender, given: tokio::sync::Mutex::default() };
        self.live.feeds().insert(task, Arc::new(feed));
        LiveResults { task, live: self.live, receiver }
    }
}

/// The reader of a task's outputs. Dropping it discards the outputs that are still to come.
#[derive(Debug)]
pub struct LiveResults {
    task: TaskId,
    live: Arc<Live>,
    receiver: mpsc::Receiver<LiveResult>,
}

impl LiveResults {
    /// Waits for the next result; `None` behind the last one of a completed task.
    pub async fn next(&mut self) -> Option<LiveResult> {
        self.receiver.recv().await
    }

    /// Returns the next result, if there is one already.
    pub fn try_next(&mut self) -> Option<LiveResult> {
        self.receiver.try_recv().ok()
    }
}

impl Drop for LiveResults {
    fn drop(&mut self) {
        self.live.feeds().remove(&self.task);
    }
}

/// The way from the collectors of one task to its reader.
pub(crate) struct Feed {
    sender: mpsc::Sender<LiveResult>,
    /// The run of the task, and the number of its results that have been given.
    given: tokio::sync::Mutex<(RunEpoch, u64)>,
}

impl Feed {
    /// Gives the reader the result at this position of the task's results, unless it was given before.
    pub(crate) async fn give(&self, position: u64, result: LiveResult) {
        // It is held while the reader is waited for, so that a collector that was replaced gives nothing in between.
        let mut given = self.given.lock().await;
        if given.0 != result.id.run {
            *given = (result.id.run, 0);
        }
        if position < given.1 {
            return;
        }
        // The reader may have gone; then nobody misses it.
        if self.sender.send(result).await.is_ok() {
            given.1 = position + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use dtf_model::{EmitEpoch, Seq};

    use super::*;

    fn result(run: u32, seq: u64) -> LiveResult {
        let id = SubtaskId { task: TaskId(1), run: RunEpoch(run), epoch: EmitEpoch(1), seq: Seq(seq) };
        LiveResult { id, output: Ok(Bytes::new()) }
    }

    #[tokio::test]
    async fn a_result_is_given_once_however_often_it_is_collected() {
        let live = Arc::<Live>::default();
        let mut results = live.open().await.attach(TaskId(1), 10);
        let feed = live.feed(TaskId(1)).await.unwrap();
        for position in [0, 1, 0, 1, 2] {
            feed.give(position, result(1, position)).await;
        }
        let seen: Vec<_> = std::iter::from_fn(|| results.try_next()).map(|result| result.id.seq.0).collect();
        assert_eq!(seen, [0, 1, 2]);
        feed.give(0, result(2, 0)).await;
        assert_eq!(results.try_next(), Some(result(2, 0)), "a further run begins anew");
    }

    #[tokio::test]
    async fn a_collector_waits_for_a_reader_that_is_being_attached() {
        let live = Arc::<Live>::default();
        let opening = live.open().await;
        assert!(futures::poll!(Box::pin(live.feed(TaskId(1)))).is_pending());
        let results = opening.attach(TaskId(1), 1);
        assert!(live.feed(TaskId(1)).await.is_some());
        drop(results);
        assert!(live.feed(TaskId(1)).await.is_none(), "a reader that is gone");
    }
}
