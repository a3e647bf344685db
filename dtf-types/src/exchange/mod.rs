//! The place where a process with the executor role meets remote workers.
//!
//! The executor [offers](Exchange::run) an item and waits for its outcome; a worker [polls](Exchange::poll) for items of the functions
//! that it has, and [reports](Exchange::report). A worker has a session, which every call of its renews; when the session's lease has
//! ended, what the worker had is offered again, to the next one that asks.
//!
//! | event | what happens | why that is right |
//! |---|---|---|
//! | a worker dies | its lease ends, and its items are offered again; one that has lost three workers fails for good | a late success still counts while the item has no outcome; a late failure does not |
//! | an answer to a poll is lost | the worker's next beat does not name those items, and they are offered again | a beat names all that the worker has |
//! | a report is sent twice | the second one changes nothing, and is answered as unknown | an item has one outcome, and the books count a subtask once |
//! | the process dies | the executor's shards go elsewhere, and the items run again there; a success that a worker still has counts wherever it is reported | a ticket names its subtask and is signed, and the books count a success of any attempt once |
//! | the task is cancelled | the worker hears it with its next beat, which waits for such news | the executor drops the item after its grace |

mod lease;
mod state;
mod sticky;
#[cfg(test)]
mod tests;
mod ticket;
mod told;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use dtf_model::key::ShardKey;
use dtf_model::{SubtaskId, TaskId};
use lrmf_core::{Coordination, CoordinationError};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use self::state::State;

use self::ticket::{KeyOnce, Nonces};
pub use self::ticket::{Ticket, TicketKey};
pub use self::told::{Given, News, Note, Report, RunningItem, SessionView, WorkerInfo};

/// The time for which a session lasts without a call of its worker.
pub const LEASE: Duration = Duration::from_secs(30);
/// The longest time that a poll or a beat waits.
pub const MAX_WAIT: Duration = Duration::from_secs(20);
/// The longest that a beat waits for news while its worker stops what was cancelled.
const SOON: Duration = Duration::from_millis(250);
/// The most items of an answer.
pub const MAX_ITEMS: usize = 1_000;
/// The most bytes of an answer's items, unless a single one has more.
pub const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// The number of workers that an item may be lost with before it fails for good.
pub const MAX_LOSSES: u32 = 3;
/// The most sessions.
pub const MAX_SESSIONS: usize = 10_000;
/// The time after which an item that a worker's beat does not name has not reached it.
pub const UNNAMED: Duration = Duration::from_secs(5);

/// An item that is to be run by a worker.
#[derive(Clone, Debug)]
pub struct Item {
    /// The name of the function.
    pub function: Arc<str>,
    /// The subtask, whose idempotency key the worker is told.
    pub subtask: SubtaskId,
    /// The number of earlier attempts that failed.
    pub attempt: u32,
    /// The time that the worker has for it.
    pub timeout: Duration,
    /// The item, as JSON.
    pub body: Bytes,
    /// The hash of its key, if it has one: items of one go to one worker, for as long as it stays connected.
    pub key: Option<ShardKey>,
}

/// The outcome of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemOutcome {
    /// The worker's result, as JSON.
    Succeeded(Bytes),
    /// The worker's error.
    Failed {
        /// The error.
        message: String,
        /// True if another attempt may succeed.
        retryable: bool,
    },
    /// It was lost with [`MAX_LOSSES`] workers.
    Lost,
    /// It was cancelled before a worker had it.
    Cancelled,
}

/// A call that cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The session is unknown, or its lease has ended.
    #[error("the session is unknown or has ended; poll without a session to begin a new one")]
    NoSession,
    /// There are too many sessions.
    #[error("{MAX_SESSIONS} workers are connected to this process already; use another one")]
    Full,
}

