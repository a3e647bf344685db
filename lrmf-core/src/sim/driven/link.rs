//! The link of one process to the store: calls that are late, slow, lost, refused or never answered, and watches.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::coordination::{
    Coordination, Lease, LeaseId, Revision, Snapshot, Txn, TxnLimits, TxnOutcome, WatchError, WatchStream,
};
use crate::error::CoordinationError;
use crate::protocol::Call;
use crate::sim::store::Store;

use super::state::{Shared, State, Watcher};
use super::user::panics;

/// The time after which a caller gives up.
const TIMEOUT: Duration = Duration::from_millis(500);
/// The longest that an answer takes.
const SLOWEST: u64 = 3000;

/// The link.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) shared: Shared,
    pub(super) process: usize,
    pub(super) limits: TxnLimits,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.process).finish()
    }
}

/// The fate of one call.
enum Fate {
    /// It reaches the store after the first time, and the answer comes after the second.
    Answered(Duration, Duration),
    /// It never reaches the store.
    Unreachable(Duration),
    /// There is no answer; it reaches the store after this, if at all.
    Silence(Option<Duration>),
    /// The store refuses it.
    Refused,
    /// The adapter panics.
    Panics,
}

impl State {
    fn fate(&mut self, process: usize) -> Fate {
        let there = self.rng.micros(100..3000);
        if self.is_cut(process) {
            return if self.rng.per_mille(500) { Fate::Unreachable(there) } else { Fate::Silence(None) };
        }
        if self.unlucky(50) {
            return match self.rng.below(10) {
                0 => Fate::Unreachable(there),
                1 | 2 => Fate::Silence(None),
                3 => Fate::Silence(Some(there)),
                4 | 5 => Fate::Silence(Some(self.rng.millis(0..6000))),
                6 => Fate::Refused,
                7 => Fate::Panics,
                _ => Fate::Answered(self.rng.millis(0..SLOWEST / 2), self.rng.millis(0..SLOWEST / 2)),
            };
        }
        Fate::Answered(there, self.rng.micros(100..3000))
    }
}

type Answer<T> = Result<T, CoordinationError>;

fn unknown<T>() -> Answer<T> {
    Err(CoordinationError::Unknown("no answer".into()))
}

impl Link {
    /// Makes a call. It may reach the store though its caller has gone.
    async fn call<T: Send + 'static>(
        &self,
        exec: impl FnOnce(&mut State) -> Answer<T> + Send + 'static,
    ) -> Answer<T> {
        self.shared.awake(self.process).await;
        let fate = self.shared.lock().fate(self.process);
        let (shared, process) = (self.shared.clone(), self.process);
        let answer = match fate {
            Fate::Answered(there, back) => {
                let (to_answer, answer) = oneshot::channel();
                tokio::spawn(async move {
                    tokio::time::sleep(there).await;
                    let done = shared.lock().exec(exec);
                    tokio::time::sleep(back).await;
                    let lost = shared.lock().is_cut(process);
                    // An error means that the caller has gone.
                    drop(to_answer.send(if lost { unknown() } else { done }));
                });
                answer.await.unwrap_or_else(|_| unknown())
            }
            Fate::Unreachable(after) => {
                tokio::time::sleep(after).await;
                Err(CoordinationError::Unreachable("refused".into()))
            }
            Fate::Silence(there) => {
                if let Some(there) = there {
                    tokio::spawn(async move {
                        tokio::time::sleep(there).await;
                        drop(shared.lock().exec(exec));
                    });
                }
                tokio::time::sleep(TIMEOUT).await;
                unknown()
            }
            Fate::Refused => Err(CoordinationError::Refused("no space left".into())),
            Fate::Panics => panics("the adapter"),
        };
        self.shared.awake(self.process).await;
        answer
    }
}

