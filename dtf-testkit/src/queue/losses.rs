//! Parcels that holders give back early, and parcels that are taken back from holders that are gone.

use std::sync::Arc;
use std::time::Duration;

use dtf_model::ids::{Seq, Shard};
use dtf_model::queue::{
    LostParcel, Parcel, ParcelId, ParcelReport, QueueStore, Report, Reported, RunningParcel,
};
use dtf_model::status::Control;

use super::{Desk, body, failure, firsts, must, retry, success};

const SOME_SHARD: Shard = Shard(0);
const MOST: u32 = 3;

fn lost(parcel: &Parcel) -> LostParcel {
    LostParcel {
        id: parcel.id,
        attempt: parcel.attempt,
        count: parcel.count(),
        shard: SOME_SHARD,
        max_executor_losses: MOST,
    }
}

async fn recover(desk: &Desk<'_>, parcel: &Parcel) -> Reported {
    must(desk.store.recover(desk.task, desk.run, lost(parcel)).await)
}

async fn mark_suspect(desk: &Desk<'_>, parcel: &Parcel) -> bool {
    must(desk.store.mark_suspect(desk.task, desk.run, parcel.id, parcel.attempt).await)
}

/// A parcel is reported while one of its subtasks still runs; that one is reported by itself.
pub async fn what_goes_on_is_a_parcel_of_its_own(store: &Arc<dyn QueueStore>) {
    let (desk, epoch) = Desk::with(store, &[4]).await;
    let parcel = desk.take_one().await;
    let reports = vec![Report::Ended(success("0")), Report::GoesOn, Report::Returned, Report::Returned];
    let reported = desk.report(&parcel, reports.clone()).await;
    assert_eq!((reported.counted, reported.running, reported.pending), (1, 1, 2));
    // Sent again it changes nothing.
    assert_eq!(desk.report(&parcel, reports).await, Reported { counted: 0, ..reported });
    let id = ParcelId { epoch, first: Seq(1) };
    let running = must(store.load_scheduler(desk.fence()).await).running;
    let expected = RunningParcel { id, attempt: 0, shard: SOME_SHARD, shipped_with: Seq(0) };
    assert_eq!(running, [expected]);
    // It goes on as what it was: only its own attempt fails.
    let single = Parcel { id, attempt: 0, executor_losses: 0, key: None, bodies: vec![body(1)] };
    let early = Parcel { attempt: 1, ..single.clone() };
    assert_eq!(desk.report(&early, vec![Report::Ended(failure("no"))]).await.counted, 0);
    let reported = desk.report(&single, vec![retry(1)]).await;
    assert_eq!((reported.running, reported.counted), (0, 0));
    tokio::time::sleep(Duration::from_millis(10)).await;
    let taken = desk.take(&[0; 9]).await;
    assert_eq!(firsts(&taken), [1, 2, 3]);
    assert_eq!((taken.parcels[0].1.attempt, &taken.parcels[0].1.bodies), (1, &single.bodies));
}

/// A success of one subtask that somebody else reports, while its parcel runs, counts. It is neither counted again with its parcel nor
/// taken back with it.
pub async fn a_late_success_counts_out_of_a_running_parcel(store: &Arc<dyn QueueStore>) {
    let (desk, epoch) = Desk::with(store, &[3, 3]).await;
    let (reported, lost) = (desk.take_one().await, desk.take_one().await);
    for seq in [0, 1, 4] {
        let id = ParcelId { epoch, first: Seq(seq) };
        let late = Parcel { id, attempt: 0, executor_losses: u32::MAX, key: None, bodies: vec![body(seq)] };
        let answer = desk.succeed(&late).await;
        assert_eq!((answer.counted, answer.running), (1, 6), "of {seq}");
        assert_eq!(desk.succeed(&late).await.counted, 0);
    }
    let answer = desk.succeed(&reported).await;
    assert_eq!((answer.counted, answer.running), (1, 3));
    recover(&desk, &lost).await;
    let taken = desk.take(&[0; 9]).await;
    assert_eq!((firsts(&taken), taken.pending), (vec![3, 5], 0));
    for (_, parcel) in &taken.parcels {
        assert_eq!(desk.succeed(parcel).await.counted, 1);
    }
    let state = desk.state().await;
    assert_eq!((state.counts.succeeded, state.running, state.pending), (6, 0, 0));
}

