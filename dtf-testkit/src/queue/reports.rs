//! Reports of executors count once, and only where they may.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dtf_model::ids::{EmitEpoch, Seq};
use dtf_model::queue::{Outcome, Parcel, ParcelId, QueueStore, Report, Reported, ResultBatch};
use dtf_model::status::{Control, Counts};
use futures::future::join_all;

use super::{Desk, all_succeeded, body, failure, firsts, is_conflict, must, push, retry, success};

const LATER: Duration = Duration::from_millis(10);

/// Every outcome has its count, and its result is for the collector.
pub async fn what_ended_is_counted_by_its_outcome(store: &Arc<dyn QueueStore>) {
    let (desk, epoch) = Desk::with(store, &[5, 1]).await;
    let parcel = desk.take_one().await;
    let outcomes = [
        success("one"),
        failure("no \"luck\" ü"),
        Outcome::TimedOut { body: Bytes::from_static(b"\0slow") },
        Outcome::Cancelled,
        success(""),
    ];
    let reported = desk.report(&parcel, outcomes.iter().cloned().map(Report::Ended).collect()).await;
    assert_eq!(reported, Reported { counted: 5, running: 0, pending: 1, control: Control::Run });
    let counts = Counts { created: 6, succeeded: 2, failed: 1, cancelled: 1, timed_out: 1 };
    let state = desk.state().await;
    assert_eq!((state.counts, state.running, state.pending), (counts, 0, 1));
    let results = outcomes.into_iter().enumerate().map(|(seq, outcome)| (Seq(seq as u64), outcome)).collect();
    must(store.load_collector(desk.fence()).await);
    assert_eq!(desk.peek(0, 10).await, [ResultBatch { epoch, results }]);
}

/// A report that is sent again, or by two, counts nothing more.
pub async fn a_report_is_counted_once(store: &Arc<dyn QueueStore>) {
    let (desk, _) = Desk::with(store, &[3]).await;
    let parcel = desk.take_one().await;
    assert_eq!(desk.succeed(&parcel).await.counted, 3);
    let before = desk.state().await;
    assert_eq!(desk.succeed(&parcel).await.counted, 0);
    let failed = (0..3).map(|_| Report::Ended(failure("late"))).collect();
    assert_eq!(desk.report(&parcel, failed).await.counted, 0);
    assert_eq!(desk.report(&parcel, vec![retry(1), Report::Returned, retry(1)]).await.counted, 0);
    assert_eq!(desk.state().await, before);
    assert_eq!(desk.peek(0, 10).await.len(), 1);
}

/// The subtasks of a parcel go their own ways.
pub async fn every_kind_of_report_in_one_parcel(store: &Arc<dyn QueueStore>) {
    let (desk, _) = Desk::with(store, &[6, 1]).await;
    let parcel = desk.take_one().await;
    let reports = vec![
        Report::Returned,
        Report::Ended(success("1")),
        retry(2),
        Report::Returned,
        Report::Ended(failure("4")),
        retry(3_600_000),
    ];
    let reported = desk.report(&parcel, reports.clone()).await;
    assert_eq!((reported.counted, reported.running, reported.pending), (2, 0, 3));
    let state = desk.state().await;
    assert_eq!((state.pending, state.delayed, state.running, state.counts.counted()), (3, 2, 0, 2));
    // Sent again it changes nothing.
    assert_eq!(desk.report(&parcel, reports).await.counted, 0);
    assert_eq!(desk.state().await, state);
    tokio::time::sleep(LATER).await;
    let taken = desk.take(&[0; 4]).await;
    assert_eq!(firsts(&taken), [2, 0, 3, 6]);
    let of = |index: usize| (taken.parcels[index].1.attempt, taken.parcels[index].1.bodies.clone());
    assert_eq!(of(0), (1, vec![body(2)]));
    assert_eq!(of(2), (0, vec![body(3)]));
    let results: Vec<_> = desk.peek(0, 9).await.remove(0).results;
    assert_eq!(results, [(Seq(1), success("1")), (Seq(4), failure("4"))]);
}

/// A parcel of one whose next attempt runs already.
async fn second_attempt(desk: &Desk<'_>) -> (Parcel, Parcel) {
    let first = desk.take_one().await;
    desk.report(&first, vec![retry(1)]).await;
    tokio::time::sleep(LATER).await;
    let second = desk.take_one().await;
    assert_eq!((second.id, second.attempt), (first.id, 1));
    (first, second)
}

