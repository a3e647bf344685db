//! Connections, and what a call over one of them comes to.
//!
//! Not sqlx's own pool: while a server is down, that one lets every call wait for the whole time allowed and then hides
//! the cause, and connections to a server that fell silent leave it smaller for good (they are pinged, without a limit,
//! when they are given back). Here each step has its limit, the cause is kept, and what is doubtful is closed.

#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dtf_model::StoreError;
use sqlx::Error;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::call::Call;
use crate::error::{Verdict, calling, connecting, leaves_connection_whole, words};
use crate::row::Record;

/// The number of times that a statement is sent that the database gave up in favour of another one.
const ATTEMPTS: u32 = 4;

/// For how long a connection that has just answered needs no check. A check is a round trip of its own, before every call. Where
/// such a connection has broken meanwhile, what can be sent again is; of anything else it is not known whether it was done.
const FRESH: Duration = Duration::from_secs(1);

/// A connection that can do what the table needs.
pub(crate) trait Driver: Sized + Send + 'static {
    /// The database's name in errors.
    const STORE: &'static str;
    /// True if a connection can be used again after a call over it was abandoned.
    const SURVIVES_ABANDONED_CALLS: bool;

    /// The target of connections.
    type Target: Send + Sync + 'static;

    /// Connects.
    fn open(target: &Self::Target) -> impl Future<Output = Result<Self, Error>> + Send;

    /// Fails unless the connection is good.
    fn check(&mut self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Returns the meaning of an error of the database.
    fn verdict(error: &Error) -> Verdict;

    /// Returns true if an error says that a table is not there.
    fn is_missing_table(error: &Error) -> bool;

    /// Updates; gives the number of rows.
    fn execute(&mut self, call: Call) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Updates exactly so many rows, or none: says whether it did.
    fn all_or_none(&mut self, call: Call, rows: u64) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Changes rows, and, where it changed any, makes another change in the same transaction; gives the number of rows.
    fn execute_with(&mut self, call: Call, other: Call) -> impl Future<Output = Result<u64, Error>> + Send;

    /// Makes changes in one transaction.
    fn transaction(&mut self, calls: Vec<Call>) -> impl Future<Output = Result<(), Error>> + Send;

    /// Reads rows.
    fn fetch<T: Record>(&mut self, call: Call) -> impl Future<Output = Result<Vec<T>, Error>> + Send;
}

/// The answer of a database to a call.
pub(crate) type Answer<'c, T, E = Error> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>;

/// The number of connections, and the time limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connections: u32,
    pub(crate) acquire: Duration,
    pub(crate) call: Duration,
    /// The age at which an idle connection is replaced, so that a server that left its name to another one is left too.
    pub(crate) lifetime: Duration,
}

/// The connections to one database.
pub(crate) struct Pool<D: Driver> {
    target: D::Target,
    limits: Limits,
    permits: Semaphore,
    idle: Mutex<Vec<Idle<D>>>,
    /// The number of times that a server said that it takes no writes. Connections made before the last time are not used again.
    departures: AtomicU64,
    /// Why the last attempt to connect failed, if it did.
    last_failure: Mutex<Option<String>>,
}

/// A connection that no call uses.
struct Idle<D> {
    connection: D,
    origin: Origin,
    /// The time of its last answer; none where there is doubt.
    answered: Option<Instant>,
}

/// The time at which a connection was made, and the number of departures before it.
#[derive(Clone, Copy)]
struct Origin {
    made: Instant,
    departures: u64,
}

/// A connection in use. It goes back when dropped, if it can be trusted.
struct Lease<'a, D: Driver> {
    pool: &'a Pool<D>,
    connection: Option<D>,
    origin: Origin,
    trusted: bool,
    _permit: SemaphorePermit<'a>,
}

impl<D: Driver> Drop for Lease<'_, D> {
    fn drop(&mut self) {
        let mut idle = locked(&self.pool.idle);
        let (trusted, origin) = (self.trusted, self.origin);
        if let Some(connection) = self.connection.take().filter(|_| trusted) {
            if self.pool.is_current(origin) {
                idle.push(Idle { connection, origin, answered: Some(Instant::now()) });
            }
        } else {
            // What befell this one may have befallen the others.
            idle.iter_mut().for_each(|other| other.answered = None);
        }
    }
}

