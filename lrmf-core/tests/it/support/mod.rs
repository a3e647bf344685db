//! A group whose members keep common books of who runs what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lrmf_core::clock::RuntimeClock;
use lrmf_core::{
    Coordination, Coordinator, CoordinatorBuilder, CoordinatorConfig, CoordinatorHandle, FixedTasks, GroupId,
    Holding, InstanceId, MemoryStore, Task, Token, Worker,
};

/// Who runs what, over all members of a test; fails when two run one task, or a token does not rise.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
pub(crate) struct Entries {
    running: BTreeMap<Arc<str>, (String, Token)>,
    highest: BTreeMap<Arc<str>, Token>,
    starts: usize,
}

impl Books {
    pub(crate) fn worker(&self, name: &str) -> Booked {
        Booked { name: name.to_owned(), books: self.clone() }
    }

    pub(crate) fn starts(&self) -> usize {
        self.0.lock().unwrap().starts
    }

    pub(crate) fn highest(&self) -> Token {
        self.0.lock().unwrap().highest.values().copied().max().unwrap_or_default()
    }

    pub(crate) fn holders(&self) -> BTreeMap<Arc<str>, String> {
        self.0.lock().unwrap().running.iter().map(|(key, (name, _))| (key.clone(), name.clone())).collect()
    }
}

pub(crate) struct Booked {
    name: String,
    books: Books,
}

#[async_trait]
impl Worker for Booked {
    async fn assign(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        let mut books = self.books.0.lock().unwrap();
        for holding in holdings {
            let key = holding.task.key.clone();
            books.starts += 1;
            let before = books.running.insert(key.clone(), (self.name.clone(), holding.token));
            assert_eq!(before, None, "{key} is started at {} while it runs", self.name);
            let highest = books.highest.insert(key.clone(), holding.token);
            assert!(highest < Some(holding.token), "the token of {key} fell");
        }
        Ok(())
    }

    async fn revoke(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut books = self.books.0.lock().unwrap();
        for holding in holdings {
            let before = books.running.remove(&holding.task.key);
            assert_eq!(before, Some((self.name.clone(), holding.token)));
        }
        Ok(())
    }
}

pub(crate) struct Group {
    pub store: Arc<MemoryStore>,
    pub books: Books,
    pub clock: Arc<RuntimeClock>,
    pub tasks: usize,
}

impl Group {
    pub(crate) fn new(tasks: usize) -> Self {
        Self { store: Arc::default(), books: Books::default(), clock: Arc::new(RuntimeClock::new()), tasks }
    }

    pub(crate) async fn join(&self, name: &str) -> CoordinatorHandle {
        self.member(name).start().await.unwrap()
    }

    /// A member to be, with a connection of its own.
    pub(crate) fn member(&self, name: &str) -> CoordinatorBuilder {
        self.member_over(name, &self.store)
    }

    pub(crate) fn member_over(&self, name: &str, store: &MemoryStore) -> CoordinatorBuilder {
        self.member_on(name, Arc::new(store.clone()))
    }

    pub(crate) fn member_on(&self, name: &str, store: Arc<dyn Coordination>) -> CoordinatorBuilder {
        let tasks = (0..self.tasks).map(|task| Task::new(format!("task-{task}"), ""));
        Coordinator::builder(store, group())
            .instance_id(InstanceId::new(name).unwrap())
            .provider(FixedTasks::new(tasks))
            .worker(self.books.worker(name))
            .config(config())
            .clock(self.clock.clone())
    }
}

pub(crate) fn group() -> GroupId {
    GroupId::new("p", "b", "t").unwrap()
}

pub(crate) fn config() -> CoordinatorConfig {
    CoordinatorConfig { settle: Duration::ZERO, ..CoordinatorConfig::default() }
}

pub(crate) async fn holds(member: &CoordinatorHandle, tasks: usize) {
    let mut held = member.held();
    tokio::time::timeout(Duration::from_secs(60), held.wait_for(|held| held.len() == tasks))
        .await
        .unwrap()
        .unwrap();
}

pub(crate) fn held_by(member: &CoordinatorHandle) -> BTreeSet<Arc<str>> {
    member.held().borrow().keys().cloned().collect()
}
