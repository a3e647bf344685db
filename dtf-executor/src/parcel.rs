//! One parcel, from its claim to its acknowledgement.
//!
//! It is reported as a whole when all of it is done; except that one subtask which takes long does not keep its neighbours
//! waiting: when the parcel has [overrun](OVERRUN), what is done and what has not begun is reported, and the one that
//! runs goes on as a parcel of its own. Code that blocks its thread past its time is told of and counted as timed out; its slot
//! stays taken until it comes back.

use std::sync::Arc;
use std::time::Duration;

use dtf_model::plugin::OnLostSession;
use dtf_model::queue::{Outcome, Parcel, ParcelId, ParcelReport, Report};
use dtf_model::shard::Shipment;
use dtf_runtime::{CERTAINLY_STUCK, StuckCall};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::execution::{self, OVERRUN, ParcelExecution, Seen};
use crate::outcome::failed;
use crate::shard_session::ShardSession;
use crate::subtask::Stop;
use crate::task_cache::CachedTask;
use crate::together;

/// Into how many parts at least the rest of a parcel that has overrun is divided.
const PARTS: usize = 16;

/// Runs a shipment, reports it and acknowledges it. Where the shard is given up before the stores answer, it stays on the
/// shard.
pub(crate) async fn serve(session: &Arc<ShardSession>, shipment: &Shipment) {
    let ends_with_it = session.ending_with_it.token();
    let Some(work) = session.find(shipment).await else { return };
    let Some(work) = work else { return session.acknowledge(shipment).await };
    if !work.is_known {
        // It was shipped to an earlier holder. The scheduler knows better by now.
        return session.give_back(vec![shipment.clone()]).await;
    }
    match session.is_current(shipment).await {
        Some(true) => {}
        Some(false) => return session.acknowledge(shipment).await,
        None => return,
    }
    if shipment.parcel.is_quarantined(work.conf.max_executor_losses) {
        let report = quarantined(&shipment.parcel);
        return session.finish(shipment, &work, report).await;
    }
    if !shipment.parcel.is_suspect(work.conf.max_executor_losses) {
        let may_finish = work.conf.on_lost_session == OnLostSession::Finish && !shipment.parcel.is_ordered();
        let at_once = work.at_once;
        if at_once > 1 && shipment.parcel.bodies.len() > 1 && !shipment.parcel.is_ordered() {
            let beyond = may_finish.then_some(ends_with_it);
            return together::serve(session, shipment, work, at_once, beyond).await;
        }
        return if may_finish {
            let stop = Stop { soon: session.stop.soon.clone(), now: session.end_all.clone() };
            Execution::new(session, shipment, work, stop).run_beyond(ends_with_it).await;
        } else {
            Execution::new(session, shipment, work, session.stop()).run().await;
        };
    }
    // Alone among suspects, so that the next loss is proof.
    let Some(_alone) = session.alone().await else { return };
    match session.mark_suspect(shipment).await {
        Some(true) => Execution::new(session, shipment, work, session.stop()).run().await,
        Some(false) => session.acknowledge(shipment).await,
        None => {}
    }
}

fn quarantined(parcel: &Parcel) -> ParcelReport {
    let why = format!("quarantined: {} executors were lost while they ran it", parcel.executor_losses);
    let reports = parcel.bodies.iter().map(|body| failed(&why, body)).collect();
    let (id, attempt) = (parcel.id, parcel.attempt);
    let executor_losses = parcel.executor_losses;
    ParcelReport { parcel: id, attempt, executor_losses, reports, together: 1, busy: Duration::ZERO }
}

struct Execution<'a> {
    session: &'a ShardSession,
    shipment: &'a Shipment,
    work: Arc<CachedTask>,
    execution: Arc<ParcelExecution>,
    /// The first subtask that has not been reported, and how many there are from there on.
    from: usize,
    count: usize,
    /// The time of what has been reported.
    busy: Duration,
}

impl<'a> Execution<'a> {
    fn new(session: &'a ShardSession, shipment: &'a Shipment, work: Arc<CachedTask>, stop: Stop) -> Self {
        let execution = ParcelExecution::new(work.clone(), shipment.parcel.clone(), stop);
        let count = shipment.parcel.bodies.len();
        Self { session, shipment, work, execution, from: 0, count, busy: Duration::ZERO }
    }

    async fn run(mut self) {
        let mut worker = self.start();
        self.follow(&mut worker).await;
    }