/// The place where executors and remote workers meet. Cheap to clone.
#[derive(Clone)]
pub struct Exchange {
    shared: Arc<Shared>,
    _leases: Arc<AbortOnDropHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    /// Wakes the keeper of leases when there is a session again.
    leased: Notify,
    /// The functions that some worker has, sorted.
    functions: watch::Sender<Arc<[Arc<str>]>>,
    /// Changes when a worker comes, goes or is drained.
    workers: watch::Sender<()>,
    key: KeyOnce,
    nonces: Nonces,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it is held can only come from an allocation failure.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of a worker that came or went.
    fn tell_workers(&self, state: &State) {
        self.workers.send_replace(());
        let functions = state.functions();
        self.functions.send_if_modified(|known| {
            let changed = *known != functions;
            *known = functions;
            changed
        });
    }
}

impl Exchange {
    /// An exchange without workers, whose tickets no other process knows. Leases end by the time of the runtime that this is called on.
    pub fn start() -> Self {
        Self::with_key(KeyOnce::own())
    }

    /// The same, whose tickets all processes know that meet in this store under the name of the cluster.
    pub fn of_cluster(store: Arc<dyn Coordination>, cluster: &str) -> Self {
        Self::with_key(KeyOnce::of_cluster(store, cluster))
    }

    fn with_key(key: KeyOnce) -> Self {
        let (state, leased) = (Mutex::default(), Notify::new());
        let (functions, workers) = (watch::Sender::new(Arc::new([]) as Arc<[_]>), watch::Sender::default());
        let shared = Arc::new(Shared { state, leased, functions, workers, key, nonces: Nonces::new() });
        let leases = tokio::spawn(lease::keep(Arc::downgrade(&shared)));
        Self { shared, _leases: Arc::new(AbortOnDropHandle::new(leases)) }
    }

    /// The key of the tickets.
    ///
    /// # Errors
    /// The cluster's could not be read.
    pub async fn ticket_key(&self) -> Result<&TicketKey, CoordinationError> {
        self.shared.key.get().await
    }

    /// Returns the functions that connected workers have, and their changes.
    pub fn functions(&self) -> watch::Receiver<Arc<[Arc<str>]>> {
        self.shared.functions.subscribe()
    }

    /// Changes when a worker comes, goes or is drained.
    pub fn workers(&self) -> watch::Receiver<()> {
        self.shared.workers.subscribe()
    }

    /// Returns the sessions, by the names of their workers.
    pub fn sessions(&self) -> Vec<SessionView> {
        self.shared.state().views(Instant::now())
    }

    /// Has an item run by a worker, and returns its outcome. Dropped before, it withdraws the item.
    pub async fn run(&self, item: Item, cancelled: impl Future<Output = ()>) -> ItemOutcome {
        let (answer, mut outcome) = oneshot::channel();
        let ticket = self.shared.nonces.ticket(item.subtask);
        self.shared.state().offer(ticket, item, answer);
        let _withdrawal = Withdrawal { shared: Arc::downgrade(&self.shared), ticket };
        let gone = |_| ItemOutcome::Failed { message: "the exchange has ended".to_owned(), retryable: true };
        tokio::select! {
            outcome = &mut outcome => return outcome.unwrap_or_else(gone),
            () = cancelled => self.shared.state().cancel(ticket),
        }
        // One that a worker has may still come to its end.
        outcome.await.unwrap_or_else(gone)
    }

    /// Begins a session of a worker that has these functions.
    ///
    /// # Errors
    /// There are too many sessions.
    pub fn begin(&self, worker: WorkerInfo, functions: &[String]) -> Result<Uuid, ExchangeError> {
        let mut state = self.shared.state();
        let session = state.begin(worker, functions, Instant::now())?;
        self.shared.tell_workers(&state);
        drop(state);
        self.shared.leased.notify_one();
        Ok(session)
    }

    /// Begins a session of the process itself, which takes items of one function and sends them elsewhere. It has no lease, and neither
    /// people nor executors see it among the workers.
    pub(crate) fn begin_local(&self, function: &str) -> Uuid {
        self.shared.state().begin_local(function)
    }

