//! Commits of a collector take effect once, and the task ends when everything is collected.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dtf_model::ids::{EmitEpoch, Seq};
use dtf_model::plugin::{NewSubtask, SubtaskResult, TaskResult};
use dtf_model::queue::{
    CollectorLoad, Commit, CountedAs, Ending, FIRST_LOOK, Outcome, PEEK_BYTES, Parcel, ParcelId, Push,
    QueueStore, Report, StillOpen,
};

use super::{Desk, body, failure, is_conflict, must, push, success};

/// A commit that only takes results off.
pub(super) fn take_off(load: &CollectorLoad, offset: u64, batches: u64) -> Commit {
    Commit { epoch: load.epoch, offset, batches, first: load.next, ..Commit::default() }
}

/// A task with these parcels, all executed.
async fn executed<'a>(
    store: &'a Arc<dyn QueueStore>,
    parcels: &[usize],
) -> (Desk<'a>, EmitEpoch, CollectorLoad) {
    let (desk, epoch) = Desk::with(store, parcels).await;
    for _ in parcels {
        let parcel = desk.take_one().await;
        desk.succeed(&parcel).await;
    }
    let load = must(store.load_collector(desk.fence()).await);
    (desk, epoch, load)
}

/// Results are given in the order of the reports, as often as they are asked for.
pub async fn results_are_peeked_in_order_and_stay(store: &Arc<dyn QueueStore>) {
    let (desk, epoch, load) = executed(store, &[2, 1, 3]).await;
    assert_eq!(load.offset, 0);
    for most in [3, 2, 1, 50, 0] {
        let batches = desk.peek(0, most).await;
        assert_eq!(batches.len(), most.min(3));
        let seqs: Vec<_> =
            batches.iter().flat_map(|batch| batch.results.iter().map(|(seq, _)| seq.0)).collect();
        assert_eq!(seqs, (0..[0, 2, 3, 6][most.min(3)]).collect::<Vec<_>>());
        assert!(batches.iter().all(|batch| batch.epoch == epoch));
    }
    assert!(is_conflict(&store.peek(desk.fence(), 1, 1).await));
}

/// Results that are large come in portions, a very large one alone.
pub async fn large_results_are_peeked_in_portions(store: &Arc<dyn QueueStore>) {
    let (desk, _) = Desk::with(store, &[1; 5]).await;
    let load = must(store.load_collector(desk.fence()).await);
    for part in [3, 3, 3, 2, 1] {
        let parcel = desk.take_one().await;
        let body = Bytes::from(vec![part; PEEK_BYTES as usize / usize::from(part) + 1]);
        let result = SubtaskResult { body, ..SubtaskResult::default() };
        desk.report(&parcel, vec![Report::Ended(Outcome::Succeeded(result))]).await;
    }
    for (offset, expected) in [(0, 2), (2, 2), (4, 1)] {
        assert_eq!(desk.peek(offset, 9).await.len(), expected, "behind {offset}");
        must(store.commit(desk.fence(), take_off(&load, offset, expected as u64)).await);
    }
}

/// A commit takes results off, adds subtasks and saves the status.
pub async fn a_commit_takes_results_off_and_adds_follow_ups(store: &Arc<dyn QueueStore>) {
    let (desk, _, load) = executed(store, &[2, 1, 3]).await;
    let commit = Commit {
        follow_ups: vec![NewSubtask::new(Bytes::from_static(b"more")), NewSubtask::default()],
        saved: Some(Bytes::from_static(b"\0seen")),
        ..take_off(&load, 0, 2)
    };
    let state = must(store.commit(desk.fence(), commit).await);
    assert_eq!((state.counts.created, state.collected, state.pending), (8, 3, 2));
    assert_eq!(state, desk.state().await);
    assert_eq!(desk.peek(2, 9).await.len(), 1);
    let next = must(store.load_collector(desk.fence()).await);
    assert_eq!((next.offset, next.next), (2, Seq::FIRST_FOLLOW_UP.plus(2)));
    assert_eq!(next.saved, Some(Bytes::from_static(b"\0seen")));
    assert_ne!(next.epoch, load.epoch);
    assert!(is_conflict(&store.commit(desk.fence(), take_off(&next, 2, 2)).await), "there is only one");
    let state = must(store.commit(desk.fence(), take_off(&next, 2, 1)).await);
    assert_eq!(state.collected, 6);
    assert_eq!(must(store.load_collector(desk.fence()).await).saved, None, "the status is that of the last");
}