    /// Runs it, also when the shard is given up meanwhile: then it is handed back, to be run elsewhere, and if what runs comes to a
    /// success here all the same, that is reported.
    async fn run_beyond(mut self, ends_with_it: TaskTrackerToken) {
        let mut worker = self.start();
        let given_up = self.session.stop.now.clone();
        tokio::select! {
            biased;
            () = self.follow(&mut worker) => return,
            () = given_up.cancelled() => {}
        }
        let seen = self.execution.call_off();
        let (at, busy) = (seen.reports.len(), seen.busy);
        let report = self.report(seen, true);
        self.session.finish(self.shipment, &self.work, report).await;
        drop(ends_with_it);
        if !worker.is_finished() {
            drop(worker.await);
        }
        let seen = self.execution.call_off();
        if !matches!(seen.reports.get(at), Some(Report::Ended(Outcome::Succeeded(_)))) {
            return;
        }
        (self.from, self.count, self.busy) = (at, 1, busy);
        let report = self.report(seen, false);
        self.session.report(self.shipment, &self.work, report, &self.session.end_all).await;
    }

    fn start(&self) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(tokio::spawn(execution::execute(self.execution.clone())))
    }

    /// Waits for the execution, and reports what comes of it.
    async fn follow(&mut self, worker: &mut AbortOnDropHandle<()>) {
        let mut alone_since = self.execution.begun();
        if self.count > 1 {
            tokio::select! {
                biased;
                ended = &mut *worker => return self.end(ended.is_err()).await,
                () = tokio::time::sleep_until(self.execution.begun() + OVERRUN) => {}
            }
            if !self.give_back_the_rest().await {
                return drop(worker.await);
            }
            alone_since = Instant::now();
        }
        let stuck_at = alone_since + self.work.conf.subtask_timeout + CERTAINLY_STUCK;
        tokio::select! {
            biased;
            ended = &mut *worker => self.end(ended.is_err()).await,
            () = tokio::time::sleep_until(stuck_at) => {
                let _stuck = self.stuck().await;
                // The slot stays taken, and so does the shard, while plugin code runs.
                drop(worker.await);
            }
        }
    }

    /// Reports what is done and what has not begun. Says false where the shard is given up.
    async fn give_back_the_rest(&mut self) -> bool {
        let seen = self.execution.call_off();
        if !seen.one_goes_on {
            return true; // it ends now
        }
        let goes_on = seen.reports.len();
        let busy = seen.busy;
        let mut report = self.report(seen, true);
        report.reports[goes_on] = Report::GoesOn;
        if !self.session.report(self.shipment, &self.work, report, &self.session.stop.now).await {
            return false;
        }
        (self.from, self.count, self.busy) = (goes_on, 1, busy);
        true
    }

    async fn end(&self, panicked: bool) {
        let mut seen = self.execution.call_off();
        if panicked && let Some(body) = self.shipment.parcel.bodies.get(seen.reports.len()) {
            seen.reports.push(failed("its execution panicked", body));
        }
        let overran = seen.busy >= OVERRUN;
        let report = self.report(seen, overran);
        self.session.finish(self.shipment, &self.work, report).await;
    }

    /// Counts what blocks its thread as timed out.
    async fn stuck(&self) -> StuckCall {
        let mut seen = self.execution.call_off();
        let (task, seq) = (self.shipment.task, self.shipment.parcel.id.first.plus(seen.reports.len() as u64));
        let stuck = StuckCall::enter(format!("execute, task {task}, subtask {seq}"));
        if let Some(body) = self.shipment.parcel.bodies.get(seen.reports.len()) {
            seen.reports.push(Report::Ended(Outcome::TimedOut { body: body.clone() }));
        }
        let report = self.report(seen, false);
        self.session.finish(self.shipment, &self.work, report).await;
        stuck
    }

    /// The report on what has not been reported, with the rest returned.
    fn report(&self, seen: Seen, overran: bool) -> ParcelReport {
        let Parcel { id, attempt, executor_losses, .. } = self.shipment.parcel;
        let mut reports: Vec<_> = seen.reports.into_iter().skip(self.from).collect();
        let busy = seen.busy.saturating_sub(self.busy);
        self.work.note(busy, reports.len());
        let rest = self.count.saturating_sub(reports.len());
        reports.resize(self.count, Report::Returned);
        let together = match self.work.together() {
            fitting if overran => fitting.min(rest.div_ceil(PARTS)),
            fitting => fitting,
        };
        let parcel = ParcelId { first: id.first.plus(self.from as u64), ..id };
        ParcelReport { parcel, attempt, executor_losses, reports, together: together.max(1), busy }
    }
}
