//! The oracle: who runs what, over all members of a test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lrmf_core::{Holding, Token, Worker};
use tokio::sync::watch;

/// Fails when two members run one task at a time, or a token does not rise.
#[derive(Clone, Debug)]
pub(crate) struct Books(Arc<Mutex<Entries>>, Arc<watch::Sender<BTreeMap<Arc<str>, String>>>);

#[derive(Debug, Default)]
struct Entries {
    running: BTreeMap<Arc<str>, String>,
    highest: BTreeMap<Arc<str>, Token>,
    starts: usize,
    faults: Vec<String>,
}

impl Books {
    pub(crate) fn new() -> Self {
        Self(Arc::default(), Arc::new(watch::Sender::default()))
    }

    pub(crate) fn worker(&self, name: &str) -> Booked {
        Booked { name: name.to_owned(), books: self.clone() }
    }

    /// The number of times that any task was started.
    pub(crate) fn starts(&self) -> usize {
        self.0.lock().unwrap().starts
    }

    /// Waits until the running tasks and their holders are as wanted, and checks that nothing went wrong until then.
    pub(crate) async fn wait_for(&self, wanted: impl Fn(&BTreeMap<Arc<str>, String>) -> bool) {
        let mut running = self.1.subscribe();
        let waited = tokio::time::timeout(super::PATIENCE, running.wait_for(|running| wanted(running))).await;
        let entries = self.0.lock().unwrap();
        assert_eq!(entries.faults, Vec::<String>::new());
        assert!(waited.is_ok(), "still waiting with {:?}", entries.running);
    }

    /// Waits until `tasks` tasks run, on each of these members as many as on the next or one more, and on no others. From
    /// then on nothing is in the middle of a move.
    pub(crate) async fn wait_for_members(&self, tasks: usize, members: &[&str]) {
        self.wait_for(|running| {
            let held_by = |member: &str| running.values().filter(|holder| *holder == member).count();
            let shares = members.iter().map(|member| held_by(member));
            let least = tasks / members.len();
            running.len() == tasks
                && shares.clone().all(|share| (least..=least + 1).contains(&share))
                && shares.sum::<usize>() == tasks
        })
        .await;
    }

    fn note(&self, change: impl FnOnce(&mut Entries)) {
        let mut entries = self.0.lock().unwrap();
        change(&mut entries);
        self.1.send_replace(entries.running.clone());
    }
}

pub(crate) struct Booked {
    name: String,
    books: Books,
}

#[async_trait]
impl Worker for Booked {
    async fn assign(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        self.books.note(|entries| {
            for holding in holdings {
                let key = holding.task.key.clone();
                entries.starts += 1;
                if let Some(other) = entries.running.insert(key.clone(), self.name.clone()) {
                    entries
                        .faults
                        .push(format!("{key} is started at {} while it runs at {other}", self.name));
                }
                if entries.highest.insert(key.clone(), holding.token) >= Some(holding.token) {
                    entries.faults.push(format!("the token of {key} did not rise"));
                }
            }
        });
        Ok(())
    }

    async fn revoke(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        self.books.note(|entries| {
            for holding in holdings {
                let holder = entries.running.remove(&holding.task.key);
                if holder.as_ref() != Some(&self.name) {
                    entries.faults.push(format!("{} revokes what runs at {holder:?}", self.name));
                }
            }
        });
        Ok(())
    }
}
