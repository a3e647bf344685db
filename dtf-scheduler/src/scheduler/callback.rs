//! Calls of the plugin's callback, on the plugins' runtime. The scheduler never waits for one: a plugin that takes its time, or
//! does not come back at all, delays its own task only.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dtf_model::plugin::{Dispatch, TaskPlugin, TaskScheduler};
use dtf_model::queue::{Fence, Parcel, ParcelId, TaskState, Usage};
use dtf_model::{Shard, SubtaskId, TaskId};
use dtf_runtime::{CERTAINLY_STUCK, PluginFault, guarded};
use futures::future::join_all;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::blocked::Told;
use super::recovery::Checked;

/// The time limit of the plugin's callback.
const LIMIT: Duration = Duration::from_secs(5);
/// The wait of a subtask whose callback failed.
const AFTER_FAULT: Duration = Duration::from_secs(1);

/// A parcel of one, where it is to go, and what was said of it.
pub(super) type Said = (Shard, Parcel, Dispatch);

/// The result of the plugin's part of a task's beginning, or of asking it about a hand of parcels.
pub(super) enum Heard {
    Made(Box<Made>),
    Answers(Answers),
    /// The results of messages about the obstacles of tasks.
    Told(Vec<Told>),
    /// The result of a check of a task's shards.
    Checked(Checked),
}

/// The callback of a task, made by its plugin.
pub(super) struct Made {
    pub(super) state: TaskState,
    pub(super) usage: Usage,
    pub(super) callback: anyhow::Result<Option<Arc<dyn TaskScheduler>>>,
}

/// The plugin's answers about the parcels of a hand.
pub(super) struct Answers {
    pub(super) fence: Fence,
    /// The number of the hand, among those of this scheduler.
    pub(super) number: u64,
    pub(super) said: Vec<Said>,
}

/// Lets the plugin make its callback.
pub(super) async fn make(on: Handle, plugin: Arc<dyn TaskPlugin>, state: TaskState, usage: Usage) -> Heard {
    let spec = state.spec.clone();
    let making = guarded(LIMIT, async move { anyhow::Ok(plugin.scheduler(&spec)) });
    let callback = on_plugins(&on, making).await;
    Heard::Made(Box::new(Made { state, usage, callback }))
}

/// Asks the callback about parcels of one. All at once: one that takes its time delays the others of this hand, but not by its
/// time for each of them.
pub(super) async fn ask(
    on: Handle,
    callback: Arc<dyn TaskScheduler>,
    fence: Fence,
    number: u64,
    parcels: Vec<(Shard, Parcel)>,
) -> Heard {
    let asked = parcels.into_iter().map(|(shard, parcel)| {
        let about = about(callback.clone(), fence, parcel.id, parcel.bodies.first().cloned());
        let on = on.clone();
        async move {
            let said = on_plugins(&on, about).await.unwrap_or_else(|error| failed(fence.task, &error));
            (shard, parcel, said)
        }
    });
    Heard::Answers(Answers { fence, number, said: join_all(asked).await })
}

fn about(
    callback: Arc<dyn TaskScheduler>,
    fence: Fence,
    parcel: ParcelId,
    body: Option<Bytes>,
) -> impl Future<Output = Result<anyhow::Result<Dispatch>, PluginFault>> + Send + 'static {
    let id = SubtaskId { task: fence.task, run: fence.run, epoch: parcel.epoch, seq: parcel.first };
    guarded(LIMIT, async move {
        let Some(body) = body else { return Ok(Dispatch::Now) };
        let said = callback.before_dispatch(id, &body).await?;
        if said == Dispatch::Now {
            callback.after_dispatch(id).await?;
        }
        Ok(said)
    })
}

/// A callback that failed delays its subtask and nothing else.
fn failed(task: TaskId, error: &anyhow::Error) -> Dispatch {
    warn!(task_id = %task, %error, "the scheduler's callback failed");
    Dispatch::After(AFTER_FAULT)
}

/// Awaits a guarded call where plugins run. Code that blocks its thread is given up when it could not be broken off.
async fn on_plugins<T: Send + 'static>(
    on: &Handle,
    call: impl Future<Output = Result<anyhow::Result<T>, PluginFault>> + Send + 'static,
) -> anyhow::Result<T> {
    let call = AbortOnDropHandle::new(on.spawn(call));
    match tokio::time::timeout(LIMIT + CERTAINLY_STUCK, call).await {
        Ok(joined) => joined??,
        Err(_) => Err(PluginFault::TimedOut(LIMIT).into()),
    }
}
