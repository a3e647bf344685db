//! A task's queues come, are steered, are closed and go.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dtf_model::error::StoreError;
use dtf_model::ids::{EmitEpoch, RunEpoch, Seq, Shard};
use dtf_model::param::TaskSpec;
use dtf_model::plugin::{NewSubtask, TaskResult};
use dtf_model::queue::{
    Backlog, Commit, Ending, Fence, Parcel, ParcelId, QueueStore, Report, TakeRequest, TaskState,
};
use dtf_model::status::{Control, Counts};
use lrmf_core::Token;
use uuid::Uuid;

use super::{Desk, failure, is_conflict, is_fenced, is_gone, must, push, retry, success};

fn some_parcel() -> Parcel {
    Parcel {
        id: ParcelId { epoch: EmitEpoch(1), first: Seq(0) },
        attempt: 0,
        executor_losses: 0,
        key: None,
        bodies: vec![Bytes::new()],
    }
}

/// Checks that every call that names a run is answered with this.
async fn every_call(desk: &Desk<'_>, fence: Fence, is: impl Fn(&Result<(), StoreError>) -> bool) {
    let (store, Fence { task, run, .. }) = (desk.store, fence);
    let parcel = some_parcel();
    let reports = vec![Report::Ended(success(""))];
    let at = Desk { store, task, run };
    let answers = [
        ("set_control", store.set_control(task, run, Control::Cancel).await),
        ("close", store.close(task, run).await.map(drop)),
        ("stop_by_generator", store.stop_by_generator(fence, "x").await),
        ("load_generator", store.load_generator(fence).await.map(drop)),
        ("push", store.push(fence, push(EmitEpoch(1), 0, &[1])).await.map(drop)),
        ("backlog", store.backlog(task, run).await.map(drop)),
        ("load_scheduler", store.load_scheduler(fence).await.map(drop)),
        ("take", store.take(fence, &TakeRequest::of(&[Shard(0)], 1), 1).await.map(drop)),
        ("runs_on", store.runs_on(task, run, Shard(0), &parcel).await.map(drop)),
        ("put_back", store.put_back(fence, &[parcel.id], Duration::ZERO).await),
        ("complete", at.try_report(&parcel, reports).await.map(drop)),
        ("stop_by_collector", store.stop_by_collector(fence, "x").await),
        ("load_collector", store.load_collector(fence).await.map(drop)),
        ("peek", store.peek(fence, 0, 1).await.map(drop)),
        ("commit", store.commit(fence, Commit { batches: 1, ..Commit::default() }).await.map(drop)),
        ("conclude", store.conclude(fence, &TaskResult::default()).await),
    ];
    for (call, answer) in answers {
        assert!(is(&answer), "{call} answered {answer:?}");
    }
}

/// An absent run is gone, and no call makes it.
pub async fn what_is_absent_is_gone(store: &Arc<dyn QueueStore>) {
    let desk = Desk::absent(store);
    every_call(&desk, desk.fence(), is_gone).await;
    must(store.purge(desk.task, desk.run).await);
    assert_eq!(must(store.state(desk.task).await), None);
}

/// A task that is opened has nothing in it, and describes itself.
pub async fn an_opened_task_is_empty(store: &Arc<dyn QueueStore>) {
    let desk = Desk::open(store).await;
    let empty = TaskState {
        spec: desk.spec(),
        control: Control::Run,
        counts: Counts::default(),
        pending: 0,
        delayed: 0,
        running: 0,
        used: Duration::ZERO,
        collected: 0,
        generated: false,
        progress: None,
        stop: None,
        blocked_on: Vec::new(),
        ending: None,
    };
    assert_eq!(desk.state().await, empty);
    assert_eq!(must(store.backlog(desk.task, desk.run).await), Backlog::default());
    assert!(desk.take(&[1, 2]).await.parcels.is_empty());
    assert!(desk.peek(0, 10).await.is_empty());
}

/// Opening the run that is there leaves everything as it is.
pub async fn opening_again_changes_nothing(store: &Arc<dyn QueueStore>) {
    let (desk, _) = Desk::with(store, &[2, 1]).await;
    desk.take_one().await;
    desk.control(Control::Pause).await;
    let before = desk.state().await;
    must(store.open(&desk.spec()).await);
    assert_eq!(desk.state().await, before);
}