/// A success counts although a later attempt runs; what that one comes to is passed over.
pub async fn a_success_of_an_earlier_attempt_counts(store: &Arc<dyn QueueStore>) {
    let (desk, _) = Desk::with(store, &[1]).await;
    let (first, second) = second_attempt(&desk).await;
    let reported = desk.report(&first, vec![Report::Ended(success("late"))]).await;
    assert_eq!((reported.counted, reported.running), (1, 1));
    let reported = desk.report(&second, vec![Report::Ended(failure("x"))]).await;
    assert_eq!((reported.counted, reported.running), (0, 0));
    let state = desk.state().await;
    assert_eq!((state.counts.succeeded, state.counts.failed), (1, 0));
}

/// A result other than a success counts only from the attempt that runs.
pub async fn only_the_running_attempt_fails(store: &Arc<dyn QueueStore>) {
    let (desk, _) = Desk::with(store, &[1]).await;
    let (first, second) = second_attempt(&desk).await;
    for late in [failure("late"), Outcome::TimedOut { body: Bytes::new() }, Outcome::Cancelled] {
        assert_eq!(desk.report(&first, vec![Report::Ended(late)]).await.counted, 0);
    }
    for late in [retry(1), Report::Returned] {
        assert_eq!(desk.report(&first, vec![late]).await.running, 1);
    }
    let future = Parcel { attempt: 2, ..second.clone() };
    assert_eq!(desk.report(&future, vec![Report::Ended(failure("never ran"))]).await.counted, 0);
    let state = desk.state().await;
    assert_eq!((state.pending, state.delayed, state.running, state.counts.counted()), (0, 0, 1, 0));
    assert_eq!(desk.report(&second, vec![Report::Ended(failure("x"))]).await.counted, 1);
}

/// A retry that a late success made needless is not given out when it is due.
pub async fn a_settled_retry_is_not_given_out(store: &Arc<dyn QueueStore>) {
    let (desk, _) = Desk::with(store, &[1, 1]).await;
    let parcel = desk.take_one().await;
    desk.report(&parcel, vec![retry(1)]).await;
    assert_eq!(desk.succeed(&parcel).await.counted, 1);
    tokio::time::sleep(LATER).await;
    let taken = desk.take(&[0, 0]).await;
    assert_eq!((firsts(&taken), taken.pending), (vec![1], 0));
    let state = desk.state().await;
    assert_eq!((state.pending, state.delayed, state.running), (0, 0, 1));
}

/// A parcel that was put back although somebody ran it: successes count, the rest runs again.
pub async fn what_a_put_back_parcel_did_counts(store: &Arc<dyn QueueStore>) {
    let (desk, _) = Desk::with(store, &[3]).await;
    let parcel = desk.take_one().await;
    desk.put_back(&[parcel.id], Duration::ZERO).await;
    let reports = vec![Report::Ended(success("0")), Report::Ended(failure("1")), Report::Ended(success("2"))];
    assert_eq!(desk.report(&parcel, reports).await.counted, 2);
    let again = desk.take_one().await;
    assert_eq!(again, parcel);
    let reported = desk.succeed(&again).await;
    assert_eq!((reported.counted, reported.running, reported.pending), (1, 0, 0));
    let results: Vec<_> = desk.peek(0, 9).await.into_iter().flat_map(|batch| batch.results).collect();
    let seqs: Vec<_> = results.iter().map(|(seq, _)| seq.0).collect();
    assert_eq!(seqs, [0, 2, 1]);
}

/// A load emits a number for itself only: what another load is said to have done of it is refused.
pub async fn a_report_of_another_load_is_refused(store: &Arc<dyn QueueStore>) {
    let (desk, epoch) = Desk::with(store, &[2]).await;
    let parcel = desk.take_one().await;
    let load = must(store.load_generator(desk.fence()).await);
    must(store.push(desk.fence(), push(load.epoch, 2, &[2])).await);
    for (epoch, first, count) in [(load.epoch, 0, 2), (epoch, 2, 2), (epoch, 0, 3), (load.epoch, 1, 2)] {
        let wrong = Parcel {
            id: ParcelId { epoch, first: Seq(first) },
            attempt: 0,
            executor_losses: 0,
            key: None,
            bodies: vec![Bytes::new(); count],
        };
        assert!(is_conflict(&desk.try_report(&wrong, all_succeeded(&wrong)).await), "{wrong:?}");
    }
    assert_eq!(desk.state().await.counts.counted(), 0);
    assert_eq!(desk.succeed(&parcel).await.counted, 2);
}

