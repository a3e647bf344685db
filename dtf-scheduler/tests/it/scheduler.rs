//! The scheduler on shards of its own kind.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use dtf_memory::{MemoryQueues, MemoryTable, MemoryWakeUp};
use dtf_model::queue::{ExecutorQueue, ParcelReport, Report};
use dtf_model::shard::{Capacity, ShardCredit, ShardQueue, Shipment, ShipmentId, SupportedTypes};
use dtf_model::wake::{Topic, WakeUp};
use dtf_model::{ClusterShape, Shard, StoreError, TaskId};
use dtf_scheduler::scheduler::{Scheduler, SchedulerConfig, SchedulerPorts};
use lrmf_core::clock::RuntimeClock;
use lrmf_core::runner::{Held, RunTask};
use lrmf_core::{Task, Token};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::{context, hundred};

const CONFIG: SchedulerConfig = SchedulerConfig { results_bytes: 1 << 30 };

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

#[tokio::test(start_paused = true)]
async fn a_scheduler_stops_and_listens_however_fast_the_executors_are() {
    let clock = Arc::new(RuntimeClock::new());
    let queues = Arc::new(MemoryQueues::new(clock.clone()));
    let table = Arc::new(MemoryTable::new());
    hundred(&table, &queues, 1).await;
    let stop = CancellationToken::new();
    let shards =
        Arc::new(Bottomless { queues: queues.clone(), shipped: AtomicUsize::new(0), stop: stop.clone() });
    let context = context(clock, Arc::new(MemoryWakeUp::default()));
    let held = Held::new(Task::new("00000", ""), Token(1), stop);
    Scheduler::new(CONFIG, SchedulerPorts { table, queues, shards: shards.clone() }, context)
        .run(held)
        .await
        .unwrap();
    let shipped = shards.shipped.load(Ordering::Relaxed);
    assert!((ENOUGH..2 * ENOUGH).contains(&shipped), "stopped after {shipped} shipments");
}

/// Shards that take everything, and whose contents take a while to be read.
#[derive(Default)]
struct Deliberate {
    contents: Mutex<BTreeMap<Shard, Vec<ShipmentId>>>,
    /// The time at which something of a task was shipped first.
    shipped: Mutex<BTreeMap<TaskId, Instant>>,
    looks: AtomicUsize,
}

/// The time that a look at a shard takes.
const LOOK: Duration = Duration::from_secs(10);

#[async_trait]
impl ShardQueue for Deliberate {
    async fn hold(&self, _: Shard, _: Token, _: &Capacity) -> Result<Vec<Shipment>, StoreError> {
        Ok(Vec::new())
    }

    async fn credits(&self, shards: &[Shard]) -> Result<Vec<ShardCredit>, StoreError> {
        let credit = ShardCredit { free: 1000, used: 0, kinds: SupportedTypes::all(), credit: None };
        Ok(vec![credit; shards.len()])
    }

    async fn tokens(&self, shards: &[Shard]) -> Result<Vec<Token>, StoreError> {
        Ok(vec![Token(0); shards.len()])
    }

    async fn ship(&self, shard: Shard, shipments: &[Shipment]) -> Result<usize, StoreError> {
        for shipment in shipments {
            self.shipped.lock().unwrap().entry(shipment.task).or_insert_with(Instant::now);
            self.contents.lock().unwrap().entry(shard).or_default().push(shipment.id());
        }
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

    async fn contents(&self, shard: Shard) -> Result<Vec<ShipmentId>, StoreError> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(LOOK).await;
        Ok(self.contents.lock().unwrap().get(&shard).cloned().unwrap_or_default())
    }
}

/// A task gets no further, and what runs of it is looked for on all its shards.
#[tokio::test(start_paused = true)]
async fn others_are_dispatched_while_the_shards_of_a_task_are_checked() {
    let clock = Arc::new(RuntimeClock::new());
    let queues = Arc::new(MemoryQueues::new(clock.clone()));
    let (table, wake) = (Arc::new(MemoryTable::new()), Arc::new(MemoryWakeUp::default()));
    hundred(&table, &queues, 1).await;
    let (shards, stop) = (Arc::new(Deliberate::default()), CancellationToken::new());
    let ports = SchedulerPorts { table: table.clone(), queues: queues.clone(), shards: shards.clone() };
    let scheduler = Scheduler::new(CONFIG, ports, context(clock, wake.clone()));
    let held = Held::new(Task::new("00000", ""), Token(1), stop.clone());
    let running = tokio::spawn(async move { scheduler.run(held).await });
    while shards.looks.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (shape, begin) = (ClusterShape::embedded(), Instant::now());
    let other = hundred(&table, &queues, 2).await;
    wake.notify(shape.scheduling(other), other);
    let shipped = loop {
        if let Some(at) = shards.shipped.lock().unwrap().get(&other) {
            break *at;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(shipped - begin < LOOK / 10, "it was shipped after {:?}", shipped - begin);
    // All shards at once, and nothing of what is there counts as lost.
    tokio::time::sleep_until(begin + LOOK + LOOK / 10).await;
    assert_eq!(shards.looks.load(Ordering::Relaxed), shape.shards as usize);
    let first = shards.contents.lock().unwrap().values().map(Vec::len).sum::<usize>();
    assert_eq!(first, 200, "everything is shipped once");
    wake.notify(Topic::Scheduling(0), other);
    stop.cancel();
    running.await.unwrap().unwrap();
}
