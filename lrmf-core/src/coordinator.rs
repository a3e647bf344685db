//! A member of a group, as its process sees it.

use std::fmt;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::assignor::{Assignor, StickyBalanced};
use crate::clock::{BootClock, Clock, RuntimeClock, is_paused};
use crate::config::{CoordinatorConfig, InvalidConfig};
use crate::coordination::Coordination;
use crate::driver::{
    Board, Driver, HeldTasks, Listeners, MemberStage, MemberStatus, Place, Ports, session_runtime,
};
use crate::event::Event;
use crate::hub::{HubWorker, TaskHub};
use crate::ids::{GroupId, Incarnation, InstanceId};
use crate::keys::Keys;
use crate::protocol::leader::{LeaderConfig, MoveLimits};
use crate::protocol::node::NodeConfig;
use crate::protocol::{Command, Exit, Rules};
use crate::provider::{GenerationFloor, TaskProvider};
use crate::tenure::Tenure;
use crate::worker::Worker;

/// Why a member could not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// A setting makes no sense.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// Something is missing that every member needs.
    #[error("a coordinator needs {what}; set it before start()")]
    Missing {
        /// The thing that is missing.
        what: &'static str,
    },
    /// Another living process is this member.
    #[error(
        "another living process is the member {instance}; use another instance id, or wait for it as its successor"
    )]
    Conflict {
        /// The member.
        instance: InstanceId,
    },
    /// The store refuses the member, and would refuse it again.
    #[error("the coordination store refused the member: {why}")]
    Refused {
        /// The store's message.
        why: String,
    },
    /// The runtime's time stands still and the member's clock goes on: none of its waits would ever end.
    #[error(
        "the runtime's time is paused and the member's clock goes on; leave the clock out, or use RuntimeClock, in tests with paused time"
    )]
    FrozenTime,
    /// The system gives no threads for the session.
    #[error("the threads that keep the session alive cannot be started: {why}")]
    Threads {
        /// The system's message.
        why: String,
    },
    /// It was stopped before it became a member, or failed.
    #[error("the coordinator was stopped before it became a member")]
    Stopped,
}

/// Makes members.
///
/// ```
/// use std::sync::Arc;
/// use lrmf_core::{Coordinator, CoordinatorConfig, FixedTasks, GroupId, InstanceId, MemoryStore, Task};
/// use lrmf_core::smooth::SmoothWorker;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// let store = Arc::new(MemoryStore::new());
/// let member = Coordinator::builder(store, GroupId::new("mirror", "orders", "default")?)
///     .instance_id(InstanceId::new("a")?)
///     .provider(FixedTasks::new([Task::new("topic-1", ""), Task::new("topic-2", "")]))
///     .worker(SmoothWorker::new(|event| println!("{event:?}")))
///     .config(CoordinatorConfig { settle: std::time::Duration::ZERO, ..Default::default() })
///     .start()
///     .await?;
/// member.held().wait_for(|held| held.len() == 2).await?;
/// member.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Coordinator;

impl Coordinator {
    /// Begins to describe a member of `group`.
    pub fn builder(store: Arc<dyn Coordination>, group: GroupId) -> CoordinatorBuilder {
        CoordinatorBuilder {
            store,
            group,
            instance: None,
            provider: None,
            floor: None,
            worker: None,
            assignor: Arc::new(StickyBalanced),
            clock: None,
            config: CoordinatorConfig::default(),
        }
    }
}

/// A member to be.
#[must_use = "a member exists only after start()"]
pub struct CoordinatorBuilder {
    store: Arc<dyn Coordination>,
    group: GroupId,
    instance: Option<InstanceId>,
    provider: Option<Arc<dyn TaskProvider>>,
    floor: Option<Arc<dyn GenerationFloor>>,
    worker: Option<Arc<dyn Worker>>,
    assignor: Arc<dyn Assignor>,
    clock: Option<Arc<dyn Clock>>,
    config: CoordinatorConfig,
}

