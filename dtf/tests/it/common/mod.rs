//! A plugin for tests, and processes on stores in memory, on a paused runtime.

pub(crate) mod dice;
pub(crate) mod wires;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dtf::model::plugin::{
    CollectorSupport, ExecuteContext, ExecuteError, Generated, MAX_BODY_BYTES, NewSubtask, ResultOf,
    SubtaskResult, TaskCollector, TaskConf, TaskExecutor, TaskGenerator, TaskPlugin, TaskPluginRegistration,
    TaskResult, TaskScheduler,
};
use dtf::model::queue::Outcome;
use dtf::model::{ClusterShape, Counts, InvalidInput, ShardKey, TaskParam, TaskSpec, TaskTypeId};
use dtf::{Dtf, DtfBuilder, DtfConfig, Ports};
use dtf_executor::{ExecutorConfig, MAX_RESULT_BYTES};
use dtf_memory::{MemoryQueues, MemoryShards, MemoryTable, MemoryWakeUp};
use lrmf_core::clock::RuntimeClock;
use lrmf_core::{Clock, CoordinatorConfig, MemoryStore, Timestamp};
use tokio::runtime::Handle;

use self::wires::Faults;

pub(crate) const KIND: TaskTypeId = TaskTypeId(100);

/// The summand that the body of a subtask has more in each round that the subtask stays open.
const ROUND: u64 = 1 << 48;

/// The results of each number that the collector was told.
pub(crate) type Books = Arc<Mutex<BTreeMap<u64, Vec<String>>>>;

/// The execution of one subtask by a test's plugin.
pub(crate) type Execute = dyn Fn(u64, &ExecuteContext) -> Result<SubtaskResult, ExecuteError> + Send + Sync;

/// Emits the numbers below `count`, executes each with a function, and books what it is told.
pub(crate) struct Numbers {
    pub(crate) conf: TaskConf,
    pub(crate) execute: Arc<Execute>,
    /// Added by the collector for each number below it.
    pub(crate) follow_up_below: u64,
    /// The number of times that each subtask stays open before a result of it is the last.
    pub(crate) rounds: u64,
    /// The duration of each execution.
    pub(crate) takes: Duration,
    /// One that takes longer, and how long.
    pub(crate) slow: Option<(u64, Duration)>,
    /// The number of a parcel's subtasks that are executed at once.
    pub(crate) at_once: usize,
    /// Called before each execution takes its time.
    pub(crate) on_start: Arc<OnStart>,
    /// Called then too; what it gives is dropped when the execution has ended, or is dropped.
    pub(crate) during: Arc<During>,
    /// Called before each batch of subtasks is given, and before each result is looked at; it may block its thread.
    pub(crate) on_batch: Arc<OnCall>,
    pub(crate) on_result: Arc<OnCall>,
    /// The time that the collector takes for each result.
    pub(crate) collecting: Duration,
    /// The key of each subtask.
    pub(crate) key: fn(u64) -> Option<ShardKey>,
    /// Those that take an hour.
    pub(crate) sleeps: fn(u64) -> bool,
    /// The fault of the plugin, if it has one.
    pub(crate) fault: Option<Fault>,
    pub(crate) books: Books,
    /// Its say in dispatch, if it has any.
    pub(crate) scheduler: Option<Arc<dyn TaskScheduler>>,
    /// The numbers whose execution was dropped before it ended, in their order.
    pub(crate) broken_off: Arc<Mutex<Vec<u64>>>,
}

/// A test's action when an execution begins.
pub(crate) type OnStart = dyn Fn(u64, &ExecuteContext) + Send + Sync;

/// A test's action when a plugin is called.
pub(crate) type OnCall = dyn Fn() + Send + Sync;

/// A value that a test keeps for as long as an execution goes on.
pub(crate) type During = dyn Fn(u64, &ExecuteContext) -> Box<dyn Send> + Send + Sync;

/// The faults of the plugin besides its executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    GeneratorStatusPanics,
    ProgressPanics,
    GeneratorHangs,
    SchedulerPanics,
    CollectorStatusPanics,
    CollectorHangs,
    ResultTooLarge,
    ExecutorPanicsWhenDropped,
    NoGenerator,
    NoExecutor,
    NoCollector,
    BeginFails,
    GivesTooMany,
    BodyTooLarge,
    FollowUpTooLarge,
    StaysOpenTooLarge,
    ResultBodyTooLarge,
    GeneratorStatusTooLarge,
    CollectorStatusTooLarge,
    CollectorFails,
    ProgressIsGarbage,
}

