//! Parcels with a key go to the shard that serves their lane, and those of an ordered key go one by one.

use std::sync::Arc;
use std::time::Duration;

use dtf_model::ids::{EmitEpoch, Seq, Shard};
use dtf_model::key::ShardKey;
use dtf_model::plugin::NewSubtask;
use dtf_model::queue::{
    Commit, CountedAs, LostParcel, Parcel, ParcelId, Push, QueueStore, Report, Slot, StillOpen, TakeRequest,
    Taken,
};

use super::collection::take_off;
use super::{Desk, LANES, all_succeeded, body, failure, firsts, must, push, retry, success};

/// A short delay, and a time after which it has certainly passed.
const SOON: Duration = Duration::from_millis(2);
const LATER: Duration = Duration::from_millis(10);
/// Longer than any suite takes.
const NEVER: Duration = Duration::from_secs(3600);

/// The key with this number of those in a lane.
fn key(lane: u32, number: usize) -> ShardKey {
    let all = (0_u32..).map(|name| ShardKey::new(name.to_le_bytes()));
    match all.filter(|key| key.lane(LANES) == lane).nth(number) {
        Some(key) => key,
        None => panic!("lane {lane} has no key {number}"),
    }
}

/// A task with these parcels, each with its key.
async fn keyed<'a>(
    store: &'a Arc<dyn QueueStore>,
    parcels: &[(usize, Option<ShardKey>)],
) -> (Desk<'a>, EmitEpoch) {
    let desk = Desk::open(store).await;
    let epoch = must(store.load_generator(desk.fence()).await).epoch;
    must(store.push(desk.fence(), batch(epoch, 0, parcels)).await);
    (desk, epoch)
}

fn batch(epoch: EmitEpoch, first: u64, parcels: &[(usize, Option<ShardKey>)]) -> Push {
    let sizes: Vec<_> = parcels.iter().map(|(size, _)| *size).collect();
    Push { keys: parcels.iter().map(|(_, key)| *key).collect(), ..push(epoch, first, &sizes) }
}

fn placed(taken: &Taken) -> Vec<(u32, u64)> {
    taken.parcels.iter().map(|(shard, parcel)| (shard.0, parcel.id.first.0)).collect()
}

/// Parcels that wait in a lane are given to places that serve the lane and to no others; the answer names the other lanes.
pub async fn keyed_parcels_go_where_their_lane_is_served(store: &Arc<dyn QueueStore>) {
    let (one, two) = (key(1, 0), key(2, 0));
    let (desk, epoch) = keyed(store, &[(2, Some(one)), (1, Some(two))]).await;
    assert_eq!(desk.state().await.pending, 3);
    let taken = desk.take(&[0, 3, 4]).await;
    assert!(taken.parcels.is_empty() && !taken.anywhere);
    assert_eq!((taken.lanes, taken.pending), (vec![1, 2], 3));
    let taken = desk.take(&[0, 2, 1]).await;
    assert_eq!(placed(&taken), [(2, 2), (1, 0)]);
    let bodies = vec![body(0), body(1)];
    let id = ParcelId { epoch, first: Seq(0) };
    assert_eq!(taken.parcels[1].1, Parcel { id, attempt: 0, executor_losses: 0, key: Some(one), bodies });
    assert!(taken.lanes.is_empty() && !taken.anywhere);
    assert_eq!((taken.pending, taken.usage.running), (0, 3));
    // The limits are kept, and what is left of a parcel is its key's next.
    must(store.push(desk.fence(), batch(epoch, 3, &[(3, Some(one)), (1, None), (1, Some(two))])).await);
    let taken = desk.take_at_most(&[1, 2], 2).await;
    assert_eq!((placed(&taken), taken.parcels[0].1.count()), (vec![(1, 3)], 2));
    let all = TakeRequest { parcels: 1, ..TakeRequest::of(&[Shard(1), Shard(2)], LANES) };
    assert_eq!(placed(&desk.take_with(&all, u64::MAX).await), [(1, 5)]);
    let taken = desk.take(&[5, 2]).await;
    assert_eq!((placed(&taken), taken.pending), (vec![(5, 6), (2, 7)], 0));
}

/// A place that serves several lanes is given of the key that has been in line the longest.
pub async fn a_place_serves_several_lanes_and_the_longest_wait_first(store: &Arc<dyn QueueStore>) {
    let some = [3, 1, 2].map(|lane| (1, Some(key(lane, 0))));
    let (desk, _) = keyed(store, &some).await;
    let place = |shard, lanes: &[u32]| Slot { shard: Shard(shard), lanes: lanes.to_vec() };
    let places = vec![place(7, &[]), place(5, &[1, 2, 3]), place(6, &[2, 1]), place(6, &[1, 2])];
    let taken =
        desk.take_with(&TakeRequest { places, parcels: 9, ..TakeRequest::of(&[], LANES) }, u64::MAX).await;
    assert_eq!(placed(&taken), [(5, 0), (6, 1), (6, 2)]);
}

