//! Group commit: calls of one kind that arrive while others are under way share the next round trip.
//!
//! # The problem
//! A store serves one statement for a hundred rows at little more than the cost of one row. But its callers are many and
//! know nothing of each other, and a call must not wait for companions that may never come. So a call that finds a free
//! place starts at once, alone. Those that arrive meanwhile wait together, and start as one batch when a place becomes free:
//! batches are as large as the store is slow, and an idle store is as fast as without them.
//!
//! # What callers may rely on
//! - Each caller gets the answer to its own call. What an implementor of [`BatchWork`] does with a batch that fails is its own
//!   affair; it answers each call as if the call had been alone.
//! - A caller that goes away before its call was started has not called. One that goes away later does not disturb its
//!   companions: the batch goes on, and the outcome of that call is unknown to everybody.
//! - Batches run on the runtime that the batcher was made on, whoever calls: a caller's runtime that stands still holds up
//!   nobody else.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// The most calls a batch.
const MOST_CALLS: usize = 128;
/// The weight at which a batch is full, see [`BatchWork::weight`].
const MOST_WEIGHT: usize = 1 << 20;

/// A kind of call that can be made for many callers at once.
#[async_trait]
pub(crate) trait BatchWork: Send + Sync + 'static {
    /// One caller's question.
    type Call: Send + 'static;
    /// The answer to it.
    type Answer: Send + 'static;

    /// The size of a call in bytes, or zero where that does not matter.
    fn weight(&self, _call: &Self::Call) -> usize {
        0
    }

    /// Makes the calls, and returns as many answers, in the order of the calls.
    async fn perform(&self, calls: Vec<Self::Call>) -> Vec<Self::Answer>;
}

/// Merges concurrent calls into batches. Clones share the work and the batches.
pub(crate) struct Batcher<W: BatchWork> {
    inner: Arc<Inner<W>>,
}

impl<W: BatchWork> Clone for Batcher<W> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

struct Inner<W: BatchWork> {
    work: W,
    on: Handle,
    /// The number of batches that may be under way at the same time.
    places: usize,
    state: Mutex<State<W>>,
}

struct State<W: BatchWork> {
    waiting: VecDeque<Waiting<W>>,
    under_way: usize,
}

struct Waiting<W: BatchWork> {
    call: W::Call,
    answer: oneshot::Sender<W::Answer>,
}

impl<W: BatchWork> Batcher<W> {
    /// Creates a batcher whose batches run on `on`, at most `places` of them at a time (at least one).
    pub(crate) fn new(work: W, on: Handle, places: usize) -> Self {
        let state = Mutex::new(State { waiting: VecDeque::new(), under_way: 0 });
        Self { inner: Arc::new(Inner { work, on, places: places.max(1), state }) }
    }

    /// Makes a call, alone or with others. Returns `None` if the batch ended without an answer, because it panicked or its
    /// runtime was shut down: the call may have been made then.
    pub(crate) async fn call(&self, call: W::Call) -> Option<W::Answer> {
        let (answer, answered) = oneshot::channel();
        if self.inner.enqueue(Waiting { call, answer }) {
            let place = Place { inner: self.inner.clone(), is_given_up: false };
            self.inner.on.spawn(run(place));
        }
        answered.await.ok()
    }
}

impl<W: BatchWork> Inner<W> {
    fn state(&self) -> MutexGuard<'_, State<W>> {
        // A panic while it is held can only come from an allocation failure.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a call wait. Returns true if a place was free, which is taken then.
    fn enqueue(&self, waiting: Waiting<W>) -> bool {
        let mut state = self.state();
        state.waiting.push_back(waiting);
        let is_free = state.under_way < self.places;
        state.under_way += usize::from(is_free);
        is_free
    }

    /// The next batch: those that have waited longest and whose callers are still there. A call that is too large for the
    /// weight of a batch goes alone. Where there is none, the place is given up in the same moment, so that the next call
    /// finds it free.
    fn next_batch(&self) -> Option<Vec<Waiting<W>>> {
        let mut state = self.state();
        let (mut batch, mut weight) = (Vec::new(), 0);
        while batch.len() < MOST_CALLS {
            let Some(next) = state.waiting.pop_front() else { break };
            if next.answer.is_closed() {
                continue;
            }
            weight += self.work.weight(&next.call);
            if weight > MOST_WEIGHT && !batch.is_empty() {
                state.waiting.push_front(next);
                break;
            }
            batch.push(next);
        }
        state.under_way -= usize::from(batch.is_empty());
        (!batch.is_empty()).then_some(batch)
    }
}

/// A place for batches that one future runs. Given up by [`Inner::next_batch`], or when this is dropped before.
struct Place<W: BatchWork> {
    inner: Arc<Inner<W>>,
    is_given_up: bool,
}

impl<W: BatchWork> Drop for Place<W> {
    fn drop(&mut self) {
        if self.is_given_up {
            return;
        }
        // A batch panicked, or its runtime ends. With no other batch under way, nothing would start those that wait; their
        // callers learn that there is no answer.
        let mut state = self.inner.state();
        state.under_way -= 1;
        if state.under_way == 0 {
            state.waiting.clear();
        }
    }
}