fn refuse(fault: Option<Fault>, here: Fault) -> anyhow::Result<()> {
    anyhow::ensure!(fault != Some(here), "{here:?}");
    Ok(())
}

fn fail(fault: Option<Fault>, here: Fault) {
    assert!(fault != Some(here), "{here:?}");
}

async fn hang(fault: Option<Fault>, here: Fault) {
    if fault == Some(here) {
        std::future::pending::<()>().await;
    }
}

impl Numbers {
    pub(crate) fn new(
        execute: impl Fn(u64, &ExecuteContext) -> Result<SubtaskResult, ExecuteError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            conf: TaskConf::default(),
            execute: Arc::new(execute),
            follow_up_below: 0,
            rounds: 0,
            takes: Duration::ZERO,
            slow: None,
            at_once: 1,
            on_start: Arc::new(|_, _| {}),
            during: Arc::new(|_, _| Box::new(())),
            on_batch: Arc::new(|| {}),
            on_result: Arc::new(|| {}),
            collecting: Duration::ZERO,
            key: |_| None,
            sleeps: |_| false,
            fault: None,
            books: Arc::default(),
            scheduler: None,
            broken_off: Arc::default(),
        }
    }
}

fn number(body: &Bytes) -> u64 {
    u64::from_le_bytes(body[..].try_into().expect("bodies are eight bytes"))
}

fn too_large() -> NewSubtask {
    NewSubtask::new(vec![0; MAX_BODY_BYTES + 1])
}

struct Emit {
    next: u64,
    count: u64,
    key: fn(u64) -> Option<ShardKey>,
    on_batch: Arc<OnCall>,
    fault: Option<Fault>,
}

#[async_trait]
impl TaskGenerator for Emit {
    async fn begin(&mut self, saved: Option<Bytes>) -> anyhow::Result<()> {
        refuse(self.fault, Fault::BeginFails)?;
        self.next = saved.as_ref().map_or(0, number);
        Ok(())
    }

    async fn next_subtasks(&mut self, most: usize) -> anyhow::Result<Generated> {
        hang(self.fault, Fault::GeneratorHangs).await;
        (self.on_batch)();
        let end = self.count.min(self.next + most as u64);
        let subtask = |number: u64| NewSubtask {
            key: (self.key)(number),
            ..NewSubtask::new(number.to_le_bytes().to_vec())
        };
        let mut subtasks: Vec<_> = (self.next..end).map(subtask).collect();
        self.next = end;
        match self.fault {
            Some(Fault::BodyTooLarge) => subtasks.push(too_large()),
            Some(Fault::GivesTooMany) => subtasks.resize(most + 1, NewSubtask::default()),
            _ => {}
        }
        Ok(Generated { subtasks, finished: end == self.count })
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        fail(self.fault, Fault::GeneratorStatusPanics);
        if self.fault == Some(Fault::GeneratorStatusTooLarge) {
            return Ok(Some(vec![0; 65_537].into()));
        }
        Ok(Some(self.next.to_le_bytes().to_vec().into()))
    }

    fn query_progress(&self) -> Option<f32> {
        fail(self.fault, Fault::ProgressPanics);
        (self.fault == Some(Fault::ProgressIsGarbage)).then_some(f32::NAN)
    }
}

struct Call {
    execute: Arc<Execute>,
    takes: Duration,
    slow: Option<(u64, Duration)>,
    at_once: usize,
    on_start: Arc<OnStart>,
    during: Arc<During>,
    sleeps: fn(u64) -> bool,
    fault: Option<Fault>,
    broken_off: Arc<Mutex<Vec<u64>>>,
}

/// Notes where a call is dropped before it has ended, or panics then.
struct Unended<'a> {
    call: &'a Call,
    number: u64,
    ended: bool,
}

impl Drop for Unended<'_> {
    fn drop(&mut self) {
        if !self.ended {
            assert!(self.call.fault != Some(Fault::ExecutorPanicsWhenDropped), "dropped");
            self.call.broken_off.lock().expect("no test panics with it").push(self.number);
        }
    }
}

#[async_trait]
impl TaskExecutor for Call {
    fn at_once(&self) -> usize {
        self.at_once
    }

