//! The services of a process: which roles it has, as members of their LRMF groups.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dtf_collector::{Collector, CollectorPorts};
use dtf_control::{Client, StuckNotes};
use dtf_executor::{Executor, ExecutorConfig, ExecutorPorts};
use dtf_model::Role;
use dtf_model::hook::TaskEnd;
use dtf_model::plugin::{MAX_SUBTASK_TIMEOUT, PluginRegistry, TaskPluginRegistration};
use dtf_model::queue::QueueStore;
use dtf_model::shard::ShardQueue;
use dtf_model::table::TaskTable;
use dtf_model::wake::WakeUp;
use dtf_model::{ClusterShape, InvalidInput, StoreError, cluster};
use dtf_runtime::{GracefulShutdown, RoleContext, SLOTS_LABEL, TASK_TYPES_LABEL, until_answered};
use dtf_scheduler::budget::Budgets;
use dtf_scheduler::generator::{Generator, GeneratorPorts};
use dtf_scheduler::manager::{Manager, ManagerConfig, ManagerPorts};
use dtf_scheduler::scheduler::{Scheduler, SchedulerConfig, SchedulerPorts};
use dtf_webhook::{Sender, SenderConf};
use lrmf_core::coordinator::StartError;
use lrmf_core::runner::{InvalidRunnerConfig, RunnerConfig, TaskRunner};
use lrmf_core::{
    BootClock, Clock, Coordination, Coordinator, CoordinatorConfig, CoordinatorHandle, FixedTasks,
    InstanceId, InvalidName, MemberStage, MemberStatus, SharedSession,
};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OnceCell, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::generations::Generations;
use crate::hooks::{Callback, Messenger};
use crate::peers::GroupPeers;
use crate::plugin_runtime::PluginRuntime;

/// The stores that a process works with.
#[derive(Clone)]
pub struct Ports {
    /// `tbl_task`.
    pub table: Arc<dyn TaskTable>,
    /// The queues of tasks.
    pub queues: Arc<dyn QueueStore>,
    /// The way from schedulers to executors.
    pub shards: Arc<dyn ShardQueue>,
    /// The hints.
    pub wake: Arc<dyn WakeUp>,
    /// The coordination store, on which the roles' groups meet.
    pub coordination: Arc<dyn Coordination>,
}

/// The settings of a process.
#[derive(Clone, Debug)]
pub struct DtfConfig {
    /// The name of the cluster: processes of one name work together.
    pub cluster: String,
    /// The name of this process among them: the same across restarts, and no other living process's.
    pub instance: String,
    /// The division of the cluster's work. The same in all processes of a cluster.
    pub shape: ClusterShape,
    /// The membership in the roles' groups.
    pub membership: CoordinatorConfig,
    /// The manager role.
    pub manager: ManagerConfig,
    /// The requests to the addresses that users have told of the ends of tasks. Default: to the public internet only.
    pub webhooks: SenderConf,
    /// The subtasks that may wait for dispatch in the cluster. The same in all of its processes.
    pub generator: Budgets,
    /// The scheduler role.
    pub scheduler: SchedulerConfig,
    /// The executor role.
    pub executor: ExecutorConfig,
    /// The time that running subtasks have when the process is stopped in good order. Default 45 s.
    pub grace: Duration,
    /// The threads of the runtime that plugin code runs on; at least 1.
    pub plugin_threads: usize,
    /// The longest [subtask timeout](dtf_model::plugin::TaskConf::subtask_timeout) that a registered type may have. Default 30
    /// minutes.
    pub max_subtask_timeout: Duration,
    /// True if this is the only process, ever: it may then divide the work otherwise than the one before it did.
    pub alone: bool,
}

