//! One decorator for the ports to the stores of tasks: whatever has to see every call (metrics, tracing, the faults of a test)
//! implements [`Interceptor`].

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lrmf_core::Token;
use uuid::Uuid;

use crate::audit::{AuditEntry, AuditFilter, AuditOutcome, AuditTable, Note, NotingTable};
use crate::bulk::{BulkRow, BulkTable, BulkUpdate, NewBulk};
use crate::cluster::ClusterTable;
use crate::defined_type::{DefinedType, DefinedTypeTable};
use crate::failure::{Failure, FailureKey, FailureTable};
use crate::flow::{Dependency, Dependent, FlowCounts, FlowRow, FlowTable, NewFlow};
use crate::gateway::{Gateway, GatewayTable};
use crate::group::{GroupTable, ResourceGroup};
use crate::hook::{HookTable, HookUpdate};
use crate::items::{Appended, Feed, FeedOffset, ItemChunk, ItemTable};
use crate::plugin::TaskResult;
use crate::queue::{
    Backlog, CollectorLoad, CollectorQueue, Commit, ExecutorQueue, Fence, GeneratorLoad, GeneratorQueue,
    Incarnation, LostParcel, Outcome, Parcel, ParcelId, ParcelReport, Push, QueueReader, QueueStore, Report,
    Reported, ResultBatch, SchedulerLoad, SchedulerQueue, TakeRequest, Taken, TaskControl, TaskProgress,
    TaskState,
};
use crate::result::{NumberedResult, ResultTable};
use crate::schedule::{NewSchedule, ScheduleRow, ScheduleTable, ScheduleUpdate};
use crate::shard::{Capacity, ShardCredit, ShardQueue, Shipment, ShipmentId};
use crate::table::{BucketOf, Finish, HistoryOf, Keep, NewTask, TaskFilter, TaskHead, TaskRow, TaskTable};
use crate::token::{ApiToken, TokenTable};
use crate::unique::{Unique, UniqueTable};
use crate::{Control, Counts, FlowId, RunEpoch, ScheduleId, Shard, StoreError, TaskId, TaskSpec, TaskStatus};

/// A call on a port.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The store: `tasks`, `queues` or `shards`.
    pub store: &'static str,
    /// The name of the port's method.
    pub method: &'static str,
    /// The part of its arguments that can be counted.
    pub subject: Subject<'a>,
}

/// The arguments of those calls that change the books of a task.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// The call changes no books.
    None,
    /// [`TaskControl::open`].
    Open(&'a TaskSpec),
    /// [`GeneratorQueue::push`].
    Push {
        /// The task.
        task: TaskId,
        /// The number of parcels.
        parcels: u64,
        /// The number of subtasks.
        subtasks: u64,
    },
    /// [`ExecutorQueue::complete`].
    Complete {
        /// The task.
        task: TaskId,
        /// The slot-time of the parcel.
        busy: Duration,
        /// The number of reports of each kind.
        outcomes: Outcomes,
    },
    /// [`CollectorQueue::commit`].
    Commit {
        /// The task.
        task: TaskId,
        /// The number of result batches.
        batches: u64,
    },
    /// [`TaskTable::finish`].
    Finish {
        /// The task.
        task: TaskId,
        /// The status that it is to end with.
        status: TaskStatus,
    },
}

