//! The way from one process to the stores, with faults on it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dtf::Ports;
use dtf::model::Role;
use dtf::model::cluster::ClusterTable;
use dtf::model::failure::{Failure, FailureKey, FailureTable};
use dtf::model::group::{GroupTable, ResourceGroup};
use dtf::model::plugin::TaskResult;
use dtf::model::queue::{
    Backlog, CollectorLoad, Commit, Fence, GeneratorLoad, Hand, Incarnation, LostParcel, Parcel, ParcelId,
    ParcelReport, Push, QueueStore, Reported, ResultBatch, SchedulerLoad, Standing, Taken, TaskState,
};
use dtf::model::shard::{Offer, Room, ShardQueue, Shipment, ShipmentId};
use dtf::model::table::{BucketOf, Finish, NewTask, TaskFilter, TaskRow, TaskTable};
use dtf::model::{Control, Counts, RunEpoch, Shard, StoreError, TaskId, TaskSpec};
use lrmf_core::Token;
use tokio::sync::Notify;

/// What becomes of a call.
pub(crate) enum Fate {
    /// It is made and answered.
    Pass,
    /// It is not made.
    Unreachable,
    /// It is refused.
    Refused,
    /// It is made, and its answer is lost.
    Unknown,
    /// It is made, and its answer comes when this is notified.
    Held(Arc<Notify>),
}

/// Says what becomes of each call, by the name of its method.
pub(crate) type Faults = Arc<dyn Fn(&'static str) -> Fate + Send + Sync>;

/// These stores, as they are seen through faults.
pub(crate) fn wired(ports: &Ports, faults: &Faults) -> Ports {
    Ports {
        table: Arc::new(Wire { inner: ports.table.clone(), faults: faults.clone() }),
        queues: Arc::new(Wire { inner: ports.queues.clone(), faults: faults.clone() }),
        shards: Arc::new(Wire { inner: ports.shards.clone(), faults: faults.clone() }),
        ..ports.clone()
    }
}

struct Wire<S: ?Sized> {
    inner: Arc<S>,
    faults: Faults,
}

impl<S: ?Sized> Wire<S> {
    async fn call<T>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let store = "the test's store";
        match (self.faults)(name) {
            Fate::Pass => call.await,
            Fate::Unreachable => Err(StoreError::Unreachable { store, cause: format!("{name} not sent") }),
            Fate::Refused => Err(StoreError::Refused { store, cause: format!("{name} not wanted") }),
            Fate::Unknown => {
                call.await?;
                Err(StoreError::Unknown { store, cause: format!("{name} not answered") })
            }
            Fate::Held(until) => {
                let answer = call.await;
                until.notified().await;
                answer
            }
        }
    }
}

/// A store that is the inner one, behind a fault.
macro_rules! wired {
    ($store:ident; $($rest:tt)*) => { wired! { $store for $store; $($rest)* } };
    ($store:ident for $object:ident; $($name:ident($($arg:ident: $kind:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl $store for Wire<dyn $object> {
            $(async fn $name(&self, $($arg: $kind),*) -> Result<$answer, StoreError> {
                self.call(stringify!($name), self.inner.$name($($arg),*)).await
            })*
        }
    };
}

wired! {
    QueueStore;
    incarnation() -> Incarnation;
    open(spec: &TaskSpec) -> ();
    state(task: TaskId) -> Option<TaskState>;
    controls(tasks: &[TaskId]) -> Vec<(TaskId, RunEpoch, Control)>;
    set_control(task: TaskId, run: RunEpoch, control: Control) -> ();
    close(task: TaskId, run: RunEpoch) -> Counts;
    purge(task: TaskId, run: RunEpoch) -> ();
    stop_by_generator(fence: Fence, reason: &str) -> ();
    set_waits(fence: Fence, role: Role, reason: Option<&str>) -> ();
    load_generator(fence: Fence) -> GeneratorLoad;
    push(fence: Fence, push: Push) -> Backlog;
    backlog(task: TaskId, run: RunEpoch) -> Backlog;
    load_scheduler(fence: Fence) -> SchedulerLoad;
    take(fence: Fence, hand: &Hand, most: u64) -> Taken;
    standings(tasks: &[TaskId]) -> Vec<(TaskId, Standing)>;
    put_back(fence: Fence, parcels: &[ParcelId], after: Duration) -> ();
    complete(task: TaskId, run: RunEpoch, report: ParcelReport) -> Reported;
    recover(task: TaskId, run: RunEpoch, lost: LostParcel) -> Reported;
    accuse(task: TaskId, run: RunEpoch, parcel: ParcelId, attempt: u32) -> bool;
    runs_on(task: TaskId, run: RunEpoch, shard: Shard, parcel: &Parcel) -> bool;
    stop_by_collector(fence: Fence, reason: &str) -> ();
    load_collector(fence: Fence) -> CollectorLoad;
    peek(fence: Fence, offset: u64, most: usize) -> Vec<ResultBatch>;
    commit(fence: Fence, commit: Commit) -> TaskState;
    conclude(fence: Fence, result: &TaskResult) -> ();
}

wired! {
    ShardQueue;
    hold(shard: Shard, token: Token, offer: &Offer) -> Vec<Shipment>;
    rooms(shards: &[Shard]) -> Vec<Room>;
    tokens(shards: &[Shard]) -> Vec<Token>;
    ship(shard: Shard, shipments: &[Shipment]) -> usize;
    claim(shard: Shard, token: Token, offer: &Offer, in_hand: &[ShipmentId], most: usize) -> Vec<Shipment>;
    acknowledge(shard: Shard, token: Token, done: &[ShipmentId]) -> ();
    contents(shard: Shard) -> Vec<ShipmentId>;
}

wired! {
    ClusterTable for TaskTable;
    note(name: &str) -> Option<String>;
    note_once(name: &str, value: &str) -> String;
    replace_note(name: &str, expected: &str, value: &str) -> bool;
}

wired! {
    GroupTable for TaskTable;
    set_group(group: &ResourceGroup) -> ();
    group(name: &str) -> Option<ResourceGroup>;
    groups(after: Option<&str>, most: u32) -> Vec<ResourceGroup>;
}

wired! {
    FailureTable for TaskTable;
    keep_failures(task: TaskId, run: RunEpoch, failures: &[Failure]) -> ();
    failures(task: TaskId, run: RunEpoch, after: Option<FailureKey>, most: u32) -> Vec<Failure>;
    count_failures(task: TaskId, run: RunEpoch) -> u64;
    forget_failures(task: TaskId, before: RunEpoch) -> ();
}

wired! {
    TaskTable;
    insert(task: &NewTask) -> TaskId;
    get(id: TaskId) -> Option<TaskRow>;
    active(share: BucketOf, after: TaskId, most: u32) -> Vec<TaskRow>;
    list(filter: &TaskFilter, before: Option<TaskId>, most: u32) -> Vec<TaskRow>;
    begin_run(id: TaskId, expected: RunEpoch, now: u64) -> bool;
    set_control(id: TaskId, control: Control, reason: &str, now: u64) -> bool;
    finish(id: TaskId, finish: &Finish) -> bool;
    unpurged(share: BucketOf, finished_by: u64, most: u32) -> Vec<TaskRow>;
    purged(id: TaskId) -> ();
}
