//! A value that is read once for all who ask for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::problem::Failed;

/// The least time between two reads.
pub(crate) const EVERY: Duration = Duration::from_millis(500);
/// The longest time between two reads.
const SELDOM: Duration = Duration::from_secs(5);
/// The time between two reads over the time that a read takes.
const REST: u32 = 20;

/// A source of values.
pub(crate) trait Source: Send + Sync + 'static {
    /// The memory of the source from read to read.
    type Memory: Default + Send;
    /// The value.
    type Value: Send + Sync;

    /// Reads the value.
    fn read(&self, memory: &mut Self::Memory) -> impl Future<Output = Result<Self::Value, Failed>> + Send;
}

/// The outcome of a read.
#[derive(Debug)]
pub(crate) struct Seen<T> {
    /// The number of the read, in growing order.
    pub(crate) number: u64,
    /// The value. A failure is shared as a value is, so that stores which fail are not asked more often.
    pub(crate) value: Result<Arc<T>, Failed>,
    /// The time until which it is the present value.
    until: Instant,
}

impl<T> Clone for Seen<T> {
    fn clone(&self) -> Self {
        Self { number: self.number, value: self.value.clone(), until: self.until }
    }
}

/// A source that is read once in a time, however many ask, and not at all while nobody asks. The time between two reads is 0.5 s, and
/// longer where reading takes long: about a twentieth of the time is spent on it at most.
pub(crate) struct Shared<S: Source> {
    source: S,
    kept: tokio::sync::Mutex<Kept<S>>,
}

struct Kept<S: Source> {
    memory: S::Memory,
    last: Option<Seen<S::Value>>,
}

impl<S: Source> Shared<S> {
    pub(crate) fn new(source: S) -> Self {
        let kept = Kept { memory: S::Memory::default(), last: None };
        Self { source, kept: tokio::sync::Mutex::new(kept) }
    }

    /// Returns the present value.
    pub(crate) async fn now(&self) -> Seen<S::Value> {
        // Those who wait here get what the one who reads finds. Should that one give up, the next one reads.
        let mut kept = self.kept.lock().await;
        if let Some(seen) = kept.last.as_ref().filter(|seen| Instant::now() < seen.until) {
            return seen.clone();
        }
        let begun = Instant::now();
        let number = kept.last.as_ref().map_or(1, |last| last.number + 1);
        let value = self.source.read(&mut kept.memory).await.map(Arc::new);
        let rest = (begun.elapsed() * REST).clamp(EVERY, SELDOM);
        let seen = Seen { number, value, until: Instant::now() + rest };
        kept.last = Some(seen.clone());
        seen
    }

    /// Waits for a value that is newer than this one.
    pub(crate) async fn after(&self, last: &Seen<S::Value>) -> Seen<S::Value> {
        let mut until = last.until;
        loop {
            tokio::time::sleep_until(until).await;
            let seen = self.now().await;
            if seen.number > last.number {
                return seen;
            }
            until = seen.until;
        }
    }
}

/// Sources by name, each of which is kept for as long as somebody has it.
pub(crate) struct SharedBy<K, S: Source>(Mutex<BTreeMap<K, Weak<Shared<S>>>>);

impl<K: Ord, S: Source> SharedBy<K, S> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// Returns the source with a name; makes it where there is none.
    pub(crate) fn get(&self, key: K, make: impl FnOnce() -> S) -> Arc<Shared<S>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = known.get(&key).and_then(Weak::upgrade) {
            return shared;
        }
        known.retain(|_, shared| shared.strong_count() > 0);
        let shared = Arc::new(Shared::new(make()));
        known.insert(key, Arc::downgrade(&shared));
        shared
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use dtf_api::Code;

    use super::*;

    /// Counts its reads; each takes `takes`, and those above `good` fail.
    struct Counted {
        reads: Arc<AtomicU64>,
        takes: Duration,
        good: u64,
    }

    impl Source for Counted {
        type Memory = u64;
        type Value = u64;

        async fn read(&self, memory: &mut u64) -> Result<u64, Failed> {
            let number = self.reads.fetch_add(1, Ordering::Relaxed) + 1;
            tokio::time::sleep(self.takes).await;
            *memory += 1;
            if number > self.good { Err(Failed::new(Code::Unavailable, "gone")) } else { Ok(*memory) }
        }
    }

    fn counted(takes: Duration, good: u64) -> (Arc<Shared<Counted>>, Arc<AtomicU64>) {
        let reads = Arc::new(AtomicU64::new(0));
        (Arc::new(Shared::new(Counted { reads: reads.clone(), takes, good })), reads)
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_ask_share_one_read() {
        let (shared, reads) = counted(Duration::from_millis(10), u64::MAX);
        let all = futures::future::join_all((0..100).map(|_| shared.now())).await;
        assert!(all.iter().all(|seen| seen.value == Ok(Arc::new(1))));
        let next = futures::future::join_all((0..100).map(|_| shared.after(&all[0]))).await;
        assert!(next.iter().all(|seen| (seen.number, &seen.value) == (2, &Ok(Arc::new(2)))));
        assert_eq!(reads.load(Ordering::Relaxed), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn reads_that_take_long_are_made_seldom() {
        for (takes, rest) in [(1, 500), (100, 2000), (30_000, 5000)] {
            let (shared, _) = counted(Duration::from_millis(takes), u64::MAX);
            let seen = shared.now().await;
            assert_eq!(seen.until - Instant::now(), Duration::from_millis(rest), "{takes} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_gives_up_is_replaced_and_a_failure_is_shared() {
        let (shared, reads) = counted(Duration::from_secs(1), 2);
        let first = tokio::time::timeout(Duration::from_millis(1), shared.now()).await;
        assert!(first.is_err());
        let seen = shared.now().await;
        assert_eq!(seen.value, Ok(Arc::new(1)), "nothing is kept of a read that was given up");
        let failed = shared.after(&seen).await;
        assert!(failed.value.is_err());
        assert_eq!((shared.now().await.number, reads.load(Ordering::Relaxed)), (failed.number, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn sources_are_kept_for_as_long_as_somebody_has_them() {
        let by = SharedBy::new();
        let make = || Counted { reads: Arc::default(), takes: Duration::ZERO, good: u64::MAX };
        let (one, two) = (by.get(1, make), by.get(1, make));
        assert!(Arc::ptr_eq(&one, &two));
        drop((one, two));
        by.get(2, make);
        by.get(3, make);
        assert_eq!(by.0.lock().unwrap().len(), 1);
    }
}
