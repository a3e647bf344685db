//! [`QueueReader`] on Redis.

use std::time::Duration;

use async_trait::async_trait;
use dtf_model::queue::{Incarnation, QueueReader, TaskProgress, TaskState, Usage};
use dtf_model::{RunEpoch, StoreError, TaskId};
use redis::Value;

use super::RedisQueues;
use crate::connection::STORE;
use crate::keys::Of;
use crate::reply::{Reply, malformed, mean_run, parse, read_control};

#[async_trait]
impl QueueReader for RedisQueues {
    async fn incarnation(&self) -> Result<Incarnation, StoreError> {
        self.redis.incarnation().await
    }

    async fn state(&self, task: TaskId) -> Result<Option<TaskState>, StoreError> {
        // Four commands cost the server a tenth of a script. A run that begins between them is seen and read again.
        let names = self.redis.keys().task(task);
        for _ in 0..READ_AGAIN {
            let (mut info, mut delayed) = (redis::cmd("HMGET"), redis::cmd("ZCARD"));
            info.arg(names.of(Of::Info)).arg(&STATE_FIELDS[..]);
            delayed.arg(names.of(Of::Delayed));
            let [spec, end] = [Of::Spec, Of::End].map(|of| redis::Cmd::get(names.of(of)));
            let mut answers = self.redis.send_all::<Value>(vec![info, delayed, spec, end]).await?.into_iter();
            let Some(Value::Array(mut values)) = answers.next() else {
                return Err(malformed("a task's state is no list"));
            };
            if values.first().is_none_or(|run| *run == Value::Nil) {
                return Ok(None);
            }
            values.extend(answers);
            // Behind the fields stand the number of delayed subtasks, the specification and the end.
            if let Some(spec) = values.get_mut(STATE_FIELDS.len() + 1).filter(|spec| **spec == Value::Nil) {
                // The previous version wrote it into the hash.
                let mut of_hash = redis::cmd("HGET");
                of_hash.arg(names.of(Of::Info)).arg("spec");
                *spec = self.redis.send(&of_hash).await?;
            }
            if let Some(state) = Reply::of_values(values).state()? {
                return Ok(Some(state));
            }
        }
        let cause = format!("the runs of task {task} begin faster than they are read");
        Err(StoreError::Unreachable { store: STORE, cause })
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

/// The number of reads of a task's state while runs of it begin.
const READ_AGAIN: usize = 10;

/// The fields of a task's hash that make its state, as `state.lua` reads it too.
const STATE_FIELDS: [&str; 20] = [
    "run",
    "control",
    "gnext",
    "fnext",
    "reopened",
    "succeeded",
    "failed",
    "cancelled",
    "timed_out",
    "pending",
    "running",
    "used",
    "collected",
    "finished",
    "progress",
    "stop",
    "ending",
    "gwaits",
    "swaits",
    "cwaits",
];

/// The fields of a task's hash that make its progress.
const STANDING_FIELDS: [&str; 13] = [
    "run", "control", "pending", "lost", "used", "running", "busy", "timed", "waiting", "finished", "stop",
    "over", "wbytes",
];

type ProgressFields = [Option<String>; 13];

/// None where the task has no queues.
fn read_progress(info: ProgressFields, delayed: u64) -> Result<Option<TaskProgress>, StoreError> {
    let [run, control, pending, lost, used, running, busy, timed, results, generated, stop, over, bytes] =
        info;
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
        results_bytes: count(bytes)?,
        generated: generated.is_some(),
        control: read_control(&control)?,
        is_over: stop.is_some() || over.is_some(),
    };
    Ok(Some(progress))
}

#[cfg(test)]
mod tests {
    use super::STATE_FIELDS;

    #[test]
    fn scripts_read_the_same_fields() {
        let script = include_str!("../lua/state.lua");
        let names: Vec<_> = script.split('\'').skip(1).step_by(2).collect();
        assert_eq!(names, [&["HMGET"], &STATE_FIELDS[..], &["ZCARD", "GET", "HGET", "spec", "GET"]].concat());
    }
}
