//! [`ExecutorQueue`] on Redis.

use async_trait::async_trait;
use dtf_model::queue::{
    ExecutorQueue, LostParcel, Outcome, Parcel, ParcelId, ParcelReport, Report, Reported,
};
use dtf_model::{Control, RunEpoch, Shard, StoreError, TaskId};

use super::RedisQueues;
use super::scheduler::micros;
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
        let names = self.redis.keys().task(task);
        let mut call = self.script(&scripts::COMPLETE, task, run, &Of::ALL);
        for chunk in chunks(report.parcel.first, report.reports.len() as u64) {
            call.key(names.done(chunk));
        }
        let packed = Packed::new(&report.reports);
        call.arg(report.parcel.epoch.0).arg(report.parcel.first.0).arg(report.attempt);
        call.arg(u64::try_from(report.busy.as_nanos()).unwrap_or(u64::MAX));
        call.arg(packed.letters)
            .arg(codec::results_head(report.parcel))
            .arg(packed.results)
            .arg(packed.lengths);
        call.arg(report.together).arg(report.deaths);
        for delay in packed.delays {
            call.arg(delay);
        }
        reported(self.on_task(task, run, &call).await?)
    }

    async fn recover(&self, task: TaskId, run: RunEpoch, lost: LostParcel) -> Result<Reported, StoreError> {
        let names = self.redis.keys().task(task);
        let mut call = self.script(&scripts::RECOVER, task, run, &Of::ALL);
        for chunk in chunks(lost.id.first, lost.count) {
            call.key(names.done(chunk));
        }
        call.arg(lost.id.epoch.0).arg(lost.id.first.0).arg(lost.attempt).arg(lost.count).arg(lost.shard.0);
        call.arg(lost.most_deaths);
        reported(self.on_task(task, run, &call).await?)
    }

    async fn accuse(
        &self,
        task: TaskId,
        run: RunEpoch,
        parcel: ParcelId,
        attempt: u32,
    ) -> Result<bool, StoreError> {
        let mut call = self.script(&scripts::ACCUSE, task, run, &[Of::Info, Of::Running]);
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
        call.arg(codec::parcel_name(parcel.id)).arg(parcel.attempt).arg(parcel.deaths).arg(shard.0);
        yes(self.on_task(task, run, &call).await?)
    }
}

/// Whether a number that a script replies says yes.
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

/// The reports of a parcel as `complete.lua` takes them.
#[derive(Default)]
struct Packed {
    letters: Vec<u8>,
    results: Vec<u8>,
    lengths: Vec<u8>,
    delays: Vec<u64>,
}

impl Packed {
    fn new(reports: &[Report]) -> Self {
        let mut packed = Self::default();
        for (index, report) in (0..).zip(reports) {
            let before = packed.results.len();
            packed.letters.push(letter(report));
            match report {
                Report::Ended(outcome) => codec::put_result(&mut packed.results, index, outcome),
                Report::Retry { after, .. } => packed.delays.push(micros(*after)),
                Report::Returned | Report::GoesOn => {}
            }
            // A result over 4 GiB would not fit into a string of Redis either.
            let length = u32::try_from(packed.results.len() - before).unwrap_or(u32::MAX);
            packed.lengths.extend_from_slice(&length.to_le_bytes());
        }
        packed
    }
}

fn letter(report: &Report) -> u8 {
    match report {
        Report::Ended(Outcome::Succeeded(_)) => b's',
        Report::Ended(Outcome::Failed { .. }) => b'f',
        Report::Ended(Outcome::TimedOut { .. }) => b't',
        Report::Ended(Outcome::Cancelled) => b'c',
        Report::Retry { .. } => b'd',
        Report::Returned => b'r',
        Report::GoesOn => b'g',
    }
}
