//! Group commit: calls of one kind that arrive while others are under way travel together.
//!
//! The first call goes at once, so a lone call waits for nobody. While it is under way, others gather, and go as one batch
//! when it has been answered. The size of a batch follows the load, without a timer.

use std::future::Future;

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use dtf_model::StoreError;

/// The bounds of a batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// The most calls a batch.
    pub calls: usize,
    /// The weight, in bytes for instance, at which a batch is full: the call that reaches it is the last one.
    pub weight: usize,
    /// The most batches under way at a time.
    pub under_way: usize,
}

/// Gathers calls and hands them to a service in batches.
///
/// A caller that stops waiting takes nothing from the others. Its call may still be sent, as with any call that is dropped.
#[derive(Debug)]
pub struct Batcher<C, T> {
    store: &'static str,
    calls: mpsc::Sender<Call<C, T>>,
    _worker: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Call<C, T> {
    call: C,
    weight: usize,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<C, T> Batcher<C, T>
where
    C: Send + 'static,
    T: Send + 'static,
{
    /// Starts a batcher in front of `serve`, which answers each call of a batch, in their order. Must be called on a tokio
    /// runtime; the work ends when the batcher is dropped. `store` names the store in errors.
    pub fn start<S, F>(store: &'static str, limits: BatchLimits, serve: S) -> Self
    where
        S: Fn(Vec<C>) -> F + Send + 'static,
        F: Future<Output = Vec<Result<T, StoreError>>> + Send + 'static,
    {
        // One further batch may wait in the channel; callers behind it wait for room.
        let (calls, waiting) = mpsc::channel(limits.calls.max(1));
        let worker = tokio::spawn(serve_all(waiting, limits, serve));
        Self { store, calls, _worker: AbortOnDropHandle::new(worker) }
    }

    /// Makes a call of this weight.
    ///
    /// # Errors
    /// The service's error for this call; [`StoreError::Unknown`] where the service ended without an answer.
    pub async fn call(&self, call: C, weight: usize) -> Result<T, StoreError> {
        let (store, cause) = (self.store, || "its connection was closed".to_owned());
        let (answer, answered) = oneshot::channel();
        let sent = self.calls.send(Call { call, weight, answer }).await;
        sent.map_err(|_| StoreError::Unreachable { store, cause: cause() })?;
        answered.await.map_err(|_| StoreError::Unknown { store, cause: cause() })?
    }
}

async fn serve_all<C, T, S, F>(mut waiting: mpsc::Receiver<Call<C, T>>, limits: BatchLimits, serve: S)
where
    S: Fn(Vec<C>) -> F,
    F: Future<Output = Vec<Result<T, StoreError>>>,
{
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            first = waiting.recv(), if under_way.len() < limits.under_way.max(1) => {
                let Some(first) = first else { break };
                let (calls, answers) = gathered(first, &mut waiting, limits);
                let served = serve(calls);
                under_way.push(async move {
                    for (answer, result) in answers.into_iter().zip(served.await) {
                        // A caller that stopped waiting wants no answer.
                        drop(answer.send(result));
                    }
                });
            }
            Some(()) = under_way.next() => {}
        }
    }
    while under_way.next().await.is_some() {}
}

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// The first call and those that wait behind it, up to the limits.
fn gathered<C, T>(
    first: Call<C, T>,
    waiting: &mut mpsc::Receiver<Call<C, T>>,
    limits: BatchLimits,
) -> (Vec<C>, Vec<Answer<T>>) {
    let (mut calls, mut answers, mut weight) = (Vec::new(), Vec::new(), 0);
    let mut next = Some(first);
    while let Some(Call { call, weight: more, answer }) = next {
        calls.push(call);
        answers.push(answer);
        weight += more;
        let is_full = calls.len() >= limits.calls || weight >= limits.weight;
        next = if is_full { None } else { waiting.try_recv().ok() };
    }
    (calls, answers)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::sync::Semaphore;

    use super::*;

    const LIMITS: BatchLimits = BatchLimits { calls: 4, weight: 100, under_way: 1 };

    type Batches = Arc<Mutex<Vec<Vec<u32>>>>;

    /// A batcher that doubles numbers, and the batches that it was given. Each waits for a permit.
    fn doubling(limits: BatchLimits) -> (Arc<Batcher<u32, u32>>, Batches, Arc<Semaphore>) {
        let (seen, gate) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Semaphore::new(0)));
        let (noted, permits) = (seen.clone(), gate.clone());
        let batcher = Batcher::start("test", limits, move |calls: Vec<u32>| {
            noted.lock().expect("no test panics with it").push(calls.clone());
            let permits = permits.clone();
            async move {
                permits.acquire().await.expect("it is never closed").forget();
                calls.into_iter().map(double).collect()
            }
        });
        (Arc::new(batcher), seen, gate)
    }

    fn double(number: u32) -> Result<u32, StoreError> {
        match number {
            7 => Err(StoreError::Refused { store: "test", cause: "seven".to_owned() }),
            _ => Ok(number * 2),
        }
    }

    #[tokio::test]
    async fn calls_that_arrive_meanwhile_travel_together_and_each_gets_its_own_answer() {
        let (batcher, seen, gate) = doubling(LIMITS);
        let calls = (1..=9).map(|number| batcher.call(number, 1));
        let answers = futures::future::join_all(calls);
        gate.add_permits(9);
        let answers: Vec<_> = answers.await.into_iter().map(|answer| answer.ok()).collect();
        let expected: Vec<_> = (1..=9).map(|number| (number != 7).then_some(number * 2)).collect();
        assert_eq!(answers, expected);
        let seen = seen.lock().expect("no test panics with it");
        assert_eq!(seen.concat(), (1..=9).collect::<Vec<_>>());
        assert!(seen.len() < 9 && seen.iter().all(|batch| batch.len() <= 4), "{seen:?}");
    }

    #[tokio::test]
    async fn a_heavy_call_ends_its_batch() {
        let (batcher, seen, gate) = doubling(LIMITS);
        let weights = [1, 100, 1, 60, 60, 1];
        let calls = (1..).zip(weights).map(|(number, weight)| batcher.call(number, weight));
        let answers = futures::future::join_all(calls);
        gate.add_permits(9);
        assert!(answers.await.iter().all(Result::is_ok));
        let seen = seen.lock().expect("no test panics with it");
        let weight = |batch: &Vec<u32>| batch.iter().map(|number| weights[*number as usize - 1]).collect();
        let weights: Vec<Vec<usize>> = seen.iter().map(weight).collect();
        let without_last = |batch: &Vec<usize>| batch[..batch.len() - 1].iter().sum::<usize>();
        assert!(weights.iter().all(|batch| without_last(batch) < 100), "{weights:?}");
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_takes_nothing_from_the_others() {
        let (batcher, _, gate) = doubling(LIMITS);
        let given_up = tokio::spawn({
            let batcher = batcher.clone();
            async move { batcher.call(1, 1).await }
        });
        let other = tokio::spawn({
            let batcher = batcher.clone();
            async move { batcher.call(2, 1).await }
        });
        tokio::task::yield_now().await;
        given_up.abort();
        gate.add_permits(2);
        assert_eq!(other.await.expect("it does not panic").ok(), Some(4));
    }

    #[tokio::test]
    async fn a_service_that_answers_too_few_leaves_the_rest_unknown() {
        let batcher =
            Batcher::start("test", LIMITS, |_: Vec<u32>| async { Vec::<Result<u32, StoreError>>::new() });
        assert!(matches!(batcher.call(1, 1).await, Err(StoreError::Unknown { .. })));
    }
}