/// A later run starts with nothing of the earlier one, whose calls are refused from then on.
pub async fn a_later_run_replaces_an_earlier_one(store: &Arc<dyn QueueStore>) {
    let (earlier, _) = Desk::with(store, &[2, 2, 1, 1]).await;
    let first = earlier.take_one().await;
    let second = earlier.take_one().await;
    earlier.succeed(&first).await;
    earlier.report(&second, vec![retry(3_600_000), Report::Returned]).await;
    let later = Desk { run: RunEpoch(2), ..earlier };
    must(store.open(&later.spec()).await);
    let state = later.state().await;
    assert_eq!(state.spec, later.spec());
    assert_eq!((state.counts, state.pending, state.delayed, state.running), (Counts::default(), 0, 0, 0));
    let before = Fence { run: RunEpoch(1), ..later.fence() };
    every_call(&later, before, is_gone).await;
    // Tokens begin anew with the run, as do the numbers.
    let load = must(store.load_generator(later.with_token(1)).await);
    assert_eq!((load.next, load.saved), (Seq(0), None));
    must(store.push(later.with_token(1), push(load.epoch, 0, &[1])).await);
    let parcel = later.take_one().await;
    assert_eq!(later.succeed(&parcel).await.counted, 1, "the earlier run had counted this number");
}

/// A run that another has replaced is not opened again.
pub async fn an_earlier_run_is_refused(store: &Arc<dyn QueueStore>) {
    let later = Desk { run: RunEpoch(5), ..Desk::absent(store) };
    must(store.open(&later.spec()).await);
    let earlier = Desk { run: RunEpoch(4), ..Desk { ..later } };
    assert!(is_gone(&store.open(&earlier.spec()).await));
    assert_eq!(later.state().await.spec.run, RunEpoch(5));
}

/// A task that has the number of another one, of a database that was restored since, gets none of its queues, and discards them
/// with the first run beyond theirs.
pub async fn queues_of_another_creation_are_never_adopted(store: &Arc<dyn QueueStore>) {
    let (theirs, _) = Desk::with(store, &[2, 1]).await;
    let ours = |run| TaskSpec { request: Uuid::from_u128(1), run: RunEpoch(run), ..theirs.spec() };
    assert!(is_gone(&store.open(&ours(1)).await));
    assert_eq!((theirs.state().await.pending, theirs.state().await.spec), (3, theirs.spec()));
    must(store.open(&ours(2)).await);
    let state = theirs.state().await;
    assert_eq!((state.spec, state.pending), (ours(2), 0));
    must(store.open(&ours(2)).await);
    assert!(is_gone(&store.open(&theirs.spec()).await));
}

/// The cluster that claims the queues first has them.
pub async fn the_first_cluster_owns_the_queues(store: &Arc<dyn QueueStore>) {
    let first = must(store.claim("a cluster").await);
    assert_eq!(must(store.claim("another cluster").await), first);
}

/// Controls are given for the tasks that are there, with their runs.
pub async fn controls_are_listed_for_those_that_are_there(store: &Arc<dyn QueueStore>) {
    let (one, absent, two) = (Desk::open(store).await, Desk::absent(store), Desk::open(store).await);
    two.control(Control::Pause).await;
    let mut controls = must(store.controls(&[one.task, absent.task, two.task]).await);
    controls.sort_by_key(|(task, ..)| *task != one.task);
    assert_eq!(controls, [(one.task, one.run, Control::Run), (two.task, two.run, Control::Pause)]);
    assert_eq!(must(store.controls(&[]).await), []);
}

/// Pause comes and goes; a wish to end stays.
pub async fn a_wish_to_end_is_never_taken_back(store: &Arc<dyn QueueStore>) {
    for end in [Control::Cancel, Control::Abort] {
        let desk = Desk::open(store).await;
        for wish in [Control::Pause, Control::Run, Control::Pause] {
            desk.control(wish).await;
            assert_eq!(desk.state().await.control, wish);
        }
        desk.control(end).await;
        for wish in [Control::Run, Control::Pause, Control::Cancel, Control::Abort] {
            desk.control(wish).await;
            assert_eq!(desk.state().await.control, end);
        }
    }
}

/// Of several reasons to stop, the first one is kept.
pub async fn the_first_reason_to_stop_stays(store: &Arc<dyn QueueStore>) {
    let desk = Desk::open(store).await;
    must(store.stop_by_collector(desk.fence(), "first: \"ü\"").await);
    must(store.stop_by_generator(desk.fence(), "second").await);
    must(store.stop_by_collector(desk.fence(), "third").await);
    assert_eq!(desk.state().await.stop.as_deref(), Some("first: \"ü\""));
    assert!(desk.progress().await.is_over);
}