/// However many keys are in line, every lane that has one is named, and none that has just been found empty.
pub async fn lanes_of_very_many_keys_are_named(store: &Arc<dyn QueueStore>) {
    let keys = (4..8).flat_map(|lane| (0..100).map(move |number| key(lane, number)));
    let some: Vec<_> = keys.map(|key| (1, Some(key))).collect();
    let (desk, _) = keyed(store, &some).await;
    let taken = desk.take(&[0, 1, 2, 3, 4, 5, 6, 7]).await;
    assert_eq!((taken.parcels.len(), taken.pending), (4, 396));
    assert_eq!(taken.lanes, [4, 5, 6, 7]);
    // Nothing is found out of those that were not asked.
    let taken = desk.take(&[0]).await;
    assert!(taken.parcels.is_empty() && !taken.lanes.contains(&0));
    assert!((4..8).all(|lane| taken.lanes.contains(&lane)), "{:?}", taken.lanes);
}

/// A key whose parcel was taken goes to the end of the line, so that one with much to do does not hold up the others.
pub async fn keys_take_turns(store: &Arc<dyn QueueStore>) {
    let [one, other] = [0, 1].map(|number| Some(key(4, number)));
    let (desk, _) = keyed(store, &[(1, one), (1, one), (1, one), (1, other), (1, other)]).await;
    assert_eq!(firsts(&desk.take(&[4, 4, 4, 4, 4, 4]).await), [0, 3, 1, 4, 2]);
}

/// However much waits for a shard that takes nothing, what is behind it goes on.
pub async fn a_full_lane_holds_up_no_other(store: &Arc<dyn QueueStore>) {
    let mut parcels = vec![(1, Some(key(1, 0))); 2000];
    parcels.extend([(1, Some(key(2, 0))), (1, None)]);
    let (desk, _) = keyed(store, &parcels).await;
    let taken = desk.take(&[2, 3, 4]).await;
    assert_eq!(placed(&taken), [(2, 2000), (3, 2001)]);
    assert_eq!((taken.pending, taken.anywhere, taken.lanes), (2000, false, vec![1]));
}

/// Of two that could go to a place, the one with the lower number goes; follow-ups go first of all.
pub async fn what_has_a_key_and_what_has_none_go_by_number(store: &Arc<dyn QueueStore>) {
    let some = Some(key(0, 0));
    let (desk, _) = keyed(store, &[(1, None), (1, some), (1, None), (1, some)]).await;
    assert_eq!(firsts(&desk.take(&[0, 0]).await), [0, 1]);
    let load = must(store.load_collector(desk.fence()).await);
    let done = desk.take_one().await;
    desk.succeed(&done).await;
    let more = |key| NewSubtask { key, ..NewSubtask::new("more") };
    let follow_ups = vec![more(some), more(None)];
    must(store.commit(desk.fence(), Commit { follow_ups, ..take_off(&load, 0, 1) }).await);
    let follow_up = |number| Seq::FIRST_FOLLOW_UP.plus(number).0;
    assert_eq!(firsts(&desk.take(&[0; 4]).await), [follow_up(0), follow_up(1), 3]);
}

/// Of an ordered key one parcel is under way at a time; others of its lane go on.
pub async fn an_ordered_key_runs_one_parcel_at_a_time(store: &Arc<dyn QueueStore>) {
    let (one, other) = (Some(key(1, 0).ordered()), Some(key(1, 0)));
    let (desk, epoch) = keyed(store, &[(2, one), (1, one), (1, other), (1, one)]).await;
    let taken = desk.take(&[1; 6]).await;
    assert_eq!((firsts(&taken), taken.lanes, taken.pending), (vec![0, 3], vec![], 2));
    // More of it does not change that, nor does another scheduler.
    must(store.push(desk.fence(), batch(epoch, 5, &[(1, one)])).await);
    must(store.load_scheduler(desk.fence()).await);
    assert!(desk.take(&[1]).await.parcels.is_empty());
    let failed = vec![Report::Ended(success("0")), Report::Ended(failure("no"))];
    desk.report(&taken.parcels[0].1, failed).await;
    for expected in [2, 4, 5] {
        let taken = desk.take(&[1; 6]).await;
        assert_eq!(firsts(&taken), [expected]);
        desk.succeed(&taken.parcels[0].1).await;
    }
    assert_eq!(desk.state().await.running, 1);
}