    /// Waits until there are items for a session; takes none.
    pub(crate) async fn offered(&self, session: Uuid, wait: Duration) -> Result<(), ExchangeError> {
        let deadline = Instant::now() + wait;
        let _waiting = Waiting { shared: Arc::downgrade(&self.shared), session };
        loop {
            let wake = {
                let mut state = self.shared.state();
                if state.has_items(session)? || Instant::now() >= deadline {
                    return Ok(());
                }
                state.wait(session)?
            };
            tokio::select! {
                () = wake.notified() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }

    /// Returns items of the functions of a session, at most so many; waits for the first one, or for news. Both are empty when the
    /// wait is over.
    ///
    /// # Errors
    /// The session is unknown.
    pub async fn poll(
        &self,
        session: Uuid,
        most: usize,
        wait: Duration,
    ) -> Result<(Vec<Given>, News), ExchangeError> {
        let deadline = Instant::now() + wait.min(MAX_WAIT);
        let most = most.min(MAX_ITEMS);
        let _waiting = Waiting { shared: Arc::downgrade(&self.shared), session };
        loop {
            let wake = {
                let mut state = self.shared.state();
                let given = state.give(session, most, Instant::now())?;
                let news = state.news(session);
                if !given.is_empty() || !news.is_none() || Instant::now() >= deadline {
                    return Ok((given, news));
                }
                state.wait(session)?
            };
            tokio::select! {
                () = wake.notified() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }

    /// Takes the outcomes of items, and returns the reports that it has no use for: their items are unknown here, or somebody else's.
    ///
    /// # Errors
    /// The session is unknown, and one of the reports is a failure: that counts only from the worker that has the item. Successes were
    /// taken.
    pub fn report(&self, session: Uuid, reports: Vec<Report>) -> Result<Vec<Report>, ExchangeError> {
        self.shared.state().report(session, reports, Instant::now())
    }

    /// Renews a session whose worker has just these items, and waits for news.
    ///
    /// # Errors
    /// The session is unknown.
    pub async fn beat(
        &self,
        session: Uuid,
        running: &[Ticket],
        wait: Duration,
    ) -> Result<News, ExchangeError> {
        let (wake, hurries) = self.shared.state().beat(session, running, Instant::now())?;
        let deadline = Instant::now() + wait.min(if hurries { SOON } else { MAX_WAIT });
        let news = self.shared.state().news_of(session, Instant::now())?;
        if !news.is_none() || Instant::now() >= deadline {
            return Ok(news);
        }
        tokio::select! {
            // Perhaps a poll has taken the news: the worker says anew what it has in any case.
            () = wake.notified() => {}
            () = tokio::time::sleep_until(deadline) => {}
        }
        self.shared.state().news_of(session, Instant::now())
    }

    /// Notes what a worker says of items that it has; what it says of others is passed over.
    pub fn note(&self, session: Uuid, notes: impl IntoIterator<Item = (Ticket, Note)>) {
        let mut state = self.shared.state();
        notes.into_iter().for_each(|(ticket, note)| state.note(session, ticket, note));
    }

    /// Returns the items that workers have, of a task or of all, those that run longest first, at most so many.
    pub fn running(&self, task: Option<TaskId>, most: usize) -> Vec<RunningItem> {
        self.shared.state().running(task, most, Instant::now())
    }

    /// Ends a session. What its worker still has is offered again, at no charge.
    pub fn leave(&self, session: Uuid) {
        let mut state = self.shared.state();
        state.leave(session);
        self.shared.tell_workers(&state);
    }

    /// Asks all workers with this name to take nothing more and leave. Says whether there are any.
    pub fn drain(&self, worker: &str) -> bool {
        let any = self.shared.state().drain(worker);
        // It still has its functions, as what it has goes on.
        self.shared.workers.send_replace(());
        any
    }
}

/// Withdraws an item when its executor waits no more.
struct Withdrawal {
    shared: Weak<Shared>,
    ticket: Ticket,
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.state().withdraw(self.ticket);
        }
    }
}

/// A poll that waits. When it ends without having taken everything, the next one is woken.
struct Waiting {
    shared: Weak<Shared>,
    session: Uuid,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.state().stop_waiting(self.session);
        }
    }
}