/// The numbers of reports of each kind, with the kinds' names.
pub type Outcomes = [(&'static str, u64); 6];

fn outcomes(report: &ParcelReport) -> Outcomes {
    let mut counts =
        ["succeeded", "failed", "timed_out", "cancelled", "retried", "returned"].map(|name| (name, 0));
    for report in &report.reports {
        let at = match report {
            Report::Ended(Outcome::Succeeded(_)) => 0,
            Report::Ended(Outcome::Failed { .. }) => 1,
            Report::Ended(Outcome::TimedOut { .. }) => 2,
            Report::Ended(Outcome::Cancelled) => 3,
            Report::Retry { .. } => 4,
            Report::Returned | Report::GoesOn => 5,
        };
        counts[at].1 += 1;
    }
    counts
}

/// Sees every call on a port.
pub trait Interceptor: Send + Sync + 'static {
    /// Makes a call by awaiting `next`, or answers in its place. `T` is what the method of the port answers.
    fn around<T: Any + Send>(
        &self,
        call: Call<'_>,
        next: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> impl Future<Output = Result<T, StoreError>> + Send;
}

/// A port whose calls pass through an interceptor.
pub struct Intercepted<P: ?Sized, I> {
    inner: Arc<P>,
    interceptor: Arc<I>,
}

impl<P: ?Sized, I: Interceptor> Intercepted<P, I> {
    /// Passes the calls on `inner` through an interceptor.
    pub fn new(inner: Arc<P>, interceptor: Arc<I>) -> Arc<Self> {
        Arc::new(Self { inner, interceptor })
    }
}

/// Implements a port on an object of it, or of one that includes it. Behind a method may stand its subject.
macro_rules! intercepted {
    ($store:literal: $port:ident for $object:ident;
     $($method:ident($($arg:ident: $kind:ty),*) -> $answer:ty $(, $subject:expr)?;)*) => {
        #[async_trait]
        impl<I: Interceptor> $port for Intercepted<dyn $object, I> {
            $(async fn $method(&self, $($arg: $kind),*) -> Result<$answer, StoreError> {
                let subject = intercepted!(@subject $($subject)?);
                let call = Call { store: $store, method: stringify!($method), subject };
                self.interceptor.around(call, self.inner.$method($($arg),*)).await
            })*
        }
    };
    (@subject) => { Subject::None };
    (@subject $subject:expr) => { $subject };
}

intercepted! { "queues": QueueReader for QueueStore;
    incarnation() -> Incarnation;
    state(task: TaskId) -> Option<TaskState>;
    progress_of(tasks: &[TaskId]) -> Vec<(TaskId, TaskProgress)>;
}

intercepted! { "queues": TaskControl for QueueStore;
    claim(owner: &str) -> String;
    open(spec: &TaskSpec) -> (), Subject::Open(spec);
    set_control(task: TaskId, run: RunEpoch, control: Control) -> ();
    close(task: TaskId, run: RunEpoch) -> Counts;
    purge(task: TaskId, run: RunEpoch) -> ();
}

intercepted! { "queues": GeneratorQueue for QueueStore;
    load_generator(fence: Fence) -> GeneratorLoad;
    push(fence: Fence, push: Push) -> Backlog, Subject::Push {
        task: fence.task,
        parcels: push.parcels.len() as u64,
        subtasks: push.bodies.len() as u64,
    };
    backlog(task: TaskId, run: RunEpoch) -> Backlog;
    stop_by_generator(fence: Fence, reason: &str) -> ();
    set_generator_blocked_on(fence: Fence, reason: Option<&str>) -> ();
}

intercepted! { "queues": SchedulerQueue for QueueStore;
    load_scheduler(fence: Fence) -> SchedulerLoad;
    take(fence: Fence, hand: &TakeRequest, most: u64) -> Taken;
    put_back(fence: Fence, parcels: &[ParcelId], after: Duration) -> ();
    set_scheduler_blocked_on(fence: Fence, reason: Option<&str>) -> ();
}

intercepted! { "queues": ExecutorQueue for QueueStore;
    controls(tasks: &[TaskId]) -> Vec<(TaskId, RunEpoch, Control)>;
    complete(task: TaskId, run: RunEpoch, report: ParcelReport) -> Reported, Subject::Complete {
        task,
        busy: report.busy,
        outcomes: outcomes(&report),
    };
    recover(task: TaskId, run: RunEpoch, lost: LostParcel) -> Reported;
    mark_suspect(task: TaskId, run: RunEpoch, parcel: ParcelId, attempt: u32) -> bool;
    runs_on(task: TaskId, run: RunEpoch, shard: Shard, parcel: &Parcel) -> bool;
}

intercepted! { "queues": CollectorQueue for QueueStore;
    load_collector(fence: Fence) -> CollectorLoad;
    peek(fence: Fence, offset: u64, most: usize) -> Vec<ResultBatch>;
    commit(fence: Fence, commit: Commit) -> TaskState, Subject::Commit { task: fence.task, batches: commit.batches };
    conclude(fence: Fence, result: &TaskResult) -> ();
    stop_by_collector(fence: Fence, reason: &str) -> ();
    set_collector_blocked_on(fence: Fence, reason: Option<&str>) -> ();
}

intercepted! { "shards": ShardQueue for ShardQueue;
    hold(shard: Shard, token: Token, offer: &Capacity) -> Vec<Shipment>;
    credits(shards: &[Shard]) -> Vec<ShardCredit>;
    tokens(shards: &[Shard]) -> Vec<Token>;
    ship(shard: Shard, shipments: &[Shipment]) -> usize;
    claim(shard: Shard, token: Token, offer: &Capacity, in_hand: &[ShipmentId], most: usize) -> Vec<Shipment>;
    acknowledge(shard: Shard, token: Token, done: &[ShipmentId]) -> ();
    contents(shard: Shard) -> Vec<ShipmentId>;
}

intercepted! { "tasks": GroupTable for TaskTable;
    set_group(group: &ResourceGroup) -> ();
    group(name: &str) -> Option<ResourceGroup>;
    groups(after: Option<&str>, most: u32) -> Vec<ResourceGroup>;
}

intercepted! { "tasks": ClusterTable for TaskTable;
    note(name: &str) -> Option<String>;
    note_once(name: &str, value: &str) -> String;
    replace_note(name: &str, expected: &str, value: &str) -> bool;
}

intercepted! { "tasks": FailureTable for TaskTable;
    keep_failures(task: TaskId, run: RunEpoch, failures: &[Failure]) -> ();
    failures(task: TaskId, run: RunEpoch, after: Option<FailureKey>, most: u32) -> Vec<Failure>;
    errors(task: TaskId, run: RunEpoch) -> Vec<Failure>;
    count_failures(task: TaskId, run: RunEpoch) -> u64;
    forget_failures(task: TaskId, before: RunEpoch) -> ();
}

intercepted! { "tasks": ScheduleTable for TaskTable;
    insert_schedule(new: &NewSchedule) -> ScheduleRow;
    schedule(name: &str) -> Option<ScheduleRow>;
    schedules(after: Option<&str>, most: u32) -> Vec<ScheduleRow>;
    due_schedules(share: BucketOf, by: u64, most: u32) -> Vec<ScheduleRow>;
    next_schedule_at(share: BucketOf) -> Option<u64>;
    update_schedule(update: &ScheduleUpdate) -> bool;
    delete_schedule(id: ScheduleId) -> bool;
}

intercepted! { "tasks": UniqueTable for TaskTable;
    insert_unique(task: &NewTask, unique: &Unique) -> TaskId;
}

intercepted! { "tasks": HookTable for TaskTable;
    due_hooks(by: u64, most: u32) -> Vec<TaskRow>;
    next_hook_at() -> Option<u64>;
    update_hooks(update: &HookUpdate) -> bool;
}

intercepted! { "tasks": FlowTable for TaskTable;
    create_flow(flow: &NewFlow) -> Vec<TaskId>;
    flow(id: FlowId) -> Option<FlowRow>;
    flows(before: Option<FlowId>, most: u32) -> Vec<(FlowRow, FlowCounts)>;
    flow_tasks(id: FlowId) -> Vec<TaskRow>;
    dependencies(tasks: &[TaskId]) -> Vec<Dependency>;
    untold(task: TaskId, after: TaskId, most: u32) -> Vec<Dependent>;
    release(tasks: &[TaskId]) -> ();
    release_with(task: TaskId, type_param: &serde_json::Value) -> bool;
    end_waiting(tasks: &[TaskId], status: TaskStatus, reason: &str, now: u64) -> ();
    told(task: TaskId, dependents: &[TaskId]) -> ();
    with_untold(after: TaskId, most: u32) -> Vec<TaskId>;
}

intercepted! { "tasks": ResultTable for TaskTable;
    keep_results(task: TaskId, run: RunEpoch, first: u64, results: &[Bytes]) -> ();
    results(task: TaskId, run: RunEpoch, from: u64, most: u32) -> Vec<NumberedResult>;
}

intercepted! { "tasks": ItemTable for TaskTable;
    feed_items(task: TaskId, offset: Option<FeedOffset<'_>>, items: &[Bytes]) -> Appended;
    close_items(task: TaskId) -> ();
    feed(task: TaskId, producer: &str) -> (Feed, u64);
    items(task: TaskId, from: u64) -> Vec<ItemChunk>;
    drop_items(task: TaskId, before: u64) -> ();
}

intercepted! { "tasks": DefinedTypeTable for TaskTable;
    define_type(definition: &DefinedType) -> bool;
    defined_type(name: &str) -> Option<DefinedType>;
    defined_types(after: Option<&str>, most: u32) -> Vec<DefinedType>;
    delete_type(name: &str) -> bool;
}

intercepted! { "tasks": GatewayTable for TaskTable;
    announce_gateway(gateway: &Gateway) -> ();
    gateways(now: u64, after: Option<Uuid>, most: u32) -> Vec<Gateway>;
    withdraw_gateway(id: Uuid, now: u64) -> ();
}

intercepted! { "tasks": TokenTable for TaskTable;
    add_token(token: &ApiToken) -> ();
    token(id: &str) -> Option<ApiToken>;
    tokens(after: Option<&str>, most: u32) -> Vec<ApiToken>;
    touch_token(id: &str, at: u64) -> ();
    remove_token(id: &str) -> bool;
}

intercepted! { "tasks": AuditTable for TaskTable;
    add_entry(entry: &AuditEntry) -> ();
    close_entry(id: Uuid, outcome: AuditOutcome, detail: &str) -> ();
    entries(filter: &AuditFilter, before: Option<Uuid>, most: u32) -> Vec<AuditEntry>;
    forget_entries(before: Uuid, most: u32) -> bool;
}

impl<I: Interceptor> NotingTable for Intercepted<dyn TaskTable, I> {
    fn noting(&self, note: &Note) -> Arc<dyn TaskTable> {
        Intercepted::new(self.inner.noting(note), self.interceptor.clone())
    }
}

intercepted! { "tasks": BulkTable for TaskTable;
    add_bulk(new: &NewBulk) -> ();
    bulk(id: Uuid) -> Option<BulkRow>;
    tasks_of_bulk(id: Uuid) -> Vec<u64>;
    update_bulk(update: &BulkUpdate) -> bool;
    due_bulks(now: u64, most: u32) -> Vec<BulkRow>;
    forget_bulks(before: u64, most: u32) -> bool;
}

intercepted! { "tasks": TaskTable for TaskTable;
    insert(task: &NewTask) -> TaskId;
    get(id: TaskId) -> Option<TaskRow>;
    active(share: BucketOf, after: TaskId, most: u32) -> Vec<TaskHead>;
    list(filter: &TaskFilter, last: Option<TaskId>, most: u32) -> Vec<TaskRow>;
    begin_run(id: TaskId, expected: RunEpoch, now: u64) -> bool;
    set_control(id: TaskId, control: Control, reason: &str, now: u64) -> bool;
    finish(id: TaskId, finish: &Finish) -> bool, Subject::Finish { task: id, status: finish.status };
    unpurged(share: BucketOf, finished_by: u64, most: u32) -> Vec<TaskHead>;
    purged(id: TaskId) -> ();
    next_history(after: Option<&HistoryOf>) -> Option<HistoryOf>;
    forget(of: &HistoryOf, keep: Keep, most: u32) -> u64;
}
