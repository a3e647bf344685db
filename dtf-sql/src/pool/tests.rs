//! The pool over connections that fail as told, on paused time.

use std::collections::VecDeque;
use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sqlx::error::{DatabaseError, ErrorKind};
use tokio::time::Instant;

use super::*;
use crate::row::Created;

/// The fate of the next call to the server. Everything else succeeds.
#[derive(Clone, Copy)]
enum Fate {
    Deadlock,
    ReadOnly,
    Broken,
    Silent,
    Slow,
}

/// The server, as all connections see it.
#[derive(Default)]
struct Server {
    connecting: Mutex<VecDeque<Fate>>,
    calling: Mutex<VecDeque<Fate>>,
    checks_fail: AtomicBool,
    opened: AtomicUsize,
}

impl Server {
    fn calls(&self, fates: &[Fate]) {
        locked(&self.calling).extend(fates);
    }

    fn connects(&self, fates: &[Fate]) {
        locked(&self.connecting).extend(fates);
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

async fn meet(fates: &Mutex<VecDeque<Fate>>) -> Result<(), Error> {
    let fate = locked(fates).pop_front();
    match fate {
        None => Ok(()),
        Some(Fate::Deadlock) => Err(Error::Database(Box::new(Said("deadlock")))),
        Some(Fate::ReadOnly) => Err(Error::Database(Box::new(Said("read-only")))),
        Some(Fate::Broken) => Err(Error::Io(std::io::ErrorKind::ConnectionReset.into())),
        Some(Fate::Silent) => pending().await,
        Some(Fate::Slow) => {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(())
        }
    }
}

struct Fake(Arc<Server>);

impl Driver for Fake {
    const STORE: &'static str = "fake";
    const SURVIVES_ABANDONED_CALLS: bool = false;

    type Target = Arc<Server>;

    async fn open(target: &Self::Target) -> Result<Self, Error> {
        meet(&target.connecting).await?;
        target.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Self(target.clone()))
    }

    async fn check(&mut self) -> Result<(), Error> {
        if self.0.checks_fail.swap(false, Ordering::Relaxed) { pending().await } else { Ok(()) }
    }

    fn verdict(error: &Error) -> Verdict {
        match error.as_database_error().map(|error| error.message()) {
            Some("deadlock") => Verdict::Again,
            Some("read-only") => Verdict::Moved,
            _ => Verdict::No,
        }
    }

    fn is_missing_table(_error: &Error) -> bool {
        false
    }

    async fn all_or_none(&mut self, _call: Call, _rows: u64) -> Result<bool, Error> {
        meet(&self.0.calling).await.map(|()| true)
    }

    async fn execute_with(&mut self, _call: Call, _other: Call) -> Result<u64, Error> {
        meet(&self.0.calling).await.map(|()| 1)
    }

    async fn transaction(&mut self, _calls: Vec<Call>) -> Result<(), Error> {
        meet(&self.0.calling).await
    }

    async fn execute(&mut self, _call: Call) -> Result<u64, Error> {
        meet(&self.0.calling).await.map(|()| 1)
    }

    async fn fetch<T: Record>(&mut self, _call: Call) -> Result<Vec<T>, Error> {
        meet(&self.0.calling).await.map(|()| Vec::new())
    }
}

/// An error of the database.
#[derive(Debug)]
struct Said(&'static str);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Said {}

impl DatabaseError for Said {
    fn message(&self) -> &str {
        self.0
    }
    fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }
    fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
        self
    }
    fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
        self
    }
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

const ACQUIRE: Duration = Duration::from_secs(4);
const CALL: Duration = Duration::from_secs(10);
const LIFETIME: Duration = Duration::from_secs(60);

fn pool() -> (Arc<Server>, Arc<Pool<Fake>>) {
    let server = Arc::new(Server::default());
    let limits = Limits { connections: 2, acquire: ACQUIRE, call: CALL, lifetime: LIFETIME };
    (server.clone(), Arc::new(Pool::new(server, limits)))
}

async fn call(pool: &Arc<Pool<Fake>>) -> Result<u64, StoreError> {
    pool.execute(Call::new("")).await
}