/// A parcel that waits for its next attempt, or was put off, holds back those behind it, and then goes before them.
pub async fn a_retry_holds_back_its_key(store: &Arc<dyn QueueStore>) {
    let one = Some(key(1, 0).ordered());
    let (desk, _) = keyed(store, &[(3, one), (1, one), (1, one)]).await;
    let first = desk.take(&[1]).await.parcels.remove(0).1;
    desk.report(&first, vec![Report::Ended(success("0")), retry(2), Report::Returned]).await;
    let state = desk.state().await;
    assert_eq!((state.pending, state.delayed, state.running), (3, 1, 0));
    tokio::time::sleep(LATER).await;
    let taken = desk.take(&[1; 5]).await;
    assert_eq!((firsts(&taken), taken.parcels[0].1.attempt), (vec![1], 1));
    desk.succeed(&taken.parcels[0].1).await;
    // Put off by the scheduler's callback.
    let taken = desk.take(&[1; 5]).await;
    assert_eq!(firsts(&taken), [2]);
    desk.put_back(&[taken.parcels[0].1.id], NEVER).await;
    let taken = desk.take(&[1; 5]).await;
    assert!(taken.parcels.is_empty() && taken.lanes.is_empty());
}

/// A parcel that is put back, returned or taken back from a lost executor is the next of its key again.
pub async fn what_comes_back_keeps_its_key_and_its_order(store: &Arc<dyn QueueStore>) {
    let one = Some(key(1, 0).ordered());
    let (desk, _) = keyed(store, &[(2, one), (2, one)]).await;
    let take = async || {
        let mut taken = desk.take(&[1; 5]).await;
        assert_eq!(taken.parcels.len(), 1);
        let parcel = taken.parcels.remove(0).1;
        assert_eq!(parcel.key, one);
        parcel
    };
    let parcel = take().await;
    desk.put_back(&[parcel.id], Duration::ZERO).await;
    assert_eq!(take().await, parcel);
    desk.put_back(&[parcel.id], SOON).await;
    assert!(desk.state().await.delayed == 2);
    tokio::time::sleep(LATER).await;
    let single = take().await;
    assert_eq!((single.id.first, single.count()), (Seq(0), 1));
    desk.report(&single, vec![Report::Returned]).await;
    desk.succeed(&take().await).await;
    let single = take().await;
    assert_eq!(single.id.first, Seq(1));
    desk.succeed(&single).await;
    let parcel = take().await;
    assert_eq!((parcel.id.first, parcel.count()), (Seq(2), 2));
    let (id, attempt, count) = (parcel.id, parcel.attempt, parcel.count());
    let lost = LostParcel { id, attempt, count, shard: Shard(1), max_executor_losses: 3 };
    must(store.recover(desk.task, desk.run, lost).await);
    for expected in [2, 3] {
        let single = take().await;
        assert_eq!((single.id.first.0, single.count(), single.executor_losses), (expected, 1, 1));
        desk.succeed(&single).await;
    }
}

/// The part of a parcel that goes on is still under way.
pub async fn what_goes_on_holds_back_its_key(store: &Arc<dyn QueueStore>) {
    let one = Some(key(1, 0).ordered());
    let (desk, _) = keyed(store, &[(3, one)]).await;
    let parcel = desk.take(&[1]).await.parcels.remove(0).1;
    desk.report(&parcel, vec![Report::Ended(success("0")), Report::GoesOn, Report::Returned]).await;
    assert!(desk.take(&[1; 5]).await.parcels.is_empty());
    let id = ParcelId { first: Seq(1), ..parcel.id };
    let going_on = Parcel { id, bodies: vec![body(1)], ..parcel };
    desk.succeed(&going_on).await;
    assert_eq!(firsts(&desk.take(&[1; 5]).await), [2]);
}

/// Follow-ups of a collector can have keys; one that is kept open for later holds back its key.
pub async fn follow_ups_have_keys_and_go_first(store: &Arc<dyn QueueStore>) {
    let (one, other) = (Some(key(1, 0).ordered()), Some(key(2, 0).ordered()));
    let (desk, epoch) = keyed(store, &[(1, one), (1, one), (1, other)]).await;
    let load = must(store.load_collector(desk.fence()).await);
    let first = desk.take(&[1]).await.parcels.remove(0).1;
    desk.succeed(&first).await;
    let next = |key| NewSubtask { key, ..NewSubtask::new("more") };
    let open = StillOpen { counted_as: CountedAs::Succeeded, next: next(other), after: NEVER };
    let commit = Commit { open: vec![open], follow_ups: vec![next(one)], ..take_off(&load, 0, 1) };
    must(store.commit(desk.fence(), commit).await);
    let taken = desk.take(&[1, 2]).await;
    assert_eq!((placed(&taken), taken.lanes), (vec![(1, Seq::FIRST_FOLLOW_UP.plus(1).0)], vec![]));
    assert_eq!(taken.parcels[0].1.key, one);
    desk.succeed(&taken.parcels[0].1).await;
    assert_eq!(firsts(&desk.take(&[1, 2]).await), [1]);
    must(store.push(desk.fence(), batch(epoch, 3, &[(1, None)])).await);
    assert_eq!(firsts(&desk.take(&[1, 2]).await), [3]);
}