/// A commit that is sent again is not applied again.
pub async fn a_commit_is_applied_once(store: &Arc<dyn QueueStore>) {
    let (desk, _, load) = executed(store, &[1, 1, 1]).await;
    let commit =
        Commit { follow_ups: vec![NewSubtask::new(Bytes::from_static(b"more"))], ..take_off(&load, 0, 2) };
    let first = must(store.commit(desk.fence(), commit.clone()).await);
    assert_eq!(must(store.commit(desk.fence(), commit).await), first);
    assert_eq!((first.counts.created, first.collected, first.pending), (4, 2, 1));
    assert_eq!(desk.peek(2, 9).await.len(), 1);
}

/// A commit at another offset, of more than there is, or with other numbers, is refused.
pub async fn a_commit_that_does_not_follow_is_refused(store: &Arc<dyn QueueStore>) {
    let (desk, _, load) = executed(store, &[1, 1, 1]).await;
    let before = desk.state().await;
    let misnumbered = Commit { first: load.next.plus(1), ..take_off(&load, 0, 1) };
    for wrong in [take_off(&load, 1, 1), take_off(&load, 0, 4), misnumbered] {
        assert!(is_conflict(&store.commit(desk.fence(), wrong.clone()).await), "{wrong:?}");
    }
    assert_eq!(desk.state().await, before);
}

/// Once another load has begun, what the earlier one commits is refused, even what it committed before.
pub async fn a_commit_of_a_superseded_load_is_refused(store: &Arc<dyn QueueStore>) {
    let (desk, _, load) = executed(store, &[1, 1]).await;
    must(store.commit(desk.fence(), take_off(&load, 0, 1)).await);
    must(store.load_collector(desk.fence()).await);
    assert!(is_conflict(&store.commit(desk.fence(), take_off(&load, 1, 1)).await));
    assert!(is_conflict(&store.commit(desk.fence(), take_off(&load, 0, 1)).await));
    assert_eq!(desk.state().await.collected, 1);
}

/// Subtasks that a collector adds are dispatched, counted and collected like those of a generator.
pub async fn follow_ups_are_subtasks_like_others(store: &Arc<dyn QueueStore>) {
    let (desk, _, load) = executed(store, &[1]).await;
    let bodies: Vec<_> = (0..3).map(body).collect();
    let follow_ups = bodies.iter().cloned().map(NewSubtask::new).collect();
    must(store.commit(desk.fence(), Commit { follow_ups, ..take_off(&load, 0, 1) }).await);
    for (index, expected) in (0..).zip(&bodies) {
        let parcel = desk.take_one().await;
        let first = Seq::FIRST_FOLLOW_UP.plus(index);
        assert_eq!(parcel.id, ParcelId { epoch: load.epoch, first });
        assert_eq!((parcel.attempt, parcel.bodies.as_slice()), (0, std::slice::from_ref(expected)));
        let wrong = Parcel { id: ParcelId { epoch: load.epoch, first: Seq(index) }, ..parcel.clone() };
        assert!(is_conflict(&desk.try_report(&wrong, vec![Report::Ended(success(""))]).await));
        assert_eq!(desk.succeed(&parcel).await.counted, 1);
        assert_eq!(desk.succeed(&parcel).await.counted, 0);
        let results = desk.peek(1, 9).await.remove(index as usize).results;
        assert_eq!(results.first().map(|(seq, _)| *seq), Some(first));
    }
}