    async fn execute(&self, body: &Bytes, context: &ExecuteContext) -> Result<SubtaskResult, ExecuteError> {
        (self.on_start)(number(body), context);
        let _during = (self.during)(number(body), context);
        let mut unended = Unended { call: self, number: number(body), ended: false };
        let heeds = self.fault != Some(Fault::ExecutorPanicsWhenDropped);
        let asleep = (self.sleeps)(number(body)).then_some((number(body), Duration::from_secs(3600)));
        let slow = self.slow.filter(|(slow, _)| *slow == number(body)).or(asleep);
        tokio::select! {
            () = tokio::time::sleep(slow.map_or(self.takes, |(_, takes)| takes)) => {}
            () = context.cancelled.cancelled(), if heeds => {
                unended.ended = true;
                return Err(anyhow::anyhow!("told to stop").into());
            }
        }
        unended.ended = true;
        let mut result = (self.execute)(number(body), context)?;
        result.body = match self.fault {
            Some(Fault::ResultBodyTooLarge) => vec![0; MAX_RESULT_BYTES + 1].into(),
            _ => body.clone(),
        };
        Ok(result)
    }
}

struct Book {
    takes: Duration,
    follow_up_below: u64,
    rounds: u64,
    fault: Option<Fault>,
    on_result: Arc<OnCall>,
    books: Books,
}

#[async_trait]
impl TaskCollector for Book {
    async fn begin(&mut self, _saved: Option<Bytes>) -> anyhow::Result<()> {
        Ok(())
    }

    async fn after_execution(
        &mut self,
        result: &ResultOf,
        support: &mut CollectorSupport,
    ) -> anyhow::Result<()> {
        hang(self.fault, Fault::CollectorHangs).await;
        (self.on_result)();
        if self.takes > Duration::ZERO {
            tokio::time::sleep(self.takes).await;
        }
        refuse(self.fault, Fault::CollectorFails)?;
        match self.fault {
            Some(Fault::FollowUpTooLarge) => support.add_subtask(too_large()),
            Some(Fault::StaysOpenTooLarge) => support.keep_open(too_large(), Duration::ZERO),
            _ => {}
        }
        let (number, text) = match &result.outcome {
            Outcome::Succeeded(result) => (number(&result.body), "ok".to_owned()),
            Outcome::Failed { error, body } => (number(body), error.clone()),
            Outcome::TimedOut { body } => (number(body), "timed out".to_owned()),
            Outcome::Cancelled => return Ok(()),
        };
        let (round, number) = (number / ROUND, number % ROUND);
        if round < self.rounds {
            let next = (number + (round + 1) * ROUND).to_le_bytes().to_vec();
            support.keep_open(NewSubtask::new(next), Duration::from_millis(round * 500));
            return Ok(());
        }
        if number < self.follow_up_below {
            support.add_subtask(NewSubtask::new((number + 1_000_000).to_le_bytes().to_vec()));
        }
        self.books.lock().expect("no test panics with it").entry(number).or_default().push(text);
        Ok(())
    }

    fn save_status(&self) -> anyhow::Result<Option<Bytes>> {
        fail(self.fault, Fault::CollectorStatusPanics);
        let too_large = self.fault == Some(Fault::CollectorStatusTooLarge);
        Ok(too_large.then(|| vec![0; 65_537].into()))
    }

    async fn after_task_completed(&mut self, counts: &Counts) -> anyhow::Result<TaskResult> {
        if self.fault == Some(Fault::ResultTooLarge) {
            return Ok(TaskResult { data: "x".repeat(2 << 20).into(), ..TaskResult::default() });
        }
        Ok(TaskResult { code: 7, reason: "summed up".to_owned(), data: counts.succeeded.into() })
    }
}

impl TaskPlugin for Numbers {
    fn conf(&self) -> TaskConf {
        self.conf.clone()
    }

    fn check(&self, param: &TaskParam) -> Result<(), InvalidInput> {
        match param.type_param.as_u64() {
            Some(_) => Ok(()),
            None => Err(InvalidInput::TypeParam("type_param must be a count".to_owned())),
        }
    }

