//! A worker that sees all that its member holds whenever some of it changes: the original framework's TaskHub.
//!
//! The diffing is the protocol's: a member hears of a task when it comes and when it goes, and never of one that stays. A
//! [`Worker`] is told just that. A [`TaskHub`] takes its place where what is done about a change depends on the rest, such
//! as one consumer for all held topics, or one connection for all tasks of a host.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::task::Holding;
use crate::worker::Worker;

/// All that a member holds, by key.
pub type Assignment = BTreeMap<Arc<str>, Holding>;

/// The reaction to changes of an assignment.
///
/// # What an implementor guarantees
/// What a [`Worker`] does. Calls for different tasks may overlap, so that `current` is of the moment at which the call
/// began; the last call to begin has the latest.
#[async_trait]
pub trait TaskHub: Send + Sync + 'static {
    /// These came. `current` has them already.
    async fn assign(&self, gained: &[Holding], current: &Assignment) -> anyhow::Result<()>;

    /// These are to stop. `current` no longer has them.
    async fn revoke(&self, lost: &[Holding], current: &Assignment) -> anyhow::Result<()>;
}

/// Makes a [`Worker`] of a [`TaskHub`].
pub struct HubWorker<H> {
    hub: H,
    current: Mutex<Assignment>,
}

impl<H> fmt::Debug for HubWorker<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubWorker").field("holds", &self.current().len()).finish_non_exhaustive()
    }
}

impl<H: TaskHub> HubWorker<H> {
    /// Wraps a hub.
    pub fn new(hub: H) -> Self {
        Self { hub, current: Mutex::default() }
    }
}

impl<H> HubWorker<H> {
    /// The hub.
    pub fn hub(&self) -> &H {
        &self.hub
    }

    /// Returns the present assignment.
    pub fn assignment(&self) -> Assignment {
        self.current().clone()
    }

    fn current(&self) -> MutexGuard<'_, Assignment> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl Fn(&mut Assignment)) -> Assignment {
        let mut current = self.current();
        change(&mut current);
        current.clone()
    }

    fn without(&self, holdings: &[Holding]) -> Assignment {
        self.change(|current| holdings.iter().for_each(|holding| drop(current.remove(&holding.task.key))))
    }
}

/// Takes what was added back out when an assign does not end well: with an error, a panic, or by being dropped.
struct Undo<'a, H>(Option<(&'a HubWorker<H>, &'a [Holding])>);

impl<H> Undo<'_, H> {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl<H> Drop for Undo<'_, H> {
    fn drop(&mut self) {
        if let Some((worker, holdings)) = self.0 {
            worker.without(holdings);
        }
    }
}

#[async_trait]
impl<H: TaskHub> Worker for HubWorker<H> {
    async fn assign(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        let entries = || holdings.iter().map(|holding| (holding.task.key.clone(), holding.clone()));
        let current = self.change(|current| current.extend(entries()));
        let undo = Undo(Some((self, holdings)));
        self.hub.assign(holdings, &current).await?;
        undo.disarm();
        Ok(())
    }

    async fn revoke(&self, holdings: &[Holding]) -> anyhow::Result<()> {
        let current = self.without(holdings);
        self.hub.revoke(holdings, &current).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Token;
    use crate::task::Task;

    /// Writes down what it hears; refuses "bad".
    #[derive(Default)]
    struct Notes(Mutex<Vec<String>>);

    impl Notes {
        fn note(&self, sign: char, changed: &[Holding], current: &Assignment) {
            let keys: Vec<_> = changed.iter().map(|holding| holding.task.key.as_ref()).collect();
            let all: Vec<_> = current.keys().map(AsRef::as_ref).collect();
            self.0.lock().unwrap().push(format!("{sign}{} of {}", keys.join(","), all.join(",")));
        }
    }

    #[async_trait]
    impl TaskHub for Notes {
        async fn assign(&self, gained: &[Holding], current: &Assignment) -> anyhow::Result<()> {
            self.note('+', gained, current);
            anyhow::ensure!(!current.contains_key("bad"), "no");
            Ok(())
        }

        async fn revoke(&self, lost: &[Holding], current: &Assignment) -> anyhow::Result<()> {
            self.note('-', lost, current);
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_hub_sees_what_changed_and_all_that_is_held() {
        let worker = HubWorker::new(Notes::default());
        let [a, b, bad] = ["a", "b", "bad"].map(|key| Holding { task: Task::new(key, ""), token: Token(1) });
        worker.assign(std::slice::from_ref(&a)).await.unwrap();
        worker.assign(std::slice::from_ref(&b)).await.unwrap();
        assert!(worker.assign(&[bad]).await.is_err());
        worker.revoke(std::slice::from_ref(&a)).await.unwrap();
        let heard = worker.hub().0.lock().unwrap().join("; ");
        assert_eq!(heard, "+a of a; +b of a,b; +bad of a,b,bad; -a of b");
        assert_eq!(worker.assignment().into_values().collect::<Vec<_>>(), [b]);
    }
}