/// Neighbours that are returned become parcels of the size that the report names.
pub async fn what_is_returned_travels_together(store: &Arc<dyn QueueStore>) {
    let (desk, _) = Desk::with(store, &[8, 1]).await;
    let parcel = desk.take_one().await;
    let mut reports = vec![Report::Returned; 8];
    reports[2] = Report::Ended(success("2"));
    let (id, attempt) = (parcel.id, parcel.attempt);
    let report =
        ParcelReport { parcel: id, attempt, executor_losses: 0, reports, together: 3, busy: Duration::ZERO };
    let reported = must(store.complete(desk.task, desk.run, report).await);
    assert_eq!((reported.counted, reported.pending, reported.running), (1, 8, 0));
    let taken = desk.take(&[0; 9]).await;
    assert_eq!(firsts(&taken), [0, 3, 6, 8]);
    let counts: Vec<_> = taken.parcels.iter().map(|(_, parcel)| parcel.count()).collect();
    assert_eq!(counts, [2, 3, 2, 1]);
    assert_eq!(taken.parcels[2].1.bodies, [body(6), body(7)]);
}

/// A parcel of several is split: who was to blame is not known. It stays the same attempt.
pub async fn what_a_lost_executor_had_comes_back_one_by_one(store: &Arc<dyn QueueStore>) {
    let (desk, _) = Desk::with(store, &[3, 1, 2]).await;
    let taken = desk.take(&[0, 0]).await;
    desk.report(&taken.parcels[1].1, vec![retry(1)]).await;
    // One of the first parcel was counted, as its report came from an earlier dispatch.
    let late = Parcel { attempt: 7, ..taken.parcels[0].1.clone() };
    desk.report(&late, vec![retry(1), Report::Ended(success("1")), retry(1)]).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let again = desk.take(&[0]).await;
    assert_eq!((firsts(&again), again.parcels[0].1.attempt), (vec![3], 1));
    let reported = recover(&desk, &again.parcels[0].1).await;
    assert_eq!((reported.pending, reported.running, reported.control), (3, 3, Control::Run));
    for _ in 0..2 {
        let reported = recover(&desk, &taken.parcels[0].1).await;
        assert_eq!((reported.counted, reported.pending, reported.running), (0, 5, 0));
    }
    let back = desk.take(&[0; 9]).await;
    let parcels: Vec<_> = back
        .parcels
        .iter()
        .map(|(_, parcel)| (parcel.id.first.0, parcel.attempt, parcel.executor_losses, parcel.count()))
        .collect();
    assert_eq!(parcels, [(0, 0, 1, 1), (2, 0, 1, 1), (3, 1, 1, 1), (4, 0, 0, 2)]);
    assert_eq!(back.parcels[1].1.bodies, [body(2)]);
}

/// It is known how many of those that wait were lost, until they are given out.
pub async fn what_was_lost_is_known_until_it_is_given_out(store: &Arc<dyn QueueStore>) {
    let (desk, _) = Desk::with(store, &[3, 2, 2]).await;
    let taken = desk.take(&[0, 0]).await;
    assert_eq!((taken.lost, desk.progress().await.lost), (0, 0));
    let [(_, lost), (_, returned)] = &taken.parcels[..] else { panic!("two parcels, not {taken:?}") };
    recover(&desk, lost).await;
    // What is given back by somebody who lives was not lost.
    desk.report(returned, vec![Report::Returned; 2]).await;
    recover(&desk, lost).await;
    let progress = desk.progress().await;
    assert_eq!((progress.lost, progress.pending, progress.delayed, progress.usage.running), (3, 7, 0, 0));
    desk.control(Control::Pause).await;
    assert_eq!((desk.take(&[0]).await.lost, desk.progress().await.control), (3, Control::Pause));
    desk.control(Control::Run).await;
    let taken = desk.take_at_most(&[0, 0], 1).await;
    assert_eq!((firsts(&taken).len(), taken.lost), (1, 2));
    // What waits for its time is told apart.
    desk.report(&taken.parcels[0].1, vec![retry(3_600_000)]).await;
    let progress = desk.progress().await;
    assert_eq!((progress.lost, progress.pending, progress.delayed), (2, 6, 1));
    assert_eq!(desk.take(&[0; 9]).await.lost, 0);
    assert_eq!(desk.progress().await.lost, 0);
}