/// A subtask that stays open leaves the books, is executed again, and is counted by its last result.
pub async fn what_stays_open_is_executed_again_and_counted_once(store: &Arc<dyn QueueStore>) {
    let (desk, epoch, load) = executed(store, &[1, 1]).await;
    must(store.push(desk.fence(), Push { finished: true, ..push(epoch, 2, &[]) }).await);
    let open = |after| StillOpen { counted_as: CountedAs::Succeeded, next: NewSubtask::new(body(50)), after };
    let commit = Commit {
        open: vec![open(Duration::ZERO), open(Duration::from_millis(30))],
        follow_ups: vec![NewSubtask::new(body(60))],
        ..take_off(&load, 0, 2)
    };
    let state = must(store.commit(desk.fence(), commit.clone()).await);
    assert_eq!((state.counts.created, state.counts.counted(), state.collected), (3, 0, 0));
    assert_eq!((state.pending, state.delayed), (2, 1));
    assert_eq!(must(store.commit(desk.fence(), commit).await), state, "once");
    // What is reported of the earlier number once more is in the books no more, nor again.
    let old = Parcel {
        id: ParcelId { epoch, first: Seq(0) },
        attempt: 0,
        executor_losses: 0,
        key: None,
        bodies: vec![body(0)],
    };
    assert_eq!(desk.succeed(&old).await.counted, 0);
    let mut again = Vec::new();
    while again.len() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        again.extend(desk.take(&[0, 0, 0]).await.parcels.into_iter().map(|(_, parcel)| parcel));
    }
    let mut bodies: Vec<_> =
        again.iter().map(|parcel| (parcel.id.first.0, parcel.bodies[0].clone())).collect();
    bodies.sort();
    let first = Seq::FIRST_FOLLOW_UP.0;
    assert_eq!(bodies, [(first, body(50)), (first + 1, body(50)), (first + 2, body(60))]);
    desk.report(&again[0], vec![Report::Ended(failure("for good"))]).await;
    for parcel in &again[1..] {
        desk.succeed(parcel).await;
    }
    let state =
        must(store.commit(desk.fence(), Commit { first: load.next.plus(3), ..take_off(&load, 2, 3) }).await);
    assert_eq!((state.counts.created, state.counts.succeeded, state.counts.failed), (3, 2, 1));
    assert!(state.is_complete());
    must(store.conclude(desk.fence(), &TaskResult::default()).await);
}

/// No more subtasks stay open than results are taken off, nor than are counted that way; a close counts those that are.
pub async fn no_more_stays_open_than_was_counted(store: &Arc<dyn QueueStore>) {
    let (desk, _, load) = executed(store, &[1, 1]).await;
    let open = |counted_as| StillOpen { counted_as, next: NewSubtask::new(body(50)), after: Duration::ZERO };
    let before = desk.state().await;
    for wrong in
        [vec![open(CountedAs::Failed)], vec![open(CountedAs::TimedOut)], vec![open(CountedAs::Succeeded); 2]]
    {
        let commit = Commit { open: wrong, ..take_off(&load, 0, 1) };
        assert!(is_conflict(&store.commit(desk.fence(), commit).await));
    }
    assert_eq!(desk.state().await, before);
    let commit = Commit { open: vec![open(CountedAs::Succeeded)], ..take_off(&load, 0, 1) };
    must(store.commit(desk.fence(), commit).await);
    let counts = must(store.close(desk.task, desk.run).await);
    assert_eq!((counts.created, counts.succeeded, counts.cancelled), (2, 1, 1));
}

