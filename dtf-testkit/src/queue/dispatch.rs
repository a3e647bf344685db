//! Parcels that a scheduler takes are recorded; those that it puts back come again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dtf_model::ids::{EmitEpoch, Seq, Shard};
use dtf_model::plugin::SubtaskResult;
use dtf_model::queue::{
    Outcome, Parcel, ParcelId, ParcelReport, QueueStore, RESULTS_WATERMARK, RESULTS_WATERMARK_BYTES, Report,
    RunningParcel, TakeRequest, Usage, WAKE_MOST,
};
use dtf_model::status::Control;
use tokio::time::Instant;

use super::{Desk, LANES, all_succeeded, body, failure, firsts, must, push};

/// Longer than any suite takes.
const NEVER: Duration = Duration::from_secs(3600);
/// A short delay, and a time after which it has certainly passed.
const SOON: Duration = Duration::from_millis(2);
const LATER: Duration = Duration::from_millis(10);

/// Parcels are given in their order, one for each shard named, and recorded as running there.
pub async fn parcels_are_taken_in_order_and_recorded(store: &Arc<dyn QueueStore>) {
    let (desk, epoch) = Desk::with(store, &[2, 3, 1, 1]).await;
    assert!(desk.take(&[]).await.parcels.is_empty());
    let taken = desk.take(&[9, 7, 9]).await;
    let parcel = |first: u64, count: u64| Parcel {
        id: ParcelId { epoch, first: Seq(first) },
        attempt: 0,
        executor_losses: 0,
        key: None,
        bodies: (first..first + count).map(body).collect(),
    };
    let expected = [(Shard(9), parcel(0, 2)), (Shard(7), parcel(2, 3)), (Shard(9), parcel(5, 1))];
    assert_eq!(taken.parcels, expected);
    assert_eq!((taken.pending, taken.next_due, taken.control), (1, None, Control::Run));
    let state = desk.state().await;
    assert_eq!((state.pending, state.running, state.delayed), (1, 6, 0));
    let rest = desk.take(&[1, 2, 3]).await;
    assert_eq!((firsts(&rest), rest.pending), (vec![6], 0));
    assert!(desk.take(&[1]).await.parcels.is_empty());
}

/// Not more subtasks than are asked for; the rest of a parcel stays in front, as one of its own.
pub async fn a_take_is_limited_and_splits_parcels(store: &Arc<dyn QueueStore>) {
    let (desk, epoch) = Desk::with(store, &[2, 5, 1, 1]).await;
    let parcel = |first: u64, count: u64| Parcel {
        id: ParcelId { epoch, first: Seq(first) },
        attempt: 0,
        executor_losses: 0,
        key: None,
        bodies: (first..first + count).map(body).collect(),
    };
    assert!(desk.take_at_most(&[1, 2], 0).await.parcels.is_empty());
    let taken = desk.take_at_most(&[1, 2, 3, 4], 4).await;
    assert_eq!(taken.parcels, [(Shard(1), parcel(0, 2)), (Shard(2), parcel(2, 2))]);
    assert_eq!((taken.pending, taken.usage.running), (5, 4));
    let state = desk.state().await;
    assert_eq!((state.pending, state.running), (5, 4));
    let taken = desk.take_at_most(&[1, 2], 1).await;
    assert_eq!(taken.parcels, [(Shard(1), parcel(4, 1))]);
    desk.succeed(&parcel(2, 2)).await;
    // The exact number splits nothing.
    let taken = desk.take_at_most(&[1, 2, 3], 3).await;
    assert_eq!(taken.parcels, [(Shard(1), parcel(5, 2)), (Shard(2), parcel(7, 1))]);
    assert_eq!((taken.pending, taken.usage.running), (1, 6));
    // The parts are counted like any parcel, and what is put back comes again as it was.
    desk.put_back(&[parcel(5, 2).id], Duration::ZERO).await;
    for part in [parcel(0, 2), parcel(4, 1), parcel(7, 1)] {
        desk.succeed(&part).await;
    }
    let taken = desk.take(&[1, 2, 3]).await;
    assert_eq!(taken.parcels, [(Shard(1), parcel(5, 2)), (Shard(2), parcel(8, 1))]);
    for (_, part) in &taken.parcels {
        desk.succeed(part).await;
    }
    assert_eq!((desk.state().await.counts.succeeded, desk.state().await.running), (9, 0));
}