impl fmt::Debug for CoordinatorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoordinatorBuilder")
            .field("group", &self.group)
            .field("instance", &self.instance)
            .field("assignor", &self.assignor.name())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl CoordinatorBuilder {
    /// The member's name: the same across restarts, and no other living process's.
    pub fn instance_id(mut self, instance: InstanceId) -> Self {
        self.instance = Some(instance);
        self
    }

    /// Says which tasks there are. Every member needs one, as every member may come to lead.
    pub fn provider(self, provider: impl TaskProvider) -> Self {
        self.shared_provider(Arc::new(provider))
    }

    /// The same, for a provider that others use too.
    pub fn shared_provider(mut self, provider: Arc<dyn TaskProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Sets the floor of the group's generations, for stores that refuse lower tokens than they have seen and outlive the
    /// coordination store's data. All members should have the same.
    pub fn generation_floor(mut self, floor: Arc<dyn GenerationFloor>) -> Self {
        self.floor = Some(floor);
        self
    }

    /// Takes the tasks up and gives them back.
    pub fn worker(self, worker: impl Worker) -> Self {
        self.shared_worker(Arc::new(worker))
    }

    /// The same, for a worker that others use too.
    pub fn shared_worker(mut self, worker: Arc<dyn Worker>) -> Self {
        self.worker = Some(worker);
        self
    }

    /// Like [`worker`](Self::worker), for one that sees all that the member holds whenever some of it changes.
    pub fn task_hub(self, hub: impl TaskHub) -> Self {
        self.worker(HubWorker::new(hub))
    }

    /// Decides which task goes where; [`StickyBalanced`] when not set. All members should have the same one.
    pub fn assignor(self, assignor: impl Assignor) -> Self {
        self.shared_assignor(Arc::new(assignor))
    }

    /// The same, for an assignor that others use too, or that is chosen at run time.
    pub fn shared_assignor(mut self, assignor: Arc<dyn Assignor>) -> Self {
        self.assignor = assignor;
        self
    }

    /// The settings.
    pub fn config(mut self, config: CoordinatorConfig) -> Self {
        self.config = config;
        self
    }

    /// The clock that the member's deadline is kept on. When not set it is [`BootClock`], or where the runtime's time is
    /// paused, [`RuntimeClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Joins the group. Where the store is away, or another process is this member and the configuration says to wait
    /// for it, this waits; dropping the future gives up.
    ///
    /// # Errors
    /// What is missing or makes no sense; another living process under this name, where the configuration says to
    /// refuse; a store that refuses.
    pub async fn start(self) -> Result<CoordinatorHandle, StartError> {
        self.config.check()?;
        let missing = |what| StartError::Missing { what };
        let instance = self.instance.ok_or_else(|| missing("an instance id"))?;
        let provider = self.provider.ok_or_else(|| missing("a task provider"))?;
        let worker = self.worker.ok_or_else(|| missing("a worker"))?;
        let leader = LeaderConfig {
            keys: Keys::new(&self.group),
            assignor: self.assignor.name(),
            limits: self.store.limits(),
            settle: self.config.settle,
            mode: self.config.mode,
            companions: self.config.companions,
            provider_period: self.config.provider_period,
            moves: MoveLimits::from(&self.config),
            patience: self.config.ttl,
            has_floor: self.floor.is_some(),
            rules: Rules::ALL,
        };
        let node = NodeConfig { instance: instance.clone(), settings: self.config, leader };
        let paused = is_paused();
        let clock = clock_for(self.clock, paused)?;
        let here = Handle::current();
        let (place, runtime) = if paused {
            (Place::Here, here)
        } else {
            let runtime = session_runtime().map_err(|why| StartError::Threads { why })?;
            (Place::Apart(here), runtime)
        };
        let tenure = Tenure::new(clock.clone());
        let ports = Ports {
            store: self.store,
            worker,
            provider,
            floor: self.floor,
            assignor: self.assignor,
            clock,
            tenure,
            place,
            incarnations: Arc::new(|| Incarnation(Uuid::new_v4())),
        };
        let handle = CoordinatorHandle::spawn(&runtime, ports, node, self.group, instance.clone());
        handle.joined().await?;
        Ok(handle)
    }
}

/// The clock to use under this runtime, where that can work.
fn clock_for(chosen: Option<Arc<dyn Clock>>, paused: bool) -> Result<Arc<dyn Clock>, StartError> {
    let Some(clock) = chosen else {
        return Ok(if paused { Arc::new(RuntimeClock::new()) } else { Arc::new(BootClock) });
    };
    let before = clock.now();
    if paused && is_paused() && clock.now() > before { Err(StartError::FrozenTime) } else { Ok(clock) }
}

#[derive(Debug)]
struct Shared {
    group: GroupId,
    instance: InstanceId,
    commands: mpsc::Sender<Command>,
    events: Arc<Listeners>,
    held: watch::Receiver<HeldTasks>,
    status: watch::Receiver<MemberStatus>,
    tenure: Tenure,
    kill: CancellationToken,
    /// The last handle stops the member.
    _guard: DropGuard,
}

/// A running member. Cloning it gives another handle of the same member; when the last one is dropped, the member
/// stops its tasks and leaves its session to end by itself, as after a crash. Call [`close`](Self::close) to leave
/// without anybody having to wait for that.
#[derive(Clone, Debug)]
pub struct CoordinatorHandle(Arc<Shared>);

impl CoordinatorHandle {
    fn spawn(
        runtime: &Handle,
        ports: Ports,
        config: NodeConfig,
        group: GroupId,
        instance: InstanceId,
    ) -> Self {
        let (commands, receiver) = mpsc::channel(16);
        let events = Arc::new(Listeners::default());
        let (to_held, held) = watch::channel(HeldTasks::new());
        let (to_status, status) = watch::channel(MemberStatus::default());
        let kill = CancellationToken::new();
        let board = Board {
            group: group.clone(),
            instance: instance.clone(),
            events: events.clone(),
            held: to_held,
            status: to_status,
        };
        let tenure = ports.tenure.clone();
        let (driver, actions) = Driver::new(ports, config, receiver, kill.clone(), board);
        // Owned by the handles: it ends when `kill` is cancelled, at the latest by the last one's guard, and says so
        // on `status`.
        runtime.spawn(driver.run(actions));
        let guard = kill.clone().drop_guard();
        Self(Arc::new(Shared {
            group,
            instance,
            commands,
            events,
            held,
            status,
            tenure,
            kill,
            _guard: guard,
        }))
    }

    async fn joined(&self) -> Result<(), StartError> {
        let mut status = self.0.status.clone();
        let stage = status
            .wait_for(|status| status.stage != MemberStage::Joining)
            .await
            .map(|status| status.stage.clone());
        match stage {
            Ok(MemberStage::Serving(_)) => Ok(()),
            Ok(MemberStage::Ended(Exit::Conflict)) => {
                Err(StartError::Conflict { instance: self.0.instance.clone() })
            }
            Ok(MemberStage::Ended(Exit::Refused(why))) => Err(StartError::Refused { why }),
            Ok(MemberStage::Ended(_) | MemberStage::Joining) | Err(_) => Err(StartError::Stopped),
        }
    }

    /// The group.
    pub fn group(&self) -> &GroupId {
        &self.0.group
    }

    /// The member's name.
    pub fn instance_id(&self) -> &InstanceId {
        &self.0.instance
    }

    /// Hands all tasks over, one by one, then leaves. Nobody has to wait for the session to end. Where nobody can take
    /// the tasks, or nobody does within `drain_timeout`, they are stopped. Returns when the member has ended; calling it
    /// again, or after it has ended, does no harm.
    ///
    /// It ends at the latest `drain_timeout`, `assign_timeout` and `revoke_timeout` after this call. What has not stopped
    /// by then is named by [`exit`](Self::exit), [`Exit::StillRunning`]: other members begin with it when the session ends, within the TTL, so
    /// a process in which it may still run is to abort.
    pub async fn close(&self) {
        self.end(Command::Close).await;
    }

    /// Stops all tasks and leaves them reserved for the process that comes back under this name within the TTL; then
    /// nothing moves. Returns when the member has ended.
    /// [`Exit::StillRunning`] names tasks that do not stop, as for [`close`](Self::close); then nothing is reserved.
    pub async fn restart(&self) {
        self.end(Command::Restart).await;
    }

    /// Stops all tasks and tells nobody, as a crash does: once they have stopped, the session ends by itself after its
    /// TTL. For tests.
    pub async fn kill(&self) {
        self.0.kill.cancel();
        self.ended().await;
    }

    async fn end(&self, command: Command) {
        if self.0.commands.send(command).await.is_err() {
            tracing::debug!(member = %self.0.instance, ?command, "the member has ended already");
        }
        self.ended().await;
    }

    /// Waits until the member has ended.
    pub async fn ended(&self) {
        self.exit().await;
    }

    /// Waits until the member has ended, and says how.
    pub async fn exit(&self) -> Exit {
        let mut status = self.0.status.clone();
        let ended = |status: &MemberStatus| matches!(status.stage, MemberStage::Ended(_));
        match status.wait_for(ended).await.map(|status| status.stage.clone()) {
            Ok(MemberStage::Ended(exit)) => exit,
            Ok(MemberStage::Joining | MemberStage::Serving(_)) | Err(_) => {
                Exit::Failed("the runtime of the member has ended".to_owned())
            }
        }
    }

    /// Asks the leader to ask the provider again and to plan anew. It is a hint: a second one, made while the first is
    /// still under way, may be dropped.
    pub fn trigger_rebalance(&self) {
        if self.0.commands.try_send(Command::Trigger).is_err() {
            tracing::debug!(member = %self.0.instance, "trigger dropped");
        }
    }

    /// Says how busy this member is, in thousandths of what it can bear, for [`LoadAware`](crate::assignor::LoadAware). Call it
    /// as often as you like: it is written the first time, and when it differs by `load_step` from what was written last. One
    /// that comes while the member is busy with other commands may be dropped, so report again.
    pub fn report_load(&self, per_mille: u32) {
        if self.0.commands.try_send(Command::Load(per_mille)).is_err() {
            tracing::debug!(member = %self.0.instance, per_mille, "load report dropped");
        }
    }

    /// The events from now on.
    pub fn events(&self) -> Events {
        Events(self.0.events.listen())
    }

    /// The tasks that this member runs: a task is in as soon as its `assign` has returned, and out as soon as its `revoke`
    /// is called.
    pub fn held(&self) -> watch::Receiver<HeldTasks> {
        self.0.held.clone()
    }

    /// Until when the member may work: for code that asks before each piece of work.
    pub fn tenure(&self) -> Tenure {
        self.0.tenure.clone()
    }

    /// The member at a glance.
    pub fn status(&self) -> watch::Receiver<MemberStatus> {
        self.0.status.clone()
    }
}

/// A member's events from some point on.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    /// The next event; none when the member has ended and all were delivered.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Event::Missed(count)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
