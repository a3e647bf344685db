//! [`QueueReader`] on Redis.

use std::time::Duration;

use async_trait::async_trait;
use dtf_model::queue::{Incarnation, QueueReader, TaskProgress, TaskState, Usage};
use dtf_model::{RunEpoch, StoreError, TaskId};

use super::RedisQueues;
use crate::keys::Of;
use crate::reply::{mean_run, parse, read_control};
use crate::scripts;

#[async_trait]
impl QueueReader for RedisQueues {
    async fn incarnation(&self) -> Result<Incarnation, StoreError> {
        self.redis.incarnation().await
    }

    async fn state(&self, task: TaskId) -> Result<Option<TaskState>, StoreError> {
        let names = self.redis.keys().task(task);
        let mut call = scripts::READ_STATE.prepare_invoke();
        call.key(names.of(Of::Info)).key(names.of(Of::Delayed));
        match self.on_task(task, RunEpoch(0), &call).await {
            Ok(mut reply) => reply.state().map(Some),
            Err(StoreError::Gone { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn progress_of(&self, tasks: &[TaskId]) -> Result<Vec<(TaskId, TaskProgress)>, StoreError> {
        let keys = || tasks.iter().map(|task| self.redis.keys().task(*task));
        let info = keys().map(|keys| {
            let mut info = redis::cmd("HMGET");
            info.arg(keys.of(Of::Info)).arg(&STANDING_FIELDS[..]);
            info
        });
        let delayed = keys().map(|keys| {
            let mut delayed = redis::cmd("ZCARD");
            delayed.arg(keys.of(Of::Delayed));
            delayed
        });
        let (info, delayed) = tokio::try_join!(
            self.redis.send_all::<ProgressFields>(info.collect()),
            self.redis.send_all::<u64>(delayed.collect())
        )?;
        let mut found = Vec::with_capacity(tasks.len());
        for ((task, info), delayed) in tasks.iter().zip(info).zip(delayed) {
            if let Some(progress) = read_progress(info, delayed)? {
                found.push((*task, progress));
            }
        }
        Ok(found)
    }
}

/// What of a task's hash says how it stands.
const STANDING_FIELDS: [&str; 12] = [
    "run", "control", "pending", "lost", "used", "running", "busy", "timed", "waiting", "finished", "stop",
    "over",
];

type ProgressFields = [Option<String>; 12];

/// None where the task has no queues.
fn read_progress(info: ProgressFields, delayed: u64) -> Result<Option<TaskProgress>, StoreError> {
    let [run, control, pending, lost, used, running, busy, timed, results, generated, stop, over] = info;
    let (Some(run), Some(control)) = (run, control) else { return Ok(None) };
    let count = |text: Option<String>| text.map_or(Ok(0), |text| parse::<u64>(&text));
    let busy = busy.map_or(Ok(0.0), |text| parse(&text))?;
    let usage = Usage {
        used: Duration::from_nanos(count(used)?),
        running: count(running)?,
        mean_run: mean_run(busy, count(timed)?),
    };
    let pending = count(pending)?;
    let progress = TaskProgress {
        run: RunEpoch(parse(&run)?),
        usage,
        pending,
        lost: count(lost)?.min(pending),
        delayed,
        results: count(results)?,
        generated: generated.is_some(),
        control: read_control(&control)?,
        is_over: stop.is_some() || over.is_some(),
    };
    Ok(Some(progress))
}
