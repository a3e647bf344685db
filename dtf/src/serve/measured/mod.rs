//! The stores of a service, with every call measured, and what the calls say of tasks counted.
//!
//! What is counted is what this process did: the sum over all processes is the cluster's. A report that is sent again is
//! counted again; the books in the stores are exact, and these are not them.

mod kinds;
mod sampler;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use dtf_model::Role;
use dtf_model::cluster::ClusterTable;
use dtf_model::failure::{Failure, FailureKey, FailureTable};
use dtf_model::group::{GroupTable, ResourceGroup};
use dtf_model::plugin::{PluginRegistry, TaskResult};
use dtf_model::queue::{
    Backlog, CollectorLoad, Commit, Fence, GeneratorLoad, Hand, Incarnation, LostParcel, Outcome, Parcel,
    ParcelId, ParcelReport, Push, QueueStore, Report, Reported, ResultBatch, SchedulerLoad, Standing, Taken,
    TaskState,
};
use dtf_model::table::{BucketOf, Finish, NewTask, TaskFilter, TaskRow, TaskTable};
use dtf_model::{Control, Counts, RunEpoch, Shard, StoreError, TaskId, TaskSpec};
use metrics::{Label, counter, histogram};

use self::kinds::Kinds;
use super::metrics as names;
use crate::service::Ports;

pub(crate) use self::sampler::Sampler;

/// These stores, measured; the kinds of task are shown by these names.
pub(crate) fn measured(ports: Ports, plugins: &PluginRegistry) -> Ports {
    let kinds = Arc::new(Kinds::new(plugins));
    Ports {
        table: Arc::new(Measured { inner: ports.table, store: "tasks", kinds: kinds.clone() }),
        queues: Arc::new(Measured { inner: ports.queues, store: "queues", kinds }),
        ..ports
    }
}

struct Measured<S: ?Sized> {
    inner: Arc<S>,
    /// What the store is called.
    store: &'static str,
    kinds: Arc<Kinds>,
}

impl<S: ?Sized> Measured<S> {
    async fn call<T>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let labels = [("store", self.store), ("call", name)];
        let begun = Instant::now();
        let answer = call.await;
        histogram!(names::CALL_SECONDS, &labels).record(begun.elapsed().as_secs_f64());
        counter!(names::CALL_ERRORS, &labels).increment(u64::from(answer.is_err()));
        answer
    }
}

/// A store whose calls are passed on and measured; behind `counted`, those that say something of tasks as well.
macro_rules! measured {
    ($store:ident for $object:ident; $($name:ident($($arg:ident: $kind:ty),*) -> $answer:ty;)*; counted { $($counted:tt)* }) => {
        #[async_trait]
        impl $store for Measured<dyn $object> {
            $(async fn $name(&self, $($arg: $kind),*) -> Result<$answer, StoreError> {
                self.call(stringify!($name), self.inner.$name($($arg),*)).await
            })*
            $($counted)*
        }
    };
}

