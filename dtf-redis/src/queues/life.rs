//! A task's queues come, are steered, are closed and go.

use dtf_model::Role;
use dtf_model::queue::{Fence, TaskState};
use dtf_model::{Control, Counts, RunEpoch, Seq, StoreError, TaskId, TaskSpec};
use redis::Script;

use super::RedisQueues;
use super::calls::{RoleToken, token_text};
use crate::codec;
use crate::keys::{Of, chunks};
use crate::reply::{Reply, malformed};
use crate::scripts;

impl RedisQueues {
    pub(super) async fn make(&self, spec: &TaskSpec) -> Result<(), StoreError> {
        let json = codec::spec(spec).map_err(malformed)?;
        self.discarding(&scripts::OPEN, spec.id, spec.run, Some(&json)).await
    }

    pub(super) async fn delete(&self, task: TaskId, run: RunEpoch) -> Result<(), StoreError> {
        self.discarding(&scripts::PURGE, task, run, None).await
    }

    /// Calls a script that deletes all of a task. Which bitmaps there are, is not known before; most tasks have the first of
    /// each stream and no other. If there are others the script says so, and is called again.
    async fn discarding(
        &self,
        script: &Script,
        task: TaskId,
        run: RunEpoch,
        json: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let first = |seq| *chunks(seq, 1).start();
        let mut bitmaps = vec![first(Seq(0)), first(Seq::FIRST_FOLLOW_UP)];
        loop {
            let names = self.redis.keys().task(task);
            let mut call = self.script(script, task, run, &Of::ALL);
            if let Some(json) = json {
                call.arg(json);
            }
            for bitmap in &bitmaps {
                call.key(names.done(*bitmap)).arg(*bitmap);
            }
            let reply = self.redis.invoke(&call).await?;
            if !reply.is_more() {
                return reply.of_task(task, run).map(drop);
            }
            bitmaps = numbers(reply)?;
        }
    }

    pub(super) async fn read_state(&self, task: TaskId) -> Result<Option<TaskState>, StoreError> {
        let names = self.redis.keys().task(task);
        let mut call = scripts::READ_STATE.prepare_invoke();
        call.key(names.of(Of::Info)).key(names.of(Of::Delayed));
        match self.on_task(task, RunEpoch(0), &call).await {
            Ok(mut reply) => reply.state().map(Some),
            Err(StoreError::Gone { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn read_controls(
        &self,
        tasks: &[TaskId],
    ) -> Result<Vec<(TaskId, RunEpoch, Control)>, StoreError> {
        let command = |task: &TaskId| {
            let mut command = redis::cmd("HMGET");
            command.arg(self.redis.keys().task(*task).of(Of::Info)).arg("run").arg("control");
            command
        };
        let answers: Vec<(Option<u32>, Option<u8>)> =
            self.redis.send_all(tasks.iter().map(command).collect()).await?;
        let found = tasks.iter().zip(answers).filter_map(|(task, (run, control))| {
            let (run, control) = run.zip(control.and_then(Control::from_code))?;
            Some((*task, RunEpoch(run), control))
        });
        Ok(found.collect())
    }

    pub(super) async fn write_control(
        &self,
        task: TaskId,
        run: RunEpoch,
        control: Control,
    ) -> Result<(), StoreError> {
        let mut call = self.script(&scripts::SET_CONTROL, task, run, &[Of::Info]);
        call.arg(control.code());
        self.on_task(task, run, &call).await.map(drop)
    }

    pub(super) async fn end(&self, task: TaskId, run: RunEpoch) -> Result<Counts, StoreError> {
        let keys = [
            Of::Info,
            Of::Pending,
            Of::Delayed,
            Of::Running,
            Of::Results,
            Of::Sizes,
            Of::Settled,
            Of::Keyed,
            Of::Turns,
        ];
        let call = self.script(&scripts::CLOSE, task, run, &keys);
        let mut reply = self.on_task(task, run, &call).await?;
        Ok(Counts {
            created: reply.count()?,
            succeeded: reply.count()?,
            failed: reply.count()?,
            cancelled: reply.count()?,
            timed_out: reply.count()?,
        })
    }

    pub(super) async fn say_waits(
        &self,
        fence: Fence,
        role: Role,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        let (token, waits) = match role {
            Role::Generator => ("gtoken", "gwaits"),
            Role::Scheduler => ("stoken", "swaits"),
            Role::Manager | Role::Executor | Role::Collector => ("ctoken", "cwaits"),
        };
        let mut call = self.script(&scripts::SET_WAITS, fence.task, fence.run, &[Of::Info]);
        call.arg(token).arg(token_text(fence.token)).arg(waits).arg(reason.unwrap_or_default());
        self.by_holder(fence, &call).await.map(drop)
    }

    pub(super) async fn say_stop(
        &self,
        fence: Fence,
        role: RoleToken,
        reason: &str,
    ) -> Result<(), StoreError> {
        let mut call = self.script(&scripts::STOP, fence.task, fence.run, &[Of::Info]);
        call.arg(role.field()).arg(token_text(fence.token)).arg(reason);
        self.by_holder(fence, &call).await.map(drop)
    }
}

fn numbers(reply: Reply) -> Result<Vec<u64>, StoreError> {
    let texts = reply.rest()?;
    let parse = |text: bytes::Bytes| std::str::from_utf8(&text).ok()?.parse().ok();
    texts.into_iter().map(|text| parse(text).ok_or_else(|| malformed("no number of a bitmap"))).collect()
}
