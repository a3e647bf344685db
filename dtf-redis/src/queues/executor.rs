//! [`ExecutorQueue`] on Redis.

use async_trait::async_trait;
use dtf_model::queue::{ExecutorQueue, LostParcel, Parcel, ParcelId, ParcelReport, Reported};
use dtf_model::{Control, RunEpoch, Shard, StoreError, TaskId};

use super::RedisQueues;
use super::reports::{self, OnTask};
use crate::codec;
use crate::keys::{Of, chunks};
use crate::reply::Reply;
use crate::scripts;

#[async_trait]
impl ExecutorQueue for RedisQueues {
    async fn controls(&self, tasks: &[TaskId]) -> Result<Vec<(TaskId, RunEpoch, Control)>, StoreError> {
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

    async fn complete(
        &self,
        task: TaskId,
        run: RunEpoch,
        report: ParcelReport,
    ) -> Result<Reported, StoreError> {
        let call = OnTask { task, run, report };
        match &self.reports {
            Some(reports) => {
                let weight = call.weight();
                reports.call(call, weight).await
            }
            None => reports::complete_all(&self.redis, vec![call]).await.remove(0),
        }
    }

    async fn recover(&self, task: TaskId, run: RunEpoch, lost: LostParcel) -> Result<Reported, StoreError> {
        let names = self.redis.keys().task(task);
        let mut call = self.script(&scripts::RECOVER, task, run, &Of::ALL);
        for chunk in chunks(lost.id.first, lost.count) {
            call.key(names.done(chunk));
        }
        call.arg(lost.id.epoch.0).arg(lost.id.first.0).arg(lost.attempt).arg(lost.count).arg(lost.shard.0);
        call.arg(lost.max_executor_losses);
        reported(self.on_task(task, run, &call).await?)
    }

    async fn mark_suspect(
        &self,
        task: TaskId,
        run: RunEpoch,
        parcel: ParcelId,
        attempt: u32,
    ) -> Result<bool, StoreError> {
        let mut call = self.script(&scripts::MARK_SUSPECT, task, run, &[Of::Info, Of::Running]);
        call.arg(codec::parcel_name(parcel)).arg(attempt);
        yes(self.on_task(task, run, &call).await?)
    }

    async fn runs_on(
        &self,
        task: TaskId,
        run: RunEpoch,
        shard: Shard,
        parcel: &Parcel,
    ) -> Result<bool, StoreError> {
        let mut call = self.script(&scripts::RUNS_ON, task, run, &[Of::Info, Of::Running]);
        call.arg(codec::parcel_name(parcel.id)).arg(parcel.attempt).arg(parcel.executor_losses).arg(shard.0);
        yes(self.on_task(task, run, &call).await?)
    }
}

/// Returns true if the number that a script replies says yes.
fn yes(mut reply: Reply) -> Result<bool, StoreError> {
    Ok(reply.number::<u8>()? == 1)
}

fn reported(mut reply: Reply) -> Result<Reported, StoreError> {
    Ok(Reported {
        counted: reply.count()?,
        running: reply.count()?,
        pending: reply.count()?,
        control: reply.control()?,
    })
}