/// Closing discards what waits and runs, counts it as cancelled, and does so once.
pub async fn closing_counts_the_rest_as_cancelled(store: &Arc<dyn QueueStore>) {
    let (desk, _) = Desk::with(store, &[2, 3, 1, 4]).await;
    let (first, second) = (desk.take_one().await, desk.take_one().await);
    desk.succeed(&first).await;
    desk.report(&second, vec![Report::Ended(failure("x")), retry(3_600_000), Report::Returned]).await;
    desk.take_one().await;
    desk.control(Control::Cancel).await;
    let counts = must(store.close(desk.task, desk.run).await);
    assert_eq!(counts, Counts { created: 10, succeeded: 2, failed: 1, cancelled: 7, timed_out: 0 });
    assert_eq!(must(store.close(desk.task, desk.run).await), counts);
    let state = desk.state().await;
    assert_eq!((state.counts, state.control, state.ending), (counts, Control::Cancel, Some(Ending::Closed)));
    assert_eq!((state.pending, state.delayed, state.running), (0, 0, 0));
    let progress = desk.progress().await;
    assert_eq!((progress.results, progress.delayed, progress.is_over), (0, 0, true));
    // Closed without having been told to end, it is told now.
    let desk = Desk::open(store).await;
    must(store.close(desk.task, desk.run).await);
    assert_eq!(desk.state().await.control, Control::Abort);
}

/// Calls that come after the close change nothing.
pub async fn after_the_close_nothing_is_counted(store: &Arc<dyn QueueStore>) {
    let (desk, epoch) = Desk::with(store, &[2, 1]).await;
    let collector = must(store.load_collector(desk.fence()).await);
    let (first, second) = (desk.take_one().await, desk.take_one().await);
    desk.succeed(&first).await;
    must(store.close(desk.task, desk.run).await);
    let closed = desk.state().await;
    let late = desk.succeed(&second).await;
    assert_eq!((late.counted, late.running, late.pending), (0, 0, 0));
    assert_eq!(late.control, Control::Abort);
    must(store.push(desk.fence(), push(epoch, 3, &[5])).await);
    let follow_ups = vec![NewSubtask::new("more")];
    let commit =
        Commit { epoch: collector.epoch, batches: 1, first: collector.next, follow_ups, ..Commit::default() };
    assert_eq!(must(store.commit(desk.fence(), commit).await), closed);
    must(store.conclude(desk.fence(), &TaskResult::default()).await);
    assert!(desk.take(&[0]).await.parcels.is_empty());
    assert_eq!(desk.state().await, closed);
}

/// A purge deletes the run that it names and those before, and no later one.
pub async fn purging_deletes_up_to_the_run(store: &Arc<dyn QueueStore>) {
    let desk = Desk { run: RunEpoch(3), ..Desk::absent(store) };
    must(store.open(&desk.spec()).await);
    must(store.purge(desk.task, RunEpoch(2)).await);
    assert_eq!(desk.state().await.spec.run, RunEpoch(3));
    let load = must(store.load_generator(desk.fence()).await);
    must(store.push(desk.fence(), push(load.epoch, 0, &[1, 1, 70_000])).await);
    for _ in 0..3 {
        let parcel = desk.take_one().await;
        desk.succeed(&parcel).await;
    }
    for run in [3, 3, 4] {
        must(store.purge(desk.task, RunEpoch(run)).await);
        assert_eq!(must(store.state(desk.task).await), None);
    }
    // Nothing is left that a later task of this name could trip over.
    must(store.open(&desk.spec()).await);
    let load = must(store.load_generator(desk.with_token(1)).await);
    must(store.push(desk.with_token(1), push(load.epoch, 0, &[70_002])).await);
    let parcel = must(store.take(desk.with_token(1), &TakeRequest::of(&[Shard(0)], 1), u64::MAX).await)
        .parcels
        .remove(0)
        .1;
    assert_eq!(desk.succeed(&parcel).await.counted, 70_002);
}