/// A task is concluded when everything is generated, counted and collected, and not before.
pub async fn a_task_is_concluded_when_it_is_complete(store: &Arc<dyn QueueStore>) {
    let (desk, epoch, load) = executed(store, &[1, 1]).await;
    let result =
        TaskResult { code: -4, reason: "all \"well\" ü".into(), data: serde_json::json!({"n": [1, 0.5]}) };
    assert!(is_conflict(&store.conclude(desk.fence(), &result).await), "not generated");
    let progress = desk.progress().await;
    assert_eq!((progress.results, progress.generated, progress.is_over), (2, false, false));
    must(store.push(desk.fence(), Push { finished: true, ..push(epoch, 2, &[1]) }).await);
    must(store.commit(desk.fence(), take_off(&load, 0, 2)).await);
    assert!(is_conflict(&store.conclude(desk.fence(), &result).await), "not counted");
    let parcel = desk.take_one().await;
    desk.succeed(&parcel).await;
    assert!(!desk.state().await.is_complete());
    assert!(is_conflict(&store.conclude(desk.fence(), &result).await), "not collected");
    assert!(must(store.commit(desk.fence(), take_off(&load, 2, 1)).await).is_complete());
    let progress = desk.progress().await;
    assert_eq!((progress.results, progress.generated, progress.is_over), (0, true, false));
    must(store.conclude(desk.fence(), &result).await);
    assert!(desk.progress().await.is_over);
    let ended = desk.state().await;
    assert_eq!(ended.ending, Some(Ending::Completed(result.clone())));
    // Once concluded, it stays so.
    must(store.conclude(desk.fence(), &TaskResult::default()).await);
    assert_eq!(must(store.close(desk.task, desk.run).await), ended.counts);
    assert_eq!(desk.succeed(&parcel).await.counted, 0);
    assert_eq!(desk.state().await, ended);
    // A task without subtasks is complete as soon as it is generated.
    let desk = Desk::open(store).await;
    let epoch = must(store.load_generator(desk.fence()).await).epoch;
    must(store.push(desk.fence(), Push { finished: true, ..push(epoch, 0, &[]) }).await);
    must(store.load_collector(desk.fence()).await);
    must(store.conclude(desk.fence(), &TaskResult::default()).await);
}

/// The commit of the last results may conclude the task; one of earlier results, or with further subtasks, may not.
pub async fn the_last_commit_may_conclude_the_task(store: &Arc<dyn QueueStore>) {
    let (desk, epoch, load) = executed(store, &[1, 2]).await;
    let end = Some(TaskResult { code: 7, reason: "all".into(), data: serde_json::json!([1]) });
    let concluding = |batches| Commit { end: end.clone(), ..take_off(&load, 0, batches) };
    let is_refused = async |commit: Commit| {
        let before = desk.state().await;
        assert!(is_conflict(&store.commit(desk.fence(), commit).await));
        assert_eq!((desk.state().await, desk.peek(0, 9).await.len()), (before, 2));
    };
    is_refused(concluding(2)).await; // not generated
    must(store.push(desk.fence(), Push { finished: true, ..push(epoch, 3, &[]) }).await);
    is_refused(concluding(1)).await;
    is_refused(Commit { follow_ups: vec![NewSubtask::new("more")], ..concluding(2) }).await;
    let next = NewSubtask::new(body(50));
    let open = vec![StillOpen { counted_as: CountedAs::Succeeded, next, after: Duration::ZERO }];
    is_refused(Commit { open, ..concluding(2) }).await;
    let ended = must(store.commit(desk.fence(), concluding(2)).await);
    assert_eq!((ended.counts.succeeded, ended.collected), (3, 3));
    assert_eq!(ended.ending, end.clone().map(Ending::Completed));
    assert!(desk.progress().await.is_over);
    // Sent again, and concluded again, it stays so.
    assert_eq!(must(store.commit(desk.fence(), concluding(2)).await), ended);
    must(store.conclude(desk.fence(), &TaskResult::default()).await);
    assert_eq!(desk.state().await, ended);
    // What is not counted yet holds it up too.
    let (desk, epoch) = Desk::with(store, &[1, 1]).await;
    must(store.push(desk.fence(), Push { finished: true, ..push(epoch, 2, &[]) }).await);
    let parcel = desk.take_one().await;
    desk.succeed(&parcel).await;
    let load = must(store.load_collector(desk.fence()).await);
    let commit = Commit { end, ..take_off(&load, 0, 1) };
    assert!(is_conflict(&store.commit(desk.fence(), commit).await));
}

/// A load has the results that a peek would give.
pub async fn a_collector_finds_the_first_results_when_it_loads(store: &Arc<dyn QueueStore>) {
    let (desk, _, load) = executed(store, &[2, 1, 3]).await;
    assert_eq!(load.results, desk.peek(0, FIRST_LOOK).await);
    must(store.commit(desk.fence(), take_off(&load, 0, 2)).await);
    let load = must(store.load_collector(desk.fence()).await);
    assert_eq!((load.offset, load.results.len()), (2, 1));
    assert_eq!(load.results, desk.peek(2, FIRST_LOOK).await);
}