impl<D: Driver> Pool<D> {
    /// A pool without a connection yet.
    pub(crate) fn new(target: D::Target, limits: Limits) -> Self {
        let permits = Semaphore::new(limits.connections as usize);
        let (idle, last_failure) = (Mutex::default(), Mutex::default());
        Self { target, limits, permits, idle, departures: AtomicU64::new(0), last_failure }
    }

    pub(crate) async fn execute(self: &Arc<Self>, call: Call) -> Result<u64, StoreError> {
        let pool = self.clone();
        apart::<D, _>(async move {
            pool.repeat(call.is_repeatable(), |connection| Box::pin(connection.execute(call.clone()))).await
        })
        .await
    }

    /// Updates exactly so many rows, or none: says whether it did.
    pub(crate) async fn all_or_none(self: &Arc<Self>, call: Call, rows: u64) -> Result<bool, StoreError> {
        let pool = self.clone();
        apart::<D, _>(async move {
            pool.repeat(false, |connection| Box::pin(connection.all_or_none(call.clone(), rows))).await
        })
        .await
    }

    /// Changes rows, and, where it changed any, makes another change in the same transaction, which changes nothing where it is made again.
    pub(crate) async fn execute_with(self: &Arc<Self>, call: Call, other: Call) -> Result<u64, StoreError> {
        let pool = self.clone();
        apart::<D, _>(async move {
            pool.repeat(call.is_repeatable(), |connection| {
                Box::pin(connection.execute_with(call.clone(), other.clone()))
            })
            .await
        })
        .await
    }

    /// Makes changes in one transaction, which can be sent again.
    pub(crate) async fn transaction(self: &Arc<Self>, calls: Vec<Call>) -> Result<(), StoreError> {
        let pool = self.clone();
        apart::<D, _>(async move {
            pool.repeat(true, |connection| Box::pin(connection.transaction(calls.clone()))).await
        })
        .await
    }

    /// Reads, which can be sent again.
    pub(crate) async fn fetch<T: Record>(self: &Arc<Self>, call: Call) -> Result<Vec<T>, StoreError> {
        let pool = self.clone();
        apart::<D, _>(async move {
            pool.repeat(true, |connection| Box::pin(connection.fetch(call.clone()))).await
        })
        .await
    }