#[tokio::test(start_paused = true)]
async fn a_deadlock_is_sent_again_a_few_times() {
    let (server, pool) = pool();
    server.calls(&[Fate::Deadlock; 3]);
    assert!(call(&pool).await.is_ok());
    server.calls(&[Fate::Deadlock; 4]);
    let error = call(&pool).await.unwrap_err();
    assert!(error.is_retryable() && error.is_definitely_not_applied(), "{error}");
    // What the database says leaves the connection whole.
    assert_eq!(server.opened(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_no_writes_is_left_with_all_connections() {
    let (server, pool) = pool();
    let (first, second) = tokio::join!(pool.acquire(), pool.acquire());
    drop(first.unwrap());
    let in_use = second.unwrap();
    // Nothing was done, so it is sent again at once, over a new connection.
    server.calls(&[Fate::ReadOnly]);
    assert!(call(&pool).await.is_ok());
    assert_eq!(server.opened(), 3);
    // The one that was in use meanwhile does not come back.
    drop(in_use);
    assert_eq!(locked(&pool.idle).len(), 1);
    // A successor that takes no writes either is not asked for ever.
    server.calls(&[Fate::ReadOnly; 2]);
    let error = call(&pool).await.unwrap_err();
    assert!(error.is_retryable() && error.is_definitely_not_applied(), "{error}");
    assert!(locked(&server.calling).is_empty() && locked(&pool.idle).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_replaced_at_its_age() {
    let (server, pool) = pool();
    assert!(call(&pool).await.is_ok());
    tokio::time::advance(LIFETIME / 2).await;
    assert!(call(&pool).await.is_ok());
    assert_eq!(server.opened(), 1);
    tokio::time::advance(LIFETIME / 2).await;
    assert!(call(&pool).await.is_ok());
    assert_eq!(server.opened(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_costs_a_call_its_limit_and_the_pool_nothing() {
    let (server, pool) = pool();
    for round in 1..=5 {
        server.calls(&[Fate::Silent]);
        let begin = Instant::now();
        assert!(matches!(call(&pool).await, Err(StoreError::Unknown { .. })));
        assert_eq!(begin.elapsed(), CALL);
        assert_eq!(server.opened(), round, "a doubtful connection was used again");
    }
    assert!(call(&pool).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_call_closes_its_connection() {
    let (server, pool) = pool();
    for _ in 0..5 {
        server.calls(&[Fate::Silent]);
        assert!(timeout(Duration::from_secs(1), call(&pool)).await.is_err());
    }
    assert!(call(&pool).await.is_ok());
    assert_eq!(server.opened(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_is_not_used_again() {
    let (server, pool) = pool();
    server.calls(&[Fate::Broken]);
    assert!(matches!(call(&pool).await, Err(StoreError::Unknown { .. })));
    assert!(call(&pool).await.is_ok());
    assert!(call(&pool).await.is_ok());
    assert_eq!(server.opened(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_can_be_sent_again_is_where_its_connection_broke() {
    let (server, pool) = pool();
    let again = async || pool.execute(Call::new("").repeatable()).await;
    assert!(again().await.is_ok());
    server.calls(&[Fate::Broken]);
    assert!(again().await.is_ok());
    assert_eq!(server.opened(), 2);
    server.calls(&[Fate::Broken]);
    assert!(pool.fetch::<Created>(Call::new("")).await.is_ok());
    // Of a change of rows it is not known whether it was made.
    server.calls(&[Fate::Broken]);
    assert!(matches!(pool.all_or_none(Call::new(""), 1).await, Err(StoreError::Unknown { .. })));
    // Once: a server that breaks every connection is not asked for ever.
    server.calls(&[Fate::Broken; 2]);
    assert!(matches!(again().await, Err(StoreError::Unknown { .. })));
    assert!(locked(&server.calling).is_empty());
    // Where there is no new connection, the first call may have been applied all the same.
    server.calls(&[Fate::Broken]);
    assert!(again().await.is_ok(), "the last one broke, this is the next");
    server.calls(&[Fate::Broken]);
    server.connects(&[Fate::Broken]);
    assert!(matches!(again().await, Err(StoreError::Unknown { .. })));
    // What had no answer in time is not sent again: it would take twice as long.
    server.calls(&[Fate::Silent]);
    let begin = Instant::now();
    assert!(matches!(again().await, Err(StoreError::Unknown { .. })));
    assert_eq!(begin.elapsed(), CALL);
}

#[tokio::test(start_paused = true)]
async fn one_dead_idle_connection_condemns_the_others() {
    let (server, pool) = pool();
    let (first, second) = tokio::join!(pool.acquire(), pool.acquire());
    drop((first.unwrap(), second.unwrap()));
    assert_eq!(locked(&pool.idle).len(), 2);
    tokio::time::advance(FRESH).await;
    server.checks_fail.store(true, Ordering::Relaxed);
    assert!(call(&pool).await.is_ok());
    assert_eq!((server.opened(), locked(&pool.idle).len()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_has_just_answered_is_not_checked_unless_there_is_doubt() {
    let (server, pool) = pool();
    let (first, second) = tokio::join!(pool.acquire(), pool.acquire());
    drop((first.unwrap(), second.unwrap()));
    let checked = || !server.checks_fail.load(Ordering::Relaxed);
    server.checks_fail.store(true, Ordering::Relaxed);
    assert!(call(&pool).await.is_ok());
    assert!(!checked());
    server.calls(&[Fate::Broken]);
    assert!(call(&pool).await.is_err());
    assert!(call(&pool).await.is_ok());
    assert!(checked());
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_fails_at_once_and_says_why() {
    let (server, pool) = pool();
    server.connects(&[Fate::Broken]);
    let begin = Instant::now();
    let error = call(&pool).await.unwrap_err();
    assert_eq!(error.to_string(), "fake cannot be reached: connection reset");
    assert_eq!(begin.elapsed(), Duration::ZERO);

    server.connects(&[Fate::Broken, Fate::Silent]);
    assert!(call(&pool).await.is_err());
    let error = call(&pool).await.unwrap_err();
    assert_eq!(begin.elapsed(), ACQUIRE);
    assert!(error.is_definitely_not_applied());
    assert_eq!(
        error.to_string(),
        "fake cannot be reached: no connection within 4s; before that, connection reset"
    );
    assert!(call(&pool).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_makes_callers_wait_for_each_other() {
    let (_server, pool) = pool();
    let (first, second) = tokio::join!(pool.acquire(), pool.acquire());
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { call(&pool).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(first);
    assert!(waiting.await.unwrap().is_ok());
    let third = pool.acquire().await;
    assert!(matches!(call(&pool).await, Err(StoreError::Unreachable { .. })));
    drop((second, third));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_not_polled_holds_nobody_up() {
    let (server, pool) = pool();
    server.calls(&[Fate::Slow; 3]);
    // Two have the connections, the third has the next turn; none of them is polled again.
    let mut unpolled = [Box::pin(call(&pool)), Box::pin(call(&pool)), Box::pin(call(&pool))];
    for call in &mut unpolled {
        assert!(polled_once(call.as_mut()).is_none());
    }
    assert!(call(&pool).await.is_ok());
    for call in unpolled {
        assert!(call.await.is_ok());
    }
}

/// Polls once.
fn polled_once<T>(future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    match future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}