impl State {
    fn exec<T>(&mut self, exec: impl FnOnce(&mut Self) -> Answer<T>) -> Answer<T> {
        let now = self.now();
        self.store.expire(now);
        let answer = exec(self);
        self.spread();
        self.check();
        answer
    }

    fn commit(&mut self, process: usize, txn: Txn) -> Answer<TxnOutcome> {
        if let Some(room) = self.room.filter(|room| txn.bytes() > *room) {
            return Err(CoordinationError::TooLarge(format!(
                "{} bytes, at most {room} are allowed",
                txn.bytes()
            )));
        }
        let by = self.processes[process].session;
        let call = Call::Commit(txn);
        let needed = self.oracle.needed(&self.keys, &self.store, &call);
        let Call::Commit(txn) = &call else { return unknown() };
        let outcome = self.store.commit(txn);
        let name = self.processes[process].instance.clone();
        self.note(|| format!("store: {outcome:?} for {name}: {txn:?}"));
        if matches!(outcome, Ok(TxnOutcome::Applied { .. })) {
            self.violated(needed);
            if !self.is_reset() {
                let written = self.oracle.writes(&self.keys, &self.store, &call, by);
                self.violated(written);
            }
        }
        outcome
    }

    fn watch(&mut self, process: usize, prefix: &str) -> WatchStream {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.watchers.push(Watcher { process, prefix: prefix.to_owned(), last: Instant::now(), sender });
        futures::stream::unfold(receiver, |mut receiver| async move {
            let (at, item) = receiver.recv().await?;
            tokio::time::sleep_until(at).await;
            Some((item, receiver))
        })
        .boxed()
    }

    /// Breaks the watches of a process.
    pub(super) fn break_watches(&mut self, process: usize) {
        let (broken, kept) = std::mem::take(&mut self.watchers)
            .into_iter()
            .partition::<Vec<_>, _>(|watcher| watcher.process == process);
        self.watchers = kept;
        for watcher in broken {
            drop(watcher.sender.send((Instant::now(), Err(WatchError::Lost("broken".into())))));
        }
    }

    pub(super) fn store(&mut self) -> &mut Store {
        &mut self.store
    }
}

#[async_trait]
impl Coordination for Link {
    async fn grant_lease(&self, ttl: Duration) -> Result<Lease, CoordinationError> {
        self.call(move |state| {
            let now = state.now();
            Ok(state.store().grant(now, ttl))
        })
        .await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, CoordinationError> {
        self.call(move |state| {
            let now = state.now();
            state.store().keep_alive(now, lease)
        })
        .await
    }

    async fn revoke_lease(&self, lease: LeaseId) -> Result<(), CoordinationError> {
        self.call(move |state| {
            state.store().revoke(lease);
            Ok(())
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Snapshot, CoordinationError> {
        let prefix = prefix.to_owned();
        self.call(move |state| Ok(state.store().list(&prefix))).await
    }

    async fn commit(&self, txn: Txn) -> Result<TxnOutcome, CoordinationError> {
        txn.check(self.limits)?;
        let process = self.process;
        self.call(move |state| state.commit(process, txn)).await
    }

    fn watch(&self, _prefix: &str, _after: Revision) -> WatchStream {
        futures::stream::iter([Err(WatchError::Compacted)]).boxed()
    }

    async fn list_and_watch(&self, prefix: &str) -> Result<(Snapshot, WatchStream), CoordinationError> {
        let (prefix, process, shared) = (prefix.to_owned(), self.process, self.shared.clone());
        let (snapshot, watch) = self
            .call(move |state| {
                let snapshot = state.store().list(&prefix);
                Ok((snapshot, state.watch(process, &prefix)))
            })
            .await?;
        // What a paused process is sent it hears when it goes on.
        let heard = watch.then(move |item| {
            let shared = shared.clone();
            async move {
                shared.awake(process).await;
                item
            }
        });
        Ok((snapshot, heard.boxed()))
    }

    fn limits(&self) -> TxnLimits {
        self.limits
    }
}