/// Runs batch after batch until no call waits.
async fn run<W: BatchWork>(mut place: Place<W>) {
    while let Some(batch) = place.inner.next_batch() {
        let (calls, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|waiting| (waiting.call, waiting.answer)).unzip();
        let made = place.inner.work.perform(calls).await;
        for (answer, made) in answers.into_iter().zip(made) {
            // The caller may have gone meanwhile.
            drop(answer.send(made));
        }
    }
    place.is_given_up = true;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::Semaphore;

    use super::*;

    /// Adds one, when it is let; a batch with 13 in it panics.
    struct AddOne {
        let_go: Arc<Semaphore>,
        batches: Arc<Mutex<Vec<Vec<u64>>>>,
    }

    #[async_trait]
    impl BatchWork for AddOne {
        type Call = u64;
        type Answer = u64;

        fn weight(&self, call: &u64) -> usize {
            if *call >= 1000 { MOST_WEIGHT + 1 } else { 0 }
        }

        async fn perform(&self, calls: Vec<u64>) -> Vec<u64> {
            self.let_go.acquire().await.expect("it is not closed").forget();
            assert!(!calls.contains(&13), "a batch is to panic");
            self.batches.lock().expect("no panic").push(calls.clone());
            calls.into_iter().map(|call| call + 1).collect()
        }
    }

    struct Fixture {
        batcher: Batcher<AddOne>,
        let_go: Arc<Semaphore>,
        batches: Arc<Mutex<Vec<Vec<u64>>>>,
    }

    impl Fixture {
        fn new(places: usize) -> Self {
            let (let_go, batches) = (Arc::new(Semaphore::new(0)), Arc::default());
            let work = AddOne { let_go: let_go.clone(), batches: Arc::clone(&batches) };
            Self { batcher: Batcher::new(work, Handle::current(), places), let_go, batches }
        }

        /// Begins a call, and returns when it waits or is under way.
        async fn begin(&self, call: u64) -> tokio::task::JoinHandle<Option<u64>> {
            let batcher = self.batcher.clone();
            let begun = tokio::spawn(async move { batcher.call(call).await });
            // One thread: the call is made before the time passes.
            tokio::time::sleep(Duration::from_millis(1)).await;
            begun
        }

        fn batches(&self) -> Vec<Vec<u64>> {
            self.batches.lock().expect("no panic").clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_arrive_while_one_is_under_way_share_the_next() {
        let fixture = Fixture::new(1);
        let mut calls = Vec::new();
        for call in 0..5 {
            calls.push(fixture.begin(call).await);
        }
        fixture.let_go.add_permits(2);
        for (call, begun) in (0..).zip(calls) {
            assert_eq!(begun.await.expect("no panic"), Some(call + 1));
        }
        assert_eq!(fixture.batches(), [vec![0], vec![1, 2, 3, 4]]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_finds_a_free_place_starts_at_once() {
        let fixture = Fixture::new(2);
        fixture.let_go.add_permits(1);
        assert_eq!(fixture.batcher.call(1).await, Some(2));
        let (one, two, three) = (fixture.begin(1).await, fixture.begin(2).await, fixture.begin(3).await);
        fixture.let_go.add_permits(3);
        for begun in [one, two, three] {
            assert!(begun.await.expect("no panic").is_some());
        }
        let mut batches = fixture.batches();
        batches.sort();
        assert_eq!(batches, [[1], [1], [2], [3]], "each was alone");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_goes_away_before_its_call_is_started_has_not_called() {
        let fixture = Fixture::new(1);
        let (first, gone, last) = (fixture.begin(1).await, fixture.begin(2).await, fixture.begin(3).await);
        gone.abort();
        assert!(gone.await.is_err());
        fixture.let_go.add_permits(2);
        assert_eq!((first.await.expect("no panic"), last.await.expect("no panic")), (Some(2), Some(4)));
        assert_eq!(fixture.batches(), [[1], [3]]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_goes_away_does_not_disturb_its_companions() {
        let fixture = Fixture::new(1);
        let first = fixture.begin(1).await;
        first.abort();
        assert!(first.await.is_err());
        let next = fixture.begin(2).await;
        fixture.let_go.add_permits(2);
        assert_eq!(next.await.expect("no panic"), Some(3));
        assert_eq!(fixture.batches(), [[1], [2]]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_call_goes_alone() {
        let fixture = Fixture::new(1);
        let mut calls = Vec::new();
        for call in [1, 2, 1000, 1001, 3, 4] {
            calls.push(fixture.begin(call).await);
        }
        fixture.let_go.add_permits(6);
        for begun in calls {
            assert!(begun.await.expect("no panic").is_some());
        }
        assert_eq!(fixture.batches(), [vec![1], vec![2], vec![1000], vec![1001], vec![3, 4]]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_panic_nobody_waits_in_vain_and_the_next_call_is_made() {
        let fixture = Fixture::new(1);
        let (fails, waits) = (fixture.begin(13).await, fixture.begin(2).await);
        fixture.let_go.add_permits(2);
        assert_eq!((fails.await.expect("no panic"), waits.await.expect("no panic")), (None, None));
        assert_eq!(fixture.batcher.call(3).await, Some(4));
    }
}