/// A subtask that succeeded late, while it waited for its next attempt, is not given out, and holds nothing back for
/// longer.
pub async fn a_settled_retry_frees_its_key(store: &Arc<dyn QueueStore>) {
    for key in [key(1, 0), key(1, 0).ordered()] {
        let (desk, _) = keyed(store, &[(1, Some(key)), (1, Some(key)), (1, None)]).await;
        let parcel = desk.take(&[1]).await.parcels.remove(0).1;
        desk.report(&parcel, vec![retry(2)]).await;
        desk.succeed(&parcel).await;
        tokio::time::sleep(LATER).await;
        let taken = desk.take(&[1; 4]).await;
        assert_eq!((firsts(&taken), taken.pending), (vec![1, 2], 0));
        assert!(taken.lanes.is_empty());
    }
}

/// With more lanes than before, keys stand in other ones.
pub async fn other_lanes_from_another_number(store: &Arc<dyn QueueStore>) {
    let some: Vec<_> = (0..8).map(|number| (1, Some(key(2, number)))).collect();
    let (desk, _) = keyed(store, &some).await;
    assert_eq!(desk.take(&[0]).await.lanes, [2]);
    let mut lanes: Vec<_> = some.iter().flat_map(|(_, key)| key.map(|key| key.lane(64))).collect();
    let hand = |shards: &[u32]| {
        let shards: Vec<_> = shards.iter().copied().map(Shard).collect();
        TakeRequest::of(&shards, 64)
    };
    let places: Vec<_> = lanes.iter().copied().zip(0..8).collect();
    assert_eq!(placed(&desk.take_with(&hand(&lanes), 3).await), places[..3]);
    lanes.sort_unstable();
    lanes.dedup();
    assert!(lanes.len() > 1);
    let taken = desk.take_with(&hand(&lanes), u64::MAX).await;
    let ordered_by_place = taken.parcels.windows(2).all(|two| two[0].0 < two[1].0);
    assert!(ordered_by_place && !taken.parcels.is_empty(), "{taken:?}");
}

/// The store knows the shard and the attempt of a running parcel.
pub async fn what_runs_where_is_known(store: &Arc<dyn QueueStore>) {
    let (desk, _) = keyed(store, &[(2, Some(key(1, 0).ordered()))]).await;
    let parcel = desk.take(&[1]).await.parcels.remove(0).1;
    let runs =
        async |shard, parcel: &Parcel| must(store.runs_on(desk.task, desk.run, Shard(shard), parcel).await);
    assert!(runs(1, &parcel).await);
    assert!(!runs(2, &parcel).await && !runs(1, &Parcel { attempt: 1, ..parcel.clone() }).await);
    desk.put_back(&[parcel.id], Duration::ZERO).await;
    assert!(!runs(1, &parcel).await);
    let again = desk.take(&[1]).await.parcels.remove(0).1;
    assert!(runs(1, &parcel).await);
    desk.report(&again, all_succeeded(&again)).await;
    assert!(!runs(1, &parcel).await);
}

/// Whoever a parcel was taken back from, and who reports it after all, does not end what runs elsewhere since: a success is
/// counted, and its key stays busy.
pub async fn a_report_of_a_lost_executor_frees_no_key(store: &Arc<dyn QueueStore>) {
    let one = Some(key(1, 0).ordered());
    let (desk, _) = keyed(store, &[(1, one), (1, one)]).await;
    let before = desk.take(&[1]).await.parcels.remove(0).1;
    let (id, attempt, count) = (before.id, before.attempt, before.count());
    let lost = LostParcel { id, attempt, count, shard: Shard(1), max_executor_losses: 3 };
    must(store.recover(desk.task, desk.run, lost).await);
    let after = desk.take(&[1]).await.parcels.remove(0).1;
    assert_eq!((after.id, after.attempt, after.executor_losses), (before.id, before.attempt, 1));
    assert!(!must(store.runs_on(desk.task, desk.run, Shard(1), &before).await));
    assert!(must(store.runs_on(desk.task, desk.run, Shard(1), &after).await));
    for report in [Report::Returned, retry(1), Report::Ended(failure("no"))] {
        let reported = desk.report(&before, vec![report]).await;
        assert_eq!((reported.counted, reported.running), (0, 1));
    }
    assert_eq!(desk.report(&before, vec![Report::Ended(success("late"))]).await.counted, 1);
    assert!(desk.take(&[1; 3]).await.parcels.is_empty());
    assert_eq!(desk.succeed(&after).await.counted, 0);
    assert_eq!(firsts(&desk.take(&[1; 3]).await), [1]);
}
