//! A session in several groups: it is a store like any other, it costs one lease, and each group's part of it ends by itself.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::*;
use crate::config::CoordinatorConfig;
use crate::coordinator::{Coordinator, CoordinatorHandle};
use crate::ids::{GroupId, InstanceId};
use crate::memory::{MemoryStore, Outage};
use crate::provider::FixedTasks;
use crate::smooth::SmoothWorker;
use crate::task::Task;
use crate::testkit::coordination::{Subject, run_all};

/// A store that counts its calls, and lets writes that delete something wait.
#[derive(Clone, Debug)]
struct Counted {
    inner: MemoryStore,
    grants: Arc<AtomicUsize>,
    keep_alives: Arc<AtomicUsize>,
    /// One permit for each write that deletes something.
    deletes: Arc<Semaphore>,
}

impl Counted {
    fn new(inner: MemoryStore) -> Self {
        let deletes = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Self { inner, grants: Arc::default(), keep_alives: Arc::default(), deletes }
    }
}

#[async_trait]
impl Coordination for Counted {
    async fn grant_lease(&self, ttl: Duration) -> Result<Lease, CoordinationError> {
        self.grants.fetch_add(1, Ordering::SeqCst);
        self.inner.grant_lease(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, CoordinationError> {
        self.keep_alives.fetch_add(1, Ordering::SeqCst);
        self.inner.keep_alive(lease).await
    }

    async fn revoke_lease(&self, lease: LeaseId) -> Result<(), CoordinationError> {
        self.inner.revoke_lease(lease).await
    }

    async fn list(&self, prefix: &str) -> Result<Snapshot, CoordinationError> {
        self.inner.list(prefix).await
    }

    async fn commit(&self, txn: Txn) -> Result<TxnOutcome, CoordinationError> {
        if txn.ops.iter().any(|op| matches!(op, Op::Delete { .. })) {
            self.deletes.acquire().await.unwrap().forget();
        }
        self.inner.commit(txn).await
    }

    fn watch(&self, prefix: &str, after: Revision) -> WatchStream {
        self.inner.watch(prefix, after)
    }

    fn limits(&self) -> TxnLimits {
        self.inner.limits()
    }
}

struct OfSession(SharedSession, MemoryStore);

#[async_trait]
impl Subject for OfSession {
    fn store(&self) -> Arc<dyn Coordination> {
        Arc::new(self.0.clone())
    }

    async fn pass(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    async fn compact(&self) -> bool {
        self.1.compact();
        true
    }
}

/// With another part that lives on, so that nothing ends with the store's lease.
#[tokio::test(start_paused = true)]
async fn passes_the_conformance_suite_of_stores() {
    for with_another in [false, true] {
        let store = MemoryStore::new();
        let subject = OfSession(SharedSession::new(Arc::new(store.clone())), store);
        if with_another {
            let (session, ttl) = (subject.0.clone(), subject.ttl());
            let other = session.grant_lease(ttl).await.unwrap();
            let _kept = AbortOnDropHandle::new(tokio::spawn(async move {
                while session.keep_alive(other.id).await.is_ok() {
                    tokio::time::sleep(ttl / 3).await;
                }
            }));
            run_all(&subject).await;
        } else {
            run_all(&subject).await;
        }
    }
}

async fn member(store: Arc<dyn Coordination>, group: &str, name: &str) -> CoordinatorHandle {
    Coordinator::builder(store, GroupId::new("test", group, "t").unwrap())
        .instance_id(InstanceId::new(name).unwrap())
        .provider(FixedTasks::new([Task::new("t1", ""), Task::new("t2", "")]))
        .worker(SmoothWorker::new(|_| {}))
        .config(CoordinatorConfig { settle: Duration::ZERO, ..CoordinatorConfig::default() })
        .start()
        .await
        .unwrap()
}

async fn holds(member: &CoordinatorHandle, count: usize) {
    member.held().wait_for(|held| held.len() == count).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn five_groups_of_a_process_cost_one_lease_and_one_sign_of_life() {
    let store = Counted::new(MemoryStore::new());
    let session = SharedSession::new(Arc::new(store.clone()));
    let mut members = Vec::new();
    for group in ["g1", "g2", "g3", "g4", "g5"] {
        members.push(member(Arc::new(session.clone()), group, "a").await);
        // Not all at one time, as in a real process.
        tokio::time::sleep(Duration::from_millis(370)).await;
    }
    for member in &members {
        holds(member, 2).await;
    }
    assert_eq!(store.grants.load(Ordering::SeqCst), 1);
    let before = store.keep_alives.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(100)).await;
    let together = store.keep_alives.load(Ordering::SeqCst) - before;
    for member in &members {
        holds(member, 2).await;
        member.close().await;
    }

    // The same in a session for itself.
    let alone = Counted::new(MemoryStore::new());
    let one = member(Arc::new(alone.clone()), "g1", "a").await;
    holds(&one, 2).await;
    let before = alone.keep_alives.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(100)).await;
    let by_itself = alone.keep_alives.load(Ordering::SeqCst) - before;
    // The first to ask after a fifth of the TTL asks for all: that may be a little sooner than any of them by itself.
    assert!(together <= by_itself * 6 / 5 + 1, "{together} for five groups, {by_itself} for one");
    assert!(together >= 30, "a session of ten seconds needs them");
}

/// P2 and the end of a session are each group's own: a member that dies loses its tasks, and the process's others nothing.
#[tokio::test(start_paused = true)]
async fn a_member_that_dies_takes_no_other_of_its_process_along() {
    let store = MemoryStore::new();
    let session = SharedSession::new(Arc::new(store.connection()));
    let first = member(Arc::new(session.clone()), "g1", "a").await;
    let second = member(Arc::new(session.clone()), "g2", "a").await;
    let elsewhere = member(Arc::new(store.connection()), "g1", "b").await;
    holds(&elsewhere, 1).await;
    holds(&second, 2).await;
    let before = second.held().borrow().clone();
    let begun = tokio::time::Instant::now();
    first.kill().await;
    holds(&elsewhere, 2).await;
    let took = begun.elapsed();
    let ttl = CoordinatorConfig::default().ttl;
    assert!(took > ttl / 2 && took < ttl + Duration::from_millis(500), "{took:?}");
    assert_eq!(*second.held().borrow(), before);
    // It comes back in the same session.
    let again = member(Arc::new(session.clone()), "g1", "a").await;
    holds(&again, 1).await;
    assert_eq!(*second.held().borrow(), before);
}

/// The process is cut off: all its members stop in time, and come back.
#[tokio::test(start_paused = true)]
async fn all_members_of_a_process_that_is_cut_off_stop_before_the_lease_ends() {
    let store = MemoryStore::new();
    let link = store.connection();
    let session = SharedSession::new(Arc::new(link.clone()));
    let members = [
        member(Arc::new(session.clone()), "g1", "a").await,
        member(Arc::new(session.clone()), "g2", "a").await,
    ];
    for member in &members {
        holds(member, 2).await;
    }
    let config = CoordinatorConfig::default();
    tokio::time::sleep(Duration::from_secs(25)).await;
    link.set_outage(Some(Outage::UnknownNotApplied));
    let cut = tokio::time::Instant::now();
    for member in &members {
        holds(member, 0).await;
        assert!(!member.tenure().is_valid());
    }
    assert!(cut.elapsed() <= config.ttl - config.margin, "{:?}", cut.elapsed());
    assert!(!store.list("/lrmf/").await.unwrap().entries.is_empty(), "the store still has the sessions");
    link.set_outage(None);
    for member in &members {
        holds(member, 2).await;
    }
}

fn put(key: &str, lease: LeaseId) -> Txn {
    Txn { guards: Vec::new(), ops: vec![Op::Put { key: key.into(), value: "".into(), lease: Some(lease) }] }
}

async fn keys(store: &MemoryStore) -> Vec<String> {
    store.list("").await.unwrap().entries.into_iter().map(|kv| kv.key).collect()
}

/// A write of a part that has ended arrives late, under a lease that others keep alive: it does not stay.
#[tokio::test(start_paused = true)]
async fn what_arrives_after_the_end_of_its_part_is_swept_away() {
    let store = MemoryStore::new();
    let link = store.connection();
    let session = SharedSession::new(Arc::new(link.clone()));
    let ttl = Duration::from_secs(9);
    let (ended, lives) =
        (session.grant_lease(ttl).await.unwrap().id, session.grant_lease(ttl).await.unwrap().id);
    session.commit(put("other", lives)).await.unwrap();
    // It is not applied now, and nobody knows that.
    link.set_outage(Some(Outage::UnknownNotApplied));
    session.commit(put("late", ended)).await.unwrap_err();
    link.set_outage(None);
    session.revoke_lease(ended).await.unwrap();
    assert_eq!(keys(&store).await, ["other"]);
    // Now it is.
    let real = store.list("other").await.unwrap().entries[0].lease.unwrap();
    store.commit(put("late", real)).await.unwrap();
    assert_eq!(keys(&store).await, ["late", "other"]);
    for _ in 0..4 {
        tokio::time::sleep(ttl / 3).await;
        session.keep_alive(lives).await.unwrap();
    }
    assert_eq!(keys(&store).await, ["other"]);
}

/// A member that was fenced rejoins while the keys of its last session are being deleted: its new session has the same key, and
/// the same lease of the store, and stays.
#[tokio::test(start_paused = true)]
async fn what_is_written_anew_under_another_part_is_not_swept_away() {
    let store = Counted { deletes: Arc::new(Semaphore::new(0)), ..Counted::new(MemoryStore::new()) };
    let session = SharedSession::new(Arc::new(store.clone()));
    let ttl = Duration::from_secs(9);
    let before = session.grant_lease(ttl).await.unwrap().id;
    session.commit(put("member", before)).await.unwrap();
    let anew = session.grant_lease(ttl).await.unwrap().id;
    let ending = tokio::spawn({
        let session = session.clone();
        async move { session.revoke_lease(before).await }
    });
    // The store has been asked for the key, and the deletion is on its way.
    tokio::time::sleep(Duration::from_millis(1)).await;
    session.commit(put("member", anew)).await.unwrap();
    store.deletes.add_permits(10);
    ending.await.unwrap().unwrap();
    assert_eq!(keys(&store.inner).await, ["member"]);
    session.revoke_lease(anew).await.unwrap();
    assert_eq!(keys(&store.inner).await, [""; 0]);
}

/// The answer to a sign of life is reckoned from when it was sent, not from when somebody asked and was told of it.
#[tokio::test(start_paused = true)]
async fn a_part_lives_for_as_long_as_the_lease_and_no_longer() {
    let store = Counted::new(MemoryStore::new());
    let session = SharedSession::new(Arc::new(store.clone()));
    let ttl = Duration::from_secs(10);
    let parts = [session.grant_lease(ttl).await.unwrap(), session.grant_lease(ttl).await.unwrap()];
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(session.keep_alive(parts[0].id).await.unwrap(), ttl);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let sent = store.keep_alives.load(Ordering::SeqCst);
    assert_eq!(session.keep_alive(parts[1].id).await.unwrap(), ttl - Duration::from_millis(1500));
    assert_eq!(store.keep_alives.load(Ordering::SeqCst), sent, "the last one is used");
}
