//! A group in one process, in virtual time, for tests of users' own workers, assignors and providers.
//!
//! The members are real ones, over the store in memory. Time is that of the test's runtime, which must be paused: then it
//! goes on only while the test waits for something, so that sessions of ten seconds end within microseconds and every
//! run is the same.
//!
//! ```
//! use std::time::Duration;
//! use lrmf_core::Task;
//! use lrmf_core::smooth::SmoothWorker;
//! use lrmf_core::testkit::group::TestGroup;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! // In a test: #[tokio::test(start_paused = true)]
//! let mut group = TestGroup::new(["t1", "t2", "t3", "t4"].map(|key| Task::new(key, "")));
//! for name in ["a", "b"] {
//!     group.join(name, SmoothWorker::new(|_event| {})).await;
//! }
//! group.settled().await;
//! assert_eq!(group.held_by("a").len(), 2);
//!
//! // A crash: the others take over when the session has ended.
//! group.crash("a").await;
//! group.advance(Duration::from_secs(9)).await;
//! assert_eq!(group.held_by("b").len(), 2);
//! group.settled().await;
//! assert_eq!(group.held_by("b").len(), 4);
//!
//! // A member that loses sight of the store stops before its session can end.
//! group.partition("b");
//! group.advance(Duration::from_secs(10)).await;
//! assert!(group.holders().is_empty());
//! group.heal("b");
//! group.settled().await;
//! # }
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::assignor::{Assignor, StickyBalanced};
use crate::clock::{RuntimeClock, is_paused};
use crate::config::CoordinatorConfig;
use crate::coordinator::{Coordinator, CoordinatorBuilder, CoordinatorHandle};
use crate::ids::{GroupId, InstanceId, Token};
use crate::memory::{MemoryStore, Outage};
use crate::provider::TaskProvider;
use crate::task::Task;
use crate::worker::Worker;

/// A group counts as settled when nothing has changed for this long.
const QUIET: Duration = Duration::from_secs(1);
/// The period of looks of [`TestGroup::settled`].
const LOOK: Duration = Duration::from_millis(10);

/// A list of tasks that the test changes.
#[derive(Clone, Debug, Default)]
struct Listed(Arc<Mutex<Vec<Task>>>);

impl Listed {
    fn get(&self) -> Vec<Task> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, tasks: Vec<Task>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = tasks;
    }
}

#[async_trait]
impl TaskProvider for Listed {
    async fn tasks(&self) -> anyhow::Result<Vec<Task>> {
        Ok(self.get())
    }
}

#[derive(Debug)]
struct Member {
    handle: CoordinatorHandle,
    link: MemoryStore,
    cut_off: bool,
}

/// A group of members in this process. Members are named by their instance ids; naming one that is not there panics, as
/// a mistake in the test.
pub struct TestGroup {
    store: MemoryStore,
    clock: Arc<RuntimeClock>,
    tasks: Listed,
    config: CoordinatorConfig,
    assignor: Arc<dyn Assignor>,
    members: BTreeMap<String, Member>,
}

impl std::fmt::Debug for TestGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestGroup").field("holders", &self.holders()).finish_non_exhaustive()
    }
}

impl TestGroup {
    /// A group of no members yet, with these tasks, the default settings but for a settle window of zero, and the default
    /// assignor.
    ///
    /// # Panics
    /// Where the runtime's time is not paused, or there is no runtime.
    pub fn new(tasks: impl IntoIterator<Item = Task>) -> Self {
        assert!(
            is_paused(),
            "a TestGroup needs a runtime whose time is paused; write #[tokio::test(start_paused = true)] (tokio's feature \
             test-util)"
        );
        let listed = Listed::default();
        listed.set(tasks.into_iter().collect());
        Self {
            store: MemoryStore::new(),
            clock: Arc::new(RuntimeClock::new()),
            tasks: listed,
            config: CoordinatorConfig { settle: Duration::ZERO, ..CoordinatorConfig::default() },
            assignor: Arc::new(StickyBalanced),
            members: BTreeMap::new(),
        }
    }

    /// The same with other settings, for members that join from now on.
    #[must_use]
    pub fn with_config(mut self, config: CoordinatorConfig) -> Self {
        self.config = config;
        self
    }

    /// The same with another assignor, for members that join from now on.
    #[must_use]
    pub fn with_assignor(mut self, assignor: impl Assignor) -> Self {
        self.assignor = Arc::new(assignor);
        self
    }

    /// A member joins, and is there when this returns; it may not hold anything yet.
    ///
    /// # Panics
    /// Where the name is no instance id, or the settings make no sense.
    pub async fn join(&mut self, name: &str, worker: impl Worker) -> CoordinatorHandle {
        self.join_with(name, |builder| builder.worker(worker)).await
    }

