//! The scheduler on shards of its own kind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dtf_memory::{MemoryQueues, MemoryTable, MemoryWakeUp};
use dtf_model::plugin::{
    PluginRegistry, TaskCollector, TaskExecutor, TaskGenerator, TaskPlugin, TaskPluginRegistration,
};
use dtf_model::queue::{ExecutorQueue, Fence, GeneratorQueue, ParcelReport, Push, Report, TaskControl};
use dtf_model::shard::{Capacity, ShardCredit, ShardQueue, Shipment, ShipmentId, SupportedTypes};
use dtf_model::table::{NewTask, TaskTable};
use dtf_model::{ClusterShape, InvalidInput, RunEpoch, Shard, StoreError, TaskParam, TaskSpec, TaskTypeId};
use dtf_runtime::RoleContext;
use dtf_scheduler::scheduler::{Scheduler, SchedulerPorts};
use lrmf_core::clock::RuntimeClock;
use lrmf_core::runner::{Held, RunTask};
use lrmf_core::{Task, Token};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Shipments after which the scheduler is told to stop.
const ENOUGH: usize = 1000;

/// Shards with executors that are as fast as any scheduler, and have never enough: everything comes back at once.
struct Bottomless {
    queues: Arc<MemoryQueues>,
    shipped: AtomicUsize,
    stop: CancellationToken,
}

#[async_trait]
impl ShardQueue for Bottomless {
    async fn hold(&self, _: Shard, _: Token, _: &Capacity) -> Result<Vec<Shipment>, StoreError> {
        Ok(Vec::new())
    }

    async fn credits(&self, shards: &[Shard]) -> Result<Vec<ShardCredit>, StoreError> {
        // A scheduler that does not stop is stopped here, so that the test fails instead of running for ever.
        let room = u32::from(self.shipped.load(Ordering::Relaxed) < 10 * ENOUGH);
        Ok(vec![
            ShardCredit { free: room, used: 0, kinds: SupportedTypes::all(), credit: None };
            shards.len()
        ])
    }

    async fn tokens(&self, shards: &[Shard]) -> Result<Vec<Token>, StoreError> {
        Ok(vec![Token(0); shards.len()])
    }

    async fn ship(&self, _: Shard, shipments: &[Shipment]) -> Result<usize, StoreError> {
        for Shipment { task, run, parcel } in shipments {
            let reports = vec![Report::Returned; parcel.bodies.len()];
            let (parcel, attempt) = (parcel.id, parcel.attempt);
            let report = ParcelReport {
                parcel,
                attempt,
                executor_losses: 0,
                reports,
                together: 1,
                busy: Duration::ZERO,
            };
            self.queues.complete(*task, *run, report).await?;
        }
        if self.shipped.fetch_add(shipments.len(), Ordering::Relaxed) >= ENOUGH {
            self.stop.cancel();
        }
        tokio::task::yield_now().await;
        Ok(shipments.len())
    }

    async fn claim(
        &self,
        _: Shard,
        _: Token,
        _: &Capacity,
        _: &[ShipmentId],
        _: usize,
    ) -> Result<Vec<Shipment>, StoreError> {
        Ok(Vec::new())
    }

    async fn acknowledge(&self, _: Shard, _: Token, _: &[ShipmentId]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn contents(&self, _: Shard) -> Result<Vec<ShipmentId>, StoreError> {
        Ok(Vec::new())
    }
}

/// A type of task whose subtasks nobody here generates, executes or collects.
struct Known;

impl TaskPlugin for Known {
    fn check(&self, _: &TaskParam) -> Result<(), InvalidInput> {
        Ok(())
    }

    fn generator(&self, _: &TaskSpec) -> anyhow::Result<Box<dyn TaskGenerator>> {
        anyhow::bail!("there is none")
    }

    fn executor(&self, _: &TaskSpec) -> anyhow::Result<Arc<dyn TaskExecutor>> {
        anyhow::bail!("there is none")
    }

    fn collector(&self, _: &TaskSpec) -> anyhow::Result<Box<dyn TaskCollector>> {
        anyhow::bail!("there is none")
    }
}

fn plugins() -> Arc<PluginRegistry> {
    let mut plugins = PluginRegistry::default();
    let (name, description) = ("known".to_owned(), String::new());
    let plugin = Arc::new(Known);
    plugins.register(TaskPluginRegistration { task_type: TaskTypeId(1), name, description, plugin }).unwrap();
    Arc::new(plugins)
}

/// A task in the table and in the queues, with a hundred subtasks.
async fn hundred(table: &MemoryTable, queues: &MemoryQueues) {
    let param = TaskParam::default();
    let task = NewTask { request: Uuid::from_u128(1), task_type: TaskTypeId(1), param, now: 0 };
    let id = table.insert(&task).await.unwrap();
    assert!(table.begin_run(id, RunEpoch(0), 0).await.unwrap());
    queues.open(&table.get(id).await.unwrap().unwrap().spec()).await.unwrap();
    let fence = Fence { task: id, run: RunEpoch(1), token: Token(1) };
    let load = queues.load_generator(fence).await.unwrap();
    let (parcels, bodies) = (vec![1; 100], vec![Default::default(); 100]);
    let (epoch, first) = (load.epoch, load.next);
    let push =
        Push { epoch, first, parcels, keys: Vec::new(), bodies, saved: None, progress: None, finished: true };
    let backlog = queues.push(fence, push).await.unwrap();
    assert_eq!((backlog.waiting, backlog.mean_run), (100, None));
}

#[tokio::test(start_paused = true)]
async fn a_scheduler_stops_and_listens_however_fast_the_executors_are() {
    let clock = Arc::new(RuntimeClock::new());
    let queues = Arc::new(MemoryQueues::new(clock.clone()));
    let table = Arc::new(MemoryTable::new());
    hundred(&table, &queues).await;
    let stop = CancellationToken::new();
    let shards =
        Arc::new(Bottomless { queues: queues.clone(), shipped: AtomicUsize::new(0), stop: stop.clone() });
    let context = RoleContext {
        wake: Arc::new(MemoryWakeUp::default()),
        plugins: plugins(),
        shape: ClusterShape::embedded(),
        clock,
        peers: Arc::new(dtf_runtime::Nobody),
        shutdown: dtf_runtime::GracefulShutdown::default(),
        plugin_runtime: tokio::runtime::Handle::current(),
    };
    let held = Held::new(Task::new("00000", ""), Token(1), stop);
    Scheduler::new(SchedulerPorts { table, queues, shards: shards.clone() }, context)
        .run(held)
        .await
        .unwrap();
    let shipped = shards.shipped.load(Ordering::Relaxed);
    assert!((ENOUGH..2 * ENOUGH).contains(&shipped), "stopped after {shipped} shipments");
}
