//! The running tasks, as the workers themselves report them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lrmf_core::{Holding, InstanceId, Worker};
use tokio::sync::Notify;

/// The book of all members of a group.
#[derive(Default)]
pub(crate) struct Board {
    book: Mutex<Book>,
    changed: Notify,
}

/// The contents of the board.
#[derive(Default)]
pub(crate) struct Book {
    runs: HashMap<Arc<str>, HashSet<InstanceId>>,
    held: HashMap<InstanceId, usize>,
    /// The number of running tasks.
    pub(crate) running: usize,
    /// The number of times that a task was started.
    pub(crate) started: u64,
    /// The number of times that a task was started while it ran elsewhere.
    pub(crate) double_held: u64,
}

impl Book {
    /// Returns the number of tasks that a member runs.
    pub(crate) fn held_by(&self, instance: &InstanceId) -> usize {
        self.held.get(instance).copied().unwrap_or(0)
    }

    fn start(&mut self, key: &Arc<str>, instance: &InstanceId) {
        let runs = self.runs.entry(key.clone()).or_default();
        self.double_held += u64::from(!runs.is_empty());
        self.running += usize::from(runs.is_empty());
        self.started += 1;
        if runs.insert(instance.clone()) {
            *self.held.entry(instance.clone()).or_default() += 1;
        }
    }

    fn stop(&mut self, key: &Arc<str>, instance: &InstanceId) {
        let Some(runs) = self.runs.get_mut(key) else { return };
        if runs.remove(instance) {
            self.running -= usize::from(runs.is_empty());
            *self.held.entry(instance.clone()).or_default() -= 1;
        }
    }
}

impl Board {
    /// A look into the book.
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process of a member is gone, and what it ran with it.
    pub(crate) fn died(&self, instance: &InstanceId) {
        let mut book = self.book();
        let keys: Vec<_> = book
            .runs
            .iter()
            .filter(|(_, runs)| runs.contains(instance))
            .map(|(key, _)| key.clone())
            .collect();
        keys.iter().for_each(|key| book.stop(key, instance));
    }

    /// Waits until the book is as wanted.
    pub(crate) async fn wait_for(&self, wanted: impl Fn(&Book) -> bool) {
        loop {
            let changed = self.changed.notified();
            if wanted(&self.book()) {
                return;
            }
            changed.await;
        }
    }
}

/// A worker that does nothing but keep the book.
pub(crate) struct Entry {
    pub(crate) board: Arc<Board>,
    pub(crate) instance: InstanceId,
}

#[async_trait]
impl Worker for Entry {
    async fn assign(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        let mut book = self.board.book();
        holdings.iter().for_each(|holding| book.start(&holding.task.key, &self.instance));
        drop(book);
        self.board.changed.notify_waiters();
        Ok(())
    }

    async fn revoke(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        let mut book = self.board.book();
        holdings.iter().for_each(|holding| book.stop(&holding.task.key, &self.instance));
        drop(book);
        self.board.changed.notify_waiters();
        Ok(())
    }
}