/// Numbers that were never emitted, and reports of nothing, are refused.
pub async fn a_report_that_is_not_of_this_task_is_refused(store: &Arc<dyn QueueStore>) {
    let (desk, epoch) = Desk::with(store, &[2]).await;
    let collector = must(store.load_collector(desk.fence()).await);
    for (epoch, first, count) in [
        (epoch, Seq(2), 1),
        (epoch, Seq(1), 2),
        (epoch, Seq(0), 0),
        (EmitEpoch(0), Seq(0), 1),
        (epoch, Seq::FIRST_FOLLOW_UP, 1),
        (collector.epoch, Seq::FIRST_FOLLOW_UP, 1),
        (collector.epoch, Seq(0), 1),
    ] {
        let wrong = Parcel {
            id: ParcelId { epoch, first },
            attempt: 0,
            executor_losses: 0,
            key: None,
            bodies: vec![Bytes::new(); count],
        };
        assert!(is_conflict(&desk.try_report(&wrong, all_succeeded(&wrong)).await), "{wrong:?}");
    }
    assert_eq!(desk.state().await.counts.counted(), 0);
}

/// Numbers stay with the load that emitted them, however many loads follow.
pub async fn numbers_of_an_earlier_load_stay_its_own(store: &Arc<dyn QueueStore>) {
    let desk = Desk::open(store).await;
    let mut parcels = Vec::new();
    for load in 0..5_u64 {
        // Loads that emit nothing own nothing.
        must(store.load_generator(desk.fence()).await);
        let epoch = must(store.load_generator(desk.fence()).await).epoch;
        must(store.push(desk.fence(), push(epoch, load * 2, &[2])).await);
        parcels.push(desk.take_one().await);
    }
    for parcel in parcels.iter().rev() {
        assert_eq!(desk.succeed(parcel).await.counted, 2);
    }
    assert_eq!(desk.state().await.counts.succeeded, 10);
}

/// The books stay right over many thousands of subtasks, reported in any order, twice.
pub async fn a_long_run_of_subtasks_is_counted_once(store: &Arc<dyn QueueStore>) {
    const PARCELS: usize = 420;
    let (desk, epoch) = Desk::with(store, &[499; PARCELS]).await;
    let shards: Vec<_> = (0..PARCELS as u32).collect();
    let mut parcels = desk.take(&shards).await.parcels;
    // Neighbours are reported far apart.
    parcels.sort_by_key(|(_, parcel)| (parcel.id.first.0 / 499) * 97 % PARCELS as u64);
    must(store.load_collector(desk.fence()).await);
    for (_, parcel) in &parcels {
        let counted = |outcome: Outcome| {
            let reports = parcel.bodies.iter().map(|_| Report::Ended(outcome.clone())).collect();
            async { desk.report(parcel, reports).await.counted }
        };
        assert_eq!(counted(Outcome::Cancelled).await, 499, "{:?}", parcel.id);
        assert_eq!(counted(success("")).await, 0);
    }
    for (_, parcel) in &parcels {
        assert_eq!(desk.succeed(parcel).await.counted, 0, "{:?}", parcel.id);
    }
    assert_eq!(desk.state().await.counts.cancelled, 499 * PARCELS as u64);
    // Numbers behind what is full are not.
    let behind = 499 * PARCELS as u64;
    must(store.push(desk.fence(), push(epoch, behind, &[1])).await);
    let wrong = Parcel {
        attempt: 9,
        executor_losses: 0,
        key: None,
        id: ParcelId { epoch, first: Seq(behind) },
        bodies: vec![Bytes::new()],
    };
    assert_eq!(desk.succeed(&wrong).await.counted, 1);
    must(store.close(desk.task, desk.run).await);
    must(store.purge(desk.task, desk.run).await);
}

/// The mean run time is that of all that was reported by running attempts.
pub async fn the_mean_run_time_is_known(store: &Arc<dyn QueueStore>) {
    let (desk, _) = Desk::with(store, &[4, 1]).await;
    let parcels = desk.take(&[0, 0]).await.parcels;
    desk.succeed(&parcels[0].1).await;
    assert_eq!(must(store.backlog(desk.task, desk.run).await).mean_run, Some(Duration::from_micros(2500)));
    desk.succeed(&parcels[0].1).await;
    desk.succeed(&parcels[1].1).await;
    let mean = must(store.load_generator(desk.fence()).await).backlog.mean_run;
    assert_eq!(mean, Some(Duration::from_millis(4)));
}

/// Several executors report, several times each, at the same time.
pub async fn at_the_same_time_everything_is_counted_once(store: &Arc<dyn QueueStore>) {
    let (desk, _) = Desk::with(store, &[3; 40]).await;
    let parcels = desk.take(&[0; 40]).await.parcels;
    let reports = parcels.iter().chain(&parcels).chain(&parcels);
    let counted = join_all(reports.map(|(_, parcel)| async { desk.succeed(parcel).await.counted })).await;
    assert_eq!(counted.into_iter().sum::<u64>(), 120);
    let state = desk.state().await;
    assert_eq!((state.counts.succeeded, state.running), (120, 0));
}