/// Once a role's new holder has loaded, the old one is refused, and only that role's.
pub async fn every_role_is_fenced_by_its_own_token(store: &Arc<dyn QueueStore>) {
    let (desk, epoch) = Desk::with(store, &[1, 1]).await;
    let parcel = desk.take_one().await;
    let (old, new) = (desk.fence(), desk.with_token(TOKEN_AFTER));
    let collector = must(store.load_collector(old).await);

    let load = must(store.load_generator(new).await);
    assert_ne!(load.epoch, epoch);
    assert!(is_fenced(&store.load_generator(old).await, TOKEN_AFTER));
    assert!(is_fenced(&store.push(old, push(load.epoch, 2, &[1])).await, TOKEN_AFTER));
    assert!(is_fenced(&store.stop_by_generator(old, "late").await, TOKEN_AFTER));

    must(store.put_back(old, &[parcel.id], Duration::ZERO).await);
    must(store.load_scheduler(new).await);
    assert!(is_fenced(&store.load_scheduler(old).await, TOKEN_AFTER));
    assert!(is_fenced(&store.take(old, &TakeRequest::of(&[Shard(0)], 1), 1).await, TOKEN_AFTER));
    assert!(is_fenced(&store.put_back(old, &[parcel.id], Duration::ZERO).await, TOKEN_AFTER));

    must(store.peek(old, 0, 1).await);
    must(store.load_collector(new).await);
    assert!(is_fenced(&store.load_collector(old).await, TOKEN_AFTER));
    assert!(is_fenced(&store.peek(old, 0, 1).await, TOKEN_AFTER));
    let commit = Commit { epoch: collector.epoch, first: collector.next, batches: 1, ..Commit::default() };
    assert!(is_fenced(&store.commit(old, commit).await, TOKEN_AFTER));
    assert!(is_fenced(&store.conclude(old, &TaskResult::default()).await, TOKEN_AFTER));
    assert!(is_fenced(&store.stop_by_collector(old, "late").await, TOKEN_AFTER));

    let state = desk.state().await;
    assert_eq!((state.pending, state.running, state.counts.created, state.stop), (2, 0, 2, None));
    // The same token again is the same holder.
    must(store.load_generator(new).await);
    must(store.load_scheduler(new).await);
    must(store.load_collector(new).await);
}

/// The token after [`TOKEN`](super::TOKEN). As text it would come before it.
const TOKEN_AFTER: u64 = 10;

/// Tokens that a float could not tell from one another are told apart.
pub async fn tokens_are_told_apart_over_their_whole_range(store: &Arc<dyn QueueStore>) {
    let desk = Desk::open(store).await;
    for token in [9, 10, (1 << 53) + 1, u64::MAX] {
        must(store.load_scheduler(desk.with_token(token)).await);
        let refused = store.load_scheduler(desk.with_token(token - 1)).await;
        assert!(is_fenced(&refused, token), "{refused:?}");
    }
    let stale = Fence { token: Token(10), ..desk.fence() };
    assert!(is_conflict(&store.push(stale, push(EmitEpoch(77), 0, &[1])).await));
}

/// An obstacle of a role is seen until the role takes it back; an earlier holder has no say.
pub async fn what_a_task_waits_for_is_seen(store: &Arc<dyn QueueStore>) {
    use dtf_model::Role::{Collector, Generator, Scheduler};
    let desk = Desk::open(store).await;
    must(store.load_generator(desk.fence()).await);
    must(store.load_scheduler(desk.fence()).await);
    must(store.load_collector(desk.fence()).await);
    let set = async |fence, role, reason| match role {
        Generator => store.set_generator_blocked_on(fence, reason).await,
        Scheduler => store.set_scheduler_blocked_on(fence, reason).await,
        _ => store.set_collector_blocked_on(fence, reason).await,
    };
    let say = async |role, reason| must(set(desk.fence(), role, reason).await);
    say(Scheduler, Some("an executor")).await;
    say(Generator, Some("a generator")).await;
    say(Collector, Some("a \"collector\" ü")).await;
    assert_eq!(desk.state().await.blocked_on, ["a generator", "an executor", "a \"collector\" ü"]);
    say(Generator, None).await;
    say(Scheduler, Some("another")).await;
    for role in [Generator, Scheduler, Collector] {
        let late = set(desk.with_token(super::TOKEN.0 - 1), role, Some("late")).await;
        assert!(is_fenced(&late, super::TOKEN.0), "{late:?}");
    }
    assert_eq!(desk.state().await.blocked_on, ["another", "a \"collector\" ü"]);
    must(store.purge(desk.task, desk.run).await);
    assert!(is_gone(&set(desk.fence(), Generator, Some("late")).await));
}