    fn generator(&self, spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskGenerator>> {
        refuse(self.fault, Fault::NoGenerator)?;
        let count = spec.param.type_param.as_u64().unwrap_or(0);
        let on_batch = self.on_batch.clone();
        Ok(Box::new(Emit { next: 0, count, key: self.key, on_batch, fault: self.fault }))
    }

    fn again(&self, _spec: &TaskSpec, body: Bytes) -> anyhow::Result<NewSubtask> {
        Ok(NewSubtask { key: (self.key)(number(&body)), body })
    }

    fn executor(&self, _spec: &TaskSpec) -> anyhow::Result<Arc<dyn TaskExecutor>> {
        refuse(self.fault, Fault::NoExecutor)?;
        let (on_start, execute, during) = (self.on_start.clone(), self.execute.clone(), self.during.clone());
        let (takes, slow, sleeps, fault) = (self.takes, self.slow, self.sleeps, self.fault);
        let at_once = self.at_once;
        let broken_off = self.broken_off.clone();
        Ok(Arc::new(Call { execute, takes, slow, at_once, on_start, during, sleeps, fault, broken_off }))
    }

    fn scheduler(&self, _spec: &TaskSpec) -> Option<Arc<dyn TaskScheduler>> {
        fail(self.fault, Fault::SchedulerPanics);
        self.scheduler.clone()
    }

    fn collector(&self, _spec: &TaskSpec) -> anyhow::Result<Box<dyn TaskCollector>> {
        refuse(self.fault, Fault::NoCollector)?;
        let (books, on_result) = (self.books.clone(), self.on_result.clone());
        let (follow_up_below, rounds, fault) = (self.follow_up_below, self.rounds, self.fault);
        Ok(Box::new(Book { takes: self.collecting, follow_up_below, rounds, fault, on_result, books }))
    }
}

/// Stores in memory on the runtime's clock, and what looks into them.
pub(crate) struct Stage {
    pub(crate) ports: Ports,
    pub(crate) queues: Arc<MemoryQueues>,
    pub(crate) shards: Arc<MemoryShards>,
    clock: Arc<dyn Clock>,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(RuntimeClock::new());
        let queues = Arc::new(MemoryQueues::new(clock.clone()));
        let shards = Arc::new(MemoryShards::default());
        let ports = Ports {
            table: Arc::new(MemoryTable::default()),
            queues: queues.clone(),
            shards: shards.clone(),
            wake: Arc::new(MemoryWakeUp::default()),
            coordination: Arc::new(MemoryStore::new()),
        };
        Self { ports, queues, shards, clock }
    }

    /// A clock whose time of day is ahead of the stage's.
    pub(crate) fn clock_ahead(&self, by: Duration) -> Arc<dyn Clock> {
        Arc::new(Ahead { clock: self.clock.clone(), by })
    }

    /// A process, with no role started.
    pub(crate) fn process(&self, instance: &str, plugin: Numbers) -> Dtf {
        self.process_on(self.ports.clone(), instance, plugin)
    }

    /// A process that sees the stores through these ports.
    pub(crate) fn process_on(&self, ports: Ports, instance: &str, plugin: Numbers) -> Dtf {
        self.process_at(self.clock.clone(), ports, instance, plugin)
    }

    /// A process that sees the stores through these ports, and the time on this clock.
    pub(crate) fn process_at(
        &self,
        clock: Arc<dyn Clock>,
        ports: Ports,
        instance: &str,
        plugin: Numbers,
    ) -> Dtf {
        self.made(clock, ports, instance, plugin, 4)
    }

    /// A process that runs so many parcels at once.
    pub(crate) fn process_with_slots(&self, instance: &str, plugin: Numbers, slots: usize) -> Dtf {
        self.made(self.clock.clone(), self.ports.clone(), instance, plugin, slots)
    }

    /// A process that knows these types.
    pub(crate) fn process_knowing(&self, instance: &str, types: Vec<(TaskTypeId, Numbers)>) -> Dtf {
        self.process_knowing_on(self.ports.clone(), instance, types)
    }

    /// A process that knows these types, and sees the stores through these ports.
    pub(crate) fn process_knowing_on(
        &self,
        ports: Ports,
        instance: &str,
        types: Vec<(TaskTypeId, Numbers)>,
    ) -> Dtf {
        self.knowing(self.clock.clone(), ports, instance, types, 4)
    }

    fn made(
        &self,
        clock: Arc<dyn Clock>,
        ports: Ports,
        instance: &str,
        plugin: Numbers,
        slots: usize,
    ) -> Dtf {
        self.knowing(clock, ports, instance, vec![(KIND, plugin)], slots)
    }

    /// A process that knows these kinds of task.
    pub(crate) fn process_of(&self, instance: &str, types: Vec<TaskPluginRegistration>) -> Dtf {
        let shape = ClusterShape { shards: 8, ..ClusterShape::embedded() };
        self.registering(self.clock.clone(), self.ports.clone(), instance, types, 4, shape)
    }

    /// A process of these kinds of task, that sees the stores through faults.
    pub(crate) fn process_of_wired(
        &self,
        instance: &str,
        types: Vec<TaskPluginRegistration>,
        faults: &Faults,
    ) -> Dtf {
        let shape = ClusterShape { shards: 8, ..ClusterShape::embedded() };
        let ports = wires::wired(&self.ports, faults);
        self.registering(self.clock.clone(), ports, instance, types, 4, shape)
    }