impl Default for DtfConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            cluster: "default".to_owned(),
            instance: "local".to_owned(),
            shape: ClusterShape::default(),
            membership: CoordinatorConfig::default(),
            manager: ManagerConfig::default(),
            webhooks: SenderConf::default(),
            generator: Budgets::default(),
            scheduler: SchedulerConfig::default(),
            executor: ExecutorConfig::default(),
            grace: Duration::from_secs(45),
            plugin_threads: cores.max(4),
            max_subtask_timeout: MAX_SUBTASK_TIMEOUT,
            alone: false,
        }
    }
}

/// Why a process or a role of it could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// A setting is out of range.
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    /// A name cannot be used.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The runner's settings contradict each other.
    #[error(transparent)]
    Runner(#[from] InvalidRunnerConfig),
    /// The role's group could not be joined.
    #[error("the role {role} did not start")]
    Start {
        /// The role.
        role: Role,
        /// The reason.
        source: StartError,
    },
    /// The role runs already.
    #[error("the role {0} runs in this process already")]
    Running(Role),
    /// The table of tasks is of a cluster that divides its work otherwise, or refuses.
    #[error(transparent)]
    Cluster(#[from] StoreError),
    /// The operating system gave no threads.
    #[error("no threads for plugins")]
    Threads(#[from] std::io::Error),
}

/// Describes a process of the framework.
///
/// ```
/// use dtf::embedded::{self, Database, Embedded};
/// use dtf::model::Role;
/// use dtf::prelude::*;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// let squares = TaskType::named("squares")
///     .input(|limit: u64| 0..limit)
///     .execute(|n: u64, _ctx| async move { Ok(n * n) })
///     .fold(0u64, |sum, square| sum + square)
///     .build();
/// // On servers: `dtf::servers::ports(…)`, with the feature `full`.
/// let ports = embedded::ports(Database::Memory).await?;
/// let dtf = Dtf::builder(ports).config(Embedded { jobs: 2 }.config()).register(&squares).build()?;
/// for role in Role::ALL {
///     dtf.start_service(role).await?; // a process may have some of the roles only
/// }
/// assert_eq!(dtf.run(&squares, 10).await?, 285);
/// dtf.stop().await;
/// # Ok(())
/// # }
/// ```
pub struct DtfBuilder {
    ports: Ports,
    config: DtfConfig,
    plugins: PluginRegistry,
    /// The first registration that was refused.
    refused: Option<InvalidInput>,
    clock: Arc<dyn Clock>,
    plugins_on: Option<Handle>,
    callbacks: BTreeMap<String, Callback>,
}

impl DtfBuilder {
    /// Replaces the settings.
    #[must_use]
    pub fn config(mut self, config: DtfConfig) -> Self {
        self.config = config;
        self
    }

    /// Replaces the clock, for tests.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Runs plugin code on this runtime instead of one of its own. In production it must not be the runtime that the
    /// roles run on: a plugin that blocks would end their sessions.
    #[must_use]
    pub fn plugins_on(mut self, runtime: Handle) -> Self {
        self.plugins_on = Some(runtime);
        self
    }

    /// Registers a kind of task.
    ///
    /// # Errors
    /// Its number or name is taken, or its configuration is out of range.
    pub fn register_task_type(mut self, registration: TaskPluginRegistration) -> Result<Self, InvalidInput> {
        self.plugins.register(registration)?;
        Ok(self)
    }

    /// Registers a type of task: a [`TaskType`](dtf_typed::TaskType), or the registration of a plugin. One that is refused is
    /// an error of [`build`](Self::build).
    #[must_use]
    pub fn register(mut self, task_type: impl Into<TaskPluginRegistration>) -> Self {
        if let Err(error) = self.plugins.register(task_type.into()) {
            self.refused.get_or_insert(error);
        }
        self
    }

    /// Registers a callback, which tasks name in their [hooks](dtf_model::hook::Hook::callback): it is told of their ends, at least once
    /// each, on the threads of plugins. It is called in one of the processes with the manager role, so register it in all of them. One
    /// that fails, panics or takes more than 50 s is called again, ten times over three days. A second callback of the same name takes
    /// the place of the first.
    #[must_use]
    pub fn callback<F, Fut>(mut self, name: impl Into<String>, callback: F) -> Self
    where
        F: Fn(TaskEnd) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.callbacks.insert(name.into(), Arc::new(move |end| Box::pin(callback(end))));
        self
    }

    /// Makes the process. No role runs yet.
    ///
    /// # Errors
    /// A setting is out of range, a type was refused as its name or number is taken, or there are no threads for plugins.
    pub fn build(self) -> Result<Dtf, ServiceError> {
        let Self { ports, config, plugins, refused, clock, plugins_on, callbacks } = self;
        if let Some(refused) = refused {
            return Err(refused.into());
        }
        config.shape.check()?;
        config.executor.check()?;
        plugins.check_subtask_timeouts(config.max_subtask_timeout)?;
        let plugin_runtime = match plugins_on {
            Some(handle) => PluginRuntime::Shared(handle),
            None => PluginRuntime::start(config.plugin_threads)?,
        };
        let peers =
            GroupPeers::new(ports.coordination.clone(), clock.clone(), &config.cluster, &config.instance);
        let context = RoleContext {
            wake: ports.wake.clone(),
            plugins: Arc::new(plugins),
            shape: config.shape,
            clock,
            peers: Arc::new(peers),
            plugin_runtime: plugin_runtime.handle(),
            shutdown: GracefulShutdown::default(),
        };
        let sender =
            Sender::new(config.webhooks.clone()).map_err(|error| InvalidInput::Hook(error.to_string()))?;
        let messenger = Arc::new(Messenger {
            table: ports.table.clone(),
            types: context.plugins.clone(),
            clock: context.clock.clone(),
            sender,
            callbacks,
            runtime: context.plugin_runtime.clone(),
        });
        let session = SharedSession::with_clock(ports.coordination.clone(), context.clock.clone());
        Ok(Dtf {
            ports,
            session,
            messenger,
            config,
            context,
            members: Mutex::default(),
            agreed: OnceCell::new(),
            claimed: OnceCell::new(),
            noting: OnceLock::new(),
            _plugin_runtime: plugin_runtime,
        })
    }
}

/// The time that a role has to stop once the grace of its subtasks is over.
const AFTER_GRACE: Duration = Duration::from_secs(15);

/// A membership in a role's group.
struct Member {
    handle: CoordinatorHandle,
    /// Keeps the mark of the group's generation.
    _marking: AbortOnDropHandle<()>,
    /// Tells the graceful shutdown of the executor's session.
    _telling: Option<AbortOnDropHandle<()>>,
}

/// A process of the framework: a client of it, and whichever roles are started in it.
pub struct Dtf {
    ports: Ports,
    /// The session of this process, which its roles' members have in common.
    session: SharedSession,
    messenger: Arc<Messenger>,
    config: DtfConfig,
    context: RoleContext,
    members: Mutex<BTreeMap<Role, Member>>,
    /// The cluster's shape, once it is known that it divides its work as this process does.
    agreed: OnceCell<ClusterShape>,
    /// Set when the queues are known to belong to this process's cluster.
    claimed: OnceCell<()>,
    /// Tells the cluster of calls into plugins that are stuck, once a role has been started.
    noting: OnceLock<AbortOnDropHandle<()>>,
    /// Ends with the process's last use of it.
    _plugin_runtime: PluginRuntime,
}

impl Dtf {
    /// Begins to describe a process.
    pub fn builder(ports: Ports) -> DtfBuilder {
        DtfBuilder {
            ports,
            config: DtfConfig::default(),
            plugins: PluginRegistry::default(),
            refused: None,
            clock: Arc::new(BootClock),
            plugins_on: None,
            callbacks: BTreeMap::new(),
        }
    }

    /// Creates tasks and says how they are.
    pub fn client(&self) -> Client {
        Client::new(self.ports.table.clone(), self.ports.queues.clone(), self.agreed_context())
            .collecting_here(self.config.alone)
            .seeing_shards(self.ports.shards.clone())
    }

    /// Starts a role: joins its group, and takes up what it is given. Waits while the table of tasks does not answer.
    ///
    /// # Errors
    /// The role runs already, the cluster divides its work otherwise, or the role's group cannot be joined.
    pub async fn start_service(&self, role: Role) -> Result<(), ServiceError> {
        self.agreed.get_or_try_init(|| self.agree()).await?;
        // An executor needs no database, which is what says which cluster this is.
        if role != Role::Executor {
            self.claimed.get_or_try_init(|| self.claim()).await?;
        }
        let mut members = self.members.lock().await;
        if members.contains_key(&role) {
            return Err(ServiceError::Running(role));
        }
        let Ports { table, shards, .. } = &self.ports;
        let generations = Arc::new(Generations::of(role, table.clone(), shards, self.config.shape.shards));
        let mut member =
            Coordinator::builder(Arc::new(self.session.clone()), role.group(&self.config.cluster)?)
                .instance_id(InstanceId::new(&self.config.instance)?)
                .provider(FixedTasks::new(role.placed_tasks(&self.config.shape)))
                .worker(self.worker(role)?)
                .config(self.membership(role))
                .clock(self.context.clock.clone());
        // A process that is alone forgets its queues with its groups: no store remembers tokens, and none is waited for.
        if !self.config.alone {
            member = member.generation_floor(generations.clone());
        }
        let member = member.start().await.map_err(|source| ServiceError::Start { role, source })?;
        let marking = AbortOnDropHandle::new(tokio::spawn(generations.keep(member.held())));
        let telling = (role == Role::Executor).then(|| {
            let told = tell_of_session(member.status(), self.context.shutdown.clone());
            AbortOnDropHandle::new(tokio::spawn(told))
        });
        self.noting.get_or_init(|| {
            let notes = StuckNotes::new(self.ports.coordination.clone(), &self.config.cluster);
            let keep = notes.keep(self.config.instance.clone(), self.context.clock.clone());
            AbortOnDropHandle::new(tokio::spawn(keep))
        });
        members.insert(role, Member { handle: member, _marking: marking, _telling: telling });
        Ok(())
    }

    /// Agrees with the cluster on how the work is divided.
    async fn agree(&self) -> Result<ClusterShape, StoreError> {
        let (table, shape) = (&*self.ports.table, self.config.shape);
        until_answered(&CancellationToken::new(), async || match self.config.alone {
            true => cluster::begin_alone(table, shape).await.map(|()| shape),
            false => cluster::agree(table, shape).await,
        })
        .await
    }

    /// Claims the queues for the cluster of this database.
    async fn claim(&self) -> Result<(), StoreError> {
        until_answered(&CancellationToken::new(), async || {
            let identity = cluster::identity(&*self.ports.table, &self.config.cluster).await?;
            cluster::claim(&*self.ports.queues, &identity).await
        })
        .await
    }

    /// Starts all roles.
    ///
    /// # Errors
    /// As [`start_service`](Self::start_service). Roles started before the one that failed keep running.
    pub async fn start_all(&self) -> Result<(), ServiceError> {
        for role in Role::ALL {
            self.start_service(role).await?;
        }
        Ok(())
    }

    /// The member that this process has in a role's group, where the role was started.
    pub async fn member(&self, role: Role) -> Option<CoordinatorHandle> {
        self.members.lock().await.get(&role).map(|member| member.handle.clone())
    }

    /// The membership of a role, which says which types of task this process knows. Subtasks that run have their grace to come to
    /// their end, so until that is over a shard that is to be given up is not late.
    fn membership(&self, role: Role) -> CoordinatorConfig {
        let mut membership = self.config.membership.clone();
        membership.revoke_timeout = membership.revoke_timeout.max(self.config.grace + AFTER_GRACE);
        let kinds = self.context.plugins.kinds();
        membership.labels.insert(TASK_TYPES_LABEL.to_owned(), kinds.as_str().to_owned());
        if role == Role::Executor {
            membership.labels.insert(SLOTS_LABEL.to_owned(), self.config.executor.slots.to_string());
        }
        membership
    }

    /// Returns the context of the roles, with the cluster's shape as far as it is known.
    fn agreed_context(&self) -> RoleContext {
        let shape = self.agreed.get().copied().unwrap_or(self.config.shape);
        RoleContext { shape, ..self.context.clone() }
    }

    fn worker(&self, role: Role) -> Result<TaskRunner, ServiceError> {
        let context = self.agreed_context();
        let Ports { table, queues, shards, .. } = self.ports.clone();
        let runner = match role {
            Role::Manager => TaskRunner::new(Manager::new(
                self.config.manager.clone(),
                ManagerPorts { table, queues, courier: self.messenger.clone() },
                context,
            )),
            Role::Generator => TaskRunner::new(Generator::new(
                self.config.generator,
                GeneratorPorts { table, queues },
                context,
            )),
            Role::Scheduler => {
                let ports = SchedulerPorts { table, queues, shards };
                TaskRunner::new(Scheduler::new(self.config.scheduler, ports, context))
            }
            Role::Executor => TaskRunner::new(Executor::new(
                self.config.executor,
                ExecutorPorts { queues, shards },
                context,
            )?),
            Role::Collector => TaskRunner::new(Collector::new(CollectorPorts { table, queues }, context)),
        };
        // A part of a role is never given up for its crashes: nobody else would do its work.
        let config = RunnerConfig { quarantine_after: u32::MAX, ..RunnerConfig::default() };
        Ok(runner.configured(config)?)
    }

    /// Stops as a crash does: nothing is given back, and the others take over when this process's sessions end. For tests.
    pub async fn kill(&self) {
        self.end(|member| async move { member.kill().await }).await;
    }

    /// Gives everything up in good order and leaves the groups: running subtasks may finish within
    /// [`grace`](DtfConfig::grace), the others run elsewhere.
    pub async fn stop(&self) {
        self.context.shutdown.leave(self.config.grace);
        self.end(|member| async move { member.close().await }).await;
    }

    /// Stops once a period is over in which everything goes on: time for those who reach this process from outside to be
    /// told to go elsewhere. Returns when all roles have ended, as [`join`](Self::join) does meanwhile.
    pub async fn notify_stop(&self, pre_stop: Duration) {
        tracing::info!(instance = %self.config.instance, ?pre_stop, "stops after a last period of work");
        tokio::time::sleep(pre_stop).await;
        self.stop().await;
    }

    /// Waits until every role that has been started has ended.
    pub async fn join(&self) {
        for member in self.handles().await.values() {
            member.ended().await;
        }
    }

    /// The members that this process has, by role.
    async fn handles(&self) -> BTreeMap<Role, CoordinatorHandle> {
        let members = self.members.lock().await;
        members.iter().map(|(role, member)| (*role, member.handle.clone())).collect()
    }

    async fn end<F: Future<Output = ()> + Send + 'static>(&self, how: impl Fn(CoordinatorHandle) -> F) {
        let members = self.handles().await;
        let mut ending = tokio::task::JoinSet::new();
        for member in members.values() {
            ending.spawn(how(member.clone()));
        }
        ending.join_all().await;
        // Only now: who waits for them must find them until they have ended.
        self.members.lock().await.retain(|role, _| !members.contains_key(role));
    }
}

/// Tells of the session as the member's status does, until the member has ended.
async fn tell_of_session(mut status: watch::Receiver<MemberStatus>, shutdown: GracefulShutdown) {
    let mut told = false;
    while status.changed().await.is_ok() {
        let fenced = {
            let status = status.borrow_and_update();
            status.fenced || status.stage == MemberStage::Joining
        };
        if fenced != std::mem::replace(&mut told, fenced) {
            shutdown.fence(fenced);
        }
    }
}