/// Parcels that run elsewhere, or as another attempt, stay, and so do reported ones. The part of a parcel that goes on
/// comes with it.
pub async fn only_what_the_lost_executor_had_comes_back(store: &Arc<dyn QueueStore>) {
    let (desk, _) = Desk::with(store, &[3, 1, 1]).await;
    let taken = desk.take(&[0, 1, 0]).await;
    let parcels: Vec<_> = taken.parcels.into_iter().map(|(_, parcel)| parcel).collect();
    // Another shard's, another attempt's, another count's.
    recover(&desk, &parcels[1]).await;
    recover(&desk, &Parcel { attempt: 1, ..parcels[2].clone() }).await;
    assert_eq!(desk.state().await.running, 5);
    let reports = vec![Report::Returned, Report::Ended(success("1")), Report::GoesOn];
    desk.report(&parcels[0], reports).await;
    // The one that was returned runs on the same shard again, shipped by itself.
    let again = desk.take_one().await;
    assert_eq!(again.id.first, Seq(0));
    let reported = recover(&desk, &parcels[0]).await;
    let behind = desk.take(&[0; 9]).await;
    // Its first subtask has the same name, so that it comes back as well.
    assert_eq!(firsts(&behind), [0, 2]);
    assert_eq!((reported.running, desk.state().await.running), (2, 4));
}

/// The first losses may have been anybody's; the last needs a mark.
pub async fn a_suspect_needs_proof(store: &Arc<dyn QueueStore>) {
    let (desk, _) = Desk::with(store, &[1]).await;
    let mut parcel = desk.take_one().await;
    for executor_losses in 1..MOST {
        recover(&desk, &parcel).await;
        parcel = desk.take_one().await;
        assert_eq!((parcel.executor_losses, parcel.attempt), (executor_losses, 0));
    }
    assert!(parcel.is_suspect(MOST));
    recover(&desk, &parcel).await;
    parcel = desk.take_one().await;
    assert!(parcel.is_suspect(MOST), "without proof");
    for _ in 0..2 {
        assert!(mark_suspect(&desk, &parcel).await);
    }
    assert!(!mark_suspect(&desk, &Parcel { attempt: 1, ..parcel.clone() }).await);
    recover(&desk, &parcel).await;
    assert!(!mark_suspect(&desk, &parcel).await, "it does not run");
    parcel = desk.take_one().await;
    assert!(parcel.is_quarantined(MOST));
    assert_eq!((parcel.executor_losses, &parcel.bodies), (MOST, &vec![body(0)]));
}

/// Whoever came back from an executor did not take it down.
pub async fn an_accusation_falls_with_what_is_returned(store: &Arc<dyn QueueStore>) {
    let (desk, _) = Desk::with(store, &[1]).await;
    let mut parcel = desk.take_one().await;
    for _ in 1..MOST {
        recover(&desk, &parcel).await;
        parcel = desk.take_one().await;
    }
    assert!(mark_suspect(&desk, &parcel).await);
    desk.report(&parcel, vec![Report::Returned]).await;
    parcel = desk.take_one().await;
    recover(&desk, &parcel).await;
    parcel = desk.take_one().await;
    assert!(parcel.is_suspect(MOST));
    assert!(mark_suspect(&desk, &parcel).await);
    desk.put_back(&[parcel.id], Duration::ZERO).await;
    parcel = desk.take_one().await;
    recover(&desk, &parcel).await;
    parcel = desk.take_one().await;
    assert!(parcel.is_suspect(MOST));
    assert!(mark_suspect(&desk, &parcel).await);
    desk.report(&parcel, vec![retry(1)]).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let parcel = desk.take_one().await;
    assert_eq!((parcel.executor_losses, parcel.attempt), (0, 1));
}
