//! The collector role.

use std::sync::Arc;

use async_trait::async_trait;
use dtf_model::queue::{CollectorQueue, Fence, TaskState};
use dtf_model::table::TaskTable;
use dtf_model::{Role, RunEpoch, StoreError};
use dtf_runtime::{
    Again, Attempts, End, Halt, Reconcile, Reconciler, RoleContext, TaskLease, TaskScan, called,
};
use lrmf_core::runner::{Held, RunTask};
use tracing::warn;

use crate::collection::{CALL_LIMIT, Collection, failing};
use crate::failure_outbox::FailureOutbox;
use crate::saved_status;

/// The stores that the collector works with.
#[derive(Clone)]
pub struct CollectorPorts {
    /// `tbl_task`.
    pub table: Arc<dyn TaskTable>,
    /// The collector's side of the queues.
    pub queues: Arc<dyn CollectorQueue>,
}

/// The collector role, for the collection buckets that its member holds.
pub struct Collector(Reconciler<Collect>);

impl Collector {
    /// Creates the role. Plugin code runs on the context's plugin runtime.
    pub fn new(ports: CollectorPorts, context: RoleContext) -> Self {
        let (of, on) = (context.clone(), context.plugin_runtime.clone());
        let scan = TaskScan::new(ports.table.clone(), ports.queues.clone());
        Self(Reconciler::new(Role::Collector, scan, &of, on, Collect { ports, context }))
    }
}

#[async_trait]
impl RunTask for Collector {
    async fn run(&self, held: Held) -> anyhow::Result<()> {
        self.0.run(held).await
    }
}

/// The collector's work on one task.
struct Collect {
    ports: CollectorPorts,
    context: RoleContext,
}

#[async_trait]
impl Reconcile for Collect {
    async fn reconcile(&self, lease: &TaskLease) -> Result<Option<RunEpoch>, StoreError> {
        let mut attempts = Attempts::default();
        loop {
            let Some(state) = self.ports.queues.state(lease.task).await? else { return Ok(None) };
            let (run, task_type) = (state.spec.run, state.spec.task_type);
            if state.ending.is_some() || state.control.ends() {
                return Ok(Some(run));
            }
            let fence = Fence { task: lease.task, run, token: lease.token };
            let failure = match self.collect(lease, fence, state, &mut attempts).await {
                Ok(End::Settled) => return Ok(Some(run)),
                Ok(End::Stopped) | Err(Halt::Stopped) => return Ok(None),
                Err(Halt::Store(error)) => return Err(error),
                Err(Halt::Fault(error)) => format!("{error:#}"),
                Err(Halt::Plugin(error)) => {
                    let conf = self.context.plugins.conf(task_type)?;
                    match attempts.failed(Role::Collector, conf, &error) {
                        Again::After(wait, reason) => {
                            warn!(task_id = %lease.task, %reason, "a collector failed");
                            self.ports.queues.set_collector_blocked_on(fence, Some(&reason)).await?;
                            let waited = tokio::time::sleep(wait);
                            if lease.stop.run_until_cancelled(waited).await.is_none() {
                                return Ok(None);
                            }
                            continue;
                        }
                        Again::Never(reason) => reason,
                    }
                }
            };
            let reason = failure;
            self.ports.queues.stop_by_collector(fence, &reason).await?;
            self.context.wake.notify(self.context.shape.watch(lease.task), lease.task);
            return Ok(Some(run));
        }
    }
}

impl Collect {
    async fn collect(
        &self,
        lease: &TaskLease,
        fence: Fence,
        state: TaskState,
        attempts: &mut Attempts,
    ) -> Result<End, Halt> {
        let spec = &state.spec;
        let (Ok(found), Ok(conf)) =
            (self.context.plugins.able(spec.kind()), self.context.plugins.conf(spec.task_type))
        else {
            let reason =
                format!("a collector that knows task type {}; the one that it has does not", spec.kind());
            self.ports.queues.set_collector_blocked_on(fence, Some(&reason)).await?;
            return Ok(End::Stopped);
        };
        let plugin = &found.plugin;
        let load = self.ports.queues.load_collector(fence).await?;
        if !state.blocked_on.is_empty() {
            self.ports.queues.set_collector_blocked_on(fence, None).await?;
        }
        let (status, waiting) = saved_status::decode(load.saved)?;
        let begin = async {
            let mut collector = plugin.collector(spec)?;
            collector.begin(status).await?;
            anyhow::Ok(collector)
        };
        let collector = called(&lease.stop, CALL_LIMIT, failing(begin)).await?;
        let (epoch, next, offset) = (load.epoch, load.next, load.offset);
        let failures = FailureOutbox::new(&*self.ports.table, fence, waiting);
        let collection = Collection {
            queues: &*self.ports.queues,
            context: &self.context,
            lease,
            fence,
            conf,
            collector,
            failures,
            epoch,
            next,
            offset,
            attempts,
            known: state,
            found: Some(load.results),
        };
        collection.run().await
    }
}
