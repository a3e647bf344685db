//! Subtasks that a generator pushes are there, once, in their order.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dtf_model::ids::{EmitEpoch, Seq, Shard};
use dtf_model::key::ShardKey;
use dtf_model::queue::{Backlog, Push, QueueStore, Report, STORED_WITH, Slot, TakeRequest};
use dtf_model::status::Control;

use super::{Desk, LANES, body, is_conflict, must, push, retry};

/// The first load begins with nothing.
pub async fn a_load_starts_at_the_beginning(store: &Arc<dyn QueueStore>) {
    let desk = Desk::open(store).await;
    let load = must(store.load_generator(desk.fence()).await);
    assert_eq!((load.next, load.saved, load.finished), (Seq(0), None, false));
    assert_eq!(load.backlog, Backlog::default());
    let again = must(store.load_generator(desk.fence()).await);
    assert_ne!(again.epoch, load.epoch, "every load draws an epoch of its own");
    let collector = must(store.load_collector(desk.fence()).await);
    assert!(![load.epoch, again.epoch].contains(&collector.epoch));
    assert_eq!((collector.next, collector.saved, collector.offset), (Seq::FIRST_FOLLOW_UP, None, 0));
}

/// A push adds its parcels, and the next load continues behind it.
pub async fn a_push_adds_parcels_and_saves_the_status(store: &Arc<dyn QueueStore>) {
    let desk = Desk::open(store).await;
    let load = must(store.load_generator(desk.fence()).await);
    let batch = Push { progress: Some(0.25), ..push(load.epoch, 0, &[3, 0, 1]) };
    let backlog = must(store.push(desk.fence(), batch).await);
    assert_eq!((backlog.waiting, backlog.mean_run, backlog.control), (4, None, Control::Run));
    desk.control(Control::Pause).await;
    let backlog = must(store.push(desk.fence(), push(load.epoch, 4, &[1])).await);
    assert_eq!((backlog.waiting, backlog.control), (5, Control::Pause));
    assert_eq!(must(store.backlog(desk.task, desk.run).await), backlog);
    let state = desk.state().await;
    assert_eq!((state.counts.created, state.pending, state.generated, state.progress), (5, 5, false, None));
    let next = must(store.load_generator(desk.fence()).await);
    assert_eq!((next.next, next.finished, next.backlog), (Seq(5), false, backlog));
    assert_eq!(next.saved, Some(Bytes::from_static(b"behind 5")));
}

/// A push that is sent again is not added again; its status is taken back neither.
pub async fn a_push_is_added_once(store: &Arc<dyn QueueStore>) {
    let (desk, epoch) = Desk::with(store, &[2, 2]).await;
    let changed = Push { saved: None, progress: Some(1.0), ..push(epoch, 0, &[2, 2]) };
    for _ in 0..2 {
        assert_eq!(must(store.push(desk.fence(), changed.clone()).await).waiting, 4);
    }
    let state = desk.state().await;
    assert_eq!((state.counts.created, state.pending, state.progress), (4, 4, None));
    let load = must(store.load_generator(desk.fence()).await);
    assert_eq!(load.saved, Some(Bytes::from_static(b"behind 4")));
}

/// A push with a gap before it, or that overlaps what is there, is refused and adds nothing.
pub async fn a_push_that_does_not_follow_is_refused(store: &Arc<dyn QueueStore>) {
    let (desk, epoch) = Desk::with(store, &[2, 2]).await;
    for (first, parcels) in [(5, [1]), (3, [2]), (0, [2]), (0, [5])] {
        let refused = store.push(desk.fence(), push(epoch, first, &parcels)).await;
        assert!(is_conflict(&refused), "{first}: {refused:?}");
    }
    let uncovered = Push { parcels: vec![1], ..push(epoch, 4, &[2]) };
    assert!(is_conflict(&store.push(desk.fence(), uncovered).await));
    assert_eq!(desk.state().await.counts.created, 4);
}

/// Once another load has begun, what the earlier one pushes is refused.
pub async fn a_push_of_a_superseded_load_is_refused(store: &Arc<dyn QueueStore>) {
    let (desk, epoch) = Desk::with(store, &[2]).await;
    let load = must(store.load_generator(desk.fence()).await);
    assert!(is_conflict(&store.push(desk.fence(), push(epoch, 2, &[1])).await));
    assert!(is_conflict(&store.push(desk.fence(), push(EmitEpoch(load.epoch.0 ^ 1), 2, &[1])).await));
    must(store.push(desk.fence(), push(load.epoch, 2, &[1])).await);
    assert_eq!(desk.state().await.counts.created, 3);
}