/// The slot-time of reported parcels, each counted once, and what is dispatched.
pub async fn what_was_used_is_known(store: &Arc<dyn QueueStore>) {
    let absent = Desk::absent(store);
    assert!(must(store.progress_of(&[absent.task]).await).is_empty());
    let (desk, _) = Desk::with(store, &[3, 1, 1]).await;
    assert_eq!(desk.usage().await, Usage::default());
    let taken = desk.take(&[0, 0, 0]).await;
    assert_eq!(taken.usage, Usage { running: 5, ..Usage::default() });
    let report = |parcel: &Parcel, reports, millis| ParcelReport {
        parcel: parcel.id,
        attempt: 0,
        executor_losses: parcel.executor_losses,
        reports,
        together: 1,
        busy: Duration::from_millis(millis),
    };
    let parcels: Vec<_> = taken.parcels.into_iter().map(|(_, parcel)| parcel).collect();
    for _ in 0..2 {
        let reported = report(&parcels[0], all_succeeded(&parcels[0]), 30);
        must(store.complete(desk.task, desk.run, reported).await);
        let mean_run = Some(Duration::from_millis(10));
        assert_eq!(desk.usage().await, Usage { used: Duration::from_millis(30), running: 2, mean_run });
    }
    // Whatever came of it, the slot was used.
    let failed = report(&parcels[1], vec![Report::Ended(failure("no"))], 6);
    must(store.complete(desk.task, desk.run, failed).await);
    let returned = report(&parcels[2], vec![Report::Returned], 2);
    must(store.complete(desk.task, desk.run, returned).await);
    let usage = desk.usage().await;
    assert_eq!((usage.used, usage.running), (Duration::from_millis(38), 0));
    assert_eq!(must(store.load_scheduler(desk.fence()).await).usage, usage);
    assert_eq!(desk.take(&[]).await.usage, usage);
}

/// A task that is paused or to end gives nothing, and says so.
pub async fn nothing_is_taken_unless_the_task_runs(store: &Arc<dyn QueueStore>) {
    let (desk, _) = Desk::with(store, &[1, 1]).await;
    for (control, count) in [(Control::Pause, 0), (Control::Run, 1), (Control::Cancel, 0)] {
        desk.control(control).await;
        let taken = desk.take(&[0]).await;
        assert_eq!((taken.parcels.len(), taken.control), (count, control));
    }
    assert_eq!(desk.state().await.pending, 1);
}

/// A parcel that is put back without a delay is pending again, before all others, in the order named.
pub async fn what_is_put_back_comes_first(store: &Arc<dyn QueueStore>) {
    let (desk, epoch) = Desk::with(store, &[2, 1, 1, 1]).await;
    let taken = desk.take(&[0, 0, 0]).await;
    let id = |first| ParcelId { epoch, first: Seq(first) };
    desk.put_back(&[id(0), id(3)], Duration::ZERO).await;
    let state = desk.state().await;
    assert_eq!((state.pending, state.running, state.delayed), (4, 1, 0));
    let again = desk.take(&[5, 5, 5]).await;
    assert_eq!(firsts(&again), [0, 3, 4]);
    assert_eq!(again.parcels[0].1, taken.parcels[0].1);
}

/// A parcel that is put back with a delay is not given before it is due; then it is, one by one.
pub async fn what_is_put_back_with_a_delay_comes_when_due(store: &Arc<dyn QueueStore>) {
    let (desk, epoch) = Desk::with(store, &[3, 1, 1]).await;
    let id = |first| ParcelId { epoch, first: Seq(first) };
    desk.take(&[0, 0]).await;
    desk.put_back(&[id(3)], NEVER).await;
    let taken = desk.take(&[]).await;
    assert!(taken.next_due.is_some_and(|due| due <= NEVER && due > NEVER / 2), "{:?}", taken.next_due);
    desk.put_back(&[id(0)], SOON).await;
    let state = desk.state().await;
    assert_eq!((state.pending, state.running, state.delayed), (1, 0, 4));
    assert_eq!(must(store.backlog(desk.task, desk.run).await).waiting, 5);
    tokio::time::sleep(LATER).await;
    let taken = desk.take(&[0; 9]).await;
    assert_eq!(firsts(&taken), [0, 1, 2, 4]);
    assert_eq!(taken.parcels[1].1.bodies, [body(1)]);
    assert!(taken.parcels.iter().all(|(_, parcel)| parcel.attempt == 0));
    assert!(taken.next_due.is_some_and(|due| due > NEVER / 2));
    assert_eq!(desk.state().await.delayed, 1);
}

