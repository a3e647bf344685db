//! The members of one LRMF group in this process, and the tasks that run on them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use lrmf_core::{
    Coordination, Coordinator, CoordinatorConfig, CoordinatorHandle, GroupId, InstanceId, Task, TaskProvider,
};

use crate::board::{Board, Book, Entry};

/// The longest time that anything may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(120);
/// The number of members that are started at once.
const AT_ONCE: usize = 64;

/// Milliseconds since then.
pub(crate) fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// The same tasks for all members, in memory once.
struct Shared(Arc<[Task]>);

#[async_trait]
impl TaskProvider for Shared {
    async fn tasks(&self) -> anyhow::Result<Vec<Task>> {
        Ok(self.0.to_vec())
    }
}

/// The members of one group, in this process.
pub(crate) struct MemberGroup {
    group: GroupId,
    tasks: Arc<[Task]>,
    config: CoordinatorConfig,
    store: Arc<dyn Coordination>,
    pub(crate) board: Arc<Board>,
    members: Vec<CoordinatorHandle>,
    named: usize,
}

impl MemberGroup {
    pub(crate) fn new(
        tasks: usize,
        config: CoordinatorConfig,
        store: Arc<dyn Coordination>,
    ) -> anyhow::Result<Self> {
        let name = format!("p{}", std::process::id());
        Ok(Self {
            group: GroupId::new("bench", "placement", &name)?,
            tasks: (0..tasks).map(|task| Task::new(format!("task-{task:06}"), "")).collect(),
            config,
            store,
            board: Arc::default(),
            members: Vec::new(),
            named: 0,
        })
    }

    /// The same with tasks whose values have so many bytes.
    pub(crate) fn with_values_of(mut self, bytes: usize) -> Self {
        let value: Arc<str> = "v".repeat(bytes).into();
        self.tasks = self.tasks.iter().map(|task| Task::new(task.key.clone(), value.clone())).collect();
        self
    }

    /// Starts a member.
    pub(crate) async fn start(&mut self) -> anyhow::Result<InstanceId> {
        let member = self.next()?.await?;
        let instance = member.instance_id().clone();
        self.members.push(member);
        Ok(instance)
    }

    /// Starts so many members, many at once.
    pub(crate) async fn start_many(&mut self, members: usize) -> anyhow::Result<()> {
        let starts: Vec<_> = (0..members).map(|_| self.next()).collect::<anyhow::Result<_>>()?;
        let started: Vec<_> = stream::iter(starts).buffer_unordered(AT_ONCE).try_collect().await?;
        self.members.extend(started);
        Ok(())
    }

    /// The start of the next member.
    fn next(&mut self) -> anyhow::Result<impl Future<Output = anyhow::Result<CoordinatorHandle>> + use<>> {
        self.named += 1;
        let instance = InstanceId::new(&format!("member-{:06}", self.named))?;
        let starting = Coordinator::builder(self.store.clone(), self.group.clone())
            .instance_id(instance.clone())
            .provider(Shared(self.tasks.clone()))
            .worker(Entry { board: self.board.clone(), instance })
            .config(self.config.clone())
            .start();
        Ok(async move { Ok(starting.await?) })
    }

    /// Returns the number of times that a task was started while it ran elsewhere.
    pub(crate) fn double_held(&self) -> u64 {
        self.board.book().double_held
    }

    /// Starts a member and waits until it has its share of the tasks.
    pub(crate) async fn join(&mut self, share: usize) -> anyhow::Result<InstanceId> {
        let newcomer = self.start().await?;
        let all = self.tasks.len();
        self.until(|book| book.running == all && book.held_by(&newcomer) >= share).await?;
        Ok(newcomer)
    }

    pub(crate) fn newest(&self) -> anyhow::Result<InstanceId> {
        Ok(self.members.last().context("there are no members")?.instance_id().clone())
    }

    pub(crate) fn leader(&self) -> Option<InstanceId> {
        let leading = self.members.iter().find(|member| member.status().borrow().leading)?;
        Some(leading.instance_id().clone())
    }

    pub(crate) fn take(&mut self, instance: &InstanceId) -> anyhow::Result<CoordinatorHandle> {
        let at = self.members.iter().position(|member| member.instance_id() == instance);
        Ok(self.members.remove(at.context("the member is gone")?))
    }

    /// Kills a member; how long until all tasks run elsewhere, in milliseconds.
    pub(crate) async fn kill(&mut self, instance: &InstanceId) -> anyhow::Result<f64> {
        let victim = self.take(instance)?;
        let begin = Instant::now();
        victim.kill().await;
        self.board.died(instance);
        self.until_all_run().await?;
        Ok(millis(begin))
    }

    pub(crate) async fn until_all_run(&self) -> anyhow::Result<()> {
        let all = self.tasks.len();
        self.until(|book| book.running == all).await
    }

    async fn until(&self, wanted: impl Fn(&Book) -> bool) -> anyhow::Result<()> {
        let waited = tokio::time::timeout(PATIENCE, self.board.wait_for(wanted)).await;
        waited.with_context(|| format!("not within {PATIENCE:?}; {} tasks run", self.board.book().running))
    }

    /// Returns the number of writes that etcd has had.
    pub(crate) async fn revision(&self) -> anyhow::Result<u64> {
        Ok(self.store.list("/lrmf-bench/").await?.revision.0)
    }
}