/// After the last push there is no other; with or without subtasks, it can be sent again.
pub async fn the_last_push_ends_the_generation(store: &Arc<dyn QueueStore>) {
    for parcels in [&[3][..], &[]] {
        let (desk, epoch) = Desk::with(store, &[2]).await;
        let count = parcels.iter().sum::<usize>() as u64;
        let last = Push { finished: true, ..push(epoch, 2, parcels) };
        for _ in 0..2 {
            assert_eq!(must(store.push(desk.fence(), last.clone()).await).waiting, 2 + count);
        }
        let state = desk.state().await;
        assert_eq!((state.generated, state.counts.created), (true, 2 + count));
        assert!(is_conflict(&store.push(desk.fence(), push(epoch, 2 + count, &[1])).await));
        assert!(must(store.load_generator(desk.fence()).await).finished);
    }
}

/// The size of what waits is known, however it came to wait.
pub async fn the_bytes_that_wait_are_known(store: &Arc<dyn QueueStore>) {
    const SIZE: usize = 10_000;
    let desk = Desk::open(store).await;
    let load = must(store.load_generator(desk.fence()).await);
    let waits = async |subtasks: u64| {
        let backlog = must(store.backlog(desk.task, desk.run).await);
        let least = subtasks * SIZE as u64;
        assert_eq!(backlog.waiting, subtasks);
        assert!((least..=least + subtasks * STORED_WITH).contains(&backlog.bytes), "{backlog:?}");
    };
    waits(0).await;
    let batch = Push {
        parcels: vec![1, 3, 2],
        keys: vec![None, None, Some(ShardKey::new("key"))],
        bodies: vec![Bytes::from(vec![7; SIZE]); 6],
        ..push(load.epoch, 0, &[])
    };
    // Sent again, it adds nothing.
    for _ in 0..2 {
        must(store.push(desk.fence(), batch.clone()).await);
        waits(6).await;
    }
    let split = desk.take_at_most(&[0, 1], 2).await.parcels;
    waits(4).await;
    desk.put_back(&[split[0].1.id], Duration::ZERO).await;
    waits(5).await;
    desk.put_back(&[split[1].1.id], Duration::from_secs(3600)).await;
    waits(6).await;
    let place = Slot { shard: Shard(0), lanes: (0..LANES).collect() };
    let hand = TakeRequest { places: vec![place; 4], parcels: 4, ..TakeRequest::of(&[], LANES) };
    let taken = desk.take_with(&hand, u64::MAX).await.parcels;
    assert_eq!(taken.len(), 3);
    waits(1).await;
    let two = &taken[1].1;
    assert_eq!(two.count(), 2);
    desk.report(two, vec![Report::Returned, retry(3_600_000)]).await;
    waits(3).await;
    must(store.close(desk.task, desk.run).await);
    waits(0).await;
}

/// Bodies and status may be any bytes, none included.
pub async fn bodies_of_any_kind_come_back_as_they_were(store: &Arc<dyn QueueStore>) {
    let desk = Desk::open(store).await;
    let load = must(store.load_generator(desk.fence()).await);
    let all: Vec<u8> = (0..=255).collect();
    let bodies = [Vec::new(), all.clone(), vec![0], b"\r\n:7\r\n".to_vec(), vec![0xff; 100_000], Vec::new()];
    let bodies: Vec<_> = bodies.into_iter().map(Bytes::from).collect();
    let batch = Push {
        parcels: vec![1, 4, 1],
        bodies: bodies.clone(),
        saved: Some(Bytes::from(all)),
        ..push(load.epoch, 0, &[])
    };
    must(store.push(desk.fence(), batch.clone()).await);
    let taken = desk.take(&[0, 1, 2]).await;
    let got: Vec<_> = taken.parcels.into_iter().flat_map(|(_, parcel)| parcel.bodies).collect();
    assert_eq!(got, bodies);
    assert_eq!(must(store.load_generator(desk.fence()).await).saved, batch.saved);
    let empty = Push { saved: Some(Bytes::new()), ..push(EmitEpoch(0), 6, &[]) };
    let epoch = must(store.load_generator(desk.fence()).await).epoch;
    must(store.push(desk.fence(), Push { epoch, ..empty }).await);
    assert_eq!(must(store.load_generator(desk.fence()).await).saved, Some(Bytes::new()));
}

/// A batch of thousands of parcels is added as a whole.
pub async fn a_large_batch_is_one_push(store: &Arc<dyn QueueStore>) {
    let (desk, epoch) = Desk::with(store, &[1; 20_000]).await;
    must(store.push(desk.fence(), push(epoch, 20_000, &[20_000])).await);
    assert_eq!(desk.state().await.pending, 40_000);
    let taken = desk.take(&[0; 20_001]).await;
    assert_eq!((taken.parcels.len(), taken.pending), (20_001, 0));
    for (number, (_, parcel)) in taken.parcels.iter().enumerate() {
        assert_eq!(parcel.id.first, Seq(number as u64));
        assert_eq!(parcel.bodies.first(), Some(&body(number as u64)));
    }
}
