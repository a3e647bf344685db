//! Reports of executors.
//!
//! Those that are made at the same time are one script a task, all sent in one go, where one server has all tasks. On a
//! Cluster each goes to the node of its task by itself.

use std::collections::BTreeMap;

use dtf_batch::{BatchLimits, Batcher};
use dtf_model::queue::{Outcome, ParcelReport, Report, Reported};
use dtf_model::{RunEpoch, StoreError, TaskId};
use redis::Value;

use super::scheduler::micros;
use crate::codec;
use crate::connection::{Redis, STORE};
use crate::keys::{Of, chunks};
use crate::reply::malformed;
use crate::scripts;

/// Reports and their results, together.
const BATCH: BatchLimits = BatchLimits { calls: 512, weight: 4 << 20, under_way: 1 };

/// A report on a parcel of a task's run.
#[derive(Debug)]
pub(super) struct OnTask {
    pub(super) task: TaskId,
    pub(super) run: RunEpoch,
    pub(super) report: ParcelReport,
}

impl OnTask {
    pub(super) fn weight(&self) -> usize {
        let of = |report: &Report| match report {
            Report::Ended(outcome) => outcome.bytes() as usize,
            _ => 0,
        };
        self.report.reports.iter().map(of).sum()
    }
}

pub(super) type Reports = Batcher<OnTask, Reported>;

/// Gathers the reports that are made at the same time.
pub(super) fn gather(redis: Redis) -> Reports {
    Batcher::start(STORE, BATCH, move |calls| {
        let redis = redis.clone();
        async move { complete_all(&redis, calls).await }
    })
}

/// Counts reports, those on each task's run in one script.
pub(super) async fn complete_all(redis: &Redis, calls: Vec<OnTask>) -> Vec<Result<Reported, StoreError>> {
    let mut answers: Vec<Option<Result<Reported, StoreError>>> = calls.iter().map(|_| None).collect();
    let mut by_run: BTreeMap<(TaskId, RunEpoch), Vec<(usize, ParcelReport)>> = BTreeMap::new();
    for (index, OnTask { task, run, report }) in calls.into_iter().enumerate() {
        by_run.entry((task, run)).or_default().push((index, report));
    }
    let completed = by_run.into_iter().map(async |((task, run), reports)| {
        let (indexes, reports): (Vec<_>, Vec<_>) = reports.into_iter().unzip();
        (indexes, complete(redis, task, run, &reports).await)
    });
    for (indexes, completed) in futures::future::join_all(completed).await {
        for (index, answer) in indexes.into_iter().zip(completed) {
            answers[index] = Some(answer);
        }
    }
    answers
        .into_iter()
        .map(|answer| answer.unwrap_or_else(|| Err(malformed("no answer to a report"))))
        .collect()
}

/// Counts reports on one run of a task.
async fn complete(
    redis: &Redis,
    task: TaskId,
    run: RunEpoch,
    reports: &[ParcelReport],
) -> Vec<Result<Reported, StoreError>> {
    let names = redis.keys().task(task);
    let mut call = scripts::COMPLETE.prepare_invoke();
    for of in Of::ALL {
        call.key(names.of(of));
    }
    call.arg(run.0);
    let mut keys = Of::ALL.len();
    for report in reports {
        let first_bitmap = keys + 1;
        for chunk in chunks(report.parcel.first, report.reports.len() as u64) {
            call.key(names.done(chunk));
            keys += 1;
        }
        let packed = Packed::new(&report.reports);
        call.arg(report.parcel.epoch.0).arg(report.parcel.first.0).arg(report.attempt);
        call.arg(u64::try_from(report.busy.as_nanos()).unwrap_or(u64::MAX));
        call.arg(packed.letters).arg(codec::results_head(report.parcel));
        call.arg(packed.results).arg(packed.lengths);
        call.arg(report.together).arg(report.executor_losses).arg(first_bitmap);
        call.arg(packed.delays.len()).arg(packed.delays);
    }
    let answered = async {
        let mut reply = redis.invoke(&call).await?.of_task(task, run)?;
        let (running, pending, control) = (reply.count()?, reply.count()?, reply.control()?);
        let counted = reply.values();
        if counted.len() != reports.len() {
            return Err(malformed("not one count for each report"));
        }
        let reported = counted.map(|value| match value {
            Value::Int(counted) => {
                let counted = u64::try_from(counted).map_err(malformed)?;
                Ok(Reported { counted, running, pending, control })
            }
            Value::BulkString(why) => {
                Err(StoreError::Conflict { task, why: String::from_utf8_lossy(&why).into_owned() })
            }
            other => Err(malformed(format!("{other:?} is no count"))),
        });
        Ok(reported.collect())
    };
    answered.await.unwrap_or_else(|error: StoreError| reports.iter().map(|_| Err(error.clone())).collect())
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