/// Putting back what is pending, reported or unknown does nothing, so it can be sent again.
pub async fn only_what_runs_is_put_back(store: &Arc<dyn QueueStore>) {
    let (desk, epoch) = Desk::with(store, &[1, 1, 1]).await;
    let id = |first| ParcelId { epoch, first: Seq(first) };
    let taken = desk.take(&[0, 0]).await;
    desk.succeed(&taken.parcels[0].1).await;
    let other_load = ParcelId { epoch: EmitEpoch(epoch.0 ^ 1), first: Seq(1) };
    for after in [Duration::ZERO, NEVER] {
        desk.put_back(&[id(0), id(2), id(77), other_load], after).await;
    }
    let state = desk.state().await;
    assert_eq!((state.pending, state.running, state.delayed), (1, 1, 0));
    for _ in 0..2 {
        desk.put_back(&[id(1)], Duration::ZERO).await;
    }
    let state = desk.state().await;
    assert_eq!((state.pending, state.running), (2, 0));
}

/// Parcels that are due come before those that are pending, the earliest first.
pub async fn what_is_due_comes_in_its_order_and_first(store: &Arc<dyn QueueStore>) {
    let apart = Duration::from_millis(400);
    for _ in 0..100 {
        let (desk, epoch) = Desk::with(store, &[1, 1, 1, 1, 1]).await;
        let id = |first| ParcelId { epoch, first: Seq(first) };
        desk.take(&[0; 4]).await;
        let begun = Instant::now();
        desk.put_back(&[id(2)], apart).await;
        desk.put_back(&[id(3), id(0)], SOON).await;
        desk.put_back(&[id(1)], 2 * apart).await;
        // On a machine that stalled meanwhile they are due in another order.
        if begun.elapsed() > apart / 2 {
            continue;
        }
        tokio::time::sleep(3 * apart).await;
        return assert_eq!(firsts(&desk.take(&[0; 9]).await), [3, 0, 2, 1, 4]);
    }
    panic!("three calls take {:?} again and again", apart / 2);
}

/// However many are due, one call makes only some pending, and says that there are more.
pub async fn no_more_than_some_become_due_at_once(store: &Arc<dyn QueueStore>) {
    let count = WAKE_MOST + 5;
    let (desk, epoch) = Desk::with(store, &[count]).await;
    desk.take_one().await;
    desk.put_back(&[ParcelId { epoch, first: Seq(0) }], SOON).await;
    tokio::time::sleep(LATER).await;
    let taken = desk.take(&[0]).await;
    assert_eq!((firsts(&taken), taken.pending), (vec![0], WAKE_MOST as u64 - 1));
    assert_eq!(taken.next_due, Some(Duration::ZERO));
    assert_eq!(desk.state().await.delayed, 5);
    let taken = desk.take(&[0]).await;
    assert_eq!((firsts(&taken), taken.next_due), (vec![WAKE_MOST as u64], None));
    assert_eq!(desk.state().await.pending, count as u64 - 2);
}

/// A scheduler that takes a task up is told what runs, and where.
pub async fn a_new_scheduler_finds_what_runs(store: &Arc<dyn QueueStore>) {
    let (desk, epoch) = Desk::with(store, &[2, 1, 1, 1]).await;
    let taken = desk.take(&[3, 4, 5]).await;
    desk.succeed(&taken.parcels[1].1).await;
    let load = must(store.load_scheduler(desk.fence()).await);
    assert_eq!(load.pending, 1);
    let mut running = load.running;
    running.sort_unstable();
    let expected = |first, shard| RunningParcel {
        id: ParcelId { epoch, first: Seq(first) },
        attempt: 0,
        shard: Shard(shard),
        shipped_with: Seq(first),
    };
    assert_eq!(running, [expected(0, 3), expected(3, 5)]);
}