    /// Sends a statement, again where the database gave it up in favour of another one, and once more
    /// - where its connection broke, if it is `repeatable`: one that has just answered is not checked, and may have broken since;
    /// - where the server takes no writes any more: its address may be that of another one by now.
    async fn repeat<T>(
        &self,
        repeatable: bool,
        work: impl for<'c> Fn(&'c mut D) -> Answer<'c, T> + Sync,
    ) -> Result<T, StoreError> {
        let (mut attempt, mut broken) = (1, None);
        loop {
            let tried = self.once(&work, self.limits.call, is_worth_keeping::<D>).await;
            let error = match (tried, broken.take()) {
                (Ok(Ok(done)), _) => return Ok(done),
                // What became of the first one is still not known.
                (_, Some(first)) => return Err(first),
                (Ok(Err(error)), None) => error,
                (Err(error), None) => return Err(error),
            };
            let verdict = D::verdict(&error);
            let failure = calling(D::STORE, &error, verdict);
            if verdict == Verdict::Moved {
                self.depart(&failure);
            }
            if verdict == Verdict::Moved && attempt == 1 {
                // Nothing was done.
            } else if repeatable && attempt == 1 && !leaves_connection_whole(&error) {
                broken = Some(failure);
            } else if verdict != Verdict::Again || attempt == ATTEMPTS {
                return Err(failure);
            }
            attempt += 1;
        }
    }

    /// Prepares the database, within a limit. The connection is kept only if that succeeds.
    pub(crate) async fn prepare(
        &self,
        work: impl for<'c> FnOnce(&'c mut D) -> Answer<'c, (), StoreError>,
        limit: Duration,
    ) -> Result<(), StoreError> {
        self.once(work, limit, |_| false).await?
    }

    /// Does something over a connection, within a limit.
    async fn once<T, E>(
        &self,
        work: impl for<'c> FnOnce(&'c mut D) -> Answer<'c, T, E>,
        limit: Duration,
        leaves_whole: fn(&E) -> bool,
    ) -> Result<Result<T, E>, StoreError> {
        let mut lease = self.acquire().await?;
        // Not trusted meanwhile: this future may be dropped at the await.
        lease.trusted = D::SURVIVES_ABANDONED_CALLS;
        let Some(connection) = &mut lease.connection else { return Err(unreached::<D>("no connection")) };
        let Ok(result) = timeout(limit, work(connection)).await else {
            return Err(StoreError::Unknown {
                store: D::STORE,
                cause: format!("no answer within {limit:?}"),
            });
        };
        lease.trusted = result.as_ref().err().is_none_or(leaves_whole);
        Ok(result)
    }

    async fn acquire(&self) -> Result<Lease<'_, D>, StoreError> {
        let limit = self.limits.acquire;
        if let Ok(lease) = timeout(limit, self.connection()).await {
            return lease;
        }
        let cause = match locked(&self.last_failure).as_ref() {
            Some(earlier) => format!("no connection within {limit:?}; before that, {earlier}"),
            None => format!("no connection within {limit:?}"),
        };
        Err(unreached::<D>(&cause))
    }

    /// A connection that is good: one that was left idle, else a new one.
    async fn connection(&self) -> Result<Lease<'_, D>, StoreError> {
        let permit = self.permits.acquire().await.map_err(|_| unreached::<D>("the pool is closed"))?;
        let idle = locked(&self.idle).pop();
        let (connection, origin) = match self.good(idle).await {
            Some(good) => good,
            None => {
                // Read first: what is told while it connects may be about the server that it reaches.
                let departures = self.departures.load(Ordering::Acquire);
                (self.connect().await?, Origin { made: Instant::now(), departures })
            }
        };
        Ok(Lease { pool: self, connection: Some(connection), origin, trusted: true, _permit: permit })
    }

    /// An idle connection, if it can be used. If not, neither can the others: they had the same server.
    async fn good(&self, idle: Option<Idle<D>>) -> Option<(D, Origin)> {
        let Idle { mut connection, origin, answered } = idle?;
        if !self.is_current(origin) {
            return None;
        }
        if answered.is_some_and(|at| at.elapsed() < FRESH) {
            return Some((connection, origin));
        }
        // A server that fell silent must leave time to connect to its successor.
        if let Ok(Ok(())) = timeout(self.limits.acquire / 4, connection.check()).await {
            return Some((connection, origin));
        }
        locked(&self.idle).clear();
        None
    }

    /// Returns true if a connection is young enough, and of a server that takes writes as far as is known.
    fn is_current(&self, origin: Origin) -> bool {
        origin.departures == self.departures.load(Ordering::Acquire)
            && origin.made.elapsed() < self.limits.lifetime
    }

    /// Lets go of every connection: those in use when they come back.
    fn depart(&self, cause: &StoreError) {
        self.departures.fetch_add(1, Ordering::AcqRel);
        locked(&self.idle).clear();
        *locked(&self.last_failure) = Some(cause.to_string());
        tracing::warn!(store = D::STORE, %cause, "the server takes no writes; connecting anew");
    }

    async fn connect(&self) -> Result<D, StoreError> {
        let opened = D::open(&self.target).await;
        let failure = opened.as_ref().err().map(words);
        if let Some(cause) = &failure {
            tracing::debug!(store = D::STORE, cause, "cannot connect");
        }
        *locked(&self.last_failure) = failure;
        opened.map_err(|error| connecting(D::STORE, &error, D::verdict(&error)))
    }
}

/// Returns true if the connection over which a call failed can be used for the next one.
fn is_worth_keeping<D: Driver>(error: &Error) -> bool {
    leaves_connection_whole(error) && D::verdict(error) != Verdict::Moved
}

/// Lets a call go on by itself, as long as its caller wants the answer.
///
/// A caller may wait for several things and stop polling this one meanwhile (a branch of a `select!` whose other branch
/// makes a call too). Were the call only as alive as its caller, it could then hold the connection, or its turn for it,
/// and the other call would wait for it in vain.
async fn apart<D: Driver, T: Send + 'static>(
    call: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    match AbortOnDropHandle::new(tokio::spawn(call)).await {
        Ok(answer) => answer,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(StoreError::Unknown { store: D::STORE, cause: error.to_string() }),
    }
}

fn unreached<D: Driver>(cause: &str) -> StoreError {
    StoreError::Unreachable { store: D::STORE, cause: cause.to_owned() }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