    /// A process of a cluster with so many shards, that sees the stores through these ports.
    pub(crate) fn process_with_shards(
        &self,
        ports: Ports,
        instance: &str,
        plugin: Numbers,
        shards: u32,
    ) -> Dtf {
        let shape = ClusterShape { shards, ..ClusterShape::embedded() };
        self.registering(self.clock.clone(), ports, instance, vec![numbers((KIND, plugin))], 4, shape)
    }

    fn knowing(
        &self,
        clock: Arc<dyn Clock>,
        ports: Ports,
        instance: &str,
        types: Vec<(TaskTypeId, Numbers)>,
        slots: usize,
    ) -> Dtf {
        let shape = ClusterShape { shards: 8, ..ClusterShape::embedded() };
        self.registering(clock, ports, instance, types.into_iter().map(numbers).collect(), slots, shape)
    }

    fn registering(
        &self,
        clock: Arc<dyn Clock>,
        ports: Ports,
        instance: &str,
        types: Vec<TaskPluginRegistration>,
        slots: usize,
        shape: ClusterShape,
    ) -> Dtf {
        let builder = self.described(clock, ports, config(instance, slots, shape), types);
        builder.build().expect("the settings are in range")
    }

    /// The description of a process that sees the stores through these ports.
    pub(crate) fn builder(&self, ports: Ports, instance: &str, plugin: Numbers) -> DtfBuilder {
        self.builder_with(ports, instance, plugin, |_| {})
    }

    /// The same, with other settings.
    pub(crate) fn builder_with(
        &self,
        ports: Ports,
        instance: &str,
        plugin: Numbers,
        change: impl FnOnce(&mut DtfConfig),
    ) -> DtfBuilder {
        let shape = ClusterShape { shards: 8, ..ClusterShape::embedded() };
        let mut config = config(instance, 4, shape);
        change(&mut config);
        self.described(self.clock.clone(), ports, config, vec![numbers((KIND, plugin))])
    }

    fn described(
        &self,
        clock: Arc<dyn Clock>,
        ports: Ports,
        config: DtfConfig,
        types: Vec<TaskPluginRegistration>,
    ) -> DtfBuilder {
        let mut builder = Dtf::builder(ports).config(config).clock(clock).plugins_on(Handle::current());
        for registration in types {
            builder = builder.register_task_type(registration).expect("the type is new");
        }
        builder
    }

    /// A process with all roles.
    pub(crate) async fn start(&self, instance: &str, plugin: Numbers) -> Dtf {
        let dtf = self.process(instance, plugin);
        dtf.start_all().await.expect("the stores are there");
        dtf
    }

    /// A process with all roles, with faults on its way to the stores.
    pub(crate) async fn start_wired(&self, instance: &str, plugin: Numbers, faults: &Faults) -> Dtf {
        let dtf = self.process_on(wires::wired(&self.ports, faults), instance, plugin);
        dtf.start_all().await.expect("the coordination store is there");
        dtf
    }
}

/// The settings of a process that runs so many parcels at once.
fn config(instance: &str, slots: usize, shape: ClusterShape) -> DtfConfig {
    let membership = CoordinatorConfig {
        settle: Duration::ZERO,
        companions: Duration::ZERO,
        ..CoordinatorConfig::default()
    };
    let executor = ExecutorConfig { slots, ..ExecutorConfig::default() };
    let (instance, max_subtask_timeout) = (instance.to_owned(), Duration::MAX);
    DtfConfig { instance, shape, membership, executor, max_subtask_timeout, ..DtfConfig::default() }
}

/// A clock whose time of day is ahead of another's.
#[derive(Debug)]
struct Ahead {
    clock: Arc<dyn Clock>,
    by: Duration,
}

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn unix_millis(&self) -> u64 {
        self.clock.unix_millis() + self.by.as_millis() as u64
    }
}

/// The registration of a type of this number.
fn numbers((task_type, plugin): (TaskTypeId, Numbers)) -> TaskPluginRegistration {
    let name = if task_type == KIND { "numbers".to_owned() } else { format!("numbers-{task_type}") };
    let (description, plugin) = ("for tests".to_owned(), Arc::new(plugin));
    TaskPluginRegistration { task_type, name, description, plugin }
}

pub(crate) fn count(count: u64) -> TaskParam {
    TaskParam { type_param: count.into(), ..TaskParam::default() }
}

pub(crate) fn ok(_: u64, _: &ExecuteContext) -> Result<SubtaskResult, ExecuteError> {
    Ok(SubtaskResult::default())
}