measured! {
    QueueStore for QueueStore;
    incarnation() -> Incarnation;
    controls(tasks: &[TaskId]) -> Vec<(TaskId, RunEpoch, Control)>;
    set_control(task: TaskId, run: RunEpoch, control: Control) -> ();
    close(task: TaskId, run: RunEpoch) -> Counts;
    purge(task: TaskId, run: RunEpoch) -> ();
    stop_by_generator(fence: Fence, reason: &str) -> ();
    load_generator(fence: Fence) -> GeneratorLoad;
    backlog(task: TaskId, run: RunEpoch) -> Backlog;
    load_scheduler(fence: Fence) -> SchedulerLoad;
    standings(tasks: &[TaskId]) -> Vec<(TaskId, Standing)>;
    recover(task: TaskId, run: RunEpoch, lost: LostParcel) -> Reported;
    accuse(task: TaskId, run: RunEpoch, parcel: ParcelId, attempt: u32) -> bool;
    runs_on(task: TaskId, run: RunEpoch, shard: Shard, parcel: &Parcel) -> bool;
    set_waits(fence: Fence, role: Role, reason: Option<&str>) -> ();
    put_back(fence: Fence, parcels: &[ParcelId], after: std::time::Duration) -> ();
    stop_by_collector(fence: Fence, reason: &str) -> ();
    load_collector(fence: Fence) -> CollectorLoad;
    peek(fence: Fence, offset: u64, most: usize) -> Vec<ResultBatch>;
    conclude(fence: Fence, result: &TaskResult) -> ();
    ; counted {
        async fn open(&self, spec: &TaskSpec) -> Result<(), StoreError> {
            self.kinds.learn(spec);
            self.call("open", self.inner.open(spec)).await
        }

        async fn state(&self, task: TaskId) -> Result<Option<TaskState>, StoreError> {
            let state = self.call("state", self.inner.state(task)).await?;
            if let Some(state) = &state {
                self.kinds.learn(&state.spec);
            }
            Ok(state)
        }

        async fn push(&self, fence: Fence, push: Push) -> Result<Backlog, StoreError> {
            let (parcels, subtasks) = (push.parcels.len() as u64, push.bodies.len() as u64);
            let backlog = self.call("push", self.inner.push(fence, push)).await?;
            counter!(names::PARCELS, "step" => "pushed").increment(parcels);
            counter!(names::GENERATED, self.kinds.labels(fence.task)).increment(subtasks);
            Ok(backlog)
        }

        async fn take(&self, fence: Fence, hand: &Hand, most: u64) -> Result<Taken, StoreError> {
            let taken = self.call("take", self.inner.take(fence, hand, most)).await?;
            counter!(names::PARCELS, "step" => "dispatched").increment(taken.parcels.len() as u64);
            Ok(taken)
        }

        async fn complete(&self, task: TaskId, run: RunEpoch, report: ParcelReport) -> Result<Reported, StoreError> {
            let (busy, outcomes) = (report.busy, outcomes(&report));
            let reported = self.call("complete", self.inner.complete(task, run, report)).await?;
            let labels = self.kinds.labels(task);
            counter!(names::PARCELS, "step" => "reported").increment(1);
            histogram!(names::PARCEL_SECONDS, labels.clone()).record(busy.as_secs_f64());
            counter!(names::COUNTED, labels.clone()).increment(reported.counted);
            for (outcome, count) in outcomes.into_iter().filter(|(_, count)| *count > 0) {
                let mut labels = labels.clone();
                labels.push(Label::from_static_parts("outcome", outcome));
                counter!(names::REPORTED, labels).increment(count);
            }
            Ok(reported)
        }

        async fn commit(&self, fence: Fence, commit: Commit) -> Result<TaskState, StoreError> {
            let batches = commit.batches;
            let state = self.call("commit", self.inner.commit(fence, commit)).await?;
            self.kinds.learn(&state.spec);
            counter!(names::COLLECTED, self.kinds.labels(fence.task)).increment(batches);
            Ok(state)
        }
    }
}

/// How many subtasks of a report ended how.
fn outcomes(report: &ParcelReport) -> [(&'static str, u64); 6] {
    let mut counts =
        ["succeeded", "failed", "timed_out", "cancelled", "retried", "returned"].map(|name| (name, 0));
    for report in &report.reports {
        let at = match report {
            Report::Ended(Outcome::Succeeded(_)) => 0,
            Report::Ended(Outcome::Failed { .. }) => 1,
            Report::Ended(Outcome::TimedOut { .. }) => 2,
            Report::Ended(Outcome::Cancelled) => 3,
            Report::Retry { .. } => 4,
            _ => 5,
        };
        counts[at].1 += 1;
    }
    counts
}

measured! {
    GroupTable for TaskTable;
    set_group(group: &ResourceGroup) -> ();
    group(name: &str) -> Option<ResourceGroup>;
    groups(after: Option<&str>, most: u32) -> Vec<ResourceGroup>;
    ; counted {}
}

measured! {
    ClusterTable for TaskTable;
    note(name: &str) -> Option<String>;
    note_once(name: &str, value: &str) -> String;
    replace_note(name: &str, expected: &str, value: &str) -> bool;
    ; counted {}
}

measured! {
    FailureTable for TaskTable;
    keep_failures(task: TaskId, run: RunEpoch, failures: &[Failure]) -> ();
    failures(task: TaskId, run: RunEpoch, after: Option<FailureKey>, most: u32) -> Vec<Failure>;
    count_failures(task: TaskId, run: RunEpoch) -> u64;
    forget_failures(task: TaskId, before: RunEpoch) -> ();
    ; counted {}
}

measured! {
    TaskTable for TaskTable;
    insert(task: &NewTask) -> TaskId;
    get(id: TaskId) -> Option<TaskRow>;
    active(share: BucketOf, after: TaskId, most: u32) -> Vec<TaskRow>;
    list(filter: &TaskFilter, before: Option<TaskId>, most: u32) -> Vec<TaskRow>;
    begin_run(id: TaskId, expected: RunEpoch, now: u64) -> bool;
    set_control(id: TaskId, control: Control, reason: &str, now: u64) -> bool;
    unpurged(share: BucketOf, finished_by: u64, most: u32) -> Vec<TaskRow>;
    purged(id: TaskId) -> ();
    ; counted {
        async fn finish(&self, id: TaskId, finish: &Finish) -> Result<bool, StoreError> {
            let finished = self.call("finish", self.inner.finish(id, finish)).await?;
            if finished {
                let mut labels = self.kinds.labels(id);
                labels.push(Label::new("status", finish.status.to_string()));
                counter!(names::TASKS_ENDED, labels).increment(1);
            }
            Ok(finished)
        }
    }
}