/// At the results' watermark nothing more is given until some have been committed.
pub async fn nothing_is_taken_while_too_many_results_wait(store: &Arc<dyn QueueStore>) {
    const EACH: u64 = 5000;
    let parcels = vec![EACH as usize; (RESULTS_WATERMARK / EACH) as usize + 1];
    let desk = Desk::open(store).await;
    let epoch = must(store.load_generator(desk.fence()).await).epoch;
    let empty = vec![Bytes::new(); parcels.iter().sum()];
    must(store.push(desk.fence(), super::Push { parcels, bodies: empty, ..push(epoch, 0, &[]) }).await);
    let collector = must(store.load_collector(desk.fence()).await);
    for _ in 0..RESULTS_WATERMARK / EACH {
        let parcel = desk.take_one().await;
        desk.report(
            &parcel,
            (0..EACH).map(|_| Report::Ended(Outcome::TimedOut { body: Bytes::new() })).collect(),
        )
        .await;
    }
    let taken = desk.take(&[0]).await;
    assert_eq!((taken.parcels.len(), taken.pending, taken.control), (0, EACH, Control::Run));
    let commit = super::collection::take_off(&collector, 0, 1);
    must(store.commit(desk.fence(), commit).await);
    assert_eq!(desk.take(&[0]).await.parcels.len(), 1);
}

/// The same holds for the size of the results.
pub async fn nothing_is_taken_while_results_are_too_large(store: &Arc<dyn QueueStore>) {
    const EACH: u64 = 4 << 20;
    let count = RESULTS_WATERMARK_BYTES / EACH;
    let (desk, _) = Desk::with(store, &vec![1; count as usize + 1]).await;
    let collector = must(store.load_collector(desk.fence()).await);
    let large = Bytes::from(vec![7; EACH as usize]);
    for _ in 0..count {
        let parcel = desk.take_one().await;
        let result = SubtaskResult { body: large.clone(), ..SubtaskResult::default() };
        desk.report(&parcel, vec![Report::Ended(Outcome::Succeeded(result))]).await;
    }
    assert!(desk.take(&[0]).await.parcels.is_empty());
    must(store.commit(desk.fence(), super::collection::take_off(&collector, 0, 1)).await);
    let parcel = desk.take_one().await;
    // Closing frees what waits.
    desk.report(&parcel, all_succeeded(&parcel)).await;
    must(store.close(desk.task, desk.run).await);
}

/// Whoever takes may ask for a lower limit on the results that wait, and is told how large they are.
pub async fn nothing_is_taken_while_results_are_larger_than_asked_for(store: &Arc<dyn QueueStore>) {
    const SIZE: u64 = 10_000;
    let (desk, _) = Desk::with(store, &[1; 3]).await;
    let collector = must(store.load_collector(desk.fence()).await);
    let at_most = |results_bytes| TakeRequest { results_bytes, ..TakeRequest::of(&[Shard(0)], LANES) };
    let taken = desk.take_with(&at_most(1), u64::MAX).await;
    assert_eq!((taken.parcels.len(), taken.results_bytes), (1, 0));
    let result = SubtaskResult { body: Bytes::from(vec![7; SIZE as usize]), ..SubtaskResult::default() };
    desk.report(&taken.parcels[0].1, vec![Report::Ended(Outcome::Succeeded(result))]).await;
    let taken = desk.take_with(&at_most(SIZE), u64::MAX).await;
    assert!(taken.parcels.is_empty());
    assert!((SIZE..2 * SIZE).contains(&taken.results_bytes), "{}", taken.results_bytes);
    assert_eq!(desk.progress().await.results_bytes, taken.results_bytes);
    assert_eq!(desk.take_with(&at_most(taken.results_bytes + 1), u64::MAX).await.parcels.len(), 1);
    must(store.commit(desk.fence(), super::collection::take_off(&collector, 0, 1)).await);
    assert_eq!(desk.progress().await.results_bytes, 0);
    assert_eq!(desk.take_with(&at_most(1), u64::MAX).await.parcels.len(), 1);
}
