//! A type of task, tasks in stores in memory, and the surroundings of a role.

use std::sync::Arc;

use dtf_memory::{MemoryQueues, MemoryTable, MemoryWakeUp};
use dtf_model::plugin::{
    PluginRegistry, TaskCollector, TaskExecutor, TaskGenerator, TaskPlugin, TaskPluginRegistration,
};
use dtf_model::queue::{Fence, GeneratorQueue, Push, TaskControl};
use dtf_model::table::{NewTask, TaskTable};
use dtf_model::{ClusterShape, InvalidInput, RunEpoch, TaskId, TaskParam, TaskSpec, TaskTypeId};
use dtf_runtime::RoleContext;
use lrmf_core::Token;
use lrmf_core::clock::RuntimeClock;
use uuid::Uuid;

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

pub(crate) fn plugins() -> Arc<PluginRegistry> {
    let mut plugins = PluginRegistry::default();
    let (name, description) = ("known".to_owned(), String::new());
    let plugin = Arc::new(Known);
    plugins.register(TaskPluginRegistration { task_type: TaskTypeId(1), name, description, plugin }).unwrap();
    Arc::new(plugins)
}

/// A new task in the table.
pub(crate) async fn task(table: &MemoryTable, request: u128) -> TaskId {
    let (request, param) = (Uuid::from_u128(request), TaskParam::default());
    table.insert(&NewTask { request, task_type: TaskTypeId(1), param, now: 0 }).await.unwrap()
}

/// A task in the table and in the queues, with a hundred subtasks.
pub(crate) async fn hundred(table: &MemoryTable, queues: &MemoryQueues, request: u128) -> TaskId {
    let id = task(table, request).await;
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
    id
}

/// The surroundings of a role in a process that is alone.
pub(crate) fn context(clock: Arc<RuntimeClock>, wake: Arc<MemoryWakeUp>) -> RoleContext {
    RoleContext {
        wake,
        plugins: plugins(),
        shape: ClusterShape::embedded(),
        clock,
        peers: Arc::new(dtf_runtime::Nobody),
        shutdown: dtf_runtime::GracefulShutdown::default(),
        plugin_runtime: tokio::runtime::Handle::current(),
    }
}