    /// The same for a member that needs more than a worker: a provider, a zone, other settings of its own.
    ///
    /// # Panics
    /// Where the name is no instance id, or the member cannot start.
    pub async fn join_with(
        &mut self,
        name: &str,
        describe: impl FnOnce(CoordinatorBuilder) -> CoordinatorBuilder,
    ) -> CoordinatorHandle {
        let link = self.store.connection();
        let id = |part: &str| InstanceId::new(part).unwrap_or_else(|error| panic!("{part:?}: {error}"));
        let group = GroupId::new("testkit", "group", "default").unwrap_or_else(|error| panic!("{error}"));
        let builder = Coordinator::builder(Arc::new(link.clone()), group)
            .instance_id(id(name))
            .provider(self.tasks.clone())
            .shared_assignor(self.assignor.clone())
            .config(self.config.clone())
            .clock(self.clock.clone());
        let started = describe(builder).start().await;
        let handle = started.unwrap_or_else(|error| panic!("{name} cannot start: {error}"));
        let member = Member { handle: handle.clone(), link, cut_off: false };
        self.members.insert(name.to_owned(), member);
        handle
    }

    /// Lets time pass, and everything happen that is due by then.
    pub async fn advance(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    /// Lets time pass until every task is held by one member that is not cut off, and nothing has changed for a second.
    ///
    /// # Panics
    /// When that takes ten TTLs, which it should not; the message says who holds what.
    pub async fn settled(&self) {
        let limit = self.clock_now() + self.config.ttl * 10 + QUIET;
        let (mut before, mut since) = (self.holdings(), self.clock_now());
        loop {
            let (now, at) = (self.holdings(), self.clock_now());
            if now != before || !self.is_complete(&now) {
                (before, since) = (now, at);
            } else if at - since >= QUIET {
                return;
            }
            assert!(at < limit, "the group does not settle; who holds what: {before:?}");
            self.advance(LOOK).await;
        }
    }

    fn clock_now(&self) -> Duration {
        use crate::clock::Clock;
        self.clock.now().0
    }

    fn is_complete(&self, holdings: &[(String, String, Token)]) -> bool {
        let by_cut_off = |name: &String| self.members.get(name).is_some_and(|member| member.cut_off);
        let mut held: Vec<&String> = holdings.iter().map(|(key, _, _)| key).collect();
        let mut listed: Vec<String> = self.tasks.get().iter().map(|task| task.key.to_string()).collect();
        held.sort_unstable();
        listed.sort_unstable();
        !holdings.iter().any(|(_, name, _)| by_cut_off(name)) && held.into_iter().eq(&listed)
    }

    /// Every holding: the task, who holds it, and its token.
    fn holdings(&self) -> Vec<(String, String, Token)> {
        let of = |(name, member): (&String, &Member)| {
            let held = member.handle.held();
            let held = held.borrow();
            held.values()
                .map(|holding| (holding.task.key.to_string(), name.clone(), holding.token))
                .collect::<Vec<_>>()
        };
        self.members.iter().flat_map(of).collect()
    }

    /// Returns the holder of each task now; tasks without a holder are not in it. While a member is cut off and another one
    /// has
    /// taken over, this names the one with the higher token.
    pub fn holders(&self) -> BTreeMap<String, String> {
        let mut holdings = self.holdings();
        holdings.sort_unstable_by_key(|(_, _, token)| *token);
        holdings.into_iter().map(|(key, name, _)| (key, name)).collect()
    }

    /// The tasks that a member holds now, in key order.
    pub fn held_by(&self, name: &str) -> Vec<String> {
        self.member(name).handle.held().borrow().keys().map(ToString::to_string).collect()
    }

    /// A member's handle: its status, events and held tasks.
    pub fn handle(&self, name: &str) -> &CoordinatorHandle {
        &self.member(name).handle
    }

    /// The tasks are these from now on, and the leader asks for them at once.
    pub fn set_tasks(&self, tasks: impl IntoIterator<Item = Task>) {
        self.tasks.set(tasks.into_iter().collect());
        for member in self.members.values() {
            member.handle.trigger_rebalance();
        }
    }

    /// The member hands its tasks over and leaves.
    pub async fn stop(&mut self, name: &str) {
        self.take(name).handle.close().await;
    }

    /// The member stops its tasks and ends without a word: its session ends after the TTL. (A process that is killed does
    /// not even stop its tasks; here the worker is told, so that nothing of it is left in the test.)
    pub async fn crash(&mut self, name: &str) {
        self.take(name).handle.kill().await;
    }

    /// The member stops its tasks and leaves them reserved for the next one that joins under its name.
    pub async fn restart(&mut self, name: &str) {
        self.take(name).handle.restart().await;
    }

    /// The member loses sight of the store, and the store of it.
    pub fn partition(&mut self, name: &str) {
        self.cut(name, true);
    }

    /// It sees it again.
    pub fn heal(&mut self, name: &str) {
        self.cut(name, false);
    }

    fn cut(&mut self, name: &str, cut_off: bool) {
        let Some(member) = self.members.get_mut(name) else {
            panic!("{name:?} is no member of the test group")
        };
        member.cut_off = cut_off;
        member.link.set_outage(cut_off.then_some(Outage::UnknownNotApplied));
    }

    fn member(&self, name: &str) -> &Member {
        self.members.get(name).unwrap_or_else(|| panic!("{name:?} is no member of the test group"))
    }

    fn take(&mut self, name: &str) -> Member {
        let member = self.members.remove(name);
        member.unwrap_or_else(|| panic!("{name:?} is no member of the test group"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::clock::BootClock;
    use crate::coordinator::StartError;
    use crate::smooth::SmoothWorker;
    use crate::task::Holding;

    /// A worker as a user may have written it: opens one connection for each task, and must close it.
    #[derive(Clone, Default)]
    struct Connections(Arc<AtomicUsize>);

    #[async_trait]
    impl Worker for Connections {
        async fn assign(&self, holdings: &[Holding]) -> anyhow::Result<()> {
            self.0.fetch_add(holdings.len(), Ordering::SeqCst);
            Ok(())
        }

        async fn revoke(&self, holdings: &[Holding]) -> anyhow::Result<()> {
            // Closing takes a while.
            tokio::time::sleep(Duration::from_millis(300)).await;
            self.0.fetch_sub(holdings.len(), Ordering::SeqCst);
            Ok(())
        }
    }

    fn tasks(count: usize) -> Vec<Task> {
        (0..count).map(|task| Task::new(format!("t{task}"), "")).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_lives_through_everything() {
        let open = Connections::default();
        let mut group = TestGroup::new(tasks(6));
        for name in ["a", "b", "c"] {
            group.join(name, open.clone()).await;
        }
        group.settled().await;
        assert_eq!(["a", "b", "c"].map(|name| group.held_by(name).len()), [2, 2, 2]);
        assert_eq!(open.0.load(Ordering::SeqCst), 6);

        group.partition("b");
        group.advance(Duration::from_secs(11)).await;
        assert!(group.held_by("b").is_empty(), "it stops before its session ends");
        group.settled().await;
        assert_eq!(group.holders().len(), 6);
        group.heal("b");
        group.settled().await;
        assert_eq!(group.held_by("b").len(), 2);

        let of_c = group.held_by("c");
        group.restart("c").await;
        group.join("c", open.clone()).await;
        group.settled().await;
        assert_eq!(group.held_by("c"), of_c);

        group.crash("a").await;
        group.stop("b").await;
        group.settled().await;
        assert_eq!(group.held_by("c").len(), 6);
        group.set_tasks(tasks(2));
        group.settled().await;
        assert_eq!(group.held_by("c"), ["t0", "t1"]);
        assert_eq!(open.0.load(Ordering::SeqCst), 2);
        group.stop("c").await;
        assert_eq!(open.0.load(Ordering::SeqCst), 0);
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "the group does not settle")]
    async fn a_group_that_cannot_settle_says_so() {
        let group = TestGroup::new(tasks(1));
        group.settled().await;
    }

    #[tokio::test]
    #[should_panic(expected = "start_paused")]
    async fn real_time_is_refused() {
        TestGroup::new(tasks(1));
    }

    fn member(store: &MemoryStore) -> CoordinatorBuilder {
        Coordinator::builder(Arc::new(store.clone()), GroupId::new("p", "b", "t").unwrap())
            .instance_id(InstanceId::new("a").unwrap())
            .provider(Listed::default())
            .worker(SmoothWorker::new(|_| {}))
    }

    #[tokio::test(start_paused = true)]
    async fn in_paused_time_a_real_clock_is_refused_and_the_default_follows_the_runtime() {
        let store = MemoryStore::new();
        let refused = member(&store).clock(Arc::new(BootClock)).start().await;
        assert!(matches!(refused, Err(StartError::FrozenTime)));
        let member = member(&store).start().await.unwrap();
        tokio::time::sleep(Duration::from_secs(1000)).await;
        assert!(member.status().borrow().leading);
        member.close().await;
    }
}
