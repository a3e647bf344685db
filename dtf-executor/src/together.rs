//! A parcel whose subtasks are executed at once, as their executor only waits for others: for remote workers, say.
//!
//! It is reported as a whole when all of it is done. When it has [overrun](OVERRUN), what is done is reported, what has not begun is
//! given back, and those that run go on as parcels of their own, each of which is reported when it is done. Where the shard is
//! given up meanwhile, all that is not done is handed back, to be run elsewhere; what runs may come to its end all the same, where its
//! type allows it, and its success is reported.

use std::sync::Arc;
use std::time::Duration;

use dtf_model::queue::{Outcome, Parcel, ParcelId, ParcelReport, Report};
use dtf_model::shard::Shipment;
use futures::future::{BoxFuture, join_all};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::execution::MOST_BYTES;
use crate::shard_session::ShardSession;
use crate::subtask::{Stop, SubtaskExecution};
use crate::task_cache::CachedTask;

/// The time that such a parcel may take until it is reported in parts. Longer than for those that are executed one after the other:
/// nobody waits for a neighbour here.
const OVERRUN: Duration = Duration::from_secs(1);

/// The way in which what is done is reported from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// All of it together.
    Whole,
    /// Each that still runs by itself. So many did when that began.
    Apart { since: Instant, ran: u32 },
    /// Only successes: it is handed back.
    HandedBack,
}

struct Together<'a> {
    session: &'a ShardSession,
    shipment: &'a Shipment,
    single: &'a SubtaskExecution,
    begun: Instant,
    stage: Stage,
    running: FuturesUnordered<BoxFuture<'a, (usize, Report)>>,
    /// The first one that has not begun, and the first one that is not to be begun.
    next: usize,
    end: usize,
    /// Of those that have begun, the reports.
    reports: Vec<Option<Report>>,
    bytes: u64,
}

/// Runs a shipment, at most so many of its subtasks at once, reports it and acknowledges it. `beyond` says that it may go on when the
/// shard is given up, and ends the shard's wait for it.
pub(crate) async fn serve(
    session: &Arc<ShardSession>,
    shipment: &Shipment,
    work: Arc<CachedTask>,
    at_once: usize,
    beyond: Option<TaskTrackerToken>,
) {
    let now = if beyond.is_some() { session.end_all.clone() } else { session.stop.now.clone() };
    let single = SubtaskExecution { work, stop: Stop { soon: session.stop.soon.clone(), now } };
    let together = Together {
        session,
        shipment,
        single: &single,
        begun: Instant::now(),
        stage: Stage::Whole,
        running: FuturesUnordered::new(),
        next: 0,
        end: shipment.parcel.bodies.len(),
        reports: vec![None; shipment.parcel.bodies.len()],
        bytes: 0,
    };
    together.run(at_once.max(1), beyond).await;
}

impl Together<'_> {
    async fn run(mut self, at_once: usize, mut beyond: Option<TaskTrackerToken>) {
        let given_up = self.session.stop.now.clone();
        loop {
            while self.next < self.end && self.running.len() < at_once {
                self.begin();
            }
            let overruns = self.stage == Stage::Whole;
            tokio::select! {
                biased;
                Some(ended) = self.running.next() => self.take_in(ended).await,
                () = given_up.cancelled(), if beyond.is_some() && self.stage != Stage::HandedBack => {
                    self.hand_back().await;
                    drop(beyond.take());
                }
                () = tokio::time::sleep_until(self.begun + OVERRUN), if overruns => self.take_apart().await,
                else => break,
            }
            if self.running.is_empty() && self.next >= self.end {
                break;
            }
        }
        match self.stage {
            Stage::Whole => self.session.finish(self.shipment, &self.single.work, self.report_on_all()).await,
            Stage::Apart { .. } => self.session.acknowledge(self.shipment).await,
            Stage::HandedBack => {}
        }
    }

    fn begin(&mut self) {
        let (index, single, parcel) = (self.next, self.single, &self.shipment.parcel);
        self.next += 1;
        let context = single.context(parcel, index);
        let run = async move { (index, single.run(&parcel.bodies[index], &context, || ()).await) };
        self.running.push(run.boxed());
    }

    /// Takes in what has ended by now.
    async fn take_in(&mut self, (index, report): (usize, Report)) {
        let mut ended = vec![(index, report)];
        while let Some(Some(another)) = self.running.next().now_or_never() {
            ended.push(another);
        }
        match self.stage {
            Stage::Whole => {
                for (index, report) in ended {
                    if let Report::Ended(outcome) = &report {
                        self.bytes += outcome.bytes();
                    }
                    self.reports[index] = Some(report);
                }
                if self.bytes >= MOST_BYTES {
                    self.end = self.next;
                }
            }
            Stage::Apart { since, ran } => {
                // What ran meanwhile ran in one slot.
                let busy = since.elapsed() / ran.max(1);
                let reports = ended.into_iter().map(|(index, report)| self.report_on(index, report, busy));
                self.tell(reports.collect(), &self.session.stop.now).await;
            }
            Stage::HandedBack => {
                let succeeded = |report: &Report| matches!(report, Report::Ended(Outcome::Succeeded(_)));
                let ended = ended.into_iter().filter(|(_, report)| succeeded(report));
                let reports = ended.map(|(index, report)| self.report_on(index, report, Duration::ZERO));
                self.tell(reports.collect(), &self.session.end_all).await;
            }
        }
    }

    /// Reports what is done. What runs goes on as parcels of their own.
    async fn take_apart(&mut self) {
        self.end = self.next;
        let mut report = self.report_on_all();
        for (index, each) in report.reports.iter_mut().enumerate().take(self.next) {
            if self.reports[index].is_none() {
                *each = Report::GoesOn;
            }
        }
        let ran = u32::try_from(self.running.len()).unwrap_or(u32::MAX);
        self.stage = Stage::Apart { since: Instant::now(), ran };
        // Where the shard is given up, the rest is dropped or handed back soon.
        self.session.report(self.shipment, &self.single.work, report, &self.session.stop.now).await;
    }

    /// Hands back what is not done, as the shard is given up.
    async fn hand_back(&mut self) {
        self.end = self.next;
        match std::mem::replace(&mut self.stage, Stage::HandedBack) {
            Stage::Whole => {
                let report = self.report_on_all();
                self.session.finish(self.shipment, &self.single.work, report).await;
            }
            Stage::Apart { .. } => {
                let still =
                    self.reports.iter().enumerate().take(self.next).filter(|(_, report)| report.is_none());
                let returned =
                    still.map(|(index, _)| self.report_on(index, Report::Returned, Duration::ZERO));
                // The shard waits for this, and not for a store that does not answer.
                self.tell(returned.collect(), &self.session.stop.now).await;
                self.session.acknowledge(self.shipment).await;
            }
            Stage::HandedBack => {}
        }
    }

    /// Sends reports on subtasks that are parcels of their own, until `stop` fires.
    async fn tell(&mut self, reports: Vec<ParcelReport>, stop: &CancellationToken) {
        for report in &reports {
            let index = report.parcel.first.0 - self.shipment.parcel.id.first.0;
            if let Some(told) = usize::try_from(index).ok().and_then(|index| self.reports.get_mut(index)) {
                *told = report.reports.first().cloned();
            }
        }
        let told = reports
            .into_iter()
            .map(|report| self.session.report(self.shipment, &self.single.work, report, stop));
        join_all(told).await;
    }

    fn report_on(&self, index: usize, report: Report, busy: Duration) -> ParcelReport {
        let Parcel { id, attempt, executor_losses, .. } = self.shipment.parcel;
        let parcel = ParcelId { first: id.first.plus(index as u64), ..id };
        ParcelReport { parcel, attempt, executor_losses, reports: vec![report], together: 1, busy }
    }

    /// The report on what is done, with all else returned.
    fn report_on_all(&self) -> ParcelReport {
        let Parcel { id, attempt, executor_losses, .. } = self.shipment.parcel;
        let (busy, work) = (self.begun.elapsed(), &self.single.work);
        work.note(busy, self.reports.iter().flatten().count());
        let reports = self.reports.iter().map(|report| report.clone().unwrap_or(Report::Returned)).collect();
        ParcelReport { parcel: id, attempt, executor_losses, reports, together: work.together(), busy }
    }
}
